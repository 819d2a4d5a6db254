//! Reports from below: one command stores a batch of one lower system.

use std::collections::{BTreeMap, HashMap, HashSet};

use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::ingest::{Ingested, Known, Position, ingest};
use packhorse_domain::instruction::LineKey;
use packhorse_domain::outbox::{Accept, accept};
use packhorse_domain::report::{Body, Receipt, Report, Traffic};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::to_cbor;
use packhorse_wire::messages::{Order, ReceiptMsg, ReportMsg};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use crate::capability::Capabilities;

use super::hosts::{self, Fleet, HostRow};
use super::jobs::JobRow;
use super::join::read_own_job;
use super::late::{self, Why};
use super::lines::{self, LineRow};
use super::{
    Command, DbError, calling, calls, control, copies, feeds, moving, outbox, relay_jobs, retired, standings,
};

/// Rows of one multi-row insert.
const ROWS_MAX: usize = 150;

/// A batch.
pub struct StoreReports {
    /// Where this system stands.
    pub position: Position,
    /// This relay's counters, if bytes were counted since they were last told: they travel with the states they led to.
    pub traffic: Option<Traffic>,
    /// Who sends.
    pub lower: HostRow,
    /// The sender's name, for the log.
    pub lower_name: String,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The managing server's life as the sender knows it.
    pub server: Incarnation,
    /// The batch begins after this number of the sender's outbox.
    pub after: u64,
    /// And covers up to this one.
    pub through: u64,
    /// With what calls are judged.
    pub here: calling::Here,
    /// Number in the outbox, and report.
    pub reports: Vec<(u64, Report)>,
    /// Now.
    pub now: Time,
}

/// What [`StoreReports`] answers.
#[derive(Debug, Default)]
pub struct Stored {
    /// The sender's outbox is stored up to here.
    pub stored: u64,
    /// Lower systems with something new in their feeds.
    pub lowers: Vec<HostRow>,
    /// Whether hosts stand elsewhere than before.
    pub moved: bool,
    /// Whether there is something new in the own outbox.
    pub forward: bool,
    /// The counters that were told along with them.
    pub counted: Option<Traffic>,
    /// Whether hosts were taken into jobs by what they said of themselves.
    pub taken_in: bool,
    /// Jobs whose lines changed.
    pub jobs: HashSet<JobRow>,
}

impl Command for StoreReports {
    type Answer = Stored;

    fn apply(self, tx: &Connection) -> Result<Stored, DbError> {
        let before = stored(tx, self.lower, self.incarnation, self.server)?;
        let (from, through) = match accept(before, self.after, self.through) {
            Accept::Rewind { stored } => return Ok(Stored { stored, ..Stored::default() }),
            Accept::Store { from, through } => (from, through),
        };
        let batch: Vec<Report> =
            self.reports.into_iter().filter(|(n, _)| *n > from).map(|(_, report)| report).collect();
        set_stored(tx, self.lower, self.incarnation, self.server, through)?;
        let mut answer = Stored { stored: through, ..Stored::default() };
        if batch.is_empty() {
            return Ok(answer);
        }
        // Before it is judged what is below the sender, and before their lines are looked for.
        let called = calls::reported(tx, &self.here, self.position, self.lower, &batch)?;
        (answer.moved, answer.lowers) = (called.moved, called.lowers);
        let learned = relay_jobs::reported(tx, self.lower, &batch, self.now)?;
        let (known, places) = load(tx, self.position, self.lower, &batch)?;
        let ingested = ingest(self.position, known, batch);
        answer.jobs = write_lines(tx, &ingested, &places, self.now)?;
        answer.jobs.extend(learned);
        log_refused(tx, &ingested, (self.lower, &self.lower_name), self.now)?;
        copies::reported(tx, &ingested.copies, &ingested.traffic, self.now)?;
        let told = told_facts(tx, &ingested, &self.here.capabilities, self.now)?;
        answer.taken_in = !told.is_empty();
        answer.lowers.extend(told);
        control::applied(tx, &ingested.applied)?;
        moving::called(tx, &ingested.called)?;
        match self.position {
            Position::Relay => {
                let of_lines = ingested.fresh.iter().any(|report| matches!(report.body, Body::Line(_)));
                if let Some(traffic) = self.traffic.filter(|_| of_lines) {
                    copies::moved(tx, &self.here.own, traffic, self.now)?;
                    answer.counted = Some(traffic);
                }
                outbox::append(tx, &ingested.fresh)?;
                answer.forward = !ingested.fresh.is_empty();
            }
            Position::Top => {
                write_history(tx, &ingested.fresh, self.now)?;
                write_alarms(tx, &ingested.fresh)?;
                answer.lowers.extend(send_receipts(tx, &ingested.receipts)?);
                answer.lowers.extend(let_go(tx, self.lower, &ingested.not_below)?);
            }
        }
        Ok(answer)
    }
}

