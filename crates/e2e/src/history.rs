//! Every report that became durable at the managing server, read beside it.

use packhorse_wire::envelope::from_cbor_limited;
use packhorse_wire::messages::{BodyMsg, EventMsg, ReportMsg};
use rusqlite::{Connection, OpenFlags};

use crate::raw;
use crate::system::System;

/// Most bytes of a report.
const LIMIT_BYTES: usize = 1 << 20;

/// What a host has reported, in its own order.
pub fn of(server: &System, host: &System) -> Vec<ReportMsg> {
    let path = server.data.join("server.db");
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database");
    let sql = "SELECT body FROM history WHERE origin = ?1 ORDER BY incarnation, no";
    let mut statement = connection.prepare(sql).expect("the history");
    let bodies = statement.query_map([raw::identity(&host.data).id.0], |row| row.get::<_, Vec<u8>>(0));
    bodies
        .expect("the history")
        .map(|body| from_cbor_limited(&body.expect("a report"), LIMIT_BYTES).expect("a report"))
        .collect()
}

/// How often a host has reported the end of job `number`, and how often its beginning.
pub fn ends_and_begins(server: &System, host: &System, number: &str) -> (usize, usize) {
    let number: u64 = number.parse().expect("a job's number");
    let reports = of(server, host);
    let count = |wanted: fn(&EventMsg) -> bool| {
        let own = reports.iter().filter(|report| match &report.body {
            BodyMsg::Line { job, event, .. } => job.number == number && wanted(event),
            _ => false,
        });
        own.count()
    };
    (count(|event| matches!(event, EventMsg::Ended(_))), count(|event| matches!(event, EventMsg::Begun)))
}
