//! What relays below tell of hosts that call them by themselves. The managing server makes of it what `host move` would; a relay
//! between lets the host's orders go the new way.

use packhorse_domain::ids::HostId;
use packhorse_domain::ingest::Position;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{Body, CallReport, Report};
use packhorse_wire::envelope::from_cbor_limited;
use packhorse_wire::pki::CallProof;
use rusqlite::Connection;

use super::calling::{Changed, Here, Word, newest, note, seat, trust, word};
use super::hosts::{self, Fleet, HostRecord, HostRow};
use super::{DbError, moving, reports, retired};

/// Takes in the calls that a batch of `lower` tells of, before what it says of those hosts.
///
/// # Errors
/// The database's.
pub fn reported(
    tx: &Connection,
    here: &Here,
    position: Position,
    lower: HostRow,
    batch: &[Report],
) -> Result<Changed, DbError> {
    let mut all = Changed::default();
    for (origin, call) in batch.iter().filter_map(of_a_call) {
        let relay =
            hosts::by_id(tx, origin)?.filter(|relay| relay.role == HostRole::Relay && relay.via == lower);
        // One that is not below the sender is refused like any report of it.
        let Some(relay) = relay else { continue };
        let told = verified(here, origin, call);
        let changed = match (told, position) {
            (Ok(word), Position::Top) => told_here(tx, here, &relay, &word, lower)?,
            (Ok(word), Position::Relay) => passing(tx, here, &relay, call, &word)?,
            (Err(why), Position::Top) => {
                tracing::warn!(relay = relay.name, %why, "refused what a relay told of a call");
                reports::alarm(tx, &relay.name, here.now, "bad_call", &why)?;
                Changed::default()
            }
            // Judged above.
            (Err(_), Position::Relay) => Changed::default(),
        };
        all.moved |= changed.moved;
        all.lowers.extend(changed.lowers);
    }
    Ok(all)
}

fn of_a_call(report: &Report) -> Option<(&HostId, &CallReport)> {
    match &report.body {
        Body::Calls(call) => Some((&report.origin, call)),
        _ => None,
    }
}

fn verified(here: &Here, origin: &HostId, call: &CallReport) -> Result<Word, String> {
    let proof: CallProof =
        from_cbor_limited(&call.proof, call.proof.len()).map_err(|error| error.to_string())?;
    let word = word(&here.ca, &proof).map_err(|error| error.to_string())?;
    if word.host != call.host || word.number != call.number || word.to != *origin {
        return Err("the host's word is about another call".to_owned());
    }
    Ok(word)
}

/// At the managing server.
fn told_here(
    tx: &Connection,
    here: &Here,
    relay: &HostRecord,
    word: &Word,
    lower: HostRow,
) -> Result<Changed, DbError> {
    match hosts::by_id(tx, &word.host)?.filter(|host| host.role == HostRole::Client) {
        Some(host) => settle(tx, here, &host, Some(relay), word, Some(lower)),
        None => Ok(Changed::default()),
    }
}

/// The managing server makes of a call what `host move` would, or lets the system know that it counts not (any more).
pub(super) fn settle(
    tx: &Connection,
    here: &Here,
    host: &HostRecord,
    relay: Option<&HostRecord>,
    word: &Word,
    sender: Option<HostRow>,
) -> Result<Changed, DbError> {
    let Some(authority) = here.authority.as_ref().filter(|_| host.retired.is_none()) else {
        return Ok(Changed::default());
    };
    let way = moving::Way { authority, capabilities: &here.capabilities, now: here.now };
    let lists = |above: &packhorse_domain::place::Above| match relay {
        Some(relay) => above.relay && above.id == relay.id,
        None => !above.relay,
    };
    let stands = host.higher == relay.map(|relay| relay.row);
    let counts = word.generation >= host.oldest
        && host.above.iter().any(lists)
        && (word.number > host.call_no || (word.number == host.call_no && stands));
    if counts && word.number == host.call_no {
        return Ok(Changed::default());
    }
    // Its number goes into the place that is signed now.
    let current = host.higher;
    if counts {
        note(tx, host.row, word)?;
    }
    let higher = if counts { relay.map(|relay| relay.row) } else { current };
    let fleet = Fleet::load(tx)?;
    let higher = higher.and_then(|row| fleet.get(row));
    let mut lowers = way.change(tx, host, &host.above, higher)?;
    if let (false, Some(sender)) = (counts, sender) {
        moving::tell_place(tx, host, sender)?;
        lowers.push(sender);
    }
    tracing::info!(host = host.name, to = relay.map(|relay| relay.name.as_str()), counts, "calls by itself");
    Ok(Changed { lowers, moved: true })
}

/// At a relay between: the host goes by the new way from now on, also while the managing server cannot be asked.
fn passing(
    tx: &Connection,
    here: &Here,
    relay: &HostRecord,
    call: &CallReport,
    word: &Word,
) -> Result<Changed, DbError> {
    let Ok(shown) = hosts::verified(&trust(tx)?, call.place.clone(), word.generation) else {
        return Ok(Changed::default());
    };
    if shown.place.host != word.host || shown.place.role != HostRole::Client {
        return Ok(Changed::default());
    }
    let newest = newest(tx, shown)?;
    let known = hosts::by_id(tx, &word.host)?;
    let counts = newest.place.lists(Some(&relay.id))
        && !retired::is_over(tx, &newest.place)?
        && newest.oldest <= word.generation
        && newest.place.called <= word.number
        && known.as_ref().is_none_or(|host| word.number > host.call_no);
    if !counts {
        return Ok(Changed::default());
    }
    seat(tx, here, &newest, known.as_ref(), Some(relay), word)
}
