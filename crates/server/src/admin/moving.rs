//! Hosts are moved.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::place::Above;
use packhorse_wire::admin::{HostMove, HostMoved};

use super::request::Body;
use super::{Admin, AdminError};
use crate::db::moving::MoveHost;
use crate::system::now;

/// `POST /admin/v1/hosts/{name}/move`.
pub async fn move_host(
    State(admin): State<Arc<Admin>>,
    Path(host): Path<String>,
    Body(to): Body<HostMove>,
) -> Result<Json<HostMoved>, AdminError> {
    let system = &admin.system;
    let own = Above { id: system.id, relay: false, name: system.config.name.clone(), urls: system.urls() };
    let command = MoveHost {
        authority: system.authority()?,
        capabilities: system.capabilities.clone(),
        host,
        above: std::iter::once(to.to).chain(to.then).collect(),
        own,
        now: now(),
    };
    let moved = system.db.write(command).await?;
    system.reload_directory().await?;
    system.wake(&moved.lowers);
    if moved.changed {
        tracing::info!(host = %moved.host, above = ?moved.above, "moved");
        system.lines_changed();
    }
    Ok(Json(HostMoved { host: moved.host, above: moved.above, changed: moved.changed }))
}
