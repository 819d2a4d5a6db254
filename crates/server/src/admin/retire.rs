//! Hosts are retired and removed.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use packhorse_domain::ids::HostId;
use packhorse_wire::admin::{HostNames, HostRetired};
use packhorse_wire::net::Peer;

use super::request::Body;
use super::{Admin, AdminError};
use crate::db::retire::Leave;
use crate::system::now;

/// `POST /admin/v1/hosts/-/retire`.
pub async fn retire(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    Body(names): Body<HostNames>,
) -> Result<Json<Vec<HostRetired>>, AdminError> {
    leave(&admin, &peer, names, false).await
}

/// `POST /admin/v1/hosts/-/remove`.
pub async fn remove(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    Body(names): Body<HostNames>,
) -> Result<Json<Vec<HostRetired>>, AdminError> {
    leave(&admin, &peer, names, true).await
}

async fn leave(
    admin: &Admin,
    peer: &Peer,
    names: HostNames,
    remove: bool,
) -> Result<Json<Vec<HostRetired>>, AdminError> {
    let system = &admin.system;
    let by = peer.identity.as_ref().map_or_else(String::new, |identity| identity.name.clone());
    let command = Leave {
        authority: system.authority()?,
        hosts: names.hosts,
        remove,
        by,
        own: system.config.name.clone(),
        now: now(),
    };
    let left = system.db.write(command).await?;
    system.reload_directory().await?;
    system.reload_delegations().await?;
    let ids: Vec<HostId> = left.hosts.iter().map(|host| host.id).collect();
    system.presence.forget(&ids);
    system.wake(&left.lowers);
    system.lines_changed();
    let told = left.hosts.into_iter().map(|host| {
        tracing::info!(host = %host.host, remove, lines = host.lines, "retired");
        HostRetired { host: host.host, lines: host.lines, changed: host.changed, removed: remove }
    });
    Ok(Json(told.collect()))
}
