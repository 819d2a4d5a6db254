//! Jobs: made here or taken from above, and handed on to the direct lower systems.

use std::collections::BTreeMap;

use packhorse_domain::ids::{HostId, JobKey, PackageId, SERVER};
use packhorse_domain::instruction::{Line, Verdict};
use packhorse_domain::job::{Gate, Intent, Job, JobType, Proof, gate};
use packhorse_domain::merkle::Prover;
use packhorse_domain::planner::{self, Opened, PlanLine, Provers};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::{from_cbor_limited, to_cbor};
use packhorse_wire::messages::{CopyHint, JobOrder, Order, ProofMsg};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};
use serde_bytes::ByteBuf;

use super::hosts::{Fleet, HostRecord, HostRow};
use super::join::read_own_job;
use super::lines::{self, LineRow};
use super::standings::{Needs, Standings};
use super::{DbError, delegations, feeds, keeping, late, transfers};
use crate::capability::Capabilities;

/// A job's number in this database.
pub type JobRow = i64;

/// Most bytes of stored proofs: a list of ten million hosts.
const PROOFS_BYTES: usize = 256 << 20;

/// A verified job with what came along.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The job.
    pub job: Job,
    /// Its envelope.
    pub envelope: Vec<u8>,
    /// Proofs that came along; at the issuer the whole lists.
    pub proofs: Vec<Proof>,
    /// Hosts that have nothing left to do.
    pub ended: Vec<HostId>,
    /// At a relay: hosts that were taken in above by what is said of them.
    pub named: Vec<HostId>,
    /// Size and, at a relay, the higher system's capability of each package.
    pub copies: Vec<(PackageId, u64, Vec<u8>)>,
    /// What was understood of `--to`, as JSON.
    pub asked: String,
}

/// What became of an incoming job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Stored and handed on.
    Stored {
        /// Its row.
        job: JobRow,
        /// Lines opened.
        lines: u64,
        /// Lower systems with something new in their feeds.
        lowers: Vec<HostRow>,
    },
    /// This revision, or a newer one, is known.
    Known,
    /// Older than what is known: refused.
    Older,
}

/// The revision stored of a job, and its row.
///
/// # Errors
/// The database's.
pub fn revision(connection: &Connection, key: &JobKey) -> Result<Option<(JobRow, u64)>, DbError> {
    let sql = "SELECT row, revision FROM jobs WHERE issuer = ?1 AND epoch = ?2 AND number = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![key.issuer, key.epoch as i64, key.number as i64], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
    });
    Ok(found.optional()?)
}

/// Stores a job in a revision, opens its lines, and puts orders into the feeds of the direct lower systems: the same at the
/// managing server that made it and at a relay that was told. The number of statements does not depend on its hosts.
///
/// # Errors
/// The database's or the encoder's.
pub fn take(
    tx: &Connection,
    incoming: &Incoming,
    capabilities: &Capabilities,
    now: Time,
) -> Result<Taken, DbError> {
    let known = revision(tx, &incoming.job.key)?;
    match gate(known.map(|(_, revision)| revision), incoming.job.revision) {
        Gate::Older => return Ok(Taken::Older),
        // The same revision with proofs that were not there: a host was moved here, or this relay was replaced.
        Gate::Known if incoming.proofs.is_empty() && incoming.named.is_empty() => {
            // A higher system that was replaced knows the capabilities no more that it gave before.
            if let Some((row, _)) = known {
                store_packages(tx, row, incoming)?;
                if lines::let_go(tx, row, &incoming.ended)? > 0 {
                    let lowers = pass_ended(tx, row, &incoming.ended, capabilities)?;
                    return Ok(Taken::Stored { job: row, lines: 0, lowers });
                }
            }
            return Ok(Taken::Known);
        }
        Gate::Known | Gate::Take => {}
    }
    let row = store(tx, incoming, now)?;
    store_packages(tx, row, incoming)?;
    keeping::job_came(tx, row, &incoming.job, now)?;
    let let_go = lines::let_go(tx, row, &incoming.ended)?;
    let lines = enter(tx, row, incoming, now)?;
    if incoming.job.job_type == JobType::Transfer {
        transfers::settle(tx, now)?;
    }
    let mut lowers = dispatch(tx, row, None, capabilities)?;
    if let_go > 0 {
        lowers.extend(pass_ended(tx, row, &incoming.ended, capabilities)?);
    }
    Ok(Taken::Stored { job: row, lines, lowers })
}

