//! What a relay's administrator may do: granted and withdrawn at the managing server, by a signed document that goes to the
//! relay and to everybody below it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::ids::{HostId, Name};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{Grant, GrantView, GrantedCabinet};
use packhorse_wire::bytes::{Fixed, Id32};
use packhorse_wire::envelope::PublicKey;
use packhorse_wire::signed::{DELEGATION_VERSION, DelegatedCabinet, DelegationDoc};
use packhorse_wire::trust::Trust;
use rusqlite::Connection;
use tokio::time::Instant;

use super::format::rfc3339;
use super::request::Body;
use super::{Admin, AdminError, relays};
use crate::authority::Authority;
use crate::db::hosts::{HostRecord, HostRow};
use crate::db::{Command, DbError, control, delegations, meta, retire};
use crate::system::{System, now};

/// How long a delegation counts if nothing is said, in days.
const DAYS: u32 = 365;
/// How long at most.
const DAYS_MAX: u32 = 3650;
/// How long it is waited for the relay's word.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// What is to become of a relay's delegation.
enum Change {
    Grant { job_types: Vec<String>, cabinets: Vec<(String, Vec<Id32>)>, expires: Time },
    Revoke,
}

struct ChangeDelegation {
    authority: Arc<Authority>,
    relay: String,
    change: Change,
    now: Time,
}

impl Command for ChangeDelegation {
    type Answer = (HostId, DelegationDoc, Vec<HostRow>);

    fn apply(self, tx: &Connection) -> Result<Self::Answer, DbError> {
        let relay = relays::find(tx, &self.relay)?;
        if matches!(self.change, Change::Grant { .. }) {
            retire::in_use(&relay)?;
        }
        let known = delegations::of(tx, &relay.id)?.map(|known| delegations::read(&known)).transpose()?;
        let doc = match &self.change {
            Change::Revoke => revoked(&relay, known, self.now)?,
            Change::Grant { job_types, cabinets, expires } => {
                let cabinets = own_cabinets(tx, &relay, cabinets, known.as_ref())?;
                DelegationDoc {
                    v: DELEGATION_VERSION,
                    relay: Fixed(relay.id.0),
                    name: relay.name.clone(),
                    key: job_key(tx, &relay)?,
                    job_types: job_types.clone(),
                    cabinets,
                    revision: meta::next_revision(known.map_or(0, |known| known.revision), self.now),
                    expires: expires.0,
                    revoked: false,
                }
            }
        };
        let lowers = delegations::set(tx, &self.authority, &doc, self.now)?;
        Ok((relay.id, doc, lowers))
    }
}

fn revoked(relay: &HostRecord, known: Option<DelegationDoc>, now: Time) -> Result<DelegationDoc, DbError> {
    let known = known.filter(|known| !known.revoked).ok_or_else(|| {
        let message = format!("nothing is granted to {}", relay.name);
        DbError::refused("unknown_grant", message, Some("packhorse relay show tells what is granted"))
    })?;
    let revision = meta::next_revision(known.revision, now);
    Ok(DelegationDoc { revision, revoked: true, ..known })
}

/// The relay's key for jobs of its own, as the relay itself said in a request signed by its certified key.
fn job_key(tx: &Connection, relay: &HostRecord) -> Result<Id32, DbError> {
    let found: Option<[u8; 32]> = tx
        .prepare_cached("SELECT job_key FROM hosts WHERE row = ?1")?
        .query_row([relay.row], |row| row.get(0))?;
    found.map(Fixed).ok_or_else(|| {
        let message = format!("{} has not told its key for jobs of its own yet", relay.name);
        DbError::refused("no_job_key", message, Some("start it with this version: packhorse relay run"))
    })
}

/// The cabinets to delegate. One without a key keeps those it has; none may be one that the managing server has itself.
fn own_cabinets(
    tx: &Connection,
    relay: &HostRecord,
    cabinets: &[(String, Vec<Id32>)],
    known: Option<&DelegationDoc>,
) -> Result<Vec<DelegatedCabinet>, DbError> {
    let trust = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
    let trust = Trust::own(&trust).map_err(DbError::damaged)?;
    let mut found: Vec<DelegatedCabinet> = Vec::new();
    for (name, keys) in cabinets {
        if trust.doc().cabinets.contains_key(name) {
            let message = format!("cabinet {name} is the managing server's: a relay has cabinets of its own");
            let hint = format!("another name: --cabinet {}-{name}", relay.name);
            return Err(DbError::refused("exists", message, Some(&hint)));
        }
        let before = known.and_then(|known| known.cabinets.iter().find(|cabinet| cabinet.name == *name));
        let mut keys = match (keys.is_empty(), before) {
            (true, Some(before)) => before.keys.clone(),
            _ => keys.clone(),
        };
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            let message = format!("cabinet {name}: whose packages does it take?");
            return Err(DbError::refused("no_key", message, Some("--key packager.pub says it")));
        }
        found.retain(|cabinet| cabinet.name != *name);
        found.push(DelegatedCabinet { name: name.clone(), keys });
    }
    Ok(found)
}

