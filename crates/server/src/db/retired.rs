//! The managing server's signed words about hosts that were retired or removed. They go down the feeds to every relay, for
//! such a host may call any of them, and are kept for feeds that are made anew and for the host itself.

use std::collections::{HashMap, HashSet};

use packhorse_domain::ids::HostId;
use packhorse_domain::instruction::Verdict;
use packhorse_domain::place::Place;
use packhorse_domain::time::Time;
use packhorse_wire::messages::Order;
use packhorse_wire::signed::RetiredDoc;
use rusqlite::{Connection, OptionalExtension, params};
use serde_bytes::ByteBuf;

use super::hosts::{self, HostRow};
use super::{Command, DbError, feeds, lines, meta, moving, outbox, views};

/// Most words in one order.
pub(super) const WORDS_MAX: usize = 1000;
/// A word is kept this long, in days: certificates end much sooner, but what a retired host said may still be on its way.
const KEPT_DAYS: i64 = 400;

pub(super) fn list<T: serde::Serialize>(values: &[T]) -> Result<String, DbError> {
    serde_json::to_string(values).map_err(DbError::internal)
}

/// Nothing of what is open comes to its end any more: the same rule as [`packhorse_domain::instruction::Line::judge`], for all
/// lines of hosts at once. Answers how many, by host.
pub(super) fn end_lines(
    tx: &Connection,
    hosts: &[HostRow],
    now: Time,
) -> Result<HashMap<HostRow, u64>, DbError> {
    let hosts = list(hosts)?;
    let open = format!(
        "l.host IN (SELECT value FROM json_each(?1)) AND {} IN ({})",
        views::shown(),
        lines::open_words()
    );
    let counted = {
        let sql = format!("SELECT l.host, COUNT(*) FROM lines l WHERE {open} GROUP BY 1");
        let mut statement = tx.prepare_cached(&sql)?;
        let rows = statement.query_map([&hosts], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        rows.collect::<Result<HashMap<_, _>, _>>()?
    };
    let change = meta::next(tx, "change")?;
    let sql = format!(
        "UPDATE lines AS l SET verdict = ?2, change = ?4,
           verdict_at = COALESCE((SELECT h.retired FROM hosts h WHERE h.row = l.host), ?3) WHERE {open}"
    );
    tx.prepare_cached(&sql)?.execute(params![hosts, Verdict::Retired.as_str(), now.0, change])?;
    Ok(counted)
}

/// What was said before a host was retired and comes in later opens nothing: lines that a batch wrote of hosts that are
/// retired by now end as if they had been there.
pub(super) fn end_late_lines(tx: &Connection, hosts: &HashSet<HostRow>, now: Time) -> Result<(), DbError> {
    if hosts.is_empty() {
        return Ok(());
    }
    let hosts: Vec<HostRow> = hosts.iter().copied().collect();
    let sql = "SELECT row FROM hosts WHERE row IN (SELECT value FROM json_each(?1)) AND retired IS NOT NULL";
    let gone: Vec<HostRow> = {
        let mut statement = tx.prepare_cached(sql)?;
        let rows = statement.query_map([list(&hosts)?], |row| row.get(0))?;
        rows.collect::<Result<_, _>>()?
    };
    if !gone.is_empty() {
        end_lines(tx, &gone, now)?;
    }
    Ok(())
}

/// They call nobody any more, and keep nothing.
pub(super) fn mark(tx: &Connection, hosts: &[HostRow], now: Time) -> Result<(), DbError> {
    let sql = "UPDATE hosts SET retired = ?2, oldest = MAX(oldest, generation + 1)
               WHERE row IN (SELECT value FROM json_each(?1))";
    tx.prepare_cached(sql)?.execute(params![list(hosts)?, now.0])?;
    hosts::end_feeds(tx, hosts)?;
    hosts::keeps_nothing(tx, hosts)
}

/// A verified word, with the bytes it came in.
#[derive(Debug, Clone)]
pub struct Word {
    /// What it says.
    pub doc: RetiredDoc,
    /// Its envelope.
    pub envelope: Vec<u8>,
}

/// Keeps words, and puts them into the feeds of the relays that call this system; answers these.
pub(super) fn publish(tx: &Connection, words: &[Word]) -> Result<Vec<HostRow>, DbError> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    type Row<'a> = (String, &'a str, u64, u64, i64, bool, String);
    let rows: Vec<Row<'_>> = words
        .iter()
        .map(|Word { doc, envelope }| {
            let id = HostId(doc.host.0).to_string();
            (id, doc.name.as_str(), doc.revision, doc.generation, doc.at, doc.removed, hex(envelope))
        })
        .collect();
    let sql = "INSERT INTO retired (id, name, revision, generation, at, removed, envelope)
               SELECT unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
                 value ->> '$[5]', unhex(value ->> '$[6]') FROM json_each(?1) WHERE true
               ON CONFLICT (id) DO UPDATE SET name = excluded.name, revision = excluded.revision,
                 generation = excluded.generation, at = excluded.at, removed = excluded.removed,
                 envelope = excluded.envelope";
    tx.prepare_cached(sql)?.execute([list(&rows)?])?;
    let relays = relays(tx)?;
    for words in words.chunks(WORDS_MAX) {
        let order = order(words.iter().map(|word| word.envelope.clone()));
        feeds::append(tx, &relays.iter().map(|relay| (*relay, order.clone())).collect::<Vec<_>>())?;
    }
    Ok(relays)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn order(envelopes: impl Iterator<Item = Vec<u8>>) -> Order {
    Order::Retired(envelopes.map(ByteBuf::from).collect())
}