/// Stores a job that a relay below made and told of: it is shown here, and handed to nobody.
///
/// # Errors
/// The database's or the encoder's.
pub fn learn(tx: &Connection, incoming: &Incoming, now: Time) -> Result<Taken, DbError> {
    let known = revision(tx, &incoming.job.key)?;
    match gate(known.map(|(_, revision)| revision), incoming.job.revision) {
        Gate::Older => return Ok(Taken::Older),
        Gate::Known => return Ok(Taken::Known),
        Gate::Take => {}
    }
    let row = store(tx, incoming, now)?;
    tx.prepare_cached("UPDATE jobs SET learned = 1 WHERE row = ?1")?.execute([row])?;
    store_packages(tx, row, incoming)?;
    let lines = enter(tx, row, incoming, now)?;
    Ok(Taken::Stored { job: row, lines, lowers: Vec::new() })
}

/// Opens a job's lines here, or ends them.
fn enter(tx: &Connection, row: JobRow, incoming: &Incoming, now: Time) -> Result<u64, DbError> {
    store_proofs(tx, row, &incoming.job, &incoming.proofs)?;
    let fleet = Fleet::load(tx)?;
    let standings = Standings::load(tx, &fleet, None, Needs::of(&incoming.job), now)?;
    let mut opened = planner::opens(&incoming.job, &incoming.proofs, &incoming.ended, standings.iter());
    let below: std::collections::HashSet<HostId> = match incoming.named.is_empty() {
        true => std::collections::HashSet::new(),
        false => fleet.hosts().iter().map(|host| host.id).collect(),
    };
    planner::also(&incoming.job, &incoming.named, |host| below.contains(host), &mut opened);
    let lines = open_lines(tx, row, incoming.job.packages.len(), &opened, &fleet, now)?;
    lines::at_relay(tx, row, now)?;
    if incoming.job.intent == Intent::Cancelled {
        lines::judge_job(tx, row, Verdict::Cancelled, now)?;
    } else {
        lines::supersede(tx, row, now)?;
    }
    Ok(lines)
}

fn store(tx: &Connection, incoming: &Incoming, now: Time) -> Result<JobRow, DbError> {
    let job = &incoming.job;
    let sql = "INSERT INTO jobs (issuer, epoch, number, revision, job_type, envelope, created, starts, until, intent,
                 asked, grows, closed, asks_facts, changed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
               ON CONFLICT (issuer, epoch, number) DO UPDATE SET revision = excluded.revision,
                 envelope = excluded.envelope, starts = excluded.starts, until = excluded.until,
                 intent = excluded.intent, grows = excluded.grows,
                 closed = excluded.closed, asks_facts = excluded.asks_facts, changed = excluded.changed,
                 stopped = NULL
               RETURNING row";
    Ok(tx.prepare_cached(sql)?.query_row(
        params![
            job.key.issuer,
            job.key.epoch as i64,
            job.key.number as i64,
            job.revision as i64,
            job.job_type.as_str(),
            incoming.envelope,
            job.created.0,
            job.starts().0,
            job.until.0,
            job.intent.as_str(),
            incoming.asked,
            job.grows(),
            job.terms.closed.map(|at| at.0),
            job.asks_facts(),
            now.0
        ],
        |row| row.get(0),
    )?)
}

