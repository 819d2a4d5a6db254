//! What administrators may ask: the paths of [`packhorse_wire::admin`], JSON over HTTPS, for callers with an administrator's
//! certificate.
//!
//! | module | what |
//! |---|---|
//! | `auth`, `may`, `error`, `request` | who may ask, and what at a relay; refusals; reading requests |
//! | `format`, `sentence`, `keep` | times, sizes and reasons as people read them; keeping times |
//! | `tokens`, `cabinets`, `uploads`, `verified`, `packages`, `known` | what comes in; what a relay knows of it |
//! | `wish`, `destinations`, `make`, `change`, `again` | a job: what is wanted, for whom, made, changed, made once more |
//! | `around`, `lines`, `jobs`, `groups`, `hosts`, `history`, `relays`, `explain` | what is seen |
//! | `control`, `limits` | what is set at relays |
//! | `copy_orders` | what relays keep and drop |
//! | `moving`, `retire` | hosts are moved, retired, removed |
//! | `plan`, `plan_time`, `plan_text`, `plan_kept` | what a job would do; kept, and beside it what became of it |

mod again;
pub(crate) mod around;
pub(crate) mod auth;
mod cabinets;
mod change;
mod control;
mod copy_orders;
pub(crate) mod destinations;
mod error;
pub(crate) mod explain;
pub(crate) mod format;
mod grants;
mod group_views;
pub(crate) mod groups;
mod history;
mod host_groups;
mod hosts;
pub(crate) mod jobs;
mod keep;
mod known;
mod limits;
pub(crate) mod lines;
mod make;
mod may;
mod members;
mod moving;
mod own_copies;
mod packages;
mod plan;
mod plan_kept;
mod plan_text;
mod plan_time;
mod relays;
mod request;
mod retire;
pub(crate) mod sentence;
mod tokens;
mod uploads;
mod verified;
mod wish;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};
use packhorse_content::limits::ENVELOPE_BYTES;

pub use error::AdminError;

use crate::system::System;
use uploads::Uploads;

/// Longest request but for uploads, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What the handlers share.
pub(crate) struct Admin {
    system: Arc<System>,
    uploads: Uploads,
    /// Registering a package and removing one have to see store and database in the same state.
    content: tokio::sync::Mutex<()>,
}

/// The routes.
pub fn router(system: Arc<System>) -> Router {
    let guard = middleware::from_fn_with_state(system.clone(), auth::administrators_only);
    let admin = Admin { system, uploads: Uploads::default(), content: tokio::sync::Mutex::new(()) };
    Router::new()
        .merge(upload_routes())
        .merge(import_route())
        .merge(routes().layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)))
        .route_layer(guard)
        .with_state(Arc::new(admin))
}

fn upload_routes() -> Router<Arc<Admin>> {
    let begin = post(uploads::begin).layer(DefaultBodyLimit::max(ENVELOPE_BYTES));
    // Frames are streamed: what they may measure follows from the manifest.
    let frames = post(uploads::frames).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/admin/v1/uploads", begin)
        .route("/admin/v1/uploads/{package}/frames", frames)
        .route("/admin/v1/uploads/{package}/finish", post(uploads::finish))
}

/// A file of members may be larger than other requests.
fn import_route() -> Router<Arc<Admin>> {
    let import = post(host_groups::import).layer(DefaultBodyLimit::max(members::CSV_BYTES_MAX));
    Router::new().route("/admin/v1/groups/{name}/import", import)
}

fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/admin/v1/hosts", get(hosts::list))
        .route("/admin/v1/hosts/{name}", get(hosts::show))
        .route("/admin/v1/hosts/{name}/move", post(moving::move_host))
        // No host has this name.
        .route("/admin/v1/hosts/-/retire", post(retire::retire))
        .route("/admin/v1/hosts/-/remove", post(retire::remove))
        .route("/admin/v1/tree", get(hosts::tree))
        .route("/admin/v1/groups", get(group_views::list).post(host_groups::make))
        .route("/admin/v1/groups/{name}", get(group_views::show).delete(host_groups::remove))
        .route("/admin/v1/groups/{name}/add", post(host_groups::add))
        .route("/admin/v1/groups/{name}/leave", post(host_groups::leave))
        .route("/admin/v1/tokens", get(tokens::list).post(tokens::make))
        .route("/admin/v1/tokens/{id}", delete(tokens::revoke))
        .route("/admin/v1/cabinets", get(cabinets::list).post(cabinets::make))
        .route("/admin/v1/cabinets/{name}/trust", post(cabinets::trust))
        .route("/admin/v1/cabinets/{name}/distrust", post(cabinets::distrust))
        .route("/admin/v1/packages", get(packages::list).delete(packages::remove))
        .route("/admin/v1/packages/show", get(packages::show))
        .route("/admin/v1/plan", post(plan::plan))
        .route("/admin/v1/jobs", get(jobs::list).post(make::make))
        .route("/admin/v1/jobs/{job}", get(jobs::show))
        .route("/admin/v1/jobs/{job}/hosts/{host}", get(history::of_line))
        .route("/admin/v1/jobs/{job}/cancel", post(change::cancel))
        .route("/admin/v1/jobs/{job}/retry", post(change::retry))
        .route("/admin/v1/jobs/{job}/suspend", post(change::suspend))
        .route("/admin/v1/jobs/{job}/resume", post(change::resume))
        .route("/admin/v1/jobs/{job}/close", post(change::close))
        .route("/admin/v1/jobs/{job}/again", post(again::again))
        .route("/admin/v1/explain", get(explain::explain))
        .route("/admin/v1/relays", get(relays::list))
        .route("/admin/v1/relays/{name}", get(relays::show))
        .route("/admin/v1/relays/{name}/grant", post(grants::grant))
        .route("/admin/v1/relays/{name}/revoke", post(grants::revoke))
        .route("/admin/v1/relays/{name}/suspend", post(control::suspend))
        .route("/admin/v1/relays/{name}/resume", post(control::resume))
        .route("/admin/v1/relays/{name}/limit", post(control::limit))
        .route("/admin/v1/relays/{name}/keep", post(copy_orders::keep))
        .route("/admin/v1/relays/{name}/drop", post(copy_orders::drop))
        .route("/admin/v1/alarms", get(relays::alarms))
}