/// Hosts that say something new of themselves are taken into the jobs that ask for it, here and now.
fn told_facts(
    tx: &Connection,
    ingested: &Ingested,
    capabilities: &Capabilities,
    now: Time,
) -> Result<Vec<HostRow>, DbError> {
    let changed = standings::store_facts(tx, &ingested.facts)?;
    if changed.is_empty() || !late::any_open(tx, Why::Facts, now)? {
        return Ok(Vec::new());
    }
    let fleet = Fleet::load(tx)?;
    late::take_in(tx, &fleet, &changed, Why::Facts, capabilities, read_own_job, now)
}

fn stored(tx: &Connection, lower: HostRow, life: Incarnation, server: Incarnation) -> Result<u64, DbError> {
    let sql = "SELECT n FROM stored WHERE lower = ?1 AND incarnation = ?2 AND server = ?3";
    let found: Option<i64> = tx
        .prepare_cached(sql)?
        .query_row(params![lower, life.0 as i64, server.0 as i64], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0) as u64)
}

fn set_stored(
    tx: &Connection,
    lower: HostRow,
    life: Incarnation,
    server: Incarnation,
    n: u64,
) -> Result<(), DbError> {
    let sql = "INSERT INTO stored (lower, incarnation, server, n) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (lower) DO UPDATE SET incarnation = excluded.incarnation, server = excluded.server,
                 n = excluded.n";
    tx.prepare_cached(sql)?.execute(params![lower, life.0 as i64, server.0 as i64, n as i64])?;
    Ok(())
}

/// Loads what a batch speaks of: hosts, marks and lines with one statement each.
fn load(
    tx: &Connection,
    position: Position,
    lower: HostRow,
    batch: &[Report],
) -> Result<(Known, HashMap<LineKey, LineRow>), DbError> {
    let origins: Vec<HostId> =
        batch.iter().map(|report| report.origin).collect::<HashSet<_>>().into_iter().collect();
    let rows = hosts::rows_of(tx, &origins)?;
    let below_sender =
        rows.iter().filter(|(_, (row, via))| *row == lower || *via == lower).map(|(id, _)| *id).collect();
    let keys: HashSet<LineKey> = batch
        .iter()
        .filter_map(|report| match &report.body {
            Body::Line(line) => {
                Some(LineKey { job: line.job.clone(), package: line.package, host: report.origin })
            }
            _ => None,
        })
        .collect();
    let (lines, places) = lines::known(tx, &keys.into_iter().collect::<Vec<_>>())?;
    let upto = if position == Position::Top { marks(tx, batch)? } else { HashMap::new() };
    let strangers = match position {
        Position::Relay => origins.iter().filter(|origin| !rows.contains_key(origin)).copied().collect(),
        Position::Top => HashSet::new(),
    };
    Ok((Known { lines, upto, below_sender, strangers }, places))
}