fn store_packages(tx: &Connection, row: JobRow, incoming: &Incoming) -> Result<(), DbError> {
    let packages = &incoming.job.packages;
    let sql = format!(
        "INSERT INTO job_packages (job, place, id, cabinet, name, version, generation, keep_until, size_bytes, capability)
         VALUES {}
         ON CONFLICT (job, place) DO UPDATE SET keep_until = excluded.keep_until,
           size_bytes = MAX(size_bytes, excluded.size_bytes),
           capability = COALESCE(excluded.capability, capability)",
        vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; packages.len()].join(", ")
    );
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    for (place, package) in (0u32..).zip(packages) {
        let hint = incoming.copies.iter().find(|(id, _, _)| *id == package.id);
        let capability = hint.map(|(_, _, capability)| capability.clone()).filter(|c| !c.is_empty());
        values.extend([
            Box::new(row) as Box<dyn ToSql>,
            Box::new(place),
            Box::new(package.id.0),
            Box::new(package.label.cabinet.clone()),
            Box::new(package.label.name.clone()),
            Box::new(package.label.version.clone()),
            Box::new(package.label.generation),
            Box::new(package.keep_until.0),
            Box::new(hint.map_or(0, |(_, size, _)| *size as i64)),
            Box::new(capability),
        ]);
    }
    tx.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}

/// Stores the proofs that hold, round by round; what a round had before stays beside it.
fn store_proofs(tx: &Connection, row: JobRow, job: &Job, proofs: &[Proof]) -> Result<(), DbError> {
    let mut by_round: BTreeMap<u32, Vec<ProofMsg>> = BTreeMap::new();
    for proof in proofs.iter().filter(|proof| planner::holds(job, proof)) {
        by_round.entry(proof.attempt).or_default().push(ProofMsg::from(proof));
    }
    for (attempt, mut fresh) in by_round {
        for old in stored_proofs(tx, row, attempt)? {
            if !fresh.contains(&old) {
                fresh.push(old);
            }
        }
        let sql = "INSERT INTO job_rounds (job, attempt, proofs) VALUES (?1, ?2, ?3)
                   ON CONFLICT (job, attempt) DO UPDATE SET proofs = excluded.proofs";
        let bytes = to_cbor(&fresh).map_err(DbError::internal)?;
        tx.prepare_cached(sql)?.execute(params![row, attempt, bytes])?;
    }
    Ok(())
}

fn stored_proofs(tx: &Connection, row: JobRow, attempt: u32) -> Result<Vec<ProofMsg>, DbError> {
    let sql = "SELECT proofs FROM job_rounds WHERE job = ?1 AND attempt = ?2";
    let bytes: Option<Vec<u8>> =
        tx.prepare_cached(sql)?.query_row(params![row, attempt], |row| row.get(0)).optional()?;
    bytes.map_or(Ok(Vec::new()), |bytes| from_cbor_limited(&bytes, PROOFS_BYTES).map_err(DbError::damaged))
}

/// The lists of a job's rounds, as far as they are here.
///
/// # Errors
/// The database's.
pub fn all_proofs(tx: &Connection, row: JobRow) -> Result<Vec<Proof>, DbError> {
    let mut statement = tx.prepare_cached("SELECT proofs FROM job_rounds WHERE job = ?1 ORDER BY attempt")?;
    let mut rows = statement.query([row])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(0)?;
        let proofs: Vec<ProofMsg> = from_cbor_limited(&bytes, PROOFS_BYTES).map_err(DbError::damaged)?;
        found.extend(proofs.into_iter().map(Proof::from));
    }
    Ok(found)
}

/// A job's packages with their sizes, in its order.
///
/// # Errors
/// The database's.
pub fn sizes(tx: &Connection, row: JobRow) -> Result<Vec<(PackageId, u64)>, DbError> {
    Ok(copies(tx, row)?.into_iter().map(|(package, size, _)| (package, size)).collect())
}

/// The provers of a job's rounds, with one statement.
fn provers(tx: &Connection, row: JobRow) -> Result<Provers, DbError> {
    let mut statement = tx.prepare_cached("SELECT attempt, proofs FROM job_rounds WHERE job = ?1")?;
    let mut rows = statement.query([row])?;
    let mut provers = Provers::new();
    while let Some(found) = rows.next()? {
        let bytes: Vec<u8> = found.get(1)?;
        let proofs: Vec<ProofMsg> = from_cbor_limited(&bytes, PROOFS_BYTES).map_err(DbError::damaged)?;
        let slices = proofs.into_iter().map(|proof| Proof::from(proof).slice);
        provers.insert(found.get(0)?, slices.filter_map(Prover::new).collect());
    }
    Ok(provers)
}

