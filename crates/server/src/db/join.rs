//! Hosts come in: at the managing server a token is spent and a name given, at a relay the answer that passes through is
//! remembered.

use std::sync::Arc;

use packhorse_domain::ids::{HostId, Name};
use packhorse_domain::job::{HostRole, Job, Place};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::{Envelope, from_cbor_limited};
use packhorse_wire::messages::{BelowHost, Order};
use packhorse_wire::pki::{CertIdentity, CertInfo, Role, new_id};
use packhorse_wire::signed::{JobDoc, ROUTE_MAX};
use packhorse_wire::trust::Limits;
use rusqlite::{Connection, params};
use serde_bytes::ByteBuf;

use super::hosts::{self, Fleet, HostRecord, HostRow, Learned};
use super::late::{self, Why};
use super::{Command, DbError, feeds, keeping, meta, places, retire, tokens};
use crate::authority::Authority;
use crate::capability::Capabilities;

/// A host asks to be let in at the managing server.
pub struct Join {
    /// The keys.
    pub authority: Arc<Authority>,
    /// For locators of jobs it is taken into.
    pub capabilities: Capabilities,
    /// BLAKE3 of the token's secret.
    pub token: [u8; 32],
    /// What it wants to be.
    pub role: HostRole,
    /// The name asked for.
    pub name: String,
    /// Its certificate request.
    pub csr_pem: String,
    /// For a relay: what it is called by.
    pub addresses: Vec<String>,
    /// The relay it asked, and the direct lower system that passed it on; `None`: it asked here.
    pub higher: Option<(HostId, HostRow)>,
    /// Now.
    pub now: Time,
}

/// A host that was let in.
pub struct LetIn {
    /// Its id.
    pub host: HostId,
    /// Its certificate and the authority's.
    pub chain_pem: String,
    /// Its certificate's generation.
    pub generation: u64,
    /// Its signed place.
    pub place: Vec<u8>,
    /// Lower systems with something new in their feeds.
    pub lowers: Vec<HostRow>,
}

impl Command for Join {
    type Answer = LetIn;

    fn apply(self, tx: &Connection) -> Result<LetIn, DbError> {
        let name = Name::for_host(&self.name)
            .map_err(|error| DbError::refused("name", error.to_string(), Some("give another with --name")))?;
        let token = tokens::spend(tx, &self.token, self.role, self.now)?;
        let higher = self.higher_host(tx)?;
        let known = hosts::by_name(tx, name.as_str())?;
        let (id, generation) = match (&known, token.replaces.as_deref()) {
            (None, None) => (fresh_id()?, 1),
            (Some(host), Some(replaces)) if replaces == host.name && host.role == self.role => {
                (host.id, host.generation + 1)
            }
            (Some(host), _) => return Err(name_taken(host)),
            (None, Some(replaces)) => {
                let message = format!("this token is to replace {replaces}, not for a new host named {name}");
                return Err(DbError::refused("token", message, None));
            }
        };
        if let Some(host) = &known {
            self.may_move(tx, host, higher.as_ref())?;
        }
        let place = self.place(tx, id, &name, higher.as_ref(), known.as_ref())?;
        let envelope = self.authority.sign_place(&place).map_err(DbError::internal)?;
        let role = if self.role == HostRole::Relay { Role::Relay } else { Role::Client };
        let identity = CertIdentity { role, id: id.to_string(), name: name.to_string(), generation };
        let issued = self.authority.issue(&self.csr_pem, &identity, &self.addresses, self.now);
        let issued = issued.map_err(|error| DbError::refused("request", error.to_string(), None))?;
        let row = self.store(tx, &place, &envelope, generation, higher.as_ref())?;
        let before = known.as_ref().map(|host| host.via);
        let mut lowers = tell_relays(tx, row, before, &envelope, &place, generation)?;
        if known.is_some() {
            // Whoever takes a name over begins with an empty disk.
            hosts::begins_anew(tx, row)?;
        }
        if known.is_some_and(|host| host.retired.is_some()) {
            retire::note(tx, &[row], retire::RETURNED, &self.name, self.now)?;
        }
        let fleet = Fleet::load(tx)?;
        lowers.extend(late::take_in(
            tx,
            &fleet,
            &[row],
            Why::Place,
            &self.capabilities,
            read_own_job,
            self.now,
        )?);
        Ok(LetIn { host: id, chain_pem: issued.chain_pem, generation, place: envelope, lowers })
    }
}

