//! Hosts that go by themselves to another of the systems that their place lists. Such a system holds the host by two proofs,
//! its certificate and its signed place, and tells upwards with the host's own signature; the managing server then moves it
//! there as an administrator would. Until that is heard the host is a guest: it stands where its place says.

use std::sync::Arc;

use packhorse_domain::ids::HostId;
use packhorse_domain::job::HostRole;
use packhorse_domain::place::Place;
use packhorse_domain::report::{Body, CallReport};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::to_cbor;
use packhorse_wire::pki::{CaCert, CallProof, Role, verify_call_proof};
use packhorse_wire::trust::Trust;
use rusqlite::{Connection, OptionalExtension, params};

use super::hosts::{self, Fleet, HostRecord, HostRow, Learned, Seat};
use super::join::read_own_job;
use super::late::{self, Why};
use super::{Command, DbError, calls, meta, moving, outbox, retire, retired};
use crate::authority::Authority;
use crate::capability::Capabilities;

/// The system that judges a call.
#[derive(Clone)]
pub struct Here {
    /// It.
    pub own: HostId,
    /// At the managing server: the keys.
    pub authority: Option<Arc<Authority>>,
    /// Who vouches for hosts.
    pub ca: CaCert,
    /// For locators.
    pub capabilities: Capabilities,
    /// Now.
    pub now: Time,
}

/// What is different after a call was judged.
#[derive(Debug, Default)]
pub struct Changed {
    /// Lower systems with something new in their feeds, or that are to look again.
    pub lowers: Vec<HostRow>,
    /// Whether a host stands elsewhere.
    pub moved: bool,
}

/// A host calls here, or asks whether it may.
pub struct TakeCall {
    /// This system.
    pub here: Here,
    /// The caller, by its certificate.
    pub host: HostId,
    /// The certificate's generation.
    pub generation: u64,
    /// The place it shows (envelope).
    pub place: Vec<u8>,
    /// Its word that it calls here from now on; `None`: it only looks.
    pub proof: Option<CallProof>,
}

/// What [`TakeCall`] answers.
#[derive(Debug, Default)]
pub struct CallTaken {
    /// Why the host may not call here; `None`: it may.
    pub why: Option<String>,
    /// A newer place than the one it showed.
    pub place: Option<Vec<u8>>,
    /// What is different.
    pub changed: Changed,
}

/// What is known of a caller.
struct Caller {
    newest: Learned,
    /// Why it may not call here; `None`: it may.
    why: Option<String>,
    /// A newer place than the one it showed.
    newer: Option<Vec<u8>>,
}

impl TakeCall {
    /// Whether the host may call here; nothing is written.
    ///
    /// # Errors
    /// It is refused, or the database's.
    pub fn look(&self, connection: &Connection) -> Result<CallTaken, DbError> {
        let Caller { why, newer, .. } = self.caller(connection)?;
        Ok(CallTaken { why, place: newer, changed: Changed::default() })
    }

    /// This system, as places list it: `None` for the managing server.
    fn as_listed(&self) -> Option<&HostId> {
        self.here.authority.is_none().then_some(&self.here.own)
    }

    fn caller(&self, connection: &Connection) -> Result<Caller, DbError> {
        let shown = hosts::verified(&trust(connection)?, self.place.clone(), 0)
            .map_err(|error| DbError::refused("place", error.to_string(), None))?;
        if shown.place.host != self.host || shown.place.role != HostRole::Client {
            return Err(DbError::refused("place", "this place is of another host", None));
        }
        let newest = newest(connection, shown)?;
        if retired::is_over(connection, &newest.place)? {
            let place = &newest.place;
            let replace = retire::replace_command(&place.name, place.role);
            let hint = format!("at the managing server: {replace}; then join this machine anew");
            return Err(DbError::refused("retired", format!("{} was retired", place.name), Some(&hint)));
        }
        if newest.oldest > self.generation {
            let hint = "another machine took the name over; join this one under another name";
            let message = format!("this certificate of {} was retired", newest.place.name);
            return Err(DbError::refused("retired", message, Some(hint)));
        }
        let newer = (newest.envelope != self.place).then(|| newest.envelope.clone());
        let unlisted = || "this system is not among those that the host may call".to_owned();
        let why = (!newest.place.lists(self.as_listed())).then(unlisted);
        Ok(Caller { newest, why, newer })
    }
}

