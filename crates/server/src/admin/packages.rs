//! Registered packages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use packhorse_domain::ids::PackageQuery;
use packhorse_domain::ingest::Position;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{PackageDetail, PackageView, RelayCopy};
use rusqlite::Connection;
use serde::Deserialize;

use super::format::rfc3339;
use super::request::Ask;
use super::{Admin, AdminError, known, may};
use crate::db::packages::{self, PackageRecord, Unregister};
use crate::db::{Command, DbError, views};
use crate::system::now;

/// Which packages.
#[derive(Deserialize)]
pub struct Which {
    /// Of one cabinet.
    cabinet: Option<String>,
}

/// Which package.
#[derive(Deserialize)]
pub struct One {
    package: String,
}

impl One {
    fn query(&self) -> Result<PackageQuery, DbError> {
        query(&self.package)
    }
}

/// Reads a package as people write it.
///
/// # Errors
/// A refusal that shows what was read.
pub fn query(text: &str) -> Result<PackageQuery, DbError> {
    text.parse().map_err(|error| {
        let shown: String = text.chars().take(200).collect();
        DbError::refused(
            "bad_package",
            format!("{shown:?} is no package: {error}"),
            Some("write it as cabinet/name@version:generation; version and generation may be left out"),
        )
    })
}

fn view(record: &PackageRecord) -> PackageView {
    PackageView {
        cabinet: record.label.cabinet.clone(),
        name: record.label.name.clone(),
        version: record.label.version.clone(),
        generation: record.label.generation,
        size_bytes: record.size_bytes,
        chunks: record.chunks,
        keep: record.keep.clone(),
    }
}

/// `GET /admin/v1/packages?cabinet=`.
pub async fn list(
    State(admin): State<Arc<Admin>>,
    Ask(which): Ask<Which>,
) -> Result<Json<Vec<PackageView>>, AdminError> {
    known::refresh(&admin.system).await?;
    let found = admin.system.db.read(move |connection| packages::list(connection, which.cabinet.as_deref()));
    Ok(Json(found.await?.iter().map(view).collect()))
}

/// `GET /admin/v1/packages/show?package=`.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Ask(one): Ask<One>,
) -> Result<Json<PackageDetail>, AdminError> {
    let query = one.query()?;
    known::refresh(&admin.system).await?;
    let found = admin.system.db.read(move |connection| {
        let record = packages::resolve(connection, &query)?;
        let copies = views::copies_of(connection, &record.id)?;
        let counts = views::package_counts(connection, &record.id)?;
        Ok((record, copies, counts))
    });
    let (record, copies, counts) = found.await?;
    let (store, id) = (admin.system.store.clone(), record.id);
    let stored = tokio::task::spawn_blocking(move || store.list()).await??;
    let stored_bytes = stored.iter().find(|stored| stored.id == id).map_or(0, |stored| stored.unique_bytes);
    Ok(Json(PackageDetail {
        package: view(&record),
        id: record.id.to_string(),
        label: record.label.to_string(),
        summary: record.summary,
        kind: record.kind,
        registered: rfc3339(record.registered),
        keep_until: rfc3339(record.keep_until),
        signed_by: record.signed_by.split_whitespace().map(str::to_owned).collect(),
        stored_bytes,
        entries: record.entries,
        depends: record.depends,
        relays: copies
            .into_iter()
            .map(|(relay, keep_until)| RelayCopy { relay, keep_until: rfc3339(keep_until) })
            .collect(),
        counts,
    }))
}

/// Removes a registration that nothing needs.
struct Remove {
    query: PackageQuery,
    /// At a relay: its copy goes, too.
    at_relay: bool,
    now: Time,
}

impl Command for Remove {
    type Answer = (PackageRecord, bool);

    fn apply(self, tx: &Connection) -> Result<(PackageRecord, bool), DbError> {
        let package = packages::resolve(tx, &self.query)?;
        // Such a job has no line for a host that is yet to come, but will need the package then.
        if let Some(job) = views::growing_job_of(tx, &package.id, self.now)? {
            let message = format!("job {job} takes in hosts that join, and still needs {}", package.label);
            let hint = format!("packhorse job cancel {job} ends it: what is installed stays");
            return Err(DbError::refused("in_use", message, Some(&hint)));
        }
        let (record, last) = Unregister(self.query).apply(tx)?;
        if last && self.at_relay {
            crate::db::known::withdraw(tx, &record.id, self.now)?;
        }
        Ok((record, last))
    }
}

/// `DELETE /admin/v1/packages?package=`.
pub async fn remove(
    State(admin): State<Arc<Admin>>,
    Ask(one): Ask<One>,
) -> Result<Json<PackageView>, AdminError> {
    let system = &admin.system;
    let _whole = admin.content.lock().await;
    let (query, at_relay) = (one.query()?, system.position == Position::Relay);
    if at_relay {
        let delegation = may::delegation(system, "package remove")?;
        if !delegation.cabinets.iter().any(|own| own.name == query.cabinet) {
            return Err(may::not_own_cabinet(
                &system.config.name,
                Some(&delegation),
                "package remove",
                &query.cabinet,
            ));
        }
    }
    let (record, last) = system.db.write(Remove { query, at_relay, now: now() }).await?;
    if at_relay {
        system.copies_news.notify_one();
    } else if last {
        let (store, id) = (system.store.clone(), record.id);
        let removed = tokio::task::spawn_blocking(move || store.remove(&id)).await?;
        if let Err(error) = removed {
            // The registration is gone, which is what was asked; the content is found again when it is added again.
            tracing::warn!(package = %record.label, %error, "the content of a removed package stays in the store");
        }
    }
    Ok(Json(view(&record)))
}
