//! Feeds to direct lower systems.

use packhorse_domain::feed::{Answer, Cursor, Head, answer};
use packhorse_domain::ids::Incarnation;
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};
use serde_bytes::ByteBuf;

use packhorse_wire::messages::{Order, OrderMsg};

use super::hosts::HostRow;
use super::meta::random_incarnation;
use super::{Command, DbError};

/// Most bytes of orders in one answer, unless a single order is larger.
pub const ANSWER_BYTES: usize = 4 << 20;
/// Most orders in one answer.
pub const ANSWER_ORDERS: usize = 1000;
/// Rows of one multi-row insert.
const ROWS_MAX: usize = 250;

/// Makes a lower system's feed if there is none.
///
/// # Errors
/// The database's.
pub fn ensure(tx: &Connection, lower: HostRow) -> Result<(), DbError> {
    let sql = "INSERT INTO feeds (lower, incarnation, reader, pruned, last) VALUES (?1, ?2, NULL, 0, 0)
               ON CONFLICT (lower) DO NOTHING";
    tx.prepare_cached(sql)?.execute(params![lower, random_incarnation().0 as i64])?;
    Ok(())
}

/// Ends the feed of a host that does not call this system (any more).
///
/// # Errors
/// The database's.
pub fn end(tx: &Connection, lower: HostRow) -> Result<(), DbError> {
    for sql in ["DELETE FROM feed_entries WHERE lower = ?1", "DELETE FROM feeds WHERE lower = ?1"] {
        tx.prepare_cached(sql)?.execute([lower])?;
    }
    Ok(())
}

/// Appends orders to feeds, with a number of statements that does not depend on how many there are (but for the limit on a
/// statement's parameters). At most one order for each lower system at a time.
///
/// # Errors
/// The database's or the encoder's.
pub fn append(tx: &Connection, orders: &[(HostRow, Order)]) -> Result<(), DbError> {
    for group in orders.chunks(ROWS_MAX) {
        let lowers: Vec<HostRow> = group.iter().map(|(lower, _)| *lower).collect();
        let list = serde_json::to_string(&lowers).map_err(DbError::internal)?;
        let sql = "UPDATE feeds SET last = last + 1 WHERE lower IN (SELECT value FROM json_each(?1))";
        tx.prepare_cached(sql)?.execute([list])?;
        let encoded =
            group.iter().map(|(lower, order)| Ok((*lower, order.encode()?))).collect::<Result<Vec<_>, _>>();
        let encoded =
            encoded.map_err(|error: packhorse_wire::envelope::CborError| DbError::internal(error))?;
        let rows = vec!["(?, ?, ?)"; encoded.len()].join(", ");
        let sql = format!(
            "WITH fresh (lower, kind, body) AS (VALUES {rows})
             INSERT INTO feed_entries (lower, n, kind, body)
             SELECT f.lower, f.last, fresh.kind, fresh.body FROM fresh JOIN feeds f ON f.lower = fresh.lower"
        );
        let values: Vec<&dyn ToSql> = encoded
            .iter()
            .flat_map(|(lower, (kind, body))| [lower as &dyn ToSql, kind as &dyn ToSql, body as &dyn ToSql])
            .collect();
        tx.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// What the sender answers a reader.
pub enum FeedAnswer {
    /// These.
    Orders {
        /// The feed's life.
        incarnation: Incarnation,
        /// They begin after this number.
        after: u64,
        /// The orders.
        orders: Vec<OrderMsg>,
        /// There are more.
        more: bool,
        /// Entries up to `after` are there no more to be needed.
        prune: bool,
    },
    /// The feed has to be made anew first.
    Rebuild,
}

/// Reads what comes after the reader's cursor.
///
/// # Errors
/// The database's.
pub fn read(
    connection: &Connection,
    lower: HostRow,
    reader: Incarnation,
    cursor: Option<Cursor>,
) -> Result<FeedAnswer, DbError> {
    let sql = "SELECT incarnation, reader, pruned, last FROM feeds WHERE lower = ?1";
    let found = connection
        .prepare_cached(sql)?
        .query_row([lower], |row| {
            let head = Head {
                incarnation: Incarnation(row.get::<_, i64>(0)? as u64),
                pruned: row.get::<_, i64>(2)? as u64,
                last: row.get::<_, i64>(3)? as u64,
            };
            Ok((head, row.get::<_, Option<i64>>(1)?))
        })
        .optional()?;
    let Some((head, made_for)) = found else { return Ok(FeedAnswer::Rebuild) };
    // A reader that lost its state, or was replaced, gets a feed that holds all that is open.
    if made_for.is_none_or(|life| life as u64 != reader.0) {
        return Ok(FeedAnswer::Rebuild);
    }
    let Answer::After { after } = answer(head, cursor) else { return Ok(FeedAnswer::Rebuild) };
    let sql = "SELECT n, kind, body FROM feed_entries WHERE lower = ?1 AND n > ?2 ORDER BY n LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![lower, after as i64, ANSWER_ORDERS as i64])?;
    let (mut orders, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(2)?;
        bytes += body.len();
        if bytes > ANSWER_BYTES && !orders.is_empty() {
            break;
        }
        orders.push(OrderMsg {
            n: row.get::<_, i64>(0)? as u64,
            kind: row.get(1)?,
            body: ByteBuf::from(body),
        });
    }
    let more = orders.last().map_or(after, |order| order.n) < head.last;
    Ok(FeedAnswer::Orders { incarnation: head.incarnation, after, orders, more, prune: after > head.pruned })
}

/// Forgets what a reader has stored.
pub struct Prune {
    /// Whose feed.
    pub lower: HostRow,
    /// Stored up to here.
    pub upto: u64,
}

impl Command for Prune {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        tx.prepare_cached("DELETE FROM feed_entries WHERE lower = ?1 AND n <= ?2")?
            .execute(params![self.lower, self.upto as i64])?;
        tx.prepare_cached("UPDATE feeds SET pruned = MAX(pruned, ?2) WHERE lower = ?1 AND last >= ?2")?
            .execute(params![self.lower, self.upto as i64])?;
        Ok(())
    }
}

/// Begins a new life of a feed, for a life of its reader, with nothing in it.
///
/// # Errors
/// The database's.
pub fn restart(tx: &Connection, lower: HostRow, reader: Incarnation) -> Result<(), DbError> {
    tx.prepare_cached("DELETE FROM feed_entries WHERE lower = ?1")?.execute([lower])?;
    let sql = "INSERT INTO feeds (lower, incarnation, reader, pruned, last) VALUES (?1, ?2, ?3, 0, 0)
               ON CONFLICT (lower) DO UPDATE SET incarnation = excluded.incarnation, reader = excluded.reader,
                 pruned = 0, last = 0";
    tx.prepare_cached(sql)?.execute(params![lower, random_incarnation().0 as i64, reader.0 as i64])?;
    Ok(())
}