impl Command for TakeCall {
    type Answer = CallTaken;

    fn apply(self, tx: &Connection) -> Result<CallTaken, DbError> {
        let Caller { newest, why, newer } = self.caller(tx)?;
        let answer = |why, changed| CallTaken { why, place: newer.clone(), changed };
        let (None, Some(proof)) = (&why, &self.proof) else { return Ok(answer(why, Changed::default())) };
        let word = word(&self.here.ca, proof)?;
        if word.host != self.host || word.generation != self.generation || word.to != self.here.own {
            return Err(DbError::refused("call", "this word is another host's, or for another system", None));
        }
        let stands = newest.place.route.last() == self.as_listed();
        let called = newest.place.called;
        if called > word.number || (called == word.number && !stands) {
            let why = "the managing server knows of this call and says otherwise".to_owned();
            return Ok(answer(Some(why), Changed::default()));
        }
        let changed = match &self.here.authority {
            Some(_) => {
                let known = hosts::by_id(tx, &self.host)?;
                let host =
                    known.ok_or_else(|| DbError::refused("unknown_host", "it is not known here", None))?;
                calls::settle(tx, &self.here, &host, None, &word, None)?
            }
            None => take_guest(tx, &self.here, &newest, &word, proof)?,
        };
        Ok(answer(None, changed))
    }
}

/// A host's word, verified.
pub(super) struct Word {
    pub host: HostId,
    pub generation: u64,
    pub to: HostId,
    pub number: u64,
    pub since: Time,
}

pub(super) fn word(ca: &CaCert, proof: &CallProof) -> Result<Word, DbError> {
    let bad = |why: String| DbError::refused("call", why, None);
    let info = verify_call_proof(ca, proof).map_err(|error| bad(error.to_string()))?;
    if info.identity.role != Role::Client {
        return Err(bad("only clients call other systems by themselves".to_owned()));
    }
    Ok(Word {
        host: info.identity.id.parse().map_err(|_| bad("the certificate has no id".to_owned()))?,
        generation: info.identity.generation,
        to: proof.to.into(),
        number: proof.number,
        since: Time(proof.since),
    })
}

pub(super) fn trust(tx: &Connection) -> Result<Trust, DbError> {
    let trust = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
    Trust::own(&trust).map_err(DbError::damaged)
}