fn marks(tx: &Connection, batch: &[Report]) -> Result<HashMap<(HostId, Incarnation), u64>, DbError> {
    let wanted: HashSet<(String, i64)> =
        batch.iter().map(|report| (report.origin.to_string(), report.incarnation.0 as i64)).collect();
    let wanted = serde_json::to_string(&wanted).map_err(DbError::internal)?;
    let sql = "SELECT m.origin, m.incarnation, m.upto FROM json_each(?1) e
               JOIN marks m ON m.origin = unhex(e.value ->> '$[0]') AND m.incarnation = e.value ->> '$[1]'";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([wanted], |row| {
        let key = (HostId(row.get(0)?), Incarnation(row.get::<_, i64>(1)? as u64));
        Ok((key, row.get::<_, i64>(2)? as u64))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn write_lines(
    tx: &Connection,
    ingested: &Ingested,
    places: &HashMap<LineKey, LineRow>,
    now: Time,
) -> Result<HashSet<JobRow>, DbError> {
    let mut rows = Vec::with_capacity(ingested.lines.len());
    for (key, line) in &ingested.lines {
        match places.get(key) {
            Some(at) => rows.push((*at, line.clone())),
            // A job this system does not know (any more): its reports are in the history.
            None => {
                tracing::warn!(job = %key.job, host = %key.host, "a report speaks of a job that is not known here")
            }
        }
    }
    lines::write(tx, &rows)?;
    retired::end_late_lines(tx, &rows.iter().map(|(at, _)| at.host).collect(), now)?;
    Ok(rows.iter().map(|(at, _)| at.job).collect())
}

fn log_refused(
    tx: &Connection,
    ingested: &Ingested,
    (lower, sender): (HostRow, &str),
    now: Time,
) -> Result<(), DbError> {
    for (key, why) in &ingested.odd {
        tracing::warn!(job = %key.job, host = %key.host, %why, "a report does not follow from the line's state");
    }
    if ingested.not_below.is_empty() {
        return Ok(());
    }
    // A host that was moved says again what the relay before still tells of it.
    let origins: Vec<HostId> = ingested.not_below.iter().map(|report| report.origin).collect();
    let mut late = moving::were_below(tx, lower, &origins)?;
    late.extend(retired::of_these(tx, &origins)?);
    let lies: Vec<&Report> =
        ingested.not_below.iter().filter(|report| !late.contains(&report.origin)).collect();
    if let Some(first) = lies.first() {
        let count = lies.len();
        let text = format!(
            "{count} reports about hosts that are not below {sender}, the first about {}",
            first.origin
        );
        tracing::warn!(%sender, %text, "refused");
        alarm(tx, sender, now, "not_below", &text)?;
    }
    Ok(())
}

/// What still comes of hosts that were removed need not be kept anywhere: whoever brings it is told so.
fn let_go(tx: &Connection, lower: HostRow, not_below: &[Report]) -> Result<Vec<HostRow>, DbError> {
    if not_below.is_empty() {
        return Ok(Vec::new());
    }
    let origins: Vec<HostId> = not_below.iter().map(|report| report.origin).collect();
    let known = hosts::rows_of(tx, &origins)?;
    let mut gone = retired::of_these(tx, &origins)?;
    gone.retain(|host| !known.contains_key(host));
    let mut upto: BTreeMap<(HostId, Incarnation), u64> = BTreeMap::new();
    for report in not_below.iter().filter(|report| gone.contains(&report.origin)) {
        let newest = upto.entry((report.origin, report.incarnation)).or_default();
        *newest = (*newest).max(report.no);
    }
    if upto.is_empty() {
        return Ok(Vec::new());
    }
    let receipts = upto
        .into_iter()
        .map(|((origin, incarnation), upto)| ReceiptMsg::from(Receipt { origin, incarnation, upto }));
    feeds::append(tx, &[(lower, Order::Receipts(receipts.collect()))])?;
    Ok(vec![lower])
}

/// Most alarms kept; the oldest go first.
const ALARMS_MAX: i64 = 10_000;
/// Most alarms kept of one host.
const HOST_ALARMS_MAX: i64 = 200;

/// Writes down something that was refused.
///
/// # Errors
/// The database's.
pub fn alarm(tx: &Connection, host: &str, at: Time, code: &str, text: &str) -> Result<(), DbError> {
    tx.prepare_cached("INSERT INTO alarms (host, at, code, text) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![host, at.0, code, text])?;
    tx.prepare_cached("DELETE FROM alarms WHERE row <= (SELECT MAX(row) FROM alarms) - ?1")?
        .execute([ALARMS_MAX])?;
    // One host that says much does not push out what is said of it.
    tx.prepare_cached(
        "DELETE FROM alarms WHERE host = ?1 AND row <= (SELECT row FROM alarms WHERE host = ?1 ORDER BY row DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![host, HOST_ALARMS_MAX])?;
    Ok(())
}

fn write_alarms(tx: &Connection, fresh: &[Report]) -> Result<(), DbError> {
    for report in fresh {
        if let Body::Alarm { code, text } = &report.body {
            let host =
                hosts::by_id(tx, &report.origin)?.map_or_else(|| report.origin.to_string(), |host| host.name);
            alarm(tx, &host, report.at, code, text)?;
        }
    }
    Ok(())
}

/// Counters and facts are left out: only the newest say something, and those are kept. So are relays' jobs, which are stored
/// as jobs, and calls, which are seen where the host stands.
fn write_history(tx: &Connection, fresh: &[Report], now: Time) -> Result<(), DbError> {
    let kept = |report: &&Report| {
        !matches!(report.body, Body::Traffic(_) | Body::Facts(_) | Body::Job(_) | Body::Calls(_))
    };
    let kept: Vec<&Report> = fresh.iter().filter(kept).collect();
    for group in kept.chunks(ROWS_MAX) {
        let sql = format!(
            "INSERT INTO history (origin, incarnation, no, at, received, body) VALUES {} ON CONFLICT DO NOTHING",
            vec!["(?, ?, ?, ?, ?, ?)"; group.len()].join(", ")
        );
        let mut values: Vec<Box<dyn ToSql>> = Vec::with_capacity(group.len() * 6);
        for report in group {
            values.extend([
                Box::new(report.origin.0) as Box<dyn ToSql>,
                Box::new(report.incarnation.0 as i64),
                Box::new(report.no as i64),
                Box::new(report.at.0),
                Box::new(now.0),
                Box::new(to_cbor(&ReportMsg::from(*report)).map_err(DbError::internal)?),
            ]);
        }
        tx.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// Writes the marks and sends them down as receipts: one order for each direct lower system.
fn send_receipts(tx: &Connection, receipts: &[Receipt]) -> Result<Vec<HostRow>, DbError> {
    if receipts.is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<(String, i64, i64)> = receipts
        .iter()
        .map(|receipt| (receipt.origin.to_string(), receipt.incarnation.0 as i64, receipt.upto as i64))
        .collect();
    let list = serde_json::to_string(&list).map_err(DbError::internal)?;
    let sql = "INSERT INTO marks (origin, incarnation, upto)
               SELECT unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]' FROM json_each(?1) WHERE true
               ON CONFLICT (origin, incarnation) DO UPDATE SET upto = MAX(upto, excluded.upto)";
    tx.prepare_cached(sql)?.execute([list])?;
    pass_receipts(tx, receipts)
}

/// Puts receipts into the feeds of the lower systems they go through: one order each.
///
/// # Errors
/// The database's or the encoder's.
pub fn pass_receipts(tx: &Connection, receipts: &[Receipt]) -> Result<Vec<HostRow>, DbError> {
    let origins: Vec<HostId> = receipts.iter().map(|receipt| receipt.origin).collect();
    let rows = hosts::rows_of(tx, &origins)?;
    let mut by_lower: BTreeMap<HostRow, Vec<ReceiptMsg>> = BTreeMap::new();
    for receipt in receipts {
        if let Some((_, via)) = rows.get(&receipt.origin) {
            by_lower.entry(*via).or_default().push(ReceiptMsg::from(*receipt));
        }
    }
    let orders: Vec<(HostRow, Order)> =
        by_lower.into_iter().map(|(lower, receipts)| (lower, Order::Receipts(receipts))).collect();
    feeds::append(tx, &orders)?;
    Ok(orders.into_iter().map(|(lower, _)| lower).collect())
}