fn name_taken(host: &HostRecord) -> DbError {
    let name = &host.name;
    let replace = retire::replace_command(name, host.role);
    let (message, hint) = match host.retired {
        None => (
            format!("there is a host named {name}"),
            format!("{replace} lets a re-imaged machine take the name over"),
        ),
        Some(_) => (
            format!("{name} was retired"),
            format!("{replace} brings it back; packhorse host remove {name} frees the name"),
        ),
    };
    DbError::refused("name_taken", message, Some(&hint))
}

fn fresh_id() -> Result<HostId, DbError> {
    new_id().map_err(DbError::internal)?.parse().map_err(DbError::internal)
}

/// A job of this system's own, from its own database: verified when it was stored.
pub(crate) fn read_own_job(envelope: &[u8]) -> Option<Job> {
    let envelope = Envelope::decode(envelope, Limits::JOB_BYTES).ok()?;
    let doc: JobDoc = from_cbor_limited(&envelope.payload, Limits::JOB_BYTES).ok()?;
    Job::try_from(doc).ok()
}

impl Join {
    /// The relay it asked: has to be, or to be below, the lower system that passed the request on (rule 5).
    fn higher_host(&self, tx: &Connection) -> Result<Option<HostRecord>, DbError> {
        let Some((asked, passed_on)) = &self.higher else { return Ok(None) };
        let host =
            hosts::by_id(tx, asked)?.filter(|host| host.role == HostRole::Relay && host.via == *passed_on);
        let host = host.filter(|host| host.retired.is_none());
        let refuse = || {
            DbError::refused(
                "not_below",
                "the relay that was asked is not below the one that passed it on",
                None,
            )
        };
        host.map(Some).ok_or_else(refuse)
    }

    /// A relay's name is taken over where the relay stood, as long as there are hosts below it: they have the relay's place
    /// in their own signed ones.
    fn may_move(
        &self,
        tx: &Connection,
        known: &HostRecord,
        higher: Option<&HostRecord>,
    ) -> Result<(), DbError> {
        if known.role != HostRole::Relay || known.higher == higher.map(|host| host.row) {
            return Ok(());
        }
        let sql = "SELECT COUNT(*) FROM hosts WHERE higher = ?1 AND row <> ?1 AND retired IS NULL";
        let below: i64 = tx.prepare_cached(sql)?.query_row([known.row], |row| row.get(0))?;
        if below == 0 {
            return Ok(());
        }
        let message =
            format!("{below} hosts are below {}, which stands below another system than this", known.name);
        let hint = "join with the address of the higher system it had before";
        Err(DbError::refused("moved_relay", message, Some(hint)))
    }

    fn place(
        &self,
        tx: &Connection,
        id: HostId,
        name: &Name,
        higher: Option<&HostRecord>,
        known: Option<&HostRecord>,
    ) -> Result<Place, DbError> {
        let fleet = Fleet::load(tx)?;
        let mut route: Vec<HostId> = match higher {
            Some(relay) => fleet.route(relay).iter().map(|relay| relay.id).collect(),
            None => Vec::new(),
        };
        if self.role == HostRole::Relay {
            if route.contains(&id) {
                return Err(DbError::refused("loop", format!("{name} cannot be below itself"), None));
            }
            route.push(id);
        }
        if route.len() > ROUTE_MAX {
            let message = format!("relays nest at most {ROUTE_MAX} deep");
            return Err(DbError::refused("too_deep", message, None));
        }
        let revision: i64 = match known {
            Some(host) => tx
                .prepare_cached("SELECT place_revision FROM hosts WHERE row = ?1")?
                .query_row([host.row], |row| row.get(0))?,
            None => 0,
        };
        let revision = meta::next_revision(revision as u64, self.now);
        let place = Place { route, revision, ..Place::new(id, name.as_str(), self.role) };
        places::complete(tx, place, known, self.now)
    }

    fn store(
        &self,
        tx: &Connection,
        place: &Place,
        envelope: &[u8],
        generation: u64,
        higher: Option<&HostRecord>,
    ) -> Result<HostRow, DbError> {
        let addresses = serde_json::to_string(&self.addresses).map_err(DbError::internal)?;
        let sql = "INSERT INTO hosts (id, name, role, higher, via, generation, oldest, addresses, place, place_revision, joined)
                   VALUES (?1, ?2, ?3, ?4, COALESCE(?5, 0), ?6, ?6, ?7, ?8, ?9, ?10)
                   ON CONFLICT (id) DO UPDATE SET higher = excluded.higher, via = excluded.via,
                     generation = excluded.generation, oldest = excluded.oldest, addresses = excluded.addresses,
                     place = excluded.place, place_revision = excluded.place_revision, above = '[]', called_since = NULL,
                     retired = NULL
                   RETURNING row";
        let row: HostRow = tx.prepare_cached(sql)?.query_row(
            params![
                place.host.0,
                place.name,
                place.role.as_str(),
                higher.map(|host| host.row),
                higher.map(|host| host.via),
                generation as i64,
                addresses,
                envelope,
                place.revision as i64,
                self.now.0
            ],
            |row| row.get(0),
        )?;
        super::standings::store_memberships(tx, &[(row, place)])?;
        if higher.is_none() {
            tx.prepare_cached("UPDATE hosts SET via = row WHERE row = ?1")?.execute([row])?;
            feeds::ensure(tx, row)?;
        } else {
            feeds::end(tx, row)?;
        }
        Ok(row)
    }
}

