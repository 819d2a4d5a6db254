//! A relay's outbox: what it and the systems below it have to say, kept until the managing server's receipt.

use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::report::{Body, Receipt, Report};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::{from_cbor_limited, to_cbor};
use packhorse_wire::messages::{REQUEST_BYTES_MAX, ReportMsg};
use rusqlite::{Connection, ToSql, params, params_from_iter};

use super::{Command, DbError, meta};

/// Rows of one multi-row insert.
const ROWS_MAX: usize = 250;
/// Most bytes of a stored report.
const REPORT_BYTES: usize = 2 << 20;
/// Most bytes of reports read at once: a request that holds them and soft words is taken by the higher system.
const BATCH_BYTES: usize = REQUEST_BYTES_MAX / 2;

/// Appends reports, a few hundred with one statement.
///
/// # Errors
/// The database's or the encoder's.
pub fn append(tx: &Connection, reports: &[Report]) -> Result<(), DbError> {
    for group in reports.chunks(ROWS_MAX) {
        let sql = format!(
            "INSERT INTO outbox (origin, incarnation, no, body) VALUES {}",
            vec!["(?, ?, ?, ?)"; group.len()].join(", ")
        );
        let mut values: Vec<Box<dyn ToSql>> = Vec::with_capacity(group.len() * 4);
        for report in group {
            values.extend([
                Box::new(report.origin.0) as Box<dyn ToSql>,
                Box::new(report.incarnation.0 as i64),
                Box::new(report.no as i64),
                Box::new(to_cbor(&ReportMsg::from(report)).map_err(DbError::internal)?),
            ]);
        }
        tx.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// Appends a report of this relay itself, numbered in its own life.
///
/// # Errors
/// The database's or the encoder's.
pub fn say(tx: &Connection, own: &HostId, body: Body, now: Time) -> Result<(), DbError> {
    say_numbered(tx, own, body, now).map(|_| ())
}

/// [`say`], answering the report's life and number.
///
/// # Errors
/// The database's or the encoder's.
pub fn say_numbered(
    tx: &Connection,
    own: &HostId,
    body: Body,
    now: Time,
) -> Result<(Incarnation, u64), DbError> {
    let no = meta::next(tx, "own_reports")? as u64;
    let base = meta::number(tx, "own_base")?.unwrap_or(0) as u64;
    let incarnation = meta::own_incarnation(tx)?;
    append(tx, &[Report { origin: *own, incarnation, no, base, at: now, body }])?;
    Ok((incarnation, no))
}

/// Reads what comes after `after`, at most `limit` reports and as many bytes as one request holds, and the newest number
/// covered. One that cannot be read is passed over: it must not hold up all that come after it.
///
/// # Errors
/// The database's.
pub fn after(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<(Vec<(u64, ReportMsg)>, u64), DbError> {
    let mut statement =
        connection.prepare_cached("SELECT n, body FROM outbox WHERE n > ?1 ORDER BY n LIMIT ?2")?;
    let mut rows = statement.query(params![after as i64, limit as i64])?;
    let (mut reports, mut bytes, mut through) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        let (n, body) = (row.get::<_, i64>(0)? as u64, row.get::<_, Vec<u8>>(1)?);
        bytes += body.len();
        if bytes > BATCH_BYTES && !reports.is_empty() {
            break;
        }
        through = n;
        match from_cbor_limited(&body, REPORT_BYTES) {
            Ok(report) => reports.push((n, report)),
            Err(error) => {
                tracing::error!(n, %error, "a report in the outbox cannot be read and is passed over")
            }
        }
    }
    Ok((reports, through))
}

/// Forgets what the receipts cover, with one statement.
///
/// # Errors
/// The database's.
pub fn receipted(tx: &Connection, own: &HostId, receipts: &[Receipt]) -> Result<(), DbError> {
    let list: Vec<(String, i64, i64)> = receipts
        .iter()
        .map(|receipt| (receipt.origin.to_string(), receipt.incarnation.0 as i64, receipt.upto as i64))
        .collect();
    let list = serde_json::to_string(&list).map_err(DbError::internal)?;
    let sql = "DELETE FROM outbox WHERE n IN (
                 SELECT o.n FROM json_each(?1) e JOIN outbox o
                 ON o.origin = unhex(e.value ->> '$[0]') AND o.incarnation = e.value ->> '$[1]'
                    AND o.no <= e.value ->> '$[2]')";
    tx.prepare_cached(sql)?.execute([list])?;
    let incarnation = meta::own_incarnation(tx)?;
    let mine = receipts.iter().filter(|receipt| receipt.origin == *own && receipt.incarnation == incarnation);
    if let Some(upto) = mine.map(|receipt| receipt.upto).max() {
        meta::set(tx, "own_base", upto as i64)?;
    }
    Ok(())
}

/// Forgets what a host had to say that was moved away: it says it again elsewhere.
///
/// # Errors
/// The database's.
pub fn drop_of(tx: &Connection, origin: &HostId) -> Result<(), DbError> {
    tx.prepare_cached("DELETE FROM outbox WHERE origin = ?1")?.execute([origin.0])?;
    Ok(())
}

/// Says something of this relay itself.
pub struct Say {
    /// This relay.
    pub own: HostId,
    /// What.
    pub body: Body,
    /// When.
    pub now: Time,
}

impl Command for Say {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        say(tx, &self.own, self.body, self.now)
    }
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::Incarnation;

    use super::*;

    #[test]
    fn a_batch_is_never_larger_than_a_request() {
        let connection = Connection::open_in_memory().unwrap();
        crate::db::schema::migrate(&connection).unwrap();
        let report = |no| Report {
            origin: HostId([1; 16]),
            incarnation: Incarnation(1),
            no,
            base: 0,
            at: Time(0),
            body: Body::Alarm { code: "long".to_owned(), text: "x".repeat(8000) },
        };
        append(&connection, &(1..=2000).map(report).collect::<Vec<_>>()).unwrap();
        let broken = vec![0xff; 10];
        connection.execute("UPDATE outbox SET body = ?1 WHERE n = 3", [broken]).unwrap();
        let (mut at, mut count) = (0, 0);
        loop {
            let (reports, through) = super::after(&connection, at, 4096).unwrap();
            if reports.is_empty() {
                break;
            }
            assert!(to_cbor(&reports).unwrap().len() < REQUEST_BYTES_MAX * 3 / 4);
            (at, count) = (through, count + reports.len());
        }
        assert_eq!((at, count), (2000, 1999));
    }
}