/// The relays that call this system; at a relay its own agent is none of them.
fn relays(tx: &Connection) -> Result<Vec<HostRow>, DbError> {
    let sql = "SELECT row FROM hosts WHERE role = 'relay' AND via = row AND retired IS NULL
                 AND id IS NOT (SELECT value FROM meta WHERE key = 'own_id')";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All words, for the feed of a lower relay that is made anew.
///
/// # Errors
/// The database's.
pub fn for_lower(tx: &Connection, lower: HostRow) -> Result<Vec<Order>, DbError> {
    if !relays(tx)?.contains(&lower) {
        return Ok(Vec::new());
    }
    let mut statement = tx.prepare_cached("SELECT envelope FROM retired ORDER BY revision, id")?;
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let envelopes = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(envelopes.chunks(WORDS_MAX).map(|words| order(words.iter().cloned())).collect())
}

/// At a relay: takes in words from above, and passes on those that are new. Answers the lower systems with something new, or
/// whose requests are held no more, and whether any word was new.
///
/// # Errors
/// The database's.
pub fn take(
    tx: &Connection,
    own: &HostId,
    words: &[Word],
    now: Time,
) -> Result<(Vec<HostRow>, bool), DbError> {
    let known = known(tx, words)?;
    let fresh: Vec<Word> = words
        .iter()
        .filter(|word| known.get(&HostId(word.doc.host.0)).is_none_or(|known| *known < word.doc.revision))
        .cloned()
        .collect();
    if fresh.is_empty() {
        return Ok((Vec::new(), false));
    }
    // A relay that is retired itself goes on answering that to its own agent.
    let others = fresh.iter().filter(|word| word.doc.host.0 != own.0);
    let ids: Vec<(String, u64, bool)> = others
        .map(|word| (HostId(word.doc.host.0).to_string(), word.doc.revision, word.doc.removed))
        .collect();
    let (kept, removed) = known_hosts(tx, &ids)?;
    let rows: Vec<HostRow> = kept.iter().map(|(row, _)| *row).collect();
    end_lines(tx, &rows, now)?;
    mark(tx, &rows, now)?;
    let gone: Vec<HostRow> = removed.iter().map(|(row, _)| *row).collect();
    hosts::forget_all(tx, &gone)?;
    for id in ids.iter().filter(|(_, _, removed)| *removed).filter_map(|(id, _, _)| id.parse().ok()) {
        outbox::drop_of(tx, &id)?;
    }
    let mut lowers: Vec<HostRow> = kept.into_iter().chain(removed).map(|(_, via)| via).collect();
    lowers.extend(publish(tx, &fresh)?);
    if fresh.iter().any(|word| word.doc.host.0 == own.0) {
        // It serves nobody any more, and nobody is to wait for it.
        lowers.extend(direct(tx)?);
    }
    Ok((lowers, true))
}

fn direct(tx: &Connection) -> Result<Vec<HostRow>, DbError> {
    let mut statement = tx.prepare_cached("SELECT row FROM hosts WHERE via = row")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn known(tx: &Connection, words: &[Word]) -> Result<HashMap<HostId, u64>, DbError> {
    let ids: Vec<String> = words.iter().map(|word| HostId(word.doc.host.0).to_string()).collect();
    let sql = "SELECT r.id, r.revision FROM json_each(?1) e JOIN retired r ON r.id = unhex(e.value)";
    let mut statement = tx.prepare_cached(sql)?;
    let rows =
        statement.query_map([list(&ids)?], |row| Ok((HostId(row.get(0)?), row.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A host's row, and that of the direct lower system on the way to it.
type Way = (HostRow, HostRow);

/// Hosts that words speak of and that are known here, as far as no newer place brought them back: those that are kept, and
/// those that are forgotten.
fn known_hosts(tx: &Connection, ids: &[(String, u64, bool)]) -> Result<(Vec<Way>, Vec<Way>), DbError> {
    let sql = "SELECT h.row, h.via, e.value ->> '$[2]' FROM json_each(?1) e
               JOIN hosts h ON h.id = unhex(e.value ->> '$[0]') AND h.place_revision < e.value ->> '$[1]'";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([list(ids)?], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let found = rows.collect::<Result<Vec<(HostRow, HostRow, bool)>, _>>()?;
    let (removed, kept): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, _, removed)| *removed);
    let way = |(row, via, _)| (row, via);
    Ok((kept.into_iter().map(way).collect(), removed.into_iter().map(way).collect()))
}

/// Whether a place is over: a later word says that its host was retired.
///
/// # Errors
/// The database's.
pub fn is_over(tx: &Connection, place: &Place) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM retired WHERE id = ?1 AND revision >= ?2)";
    Ok(tx.prepare_cached(sql)?.query_row(params![place.host.0, place.revision as i64], |row| row.get(0))?)
}

/// At a relay: a host that was retired is back, and begins with what it is told from now on.
///
/// # Errors
/// The database's.
pub fn came_back(tx: &Connection, host: HostRow) -> Result<(), DbError> {
    tx.prepare_cached("DELETE FROM lines WHERE host = ?1 AND verdict = 'retired'")?.execute([host])?;
    Ok(())
}

/// A retired host, as whoever is asked by it needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The newest certificate that counts no more.
    pub generation: u64,
    /// When.
    pub at: Time,
    /// Its name is free.
    pub removed: bool,
}

/// All retired hosts of which a word is kept, with one statement.
///
/// # Errors
/// The database's.
pub fn all(connection: &Connection) -> Result<HashMap<HostId, Gone>, DbError> {
    let mut statement = connection.prepare_cached("SELECT id, generation, at, removed FROM retired")?;
    let rows = statement.query_map([], |row| {
        let gone =
            Gone { generation: row.get::<_, i64>(1)? as u64, at: Time(row.get(2)?), removed: row.get(3)? };
        Ok((HostId(row.get(0)?), gone))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The word about a host, for the host itself, and its revision.
///
/// # Errors
/// The database's.
pub fn word(connection: &Connection, host: &HostId) -> Result<Option<(u64, Order)>, DbError> {
    let mut statement = connection.prepare_cached("SELECT revision, envelope FROM retired WHERE id = ?1")?;
    let found: Option<(i64, Vec<u8>)> =
        statement.query_row([host.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.map(|(revision, envelope)| (revision as u64, order(std::iter::once(envelope)))))
}

/// Of these hosts, those that were retired or removed: what still comes of them is late, not a lie.
///
/// # Errors
/// The database's.
pub fn of_these(tx: &Connection, ids: &[HostId]) -> Result<HashSet<HostId>, DbError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let sql = "SELECT r.id FROM json_each(?1) e JOIN retired r ON r.id = unhex(e.value)";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([list(&ids)?], |row| Ok(HostId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets words that are so old that nobody asks for them any more, and where hosts went long ago.
pub struct Prune(pub Time);

impl Command for Prune {
    type Answer = u64;

    fn apply(self, tx: &Connection) -> Result<u64, DbError> {
        let sql = "DELETE FROM retired WHERE at < ?1";
        let words = tx.prepare_cached(sql)?.execute([self.0.plus_days(-KEPT_DAYS).0])? as u64;
        Ok(words + moving::prune(tx, self.0)?)
    }
}
