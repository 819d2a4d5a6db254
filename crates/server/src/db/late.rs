//! Those who come later: hosts that join, are moved, become members or say something new of themselves, while a job is open
//! that takes them in. The same at the managing server and at a relay, which is handed such jobs also without a line of its
//! own: it takes in whom they name while it is cut off.

use std::collections::BTreeSet;

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{Clause, Job};
use packhorse_domain::planner;
use packhorse_domain::time::Time;
use rusqlite::{Connection, params};

use super::hosts::{self, Fleet, HostRow};
use super::jobs::{self, JobRow};
use super::standings::{Needs, Standings};
use super::{DbError, lines};
use crate::capability::Capabilities;

/// Which jobs may have become for a host what they were not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It came, or stands or belongs elsewhere than before.
    Place,
    /// It said something new of itself.
    Facts,
}

/// Takes hosts into the open jobs that name them; answers the lower systems with something new. The number of statements
/// depends on the jobs, not on the hosts.
///
/// # Errors
/// The database's or the encoder's.
pub fn take_in(
    tx: &Connection,
    fleet: &Fleet,
    hosts: &[HostRow],
    why: Why,
    capabilities: &Capabilities,
    read_job: impl Fn(&[u8]) -> Option<Job>,
    now: Time,
) -> Result<Vec<HostRow>, DbError> {
    let open = open_jobs(tx, why, now)?;
    if hosts.is_empty() || open.is_empty() {
        return Ok(Vec::new());
    }
    let standings = Standings::load(tx, fleet, Some(hosts), Needs::ALL, now)?;
    let mut lowers = Vec::new();
    for (row, envelope) in open {
        let Some(job) = read_job(&envelope) else { continue };
        let opened = planner::opens(&job, &[], &[], standings.iter());
        if jobs::open_again(tx, row, job.packages.len(), &opened, fleet, now)? == 0 {
            continue;
        }
        lines::at_relay(tx, row, now)?;
        lines::supersede(tx, row, now)?;
        let named: BTreeSet<HostId> = opened.iter().map(|open| open.host).collect();
        // Not only of the hosts that came: a transfer means the relays above them.
        let by_way_of: BTreeSet<HostRow> =
            fleet.hosts().iter().filter(|host| named.contains(&host.id)).map(|host| host.via).collect();
        let by_way_of: Vec<HostRow> = by_way_of.into_iter().collect();
        lowers.extend(jobs::dispatch(tx, row, Some(&by_way_of), capabilities)?);
    }
    Ok(lowers)
}

/// Jobs that take in hosts for that reason. A relay's job that is only known here takes hosts in at the relay, which tells
/// of them.
const OPEN: &str =
    "grows AND closed IS NULL AND until > ?1 AND intent <> 'cancelled' AND (asks_facts OR NOT ?2)
  AND NOT learned AND stopped IS NULL";

/// Whether there is any job that would take in hosts.
///
/// # Errors
/// The database's.
pub fn any_open(tx: &Connection, why: Why, now: Time) -> Result<bool, DbError> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM jobs WHERE {OPEN})");
    Ok(tx.prepare_cached(&sql)?.query_row(params![now.0, why == Why::Facts], |row| row.get(0))?)
}

fn open_jobs(tx: &Connection, why: Why, now: Time) -> Result<Vec<(JobRow, Vec<u8>)>, DbError> {
    let sql = format!("SELECT row, envelope FROM jobs WHERE {OPEN} ORDER BY created, row");
    let mut statement = tx.prepare_cached(&sql)?;
    let rows =
        statement.query_map(params![now.0, why == Why::Facts], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The direct lower relays (`only`: of these) below which a job may take in hosts that come later.
///
/// # Errors
/// The database's.
pub fn relays_to_tell(
    tx: &Connection,
    job: &Job,
    only: Option<&[HostRow]>,
) -> Result<Vec<(HostRow, HostId)>, DbError> {
    let above = hosts::own_route(tx)?;
    let sql = "SELECT h.row, h.id, b.id FROM hosts h LEFT JOIN hosts b ON b.via = h.row AND b.role = 'relay'
               WHERE h.role = 'relay' AND h.via = h.row AND h.id IS NOT ?1 AND h.retired IS NULL ORDER BY h.row";
    let own = above.last().map(|own| own.0);
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query(params![own])?;
    let mut relays: Vec<(HostRow, HostId, BTreeSet<HostId>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (lower, id) = (row.get(0)?, HostId(row.get(1)?));
        if relays.last().is_none_or(|(last, _, _)| *last != lower) {
            relays.push((lower, id, [id].into()));
        }
        if let (Some((_, _, below)), Some(deeper)) = (relays.last_mut(), row.get::<_, Option<_>>(2)?) {
            below.insert(HostId(deeper));
        }
    }
    let asked = |row: &HostRow| only.is_none_or(|only| only.contains(row));
    let concerned = |below: &BTreeSet<HostId>| {
        job.clauses().any(|clause: &Clause| {
            clause.may_name_below(|relay| below.contains(relay) || above.contains(relay))
        })
    };
    let relays = relays.into_iter().filter(|(row, _, below)| asked(row) && concerned(below));
    Ok(relays.map(|(row, id, _)| (row, id)).collect())
}