/// The relay below which a job counts, if a relay made it. A job of a relay to which nothing was delegated counts nowhere.
fn scope(tx: &Connection, job: JobRow) -> Result<Option<HostId>, DbError> {
    let issuer: String =
        tx.prepare_cached("SELECT issuer FROM jobs WHERE row = ?1")?.query_row([job], |row| row.get(0))?;
    if issuer == SERVER {
        return Ok(None);
    }
    Ok(Some(delegations::scope(tx, &issuer)?.unwrap_or(HostId([0; 16]))))
}

/// Opens lines, or their next attempt, with one statement for all; answers how many changed.
fn open_lines(
    tx: &Connection,
    job: JobRow,
    packages: usize,
    opened: &[Opened],
    fleet: &Fleet,
    now: Time,
) -> Result<u64, DbError> {
    open(tx, job, packages, opened, fleet, (now, false))
}

/// The same for hosts that come later: one that was retired and is back is taken in like any other newcomer.
///
/// # Errors
/// The database's.
pub fn open_again(
    tx: &Connection,
    job: JobRow,
    packages: usize,
    opened: &[Opened],
    fleet: &Fleet,
    now: Time,
) -> Result<u64, DbError> {
    open(tx, job, packages, opened, fleet, (now, true))
}

fn open(
    tx: &Connection,
    job: JobRow,
    packages: usize,
    opened: &[Opened],
    fleet: &Fleet,
    (now, again): (Time, bool),
) -> Result<u64, DbError> {
    if opened.is_empty() {
        return Ok(0);
    }
    let scope = scope(tx, job)?;
    let within = |host: &&HostRecord| scope.is_none_or(|relay| fleet.place(host).is_below(&relay));
    let rows: std::collections::HashMap<HostId, HostRow> =
        fleet.hosts().iter().filter(within).map(|host| (host.id, host.row)).collect();
    let list: Vec<(HostRow, u32, Option<u32>)> = opened
        .iter()
        .filter_map(|open| rows.get(&open.host).map(|row| (*row, open.attempt, open.leaf)))
        .collect();
    let list = serde_json::to_string(&list).map_err(DbError::internal)?;
    let places = serde_json::to_string(&(0..packages).collect::<Vec<_>>()).map_err(DbError::internal)?;
    super::history::keep_attempts(tx, job, &list)?;
    let change = super::meta::next(tx, "change")?;
    let fresh = Line::new(1, now);
    // Any later attempt is followed: the signed round is the authority. Whether the one before has ended may never have
    // come by here, at a relay that was replaced; the host itself finishes what it has begun first.
    let sql = "INSERT INTO lines (job, host, place, attempt, leaf, state, since, change)
         SELECT ?1, e.value ->> '$[0]', p.value, e.value ->> '$[1]', e.value ->> '$[2]', ?4, ?5, ?6
         FROM json_each(?2) e, json_each(?3) p WHERE true
         ON CONFLICT (job, host, place) DO UPDATE SET attempt = excluded.attempt, leaf = excluded.leaf,
           state = excluded.state, since = excluded.since, verdict = NULL, verdict_at = NULL, reason = NULL,
           outcome = NULL, begun = 0, change = excluded.change
         WHERE excluded.attempt > lines.attempt OR (?7 AND lines.verdict = 'retired' AND excluded.attempt = lines.attempt)";
    let changed = tx.prepare_cached(sql)?.execute(params![
        job,
        list,
        places,
        fresh.state.as_str(),
        fresh.since.0,
        change,
        again
    ])?;
    Ok(changed as u64)
}

