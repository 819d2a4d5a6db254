//! The page: who may look, and that it stays small.

use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::Body as ReportBody;
use packhorse_server::db::page::{Pass, SavePasses};
use packhorse_server::page;
use packhorse_server::system::now;
use packhorse_wire::net::Peer;
use packhorse_wire::pki::{CertIdentity, Role};
use tower::ServiceExt;

use crate::support::{Many, Top, install};

struct Looker {
    router: axum::Router,
    cookie: String,
}

impl Looker {
    async fn of(top: &Top) -> Looker {
        let router = page::router(top.system.clone());
        let path = grant(&router, Role::Admin).await.unwrap();
        let (status, cookie, _) = get(&router, &path, "").await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        Looker { router, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    /// The page is made once a second at most: waits for the one that has this in it.
    async fn page_until(&self, part: &str) -> String {
        for _ in 0..200 {
            let page = self.page().await;
            if page.contains(part) {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{part} does not come: {}", self.page().await)
    }

    async fn page(&self) -> String {
        let (status, _, body) = get(&self.router, "/page", &self.cookie).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }
}

async fn grant(router: &axum::Router, role: Role) -> Result<String, StatusCode> {
    let identity = Some(CertIdentity { role, id: "00".repeat(16), name: "somebody".into(), generation: 1 });
    let mut request = Request::post("/admin/v1/page").body(Body::empty()).unwrap();
    let addr = "127.0.0.1:9".parse().unwrap();
    request.extensions_mut().insert(Peer { identity, addr, cert_serial: None, cert_not_after: None });
    let response = router.clone().oneshot(request).await.unwrap();
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    Ok(value["path"].as_str().unwrap().to_owned())
}

async fn get(router: &axum::Router, path: &str, cookie: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).header(COOKIE, cookie).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let cookie = response.headers().get(SET_COOKIE).map_or("", |value| value.to_str().unwrap()).to_owned();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, cookie, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn addresses_are_made_for_administrators_and_open_once() {
    let top = Top::new().await;
    let router = page::router(top.system.clone());
    for role in [Role::Client, Role::Relay, Role::Server, Role::RelayAdmin] {
        assert_eq!(grant(&router, role).await, Err(StatusCode::FORBIDDEN), "{role}");
    }
    let path = grant(&router, Role::Admin).await.unwrap();
    assert_eq!(get(&router, &path, "").await.0, StatusCode::SEE_OTHER);
    assert_eq!(get(&router, &path, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&router, "/page/open", "").await.0, StatusCode::UNAUTHORIZED);
    // What the browser has is good for looking, not for opening, and the other way round.
    let looker = Looker::of(&top).await;
    let secret = looker.cookie.split_once('=').unwrap().1;
    let opening = format!("/page/open?token={secret}");
    assert_eq!(get(&router, &opening, "").await.0, StatusCode::UNAUTHORIZED);
    let path = grant(&looker.router, Role::Admin).await.unwrap();
    let name = looker.cookie.split_once('=').unwrap().0;
    let token = path.split_once("token=").unwrap().1;
    assert_eq!(get(&router, "/page", &format!("{name}={token}")).await.0, StatusCode::UNAUTHORIZED);
    looker.page().await;
}

#[tokio::test]
async fn who_may_look_is_remembered_as_a_hash_and_for_a_time() {
    let top = Top::new().await;
    let first = Looker::of(&top).await;
    for _ in 0..40 {
        Looker::of(&top).await;
        grant(&first.router, Role::Admin).await.unwrap();
    }
    let passes = top.system.db.read(packhorse_server::db::page::passes).await.unwrap();
    assert!(passes.len() <= 64, "{} are remembered", passes.len());
    let secret = first.cookie.split_once('=').unwrap().1;
    let stored = format!("{passes:?}");
    assert!(!stored.contains(secret));
    let last = Looker::of(&top).await;
    let passes = top.system.db.read(packhorse_server::db::page::passes).await.unwrap();
    let over = passes.iter().map(|pass| Pass { ends: now().0 - 1, ..*pass }).collect();
    top.system.db.write(SavePasses(over)).await.unwrap();
    let router = page::router(top.system.clone());
    assert_eq!(get(&router, "/page", &last.cookie).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_is_silent_or_was_retired_is_in_none_of_the_numbers() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let hosts = ["pc1", "pc2", "pc3"].map(|name| (name, osaka.clone()));
    let mut joined = Vec::new();
    for (name, osaka) in &hosts {
        joined.push(top.join(name, HostRole::Client, Some(osaka)).await);
    }
    top.done("/admin/v1/jobs", &install(&["all"])).await;
    let looker = Looker::of(&top).await;
    assert!(looker.page().await.contains("0 of 3 machines there"));
    let seen = packhorse_server::db::hosts::Seen(vec![(joined[0].id, now().plus_days(-91))]);
    top.system.db.write(seen).await.unwrap();
    top.done("/admin/v1/hosts/-/retire", &serde_json::json!({"hosts": ["pc2"]})).await;
    let page = Looker::of(&top).await.page_until("0 of 1 machines there").await;
    for part in ["silent, not counted", "1 silent for very long, not counted", "0 of 1 · 2 silent or retired"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn a_fleet_of_thousands_makes_no_longer_page_and_no_more_statements() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let relay = top.join("osaka", HostRole::Relay, None).await;
    let few = Many { relay: &relay, count: 20 }.join(&top).await;
    let job = install(&few.iter().map(String::as_str).collect::<Vec<_>>());
    top.done("/admin/v1/jobs", &job).await;
    let looked = async |looker: Looker| {
        let before = top.system.db.statements_read();
        let page = looker.page().await;
        (page.len(), top.system.db.statements_read() - before)
    };
    let small = looked(Looker::of(&top).await).await;
    let sendai = top.join("sendai", HostRole::Relay, None).await;
    let many = Many { relay: &sendai, count: 3_000 }.join(&top).await;
    let job = install(&many.iter().map(String::as_str).collect::<Vec<_>>());
    top.done("/admin/v1/jobs", &job).await;
    let looker = Looker::of(&top).await;
    let page = looker.page().await;
    assert!(page.contains("0 of 3000") && page.contains("and 2990 more"), "{page}");
    let large = looked(Looker::of(&top).await).await;
    assert_eq!(large.1, small.1, "statements");
    assert!(large.0 < small.0 * 2, "{} and {} bytes", small.0, large.0);
    // However many look at once, it is made once.
    let before = top.system.db.statements_read();
    for _ in 0..20 {
        looker.page().await;
    }
    assert!(top.system.db.statements_read() - before <= large.1, "made anew for each who looks");
}

#[tokio::test]
async fn names_are_written_as_text() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let relay = top.join("osaka", HostRole::Relay, None).await;
    let text = "<script>alert(1)</script> & \"more\"".to_owned();
    top.say(&relay, 1, ReportBody::Alarm { code: "odd".into(), text }).await;
    let page = Looker::of(&top).await.page().await;
    assert!(!page.contains("<script>alert") && page.contains("&#60;script&#62;alert"), "{page}");
}
