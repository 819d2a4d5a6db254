//! A feed made anew: for a reader that joined, lost its state or was replaced, everything that is open.

use packhorse_domain::ids::Incarnation;
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{BelowHost, Order};
use rusqlite::{Connection, params};
use serde_bytes::ByteBuf;

use super::hosts::HostRow;
use super::{Command, DbError, control, delegations, feeds, jobs, meta, retired};
use crate::capability::Capabilities;

/// Most hosts in one order.
const HOSTS_MAX: usize = 2000;

/// Makes a lower system's feed anew.
pub struct RebuildFeed {
    /// Whose.
    pub lower: HostRow,
    /// For this life of the reader.
    pub reader: Incarnation,
    /// For the locators.
    pub capabilities: Capabilities,
    /// Now.
    pub now: Time,
}

impl Command for RebuildFeed {
    /// Whether there is one to make: whoever asked may have been retired or moved since.
    type Answer = bool;

    fn apply(self, tx: &Connection) -> Result<bool, DbError> {
        let calls = "SELECT EXISTS (SELECT 1 FROM hosts WHERE row = ?1 AND via = row AND retired IS NULL)";
        if !tx.prepare_cached(calls)?.query_row([self.lower], |row| row.get(0))? {
            return Ok(false);
        }
        feeds::restart(tx, self.lower, self.reader)?;
        let push = |order| feeds::append(tx, &[(self.lower, order)]);
        // As it is stored now: one that was written since the reader asked lay in the feed that is gone.
        let trust = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
        push(Order::Trust(ByteBuf::from(trust)))?;
        let own: Vec<u8> = tx
            .prepare_cached("SELECT place FROM hosts WHERE row = ?1")?
            .query_row([self.lower], |row| row.get(0))?;
        push(Order::Place(ByteBuf::from(own)))?;
        for hosts in below(tx, self.lower)?.chunks(HOSTS_MAX) {
            push(Order::Below(hosts.to_vec()))?;
        }
        for order in retired::for_lower(tx, self.lower)? {
            push(order)?;
        }
        // Before the jobs that are judged by them.
        for order in delegations::for_lower(tx, self.lower)? {
            push(order)?;
        }
        for order in control::by_way_of(tx, self.lower)? {
            push(order)?;
        }
        jobs::redispatch(tx, self.lower, &self.capabilities, self.now)?;
        Ok(true)
    }
}

/// The hosts below a relay, and the relay itself: relays first, the upper ones before the lower.
fn below(tx: &Connection, relay: HostRow) -> Result<Vec<BelowHost>, DbError> {
    let role: String =
        tx.prepare_cached("SELECT role FROM hosts WHERE row = ?1")?.query_row([relay], |row| row.get(0))?;
    if role != "relay" {
        return Ok(Vec::new());
    }
    let sql = "WITH RECURSIVE tree (row, depth) AS (
                 SELECT ?1, 0 UNION ALL
                 SELECT h.row, tree.depth + 1 FROM hosts h JOIN tree ON h.higher = tree.row AND tree.depth < 16)
               SELECT h.id, h.place, h.oldest FROM tree JOIN hosts h ON h.row = tree.row AND h.retired IS NULL
               ORDER BY h.role = 'client', tree.depth, h.name";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params![relay], |row| {
        Ok(BelowHost {
            host: Fixed(row.get(0)?),
            place: ByteBuf::from(row.get::<_, Vec<u8>>(1)?),
            generation: row.get::<_, i64>(2)? as u64,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
