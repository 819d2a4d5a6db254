//! The page that people look at: one page at the managing server and at each relay, read-only, made here and embedded whole.
//! It works without script (it is loaded anew then); with script its parts are swapped as they change.
//!
//! | module | what |
//! |---|---|
//! | `access` | who may look: the address that `packhorse page` prints, and the browser's cookie |
//! | `live` | the parts, made at most once a second, and the stream of those that changed |
//! | `look`, `busy` | what is looked at, loaded at once |
//! | `head`, `tree`, `jobs`, `why`, `bar` | the parts; their templates lie in `templates/` |

mod access;
mod bar;
mod busy;
mod head;
mod jobs;
mod live;
mod look;
mod tree;
mod why;

use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use packhorse_wire::admin::PageGranted;
use packhorse_wire::net::Peer;
use serde::Deserialize;

use crate::admin::format::rfc3339;
use crate::admin::{AdminError, auth};
use crate::db::DbError;
use crate::system::{System, now};
use access::Doors;
use live::Live;

/// Everything comes from here, and nothing stands inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("../../templates/page.css");
const SCRIPT: &str = include_str!("../../templates/page.js");
const ICON: &str = include_str!("../../templates/page.svg");
/// Files change with the program: their address carries this, and they may be kept for ever.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for file in [STYLE, SCRIPT, ICON] {
        hasher.update(file.as_bytes());
    }
    hasher.finalize().to_hex()[..12].to_owned()
});

/// What the handlers share.
struct Page {
    system: Arc<System>,
    doors: Arc<Doors>,
    live: Arc<Live>,
}

/// The routes. All but the one that hands out addresses are open to callers without a certificate.
pub fn router(system: Arc<System>) -> Router {
    let page = Page {
        doors: Arc::new(Doors::new(system.clone())),
        live: Arc::new(Live::new(system.clone())),
        system,
    };
    Router::new()
        .route("/", get(|| async { to("/page") }))
        .route("/page", get(whole))
        .route("/page/open", get(open))
        .route("/page/leave", post(leave))
        .route("/page/events", get(events))
        .route("/page/style.css", get(|| async { file(STYLE, "text/css; charset=utf-8") }))
        .route("/page/script.js", get(|| async { file(SCRIPT, "text/javascript; charset=utf-8") }))
        .route("/page/icon.svg", get(|| async { file(ICON, "image/svg+xml") }))
        .layer(middleware::from_fn(guarded))
        .route("/admin/v1/page", post(grant))
        .layer(DefaultBodyLimit::max(1 << 10))
        .with_state(Arc::new(page))
}

/// Headers that stand on every answer.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What was there at a moment is not kept.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn file(text: &'static str, kind: &'static str) -> Response {
    let kept = "public, max-age=31536000, immutable";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, kept)], text).into_response()
}

fn to(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

/// `POST /admin/v1/page`: an administrator's command line asks for an address.
async fn grant(State(page): State<Arc<Page>>, request: Request) -> Result<Json<PageGranted>, AdminError> {
    auth::identify(&page.system, request.extensions().get::<Peer>())?;
    let secret = page.doors.grant().await?;
    Ok(Json(PageGranted {
        path: format!("/page/open?token={secret}"),
        opens_until: rfc3339(now().plus_secs(access::OPEN_SECS)),
        looks_secs: access::LOOK_SECS as u64,
    }))
}

#[derive(Deserialize)]
struct Opening {
    #[serde(default)]
    token: String,
}

/// `GET /page/open?token=`: gives the browser its cookie, and goes on to where no secret stands in the address.
async fn open(State(page): State<Arc<Page>>, opening: Query<Opening>) -> Result<Response, Broken> {
    let Some(secret) = page.doors.open(&opening.token).await? else {
        let why = "This address was opened before, or has waited too long.";
        return Ok(refused(&page.system, why));
    };
    let cookie = format!(
        "{}={secret}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict",
        page.doors.cookie_name(),
        access::LOOK_SECS
    );
    Ok(([(SET_COOKIE, cookie)], to("/page")).into_response())
}

/// `POST /page/leave`: this browser looks no more.
async fn leave(State(page): State<Arc<Page>>, headers: HeaderMap) -> Result<Response, Broken> {
    page.doors.leave(&headers).await?;
    let cookie =
        format!("{}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict", page.doors.cookie_name());
    Ok(([(SET_COOKIE, cookie)], refused(&page.system, "You look no more.")).into_response())
}

#[derive(Template)]
#[template(path = "page.html")]
struct Whole<'a> {
    edition: &'a str,
    name: &'a str,
    role: &'a str,
    parts: &'a [live::Part; 4],
}

/// `GET /page`.
async fn whole(State(page): State<Arc<Page>>, headers: HeaderMap) -> Result<Response, Broken> {
    if page.doors.looks(&headers).await?.is_none() {
        return Ok(refused(&page.system, "To look, open an address made for you."));
    }
    let shown = page.live.shown().await?;
    let whole = Whole {
        edition: &EDITION,
        name: &page.system.config.name,
        role: role(&page.system),
        parts: &shown.parts,
    };
    Ok(Html(whole.render().map_err(DbError::internal)?).into_response())
}

/// `GET /page/events`: the parts as they change.
async fn events(State(page): State<Arc<Page>>, headers: HeaderMap) -> Result<Response, Broken> {
    let Some(key) = page.doors.looks(&headers).await? else {
        return Ok(refused(&page.system, "To look, open an address made for you."));
    };
    let Some(seat) = page.live.seat() else {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, "too many look at the moment\n").into_response());
    };
    let stream = live::tell(page.live.clone(), page.doors.clone(), key, seat);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}

fn role(system: &System) -> &'static str {
    if system.upper.is_some() { "relay system" } else { "managing server" }
}

#[derive(Template)]
#[template(path = "page_refused.html")]
struct Refused<'a> {
    edition: &'a str,
    name: &'a str,
    why: &'a str,
    command: String,
}

/// Says how one may look.
fn refused(system: &System, why: &str) -> Response {
    let command = match &system.upper {
        Some(_) => format!(
            "PACKHORSE_CONTEXT=DATA/admin.toml packhorse page\n\npackhorse page --relay {}    # with the managing server's access",
            system.config.url()
        ),
        None => "packhorse page".to_owned(),
    };
    let refused = Refused { edition: &EDITION, name: &system.config.name, why, command };
    match refused.render() {
        Ok(text) => (StatusCode::UNAUTHORIZED, Html(text)).into_response(),
        Err(error) => Broken::from(DbError::internal(error)).into_response(),
    }
}

/// Something went wrong inside: for the log; outside it is enough that it did.
struct Broken;

impl From<DbError> for Broken {
    fn from(error: DbError) -> Broken {
        tracing::error!(%error, "the page");
        Broken
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, "this system has trouble with its database; its log says more\n")
            .into_response()
    }
}
