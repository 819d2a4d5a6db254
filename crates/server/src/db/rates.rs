//! What lines carry, as measured in real transfers: from the counters that relays report each second while bytes flow. What
//! is expected of a line is said from here or not at all.

use std::collections::HashMap;

use packhorse_domain::report::Traffic;
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::hosts::HostRow;
use super::{Command, DbError};

/// Two counts closer together than this, in milliseconds, measure how reports are bundled and not the line.
const SHORTEST_MILLIS: i64 = 500;
/// Two counts further apart than this, in milliseconds, have a pause between them.
const LONGEST_MILLIS: i64 = 15_000;
/// Fewer bytes than this between two counts say nothing about a line.
const FEWEST_BYTES: i64 = 64 << 10;
/// A measure counts for a quarter; the ones before it for the rest.
const WEIGHT: i64 = 4;

/// Which way bytes go at a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From its higher system.
    In,
    /// To all that is below it together.
    Out,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Way::In => "in",
            Way::Out => "out",
        }
    }
}

/// Bytes a second by system and way, where they were measured.
pub type Rates = HashMap<(HostRow, Way), u64>;

/// A relay's counters came.
///
/// # Errors
/// The database's.
pub fn measure(tx: &Connection, relay: HostRow, traffic: &Traffic, now: Time) -> Result<(), DbError> {
    one(tx, relay, Way::In, traffic.received_bytes, now)?;
    one(tx, relay, Way::Out, traffic.sent_bytes, now)
}

/// The counter of one way stands at `counted` now.
///
/// # Errors
/// The database's.
pub fn one(tx: &Connection, host: HostRow, way: Way, counted: u64, now: Time) -> Result<(), DbError> {
    let counted = i64::try_from(counted).unwrap_or(i64::MAX);
    let sql = "SELECT counted, at, bytes_per_sec FROM rates WHERE host = ?1 AND way = ?2";
    let before: Option<(i64, i64, Option<i64>)> = tx
        .prepare_cached(sql)?
        .query_row(params![host, way.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (last, at, known) = before.unwrap_or((counted, now.0, None));
    let (bytes, millis) = (counted.saturating_sub(last), (now.0 - at) / 1000);
    if before.is_some() && (0..SHORTEST_MILLIS).contains(&millis) {
        return Ok(());
    }
    let measures = bytes >= FEWEST_BYTES && (SHORTEST_MILLIS..=LONGEST_MILLIS).contains(&millis);
    let sample = measures.then(|| bytes / millis * 1000 + bytes % millis * 1000 / millis);
    let rate = match (sample, known) {
        (Some(sample), Some(known)) => Some(known + (sample - known) / WEIGHT),
        (sample, known) => sample.or(known),
    };
    let sql =
        "INSERT INTO rates (host, way, counted, at, bytes_per_sec, measured) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (host, way) DO UPDATE SET counted = excluded.counted, at = excluded.at,
                 bytes_per_sec = excluded.bytes_per_sec, measured = COALESCE(excluded.measured, measured)";
    tx.prepare_cached(sql)?.execute(params![
        host,
        way.as_str(),
        counted,
        now.0,
        rate,
        sample.map(|_| now.0)
    ])?;
    Ok(())
}

/// The managing server's own counters, as row 0: it reports to nobody.
pub struct Own {
    /// All it sent.
    pub sent_bytes: u64,
    /// When.
    pub now: Time,
}

impl Command for Own {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        one(tx, 0, Way::Out, self.sent_bytes, self.now)
    }
}

/// What was measured; 0 is this system itself.
///
/// # Errors
/// The database's.
pub fn all(connection: &Connection) -> Result<Rates, DbError> {
    let sql = "SELECT host, way = 'in', bytes_per_sec FROM rates WHERE bytes_per_sec > 0";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let way = if row.get(1)? { Way::In } else { Way::Out };
        Ok(((row.get(0)?, way), row.get::<_, i64>(2)? as u64))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_flow_measure_a_line() {
        let tx = Connection::open_in_memory().unwrap();
        crate::db::schema::migrate(&tx).unwrap();
        let at = |secs: f64| Time((secs * 1e6) as i64);
        let told = |secs, counted| {
            one(&tx, 7, Way::In, counted, at(secs)).unwrap();
            all(&tx).unwrap().get(&(7, Way::In)).copied()
        };
        assert_eq!(told(1.0, 5_000_000), None, "a first count measures nothing");
        assert_eq!(told(1.2, 5_900_000), None, "two counts in one bundle measure nothing");
        assert_eq!(told(2.0, 6_000_000), Some(1_000_000));
        assert_eq!(told(3.0, 9_000_000), Some(1_500_000), "a quarter of what is new");
        assert_eq!(told(600.0, 9_500_000), Some(1_500_000), "a pause is no slow line");
        assert_eq!(told(601.0, 9_500_001), Some(1_500_000), "and a byte none at all");
        assert_eq!(told(602.0, 10), Some(1_500_000), "a relay that was replaced counts from nothing");
    }
}
