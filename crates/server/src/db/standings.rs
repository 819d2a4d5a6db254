//! Hosts as jobs see them: place, memberships and what they say of themselves, with one statement for each kind.

use std::collections::HashMap;

use packhorse_domain::facts::{self, Facts};
use packhorse_domain::ids::{GroupId, HostId};
use packhorse_domain::job::{Clause, Job};
use packhorse_domain::place::{Membership, Place, Standing};
use packhorse_domain::time::Time;
use rusqlite::{Connection, params};

use super::DbError;
use super::hosts::{Fleet, HostRow};

/// What a job has to know of hosts beyond where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Their memberships.
    pub groups: bool,
    /// What they say of themselves.
    pub facts: bool,
}

impl Needs {
    /// All there is.
    pub const ALL: Needs = Needs { groups: true, facts: true };

    /// What a job asks.
    pub fn of(job: &Job) -> Needs {
        let asks = |clause: &Clause| matches!(clause, Clause::Group(_) | Clause::Condition(_));
        Needs { groups: job.clauses().any(asks), facts: job.asks_facts() }
    }
}

/// Hosts as jobs see them.
#[derive(Debug, Default)]
pub struct Standings {
    hosts: Vec<Place>,
    facts: HashMap<HostId, Facts>,
    now: Time,
}

impl Standings {
    /// Loads hosts of a fleet: `only` these, or all.
    ///
    /// # Errors
    /// The database's, or what is stored is damaged.
    pub fn load(
        connection: &Connection,
        fleet: &Fleet,
        only: Option<&[HostRow]>,
        needs: Needs,
        now: Time,
    ) -> Result<Standings, DbError> {
        let mut groups = if needs.groups { memberships(connection, only)? } else { HashMap::new() };
        let mut said = if needs.facts { facts_of(connection, only)? } else { HashMap::new() };
        let mut standings = Standings { now, ..Standings::default() };
        let mut add = |row: HostRow| {
            // What was retired is named by nothing any more.
            let Some(host) = fleet.get(row).filter(|host| host.retired.is_none()) else { return };
            let place = Place { groups: groups.remove(&row).unwrap_or_default(), ..fleet.place(host) };
            standings.hosts.push(place);
            standings.facts.extend(said.remove(&row).map(|facts| (host.id, facts)));
        };
        match only {
            Some(rows) => rows.iter().copied().for_each(&mut add),
            None => fleet.hosts().iter().map(|host| host.row).for_each(&mut add),
        }
        Ok(standings)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Standing<'_>> {
        self.hosts.iter().map(|place| Standing {
            place,
            facts: self.facts.get(&place.host).unwrap_or(&facts::NONE),
            now: self.now,
        })
    }
}

fn list(only: Option<&[HostRow]>) -> Result<Option<String>, DbError> {
    only.map(serde_json::to_string).transpose().map_err(DbError::internal)
}

/// The memberships in hosts' signed places, as they are known here.
///
/// # Errors
/// The database's.
pub fn memberships(
    connection: &Connection,
    only: Option<&[HostRow]>,
) -> Result<HashMap<HostRow, Vec<Membership>>, DbError> {
    let sql = "SELECT host, grp, since FROM memberships
               WHERE ?1 IS NULL OR host IN (SELECT value FROM json_each(?1))";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([list(only)?])?;
    let mut found: HashMap<HostRow, Vec<Membership>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let membership = Membership { group: GroupId(row.get(1)?), since: Time(row.get(2)?) };
        found.entry(row.get(0)?).or_default().push(membership);
    }
    Ok(found)
}

/// Writes down what hosts' places say they belong to, in place of what was known; with a fixed number of statements.
///
/// # Errors
/// The database's.
pub fn store_memberships(tx: &Connection, hosts: &[(HostRow, &Place)]) -> Result<(), DbError> {
    let all: Vec<(HostRow, i64, i64)> =
        hosts.iter().map(|(row, place)| (*row, place.groups_until.0, place.joined.0)).collect();
    let all = serde_json::to_string(&all).map_err(DbError::internal)?;
    let sql = "UPDATE hosts SET groups_until = e.value ->> '$[1]', place_joined = e.value ->> '$[2]'
               FROM json_each(?1) e WHERE hosts.row = e.value ->> '$[0]'";
    tx.prepare_cached(sql)?.execute([&all])?;
    let sql = "DELETE FROM memberships WHERE host IN (SELECT value ->> '$[0]' FROM json_each(?1))";
    tx.prepare_cached(sql)?.execute([&all])?;
    let groups: Vec<(HostRow, String, i64)> = hosts
        .iter()
        .flat_map(|(row, place)| place.groups.iter().map(|m| (*row, m.group.to_string(), m.since.0)))
        .collect();
    if groups.is_empty() {
        return Ok(());
    }
    let groups = serde_json::to_string(&groups).map_err(DbError::internal)?;
    let sql = "INSERT OR REPLACE INTO memberships (host, grp, since)
               SELECT value ->> '$[0]', unhex(value ->> '$[1]'), value ->> '$[2]' FROM json_each(?1)";
    tx.prepare_cached(sql)?.execute([groups])?;
    Ok(())
}

fn facts_of(connection: &Connection, only: Option<&[HostRow]>) -> Result<HashMap<HostRow, Facts>, DbError> {
    let sql = "SELECT host, body FROM facts WHERE ?1 IS NULL OR host IN (SELECT value FROM json_each(?1))";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([list(only)?])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        let body: String = row.get(1)?;
        found.insert(row.get(0)?, read_facts(&body)?);
    }
    Ok(found)
}

fn read_facts(body: &str) -> Result<Facts, DbError> {
    let said: Vec<(String, String)> = serde_json::from_str(body).map_err(DbError::damaged)?;
    Facts::new(said).map_err(DbError::damaged)
}

/// What one host said last, and when.
///
/// # Errors
/// The database's, or what is stored is damaged.
pub fn facts_told(connection: &Connection, host: HostRow) -> Result<Option<(Time, Facts)>, DbError> {
    let mut statement = connection.prepare_cached("SELECT at, body FROM facts WHERE host = ?1")?;
    let mut rows = statement.query([host])?;
    match rows.next()? {
        Some(row) => Ok(Some((Time(row.get(0)?), read_facts(&row.get::<_, String>(1)?)?))),
        None => Ok(None),
    }
}

/// Stores what hosts say of themselves, unless something newer is known; answers those of which anything is different.
///
/// # Errors
/// The database's.
pub fn store_facts<'a>(
    tx: &Connection,
    said: impl IntoIterator<Item = (&'a HostId, &'a (Time, Facts))>,
) -> Result<Vec<HostRow>, DbError> {
    let all: Vec<(String, i64, String)> = said
        .into_iter()
        .map(|(host, (at, facts))| {
            let body = serde_json::to_string(&facts.iter().collect::<Vec<_>>()).map_err(DbError::internal)?;
            Ok((host.to_string(), at.0, body))
        })
        .collect::<Result<_, DbError>>()?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let all = serde_json::to_string(&all).map_err(DbError::internal)?;
    let sql = "INSERT INTO facts (host, at, body)
               SELECT h.row, e.value ->> '$[1]', e.value ->> '$[2]'
               FROM json_each(?1) e JOIN hosts h ON h.id = unhex(e.value ->> '$[0]') WHERE true
               ON CONFLICT (host) DO UPDATE SET at = excluded.at, body = excluded.body
               WHERE excluded.at >= facts.at AND excluded.body <> facts.body
               RETURNING host";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params![all], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
