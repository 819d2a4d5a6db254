//! What administrators look at: reads whose number of statements does not depend on how many hosts there are.

use std::collections::{BTreeMap, HashMap, HashSet};

use packhorse_domain::ids::{HostId, PackageId, PackageLabel};
use packhorse_domain::instruction::Line;
use packhorse_domain::report::Traffic;
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::control::{self, SetAt};
use super::hosts::{Fleet, HostRow};
use super::jobs::JobRow;
use super::lines::{self, LineRow};
use super::{DbError, packages};

/// State → number of lines.
pub type Counts = BTreeMap<String, u64>;

/// The state that is shown of a line, in SQL: the same rule as [`Line::shown`].
pub(super) fn shown() -> String {
    format!(
        "CASE WHEN l.verdict = 'retired' AND l.state IN ({}) THEN 'cancelled'
              WHEN l.verdict <> 'retired' AND NOT l.begun AND l.state IN ({}) THEN l.verdict ELSE l.state END",
        lines::open_words(),
        lines::unbegun_words()
    )
}

/// Lines by job and shown state, of one job or of all; those that are only numbers any more, too.
///
/// # Errors
/// The database's.
pub fn job_counts(connection: &Connection, only: Option<JobRow>) -> Result<HashMap<JobRow, Counts>, DbError> {
    let sql = format!(
        "SELECT job, state, SUM(n) FROM (
           SELECT l.job AS job, {} AS state, COUNT(*) AS n FROM lines l WHERE ?1 IS NULL OR l.job = ?1 GROUP BY 1, 2
           UNION ALL SELECT job, state, lines FROM folded WHERE ?1 IS NULL OR job = ?1)
         GROUP BY 1, 2",
        shown()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([only])?;
    let mut counts: HashMap<JobRow, Counts> = HashMap::new();
    while let Some(row) = rows.next()? {
        counts.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get::<_, i64>(2)? as u64);
    }
    Ok(counts)
}

/// Lines of a job that have not ended, of a host that was not heard for long.
pub struct Unheard {
    /// The job.
    pub job: JobRow,
    /// The host.
    pub host: HostId,
    /// How many.
    pub lines: u64,
}