/// Puts a job's newest revision into the feeds of the direct lower systems that have lines of it (`only`: of these), and of
/// the relays below which it may take in hosts that come later: they do that also while they are cut off from here. Lines and
/// proofs are loaded with one statement each, whatever their number.
///
/// # Errors
/// The database's or the encoder's.
pub fn dispatch(
    tx: &Connection,
    job: JobRow,
    only: Option<&[HostRow]>,
    capabilities: &Capabilities,
) -> Result<Vec<HostRow>, DbError> {
    tell(tx, job, plan_lines(tx, job, only)?, only, capabilities)
}

/// Tells the relays on the way to hosts that have nothing left to do for a job: theirs is not to take anything in for them.
fn pass_ended(
    tx: &Connection,
    job: JobRow,
    ended: &[HostId],
    capabilities: &Capabilities,
) -> Result<Vec<HostRow>, DbError> {
    let ids: Vec<String> = ended.iter().map(ToString::to_string).collect();
    let ids = serde_json::to_string(&ids).map_err(DbError::internal)?;
    let sql = "SELECT v.row, v.id, h.id FROM json_each(?1) e JOIN hosts h ON h.id = unhex(e.value)
               JOIN hosts v ON v.row = h.via WHERE h.via <> h.row";
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query([ids])?;
    let mut by_lower = ByLower::new();
    while let Some(row) = rows.next()? {
        let line = PlanLine { host: HostId(row.get(2)?), attempt: 1, leaf: None, ended: true };
        let relay = HostId(row.get(1)?);
        by_lower.entry(row.get(0)?).or_insert_with(|| (relay, Vec::new())).1.push(line);
    }
    let only: Vec<HostRow> = by_lower.keys().copied().collect();
    tell(tx, job, by_lower, Some(&only), capabilities)
}