/// Refuses a cabinet of the managing server that would take the place of a relay's.
///
/// # Errors
/// A relay has a cabinet of this name.
pub fn refuse_taken(tx: &Connection, cabinet: &str) -> Result<(), DbError> {
    for envelope in delegations::all(tx)? {
        let doc = delegations::read(&envelope)?;
        if !doc.revoked && doc.cabinets.iter().any(|own| own.name == cabinet) {
            let message = format!("{} has a cabinet {cabinet} of its own", doc.name);
            return Err(DbError::refused("exists", message, Some("choose another name")));
        }
    }
    Ok(())
}

fn read(grant: &Grant, now: Time) -> Result<Change, AdminError> {
    let mut job_types = Vec::new();
    job_types.extend(grant.install.then(|| "install".to_owned()));
    job_types.extend(grant.offer.then(|| "offer".to_owned()));
    if job_types.is_empty() && grant.cabinets.is_empty() {
        return Err(AdminError::bad_request("grant what?")
            .hint("--install, --offer, --cabinet NAME; packhorse relay revoke takes back"));
    }
    let days = grant.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(AdminError::bad_request(format!("--days {days}: 1 to {DAYS_MAX} are possible")));
    }
    let cabinets = grant.cabinets.iter().map(|cabinet| {
        let name = Name::new(&cabinet.name)
            .map_err(|error| AdminError::bad_request(format!("--cabinet: {error}")))?;
        let keys = cabinet.keys.iter().map(|text| {
            let key: Result<PublicKey, _> = text.parse();
            key.map(|key| Fixed(key.0)).map_err(|error| AdminError::bad_request(format!("--key: {error}")))
        });
        Ok((name.to_string(), keys.collect::<Result<_, AdminError>>()?))
    });
    let cabinets = cabinets.collect::<Result<_, AdminError>>()?;
    Ok(Change::Grant { job_types, cabinets, expires: now.plus_days(i64::from(days)) })
}

/// `POST /admin/v1/relays/{name}/grant`.
pub async fn grant(
    State(admin): State<Arc<Admin>>,
    Path(relay): Path<String>,
    Body(grant): Body<Grant>,
) -> Result<Json<GrantView>, AdminError> {
    let change = read(&grant, now())?;
    execute(&admin.system, relay, change).await
}

/// `POST /admin/v1/relays/{name}/revoke`.
pub async fn revoke(
    State(admin): State<Arc<Admin>>,
    Path(relay): Path<String>,
) -> Result<Json<GrantView>, AdminError> {
    execute(&admin.system, relay, Change::Revoke).await
}

/// Does it, and waits a while for the relay's word.
async fn execute(system: &Arc<System>, relay: String, change: Change) -> Result<Json<GrantView>, AdminError> {
    let command = ChangeDelegation { authority: system.authority()?, relay, change, now: now() };
    let (relay, doc, lowers) = system.db.write(command).await?;
    tracing::info!(relay = doc.name, revision = doc.revision, revoked = doc.revoked, "delegation");
    system.add_delegation(doc.clone());
    system.wake(&lowers);
    system.lines_changed();
    let until = Instant::now() + PATIENCE;
    loop {
        let applied = system
            .db
            .read(move |connection| control::applied_by(connection, &relay, delegations::WHAT))
            .await?;
        if applied >= doc.revision || Instant::now() >= until {
            return Ok(Json(view(&doc, applied)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A delegation as it is shown; `applied` is the revision that the relay said it has.
fn view(doc: &DelegationDoc, applied: u64) -> GrantView {
    let cabinet = |cabinet: &DelegatedCabinet| GrantedCabinet {
        name: cabinet.name.clone(),
        keys: cabinet.keys.iter().map(|key| PublicKey(key.0).id().to_string()).collect(),
    };
    GrantView {
        relay: doc.name.clone(),
        install: doc.lets("install"),
        offer: doc.lets("offer"),
        cabinets: doc.cabinets.iter().map(cabinet).collect(),
        revision: doc.revision,
        ends: rfc3339(Time(doc.expires)),
        revoked: doc.revoked,
        acknowledged: applied >= doc.revision,
    }
}

/// What is granted to a relay, for whoever looks at it.
///
/// # Errors
/// The database's.
pub fn shown(
    connection: &Connection,
    relay: &HostRecord,
    own: &HostId,
) -> Result<Option<GrantView>, DbError> {
    let Some(envelope) = delegations::of(connection, &relay.id)? else { return Ok(None) };
    let doc = delegations::read(&envelope)?;
    // The relay itself need not be told that it has it.
    let applied = match relay.id == *own {
        true => doc.revision,
        false => control::applied_by(connection, &relay.id, delegations::WHAT)?,
    };
    Ok(Some(view(&doc, applied)))
}