/// Lines that have not ended of hosts that were last heard before then, as far as that is written down; with one statement.
///
/// # Errors
/// The database's.
pub fn long_unheard(connection: &Connection, before: Time) -> Result<Vec<Unheard>, DbError> {
    let sql = format!(
        "SELECT l.job, h.id, COUNT(*) FROM hosts h JOIN lines l ON l.host = h.row
         WHERE h.retired IS NULL AND COALESCE(h.last_seen, h.joined) < ?1 AND {} IN ({}) GROUP BY 1, 2",
        shown(),
        lines::open_words()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([before.0], |row| {
        Ok(Unheard { job: row.get(0)?, host: HostId(row.get(1)?), lines: row.get::<_, i64>(2)? as u64 })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Lines of all jobs that bring a package, by shown state.
///
/// # Errors
/// The database's.
pub fn package_counts(connection: &Connection, package: &PackageId) -> Result<Counts, DbError> {
    let sql = format!(
        "SELECT {}, COUNT(*) FROM job_packages p JOIN lines l ON l.job = p.job AND l.place = p.place
         WHERE p.id = ?1 GROUP BY 1",
        shown()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([package.0], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A package of a job.
#[derive(Debug, Clone)]
pub struct JobPackageRecord {
    /// Its identity.
    pub id: PackageId,
    /// Its label.
    pub label: PackageLabel,
}

/// The packages of one job or of all, each job's in its order: `place` is the index.
///
/// # Errors
/// The database's.
pub fn job_packages(
    connection: &Connection,
    only: Option<JobRow>,
) -> Result<HashMap<JobRow, Vec<JobPackageRecord>>, DbError> {
    let sql = "SELECT job, id, cabinet, name, version, generation FROM job_packages
               WHERE ?1 IS NULL OR job = ?1 ORDER BY job, place";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([only])?;
    let mut packages: HashMap<JobRow, Vec<JobPackageRecord>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let label = packages::label(row, 2)?;
        let record = JobPackageRecord { id: PackageId(row.get(1)?), label };
        packages.entry(row.get(0)?).or_default().push(record);
    }
    Ok(packages)
}

/// The number of the newest change of a job's lines; 0 if it has none.
///
/// # Errors
/// The database's.
pub fn newest_change(connection: &Connection, job: JobRow) -> Result<u64, DbError> {
    let sql = "SELECT COALESCE(MAX(change), 0) FROM lines WHERE job = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([job], |row| row.get::<_, i64>(0))? as u64)
}

/// All lines of a host.
///
/// # Errors
/// The database's.
pub fn lines_of_host(connection: &Connection, host: HostRow) -> Result<Vec<(LineRow, Line)>, DbError> {
    let sql = format!(
        "SELECT job, host, place, {} FROM lines WHERE host = ?1 ORDER BY job DESC, place",
        lines::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([host])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let at = LineRow { job: row.get(0)?, host: row.get(1)?, place: row.get(2)? };
        found.push((at, lines::line(row, 3)?));
    }
    Ok(found)
}

/// A copy at a relay, as reported.
#[derive(Debug, Clone)]
pub struct CopyRecord {
    /// The relay.
    pub relay: HostRow,
    /// The package.
    pub package: PackageId,
    /// Kept until.
    pub keep_until: Time,
    /// What it takes in the relay's store, bytes.
    pub size_bytes: u64,
}

/// All copies at relays.
///
/// # Errors
/// The database's.
pub fn copies(connection: &Connection) -> Result<Vec<CopyRecord>, DbError> {
    // Of itself a relay knows better than what was reported.
    let sql = "SELECT relay, id, keep_until, size_bytes FROM relay_copies
               UNION ALL SELECT m.value, c.id, c.keep_until, c.size_bytes FROM copies c JOIN meta m ON m.key = 'own_row'
               ORDER BY 1, 2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(CopyRecord {
            relay: row.get(0)?,
            package: PackageId(row.get(1)?),
            keep_until: Time(row.get(2)?),
            size_bytes: row.get::<_, i64>(3)? as u64,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The relays that keep a package, by name, each with its date.
///
/// # Errors
/// The database's.
pub fn copies_of(connection: &Connection, package: &PackageId) -> Result<Vec<(String, Time)>, DbError> {
    let sql = "SELECT h.name, c.keep_until FROM relay_copies c JOIN hosts h ON h.row = c.relay
               WHERE c.id = ?1 AND h.retired IS NULL ORDER BY h.name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([package.0], |row| Ok((row.get(0)?, Time(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// An open job that takes in hosts that join and brings this package, as it is addressed.
///
/// # Errors
/// The database's.
pub fn growing_job_of(
    connection: &Connection,
    package: &PackageId,
    now: Time,
) -> Result<Option<String>, DbError> {
    let sql = "SELECT j.issuer || '/' || j.number FROM job_packages p JOIN jobs j ON j.row = p.job
               WHERE p.id = ?1 AND j.grows AND j.intent = 'open' AND j.until > ?2 ORDER BY j.row LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![package.0, now.0], |row| row.get(0)).optional()?)
}

/// What lines stand in: all hosts, and which relays keep what.
pub struct Scene {
    /// All hosts.
    pub fleet: Fleet,
    /// Which relays keep what.
    pub copies: HashSet<(HostRow, PackageId)>,
    /// What is set at relays.
    pub controls: HashMap<HostRow, SetAt>,
}

/// Loads what lines stand in; the number of statements does not depend on how much there is.
///
/// # Errors
/// The database's.
pub fn scene(connection: &Connection) -> Result<Scene, DbError> {
    let copies = copies(connection)?.into_iter().map(|copy| (copy.relay, copy.package)).collect();
    Ok(Scene { fleet: Fleet::load(connection)?, copies, controls: control::all(connection)? })
}

/// The counters of all relays, as reported.
///
/// # Errors
/// The database's.
pub fn traffic(connection: &Connection) -> Result<HashMap<HostRow, Traffic>, DbError> {
    // Row 0 is this relay itself.
    let sql = "SELECT COALESCE(m.value, t.relay), t.received_bytes, t.sent_bytes, t.used_bytes, t.free_bytes
               FROM traffic t LEFT JOIN meta m ON m.key = 'own_row' AND t.relay = 0";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let traffic = Traffic {
            received_bytes: row.get::<_, i64>(1)? as u64,
            sent_bytes: row.get::<_, i64>(2)? as u64,
            used_bytes: row.get::<_, i64>(3)? as u64,
            free_bytes: row.get::<_, i64>(4)? as u64,
        };
        Ok((row.get(0)?, traffic))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Open lines at or below a relay that still need each package.
///
/// # Errors
/// The database's.
pub fn needed_below(connection: &Connection, relay: HostRow) -> Result<HashMap<PackageId, u64>, DbError> {
    let sql = format!(
        "WITH RECURSIVE tree (row, depth) AS (
           SELECT ?1, 0 UNION ALL
           SELECT h.row, tree.depth + 1 FROM hosts h JOIN tree ON h.higher = tree.row AND tree.depth < 32)
         SELECT p.id, COUNT(*) FROM tree JOIN lines l ON l.host = tree.row JOIN jobs j ON j.row = l.job
         JOIN job_packages p ON p.job = l.job AND p.place = l.place
         WHERE l.verdict IS NULL AND l.state IN ({}) AND {} GROUP BY p.id",
        lines::open_words(),
        super::keeping::NOT_MERELY_OFFERED
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows =
        statement.query_map([relay], |row| Ok((PackageId(row.get(0)?), row.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Names of hosts at or below a relay whose open lines need a package, at most `limit`.
///
/// # Errors
/// The database's.
pub fn needing_below(
    connection: &Connection,
    relay: HostRow,
    package: &PackageId,
    limit: usize,
) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "WITH RECURSIVE tree (row, depth) AS (
           SELECT ?1, 0 UNION ALL
           SELECT h.row, tree.depth + 1 FROM hosts h JOIN tree ON h.higher = tree.row AND tree.depth < 32)
         SELECT DISTINCT n.name FROM tree JOIN hosts n ON n.row = tree.row JOIN lines l ON l.host = tree.row
         JOIN jobs j ON j.row = l.job JOIN job_packages p ON p.job = l.job AND p.place = l.place
         WHERE p.id = ?2 AND l.verdict IS NULL AND l.state IN ({}) AND {} ORDER BY n.name LIMIT ?3",
        lines::open_words(),
        super::keeping::NOT_MERELY_OFFERED
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![relay, package.0, limit as i64], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The label of every package that is registered or in a job.
///
/// # Errors
/// The database's.
pub fn labels(connection: &Connection) -> Result<HashMap<PackageId, PackageLabel>, DbError> {
    // One content may stand in several cabinets: the name that jobs use comes before one nobody asked for, and `main`
    // before other cabinets. What comes last stays.
    let sql = "SELECT id, cabinet, name, version, generation FROM (
                 SELECT id, cabinet, name, version, generation, 1 AS asked FROM job_packages
                 UNION SELECT id, cabinet, name, version, generation, 0 FROM packages)
               ORDER BY asked, cabinet = 'main', cabinet DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let label = packages::label(row, 1)?;
        Ok((PackageId(row.get(0)?), label))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What hosts have of a package's name, by their newest word: its identity and its version.
///
/// # Errors
/// The database's.
pub fn newest(
    connection: &Connection,
    cabinet: &str,
    name: &str,
) -> Result<HashMap<HostRow, (PackageId, String)>, DbError> {
    // With MAX(), SQLite takes the other columns from the row that has the maximum.
    let sql = "SELECT host, id, version, MAX(since) FROM (
                 SELECT l.host AS host, p.id AS id, p.version AS version, l.since AS since FROM job_packages p
                 JOIN lines l ON l.job = p.job AND l.place = p.place
                 WHERE p.cabinet = ?1 AND p.name = ?2 AND l.state IN ('done', 'already_installed'))
               GROUP BY host";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![cabinet, name], |row| Ok((row.get(0)?, (PackageId(row.get(1)?), row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Transfers of these packages that begin later than `starts`: as they are addressed, and when.
///
/// # Errors
/// The database's or the encoder's.
pub fn later_transfers(
    connection: &Connection,
    packages: &[PackageId],
    starts: Time,
) -> Result<Vec<(String, Time)>, DbError> {
    let list: Vec<String> = packages.iter().map(ToString::to_string).collect();
    let list = serde_json::to_string(&list).map_err(DbError::internal)?;
    let sql = "SELECT DISTINCT j.issuer || '/' || j.number, j.starts FROM json_each(?1) e
               JOIN job_packages p ON p.id = unhex(e.value) JOIN jobs j ON j.row = p.job
               WHERE j.job_type = 'transfer' AND j.intent = 'open' AND j.starts > ?2 AND j.until > ?2
               ORDER BY j.starts LIMIT 3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![list, starts.0], |row| Ok((row.get(0)?, Time(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Something that was refused.
#[derive(Debug, Clone)]
pub struct AlarmRecord {
    /// Who says so.
    pub host: String,
    /// When.
    pub at: Time,
    /// A word.
    pub code: String,
    /// A sentence.
    pub text: String,
}

/// What was refused, the newest first, at most `limit`.
///
/// # Errors
/// The database's.
pub fn alarms(connection: &Connection, limit: u32) -> Result<Vec<AlarmRecord>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT host, at, code, text FROM alarms ORDER BY row DESC LIMIT ?1")?;
    let rows = statement.query_map([limit], |row| {
        Ok(AlarmRecord { host: row.get(0)?, at: Time(row.get(1)?), code: row.get(2)?, text: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
