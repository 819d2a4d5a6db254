//! Cabinets and the packager keys they trust: each change is a new version of the trust document.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::ids::Name;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{CabinetView, KeyText, NewCabinet};
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::PublicKey;
use packhorse_wire::messages::Order;
use packhorse_wire::signed::{KeySet, TrustDoc};
use packhorse_wire::trust::Trust;
use rusqlite::Connection;
use serde_bytes::ByteBuf;

use super::request::Body;
use super::{Admin, AdminError, grants};
use crate::authority::Authority;
use crate::db::hosts::HostRow;
use crate::db::packages::{self, MakeCabinet};
use crate::db::{Command, DbError, meta, orders};
use crate::init::TRUST_DAYS;
use crate::system::now;

/// What is to change.
enum Change {
    New { cabinet: String, keys: Vec<PublicKey> },
    Trust { cabinet: String, key: PublicKey },
    Distrust { cabinet: String, key: PublicKey },
}

impl Change {
    fn cabinet(&self) -> &str {
        match self {
            Change::New { cabinet, .. }
            | Change::Trust { cabinet, .. }
            | Change::Distrust { cabinet, .. } => cabinet,
        }
    }
}

/// Writes the next trust document, and tells everybody below.
struct ChangeTrust {
    authority: Arc<Authority>,
    change: Change,
    now: Time,
}

/// A trust document that was written, and the lower systems with something new in their feeds. `None`: nothing to change.
type Changed = Option<(Trust, Vec<HostRow>)>;

impl Command for ChangeTrust {
    type Answer = Changed;

    fn apply(self, tx: &Connection) -> Result<Changed, DbError> {
        let stored = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
        let known = Trust::own(&stored).map_err(DbError::damaged)?;
        let mut doc = known.doc().clone();
        if !change(&mut doc, &self.change)? {
            return Ok(None);
        }
        doc.version += 1;
        doc.previous = Some(Fixed(known.hash()));
        doc.issued = self.now.0;
        doc.expires = self.now.plus_days(TRUST_DAYS).0;
        doc.validate().map_err(|error| DbError::refused("limit", error.to_string(), None))?;
        let signed = self.authority.sign_trust(&doc).map_err(DbError::internal)?;
        let envelope = signed.ok_or_else(root_key_away)?;
        // What nobody below would follow is not stored.
        let next = known.follow(&envelope).map_err(DbError::internal)?;
        if let Change::New { cabinet, .. } = self.change {
            grants::refuse_taken(tx, &cabinet)?;
            MakeCabinet { name: cabinet, now: self.now }.apply(tx)?;
        }
        meta::set(tx, "trust", &envelope)?;
        let lowers = orders::for_everybody(tx, &Order::Trust(ByteBuf::from(envelope)))?;
        Ok(Some((next, lowers)))
    }
}

/// Changes the document; answers whether there was anything to change.
fn change(doc: &mut TrustDoc, change: &Change) -> Result<bool, DbError> {
    let set = doc.cabinets.get_mut(change.cabinet());
    match (change, set) {
        (Change::New { cabinet, .. }, Some(_)) => {
            let hint = format!("packhorse cabinet trust {cabinet} --key KEY adds a key to it");
            Err(DbError::refused("exists", format!("there is a cabinet {cabinet} already"), Some(&hint)))
        }
        (Change::New { cabinet, keys }, None) => {
            let mut keys: Vec<_> = keys.iter().map(|key| Fixed(key.0)).collect();
            keys.sort_unstable();
            keys.dedup();
            doc.cabinets.insert(cabinet.clone(), KeySet { threshold: 1, keys });
            Ok(true)
        }
        (Change::Trust { cabinet, .. } | Change::Distrust { cabinet, .. }, None) => {
            Err(unknown_cabinet(cabinet))
        }
        (Change::Trust { key, .. }, Some(set)) => {
            let known = set.keys.contains(&Fixed(key.0));
            if !known {
                set.keys.push(Fixed(key.0));
            }
            Ok(!known)
        }
        (Change::Distrust { key, .. }, Some(set)) => {
            let before = set.keys.len();
            set.keys.retain(|known| *known != Fixed(key.0));
            Ok(set.keys.len() != before)
        }
    }
}

/// Refuses a cabinet that is not there.
pub fn unknown_cabinet(name: &str) -> DbError {
    let shown: String = name.chars().take(64).collect();
    DbError::refused(
        "unknown_cabinet",
        format!("there is no cabinet {shown}"),
        Some("packhorse cabinet list shows what is there, packhorse cabinet new makes one"),
    )
}

fn root_key_away() -> DbError {
    DbError::refused(
        "root_key_away",
        "the root key is not in the server's folder, and whom hosts trust is signed by it",
        Some("bring root.key back into the server's data folder, restart the server, and try again"),
    )
}

fn key(text: &str) -> Result<PublicKey, AdminError> {
    text.parse().map_err(|error: packhorse_wire::envelope::KeyError| {
        AdminError::bad_request(error.to_string())
            .hint("give the packager's public key: packager.pub, beside packager.key")
    })
}

/// `POST /admin/v1/cabinets`.
pub async fn make(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<NewCabinet>,
) -> Result<Json<CabinetView>, AdminError> {
    let name = Name::new(&new.name).map_err(|error| AdminError::bad_request(error.to_string()))?;
    let keys = new.keys.iter().map(|text| key(text)).collect::<Result<Vec<_>, _>>()?;
    execute(&admin, Change::New { cabinet: name.to_string(), keys }).await
}

/// `POST /admin/v1/cabinets/{name}/trust`.
pub async fn trust(
    State(admin): State<Arc<Admin>>,
    Path(cabinet): Path<String>,
    Body(text): Body<KeyText>,
) -> Result<Json<CabinetView>, AdminError> {
    let key = key(&text.key)?;
    execute(&admin, Change::Trust { cabinet, key }).await
}

/// `POST /admin/v1/cabinets/{name}/distrust`.
pub async fn distrust(
    State(admin): State<Arc<Admin>>,
    Path(cabinet): Path<String>,
    Body(text): Body<KeyText>,
) -> Result<Json<CabinetView>, AdminError> {
    let key = key(&text.key)?;
    execute(&admin, Change::Distrust { cabinet, key }).await
}

async fn execute(admin: &Admin, change: Change) -> Result<Json<CabinetView>, AdminError> {
    let system = &admin.system;
    let cabinet = change.cabinet().to_owned();
    let command = ChangeTrust { authority: system.authority()?, change, now: now() };
    if let Some((trust, lowers)) = system.db.write(command).await? {
        tracing::info!(version = trust.doc().version, %cabinet, "a new trust document");
        system.set_trust(trust);
        system.wake(&lowers);
    }
    let views = views(admin).await?;
    let found = views.into_iter().find(|view| view.name == cabinet);
    found.map(Json).ok_or_else(|| unknown_cabinet(&cabinet).into())
}

/// `GET /admin/v1/cabinets`.
pub async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<CabinetView>>, AdminError> {
    Ok(Json(views(&admin).await?))
}

async fn views(admin: &Admin) -> Result<Vec<CabinetView>, DbError> {
    let cabinets = admin.system.db.read(packages::cabinets).await?;
    let trust = admin.system.trust();
    let keys = |name: &str| match trust.packagers(name) {
        Ok((keys, _)) => keys.iter().map(|key| key.id().to_string()).collect(),
        Err(_) => Vec::new(),
    };
    let view = |(name, packages): (String, u64)| CabinetView { keys: keys(&name), name, packages };
    Ok(cabinets.into_iter().map(view).collect())
}