/// The newest place of a host that is known here: the one that is shown, or one that came before.
pub(super) fn newest(tx: &Connection, shown: Learned) -> Result<Learned, DbError> {
    let sql = "SELECT place, oldest FROM hosts WHERE id = ?1 UNION ALL SELECT place, oldest FROM moved WHERE id = ?1";
    let found: Option<(Vec<u8>, i64)> = tx
        .prepare_cached(sql)?
        .query_row([shown.place.host.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((envelope, oldest)) = found else { return Ok(shown) };
    let oldest = oldest as u64;
    // One whose key was revoked since counts no more.
    let known = hosts::verified(&trust(tx)?, envelope, oldest).ok();
    Ok(match known.filter(|known| known.place.revision > shown.place.revision) {
        Some(known) => known,
        None => Learned { oldest, ..shown },
    })
}

/// At the relay that is called: the host is held here and said upwards.
fn take_guest(
    tx: &Connection,
    here: &Here,
    newest: &Learned,
    word: &Word,
    proof: &CallProof,
) -> Result<Changed, DbError> {
    let known = hosts::by_id(tx, &word.host)?;
    let here_already = known.as_ref().is_some_and(|host| host.via == host.row);
    if here_already && known.as_ref().is_some_and(|host| host.call_no >= word.number) {
        return Ok(Changed::default());
    }
    let changed = seat(tx, here, newest, known.as_ref(), None, word)?;
    let call = CallReport {
        host: word.host,
        number: word.number,
        since: word.since,
        place: newest.envelope.clone(),
        proof: to_cbor(proof).map_err(DbError::internal)?,
    };
    outbox::say(tx, &here.own, Body::Calls(call), here.now)?;
    Ok(changed)
}

/// At a relay: a host is below it by the call, not by its place (unless that names the same way); what it still has to do
/// goes by the new way, and jobs that name it as it is take it in.
pub(super) fn seat(
    tx: &Connection,
    here: &Here,
    newest: &Learned,
    known: Option<&HostRecord>,
    relay: Option<&HostRecord>,
    word: &Word,
) -> Result<Changed, DbError> {
    let place = &newest.place;
    let called = relay.map_or(here.own, |relay| relay.id);
    let guest = (place.route.last() != Some(&called)).then_some(place.route.as_slice());
    let learned = Learned {
        envelope: newest.envelope.clone(),
        place: place.clone(),
        // The machine that called: an older certificate is another's.
        oldest: newest.oldest.max(if known.is_none() { word.generation } else { 0 }),
    };
    moving::came(tx, &place.host)?;
    let seat = Seat { higher: relay.map(|relay| relay.row), via: relay.map(|relay| relay.via), guest };
    let row = hosts::seat(tx, &here.own, &learned, seat, here.now)?;
    note(tx, row, word)?;
    let via = relay.map_or(row, |relay| relay.via);
    let mut lowers = vec![row];
    match known {
        Some(before) if before.via != via => {
            lowers.extend(moving::hand_over(tx, row, via, &here.capabilities, here.now)?);
        }
        _ => {}
    }
    let fleet = Fleet::load(tx)?;
    let taken = late::take_in(tx, &fleet, &[row], Why::Place, &here.capabilities, read_own_job, here.now)?;
    lowers.extend(taken);
    Ok(Changed { lowers, moved: true })
}

pub(super) fn note(tx: &Connection, host: HostRow, word: &Word) -> Result<(), DbError> {
    let sql = "UPDATE hosts SET call_no = ?2, called_since = ?3 WHERE row = ?1";
    tx.prepare_cached(sql)?.execute(params![host, word.number as i64, word.since.0])?;
    Ok(())
}

/// Whether a host of which a place came stays where it calls: the managing server did not know of its newest call when it
/// signed the place, and the place lists the system that is called. Then it is written down, and the host's row answered.
///
/// # Errors
/// The database's.
pub fn stays(tx: &Connection, own: &HostId, learned: &Learned) -> Result<Option<HostRow>, DbError> {
    let place = &learned.place;
    let known = hosts::by_id(tx, &place.host)?;
    let Some(known) = known.filter(|host| host.call_no > place.called && host.oldest >= learned.oldest)
    else {
        return Ok(None);
    };
    let called = match known.higher {
        None => Some(*own),
        Some(row) => {
            let sql = "SELECT id FROM hosts WHERE row = ?1";
            tx.prepare_cached(sql)?.query_row([row], |row| Ok(HostId(row.get(0)?))).optional()?
        }
    };
    let Some(called) = called.filter(|called| place.lists(Some(called))) else { return Ok(None) };
    if place.route.last() == Some(&called) {
        return Ok(None);
    }
    write_place(tx, known.row, learned, place)?;
    Ok(Some(known.row))
}

fn write_place(tx: &Connection, host: HostRow, learned: &Learned, place: &Place) -> Result<(), DbError> {
    let sql = "UPDATE hosts SET place = ?2, place_revision = ?3, guest_route = ?4 WHERE row = ?1";
    let route = hosts::route_bytes(&place.route);
    tx.prepare_cached(sql)?.execute(params![host, learned.envelope, place.revision as i64, route])?;
    super::standings::store_memberships(tx, &[(host, place)])
}

/// The systems that are not called though they are preferred: a host that calls one further down its list by itself.
pub fn passed_over(host: &HostRecord, called: Option<&HostId>) -> Vec<String> {
    let is = |above: &packhorse_domain::place::Above| match called {
        Some(relay) => above.relay && above.id == *relay,
        None => !above.relay,
    };
    match host.above.iter().position(is) {
        Some(at) => moving::names(&host.above[..at]),
        None => Vec::new(),
    }
}