fn tell(
    tx: &Connection,
    job: JobRow,
    mut by_lower: ByLower,
    only: Option<&[HostRow]>,
    capabilities: &Capabilities,
) -> Result<Vec<HostRow>, DbError> {
    let (envelope, grows, kept_back): (Vec<u8>, bool, bool) = tx
        .prepare_cached("SELECT envelope, grows, learned OR stopped IS NOT NULL FROM jobs WHERE row = ?1")?
        .query_row([job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if kept_back {
        return Ok(Vec::new());
    }
    let growing = if grows { read_own_job(&envelope) } else { None };
    if let Some(job) = &growing {
        for (row, id) in late::relays_to_tell(tx, job, only)? {
            by_lower.entry(row).or_insert_with(|| (id, Vec::new()));
        }
    }
    if by_lower.is_empty() {
        return Ok(Vec::new());
    }
    let copies = copies(tx, job)?;
    let provers = provers(tx, job)?;
    let mut orders = Vec::new();
    for (lower, (id, lines)) in &by_lower {
        // A relay that has no line of it (yet) gets the job alone.
        let part = planner::order(lines, &provers).unwrap_or_default();
        let named = growing.as_ref().map_or_else(Vec::new, |job| planner::named(job, lines));
        let hint = |(package, size, until): &(PackageId, u64, Time)| CopyHint {
            package: (*package).into(),
            size_bytes: *size,
            capability: ByteBuf::from(capabilities.grant(package, id, *until)),
        };
        let order = JobOrder {
            job: ByteBuf::from(envelope.clone()),
            proofs: part.proofs.iter().map(ProofMsg::from).collect(),
            ended: part.ended.iter().map(|host| Fixed(host.0)).collect(),
            named: named.iter().map(|host| Fixed(host.0)).collect(),
            copies: copies.iter().map(hint).collect(),
        };
        orders.push((*lower, Order::Job(order)));
    }
    feeds::append(tx, &orders)?;
    Ok(orders.into_iter().map(|(lower, _)| lower).collect())
}

type ByLower = BTreeMap<HostRow, (HostId, Vec<PlanLine>)>;

/// The planner's input for each direct lower system, with one statement: a host's lines of the job together. A relay's own
/// agent has nothing to do with a transfer to that relay.
fn plan_lines(tx: &Connection, job: JobRow, only: Option<&[HostRow]>) -> Result<ByLower, DbError> {
    let only = only.map(serde_json::to_string).transpose().map_err(DbError::internal)?;
    let sql = format!(
        "SELECT h.via, v.id, h.id, MAX(l.attempt), MAX(l.leaf), MIN(l.state IN ({}))
         FROM lines l JOIN hosts h ON h.row = l.host JOIN hosts v ON v.row = h.via
         WHERE l.job = ?1 AND h.retired IS NULL AND (?2 IS NULL OR h.via IN (SELECT value FROM json_each(?2)))
           AND NOT (v.id IS (SELECT value FROM meta WHERE key = 'own_id')
                    AND (SELECT job_type FROM jobs WHERE row = ?1) = 'transfer')
         GROUP BY h.row",
        lines::closed_words()
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query(params![job, only])?;
    let mut by_lower = ByLower::new();
    while let Some(row) = rows.next()? {
        let line = PlanLine {
            host: HostId(row.get(2)?),
            attempt: row.get(3)?,
            leaf: row.get(4)?,
            ended: row.get::<_, i64>(5)? != 0,
        };
        let lower = HostId(row.get(1)?);
        by_lower.entry(row.get(0)?).or_insert_with(|| (lower, Vec::new())).1.push(line);
    }
    Ok(by_lower)
}

fn copies(tx: &Connection, job: JobRow) -> Result<Vec<(PackageId, u64, Time)>, DbError> {
    let sql = "SELECT p.id, p.size_bytes, j.until FROM job_packages p JOIN jobs j ON j.row = p.job
               WHERE p.job = ?1 ORDER BY p.place";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([job], |row| {
        Ok((PackageId(row.get(0)?), row.get::<_, i64>(1)? as u64, Time(row.get(2)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Puts all jobs that still concern a direct lower system into its feed: after its feed was made anew.
///
/// # Errors
/// The database's or the encoder's.
pub fn redispatch(
    tx: &Connection,
    lower: HostRow,
    capabilities: &Capabilities,
    now: Time,
) -> Result<(), DbError> {
    let sql = format!(
        "SELECT l.job FROM lines l JOIN hosts h ON h.row = l.host JOIN jobs j ON j.row = l.job
         WHERE h.via = ?1 AND l.state NOT IN ({}) AND j.until + ?3 > ?2
         UNION SELECT j.row FROM jobs j JOIN hosts h ON h.row = ?1 AND h.role = 'relay'
         WHERE j.grows AND j.closed IS NULL AND j.until > ?2 AND j.intent <> 'cancelled' ORDER BY 1",
        lines::closed_words()
    );
    // A host may still hold what was cancelled or missed: told again for as long as it remembers jobs.
    let remembered = Time(0).plus_days(packhorse_domain::job::VALID_DAYS).0;
    let mut statement = tx.prepare_cached(&sql)?;
    let jobs = statement.query_map(params![lower, now.0, remembered], |row| row.get(0))?;
    for job in jobs.collect::<Result<Vec<JobRow>, _>>()? {
        dispatch(tx, job, Some(&[lower]), capabilities)?;
    }
    Ok(())
}

/// A job as it is listed.
#[derive(Debug, Clone)]
pub struct JobRecord {
    /// Its row.
    pub row: JobRow,
    /// Its identity.
    pub key: JobKey,
    /// Its revision.
    pub revision: u64,
    /// `install`.
    pub job_type: String,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// Registered.
    pub created: Time,
    /// Starts.
    pub starts: Time,
    /// Ends.
    pub until: Time,
    /// `open`, `suspended` or `cancelled`.
    pub intent: String,
    /// JSON of what was understood of `--to`.
    pub asked: String,
    /// Whether hosts that join later are taken in.
    pub grows: bool,
    /// When its newest revision came here.
    pub changed: Time,
    /// Why it was stopped from above, if it was.
    pub stopped: Option<String>,
}

pub(super) const JOB_COLUMNS: &str = "row, issuer, epoch, number, revision, job_type, envelope, created, starts, until, \
                                      intent, asked, grows AND closed IS NULL, changed, stopped";

pub(super) fn job_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<JobRecord> {
    Ok(JobRecord {
        row: row.get(0)?,
        key: JobKey {
            issuer: row.get(1)?,
            epoch: row.get::<_, i64>(2)? as u64,
            number: row.get::<_, i64>(3)? as u64,
        },
        revision: row.get::<_, i64>(4)? as u64,
        job_type: row.get(5)?,
        envelope: row.get(6)?,
        created: Time(row.get(7)?),
        starts: Time(row.get(8)?),
        until: Time(row.get(9)?),
        intent: row.get(10)?,
        asked: row.get(11)?,
        grows: row.get(12)?,
        changed: Time(row.get(13)?),
        stopped: row.get(14)?,
    })
}

/// All jobs, the newest first.
///
/// # Errors
/// The database's.
pub fn list(connection: &Connection) -> Result<Vec<JobRecord>, DbError> {
    let sql = format!("SELECT {JOB_COLUMNS} FROM jobs ORDER BY created DESC, row DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], job_record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A job by issuer and number, in the newest epoch.
///
/// # Errors
/// The database's.
pub fn find(connection: &Connection, issuer: &str, number: u64) -> Result<Option<JobRecord>, DbError> {
    let sql = format!(
        "SELECT {JOB_COLUMNS} FROM jobs WHERE issuer = ?1 AND number = ?2 ORDER BY epoch DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![issuer, number as i64], job_record).optional()?)
}

/// Lines of a job with the host and package they are for, in the order of hosts.
///
/// # Errors
/// The database's.
pub fn lines_of(connection: &Connection, job: JobRow) -> Result<Vec<(LineRow, Line)>, DbError> {
    let sql = format!("SELECT job, host, place, {} FROM lines WHERE job = ?1", lines::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([job])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let at = LineRow { job: row.get(0)?, host: row.get(1)?, place: row.get(2)? };
        found.push((at, lines::line(row, 3)?));
    }
    Ok(found)
}

/// Whether any line of an open job still needs a package.
///
/// # Errors
/// The database's.
pub fn needing(connection: &Connection, package: &PackageId) -> Result<u64, DbError> {
    let sql = format!(
        "SELECT COUNT(*) FROM lines l JOIN job_packages p ON p.job = l.job AND p.place = l.place
         WHERE p.id = ?1 AND l.verdict IS NULL AND l.state IN ({})",
        lines::open_words()
    );
    Ok(connection.prepare_cached(&sql)?.query_row([package.0], |row| row.get::<_, i64>(0))? as u64)
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::PackageLabel;
    use packhorse_domain::job::{Clause, JobPackage, Round};

    use super::*;
    use crate::db::copies;

    #[test]
    fn a_known_revision_brings_the_capability_of_a_replaced_higher_system() {
        let connection = Connection::open_in_memory().unwrap();
        crate::db::schema::migrate(&connection).unwrap();
        let package = PackageId([7; 32]);
        let label =
            PackageLabel { cabinet: "main".into(), name: "p".into(), version: "1".into(), generation: 1 };
        let job = Job {
            key: JobKey::server(1, 1),
            revision: 1,
            job_type: JobType::Install,
            created: Time(0),
            packages: vec![JobPackage { id: package, label, keep_until: Time(9) }],
            rounds: vec![Round { attempt: 1, ordered: Time(0), to: vec![Clause::All { relays: false }] }],
            at: None,
            until: Time(9),
            allow_downgrade: false,
            intent: Intent::Open,
            terms: packhorse_domain::job::Terms::default(),
        };
        for capability in [vec![1], vec![2]] {
            let incoming = Incoming {
                job: job.clone(),
                envelope: vec![0],
                proofs: Vec::new(),
                ended: Vec::new(),
                named: Vec::new(),
                copies: vec![(package, 5, capability.clone())],
                asked: "[]".to_owned(),
            };
            take(&connection, &incoming, &Capabilities::new(b"own"), Time(1)).unwrap();
            assert_eq!(copies::source(&connection, &package).unwrap().unwrap().capability, capability);
        }
    }
}