/// Tells the relays on the way to a host of it; and those on the way it had before, or they would go on letting in the
/// machine that had the name.
fn tell_relays(
    tx: &Connection,
    host: HostRow,
    before: Option<HostRow>,
    envelope: &[u8],
    place: &Place,
    oldest: u64,
) -> Result<Vec<HostRow>, DbError> {
    let via: HostRow =
        tx.prepare_cached("SELECT via FROM hosts WHERE row = ?1")?.query_row([host], |row| row.get(0))?;
    let below =
        BelowHost { host: Fixed(place.host.0), place: ByteBuf::from(envelope.to_vec()), generation: oldest };
    let mut relays = vec![via];
    relays.extend(before.filter(|before| *before != via));
    relays.retain(|relay| *relay != host);
    let orders: Vec<(HostRow, Order)> =
        relays.iter().map(|relay| (*relay, Order::Below(vec![below.clone()]))).collect();
    feeds::append(tx, &orders)?;
    Ok(relays)
}

/// A relay remembers a host whose join passed through it.
pub struct Remember {
    /// This relay.
    pub own: HostId,
    /// The host.
    pub learned: Learned,
    /// For locators of jobs it is taken into.
    pub capabilities: Option<Capabilities>,
    /// Now.
    pub now: Time,
}

impl Command for Remember {
    type Answer = Vec<HostRow>;

    /// Answers the lower systems with something new: the line to the higher system may be cut before the order comes down that
    /// speaks of the host.
    fn apply(self, tx: &Connection) -> Result<Vec<HostRow>, DbError> {
        keeping::set_own_id(tx, &self.own)?;
        let learned = hosts::learn(tx, &self.own, &self.learned, self.now)?;
        let (Some(host), Some(capabilities)) = (learned, &self.capabilities) else { return Ok(Vec::new()) };
        let fleet = Fleet::load(tx)?;
        late::take_in(tx, &fleet, &[host], Why::Place, capabilities, read_own_job, self.now)
    }
}

/// A host asks for a new certificate at the managing server.
pub struct Renew {
    /// The keys.
    pub authority: Arc<Authority>,
    /// What its old certificate says, the proof verified.
    pub old: CertInfo,
    /// The new request.
    pub csr_pem: String,
    /// For a relay: what it is called by.
    pub addresses: Vec<String>,
    /// Now.
    pub now: Time,
}

impl Command for Renew {
    type Answer = (String, u64);

    fn apply(self, tx: &Connection) -> Result<(String, u64), DbError> {
        let old = &self.old.identity;
        let refuse = |what: &str| {
            let role = if old.role == Role::Relay { HostRole::Relay } else { HostRole::Client };
            let hint = format!("{}, and join anew", retire::replace_command(&old.name, role));
            DbError::refused("retired", format!("{} {what}", old.name), Some(&hint))
        };
        let id: HostId = old.id.parse().map_err(|_| refuse("has no id"))?;
        let host = hosts::by_id(tx, &id)?.ok_or_else(|| retire::forgotten(&old.name))?;
        if host.retired.is_some() {
            return Err(refuse("was retired"));
        }
        // The certificate before the newest counts too: the answer that brought the newest may have been lost.
        if old.generation < host.oldest
            || old.generation > host.generation
            || old.role.as_str() != host.role.as_str()
        {
            return Err(refuse("was given to another machine"));
        }
        let generation = host.generation + 1;
        let identity = CertIdentity { generation, ..old.clone() };
        let issued = self.authority.issue(&self.csr_pem, &identity, &self.addresses, self.now);
        let issued = issued.map_err(|error| DbError::refused("request", error.to_string(), None))?;
        tx.prepare_cached("UPDATE hosts SET generation = ?2 WHERE row = ?1")?
            .execute(params![host.row, generation as i64])?;
        Ok((issued.chain_pem, generation))
    }
}
