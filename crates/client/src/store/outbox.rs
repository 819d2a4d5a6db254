//! The outbox: a view of the journal and the alarms.

use packhorse_domain::agent::Entry;
use packhorse_domain::facts::Facts;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::report::{Body, LineReport, Report};
use packhorse_domain::time::Time;
use packhorse_wire::messages::ReportMsg;
use rusqlite::{Connection, Row, params};

use super::entry::{decode, unreadable};
use super::schema::get;

/// Who reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter {
    /// The host.
    pub me: HostId,
    /// Which life of its state.
    pub incarnation: Incarnation,
}

/// A run of the outbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    /// It covers the numbers up to here.
    pub through: u64,
    /// Number and report, rising.
    pub reports: Vec<(u64, ReportMsg)>,
    /// There is more after it.
    pub more: bool,
}

impl Batch {
    /// What is kept above `after`, at most `limit` reports.
    ///
    /// # Errors
    /// What the database says.
    pub fn read(
        connection: &mut Connection,
        reporter: Reporter,
        after: u64,
        limit: usize,
    ) -> rusqlite::Result<Batch> {
        let tx = connection.transaction()?;
        let base = get(&tx, "base")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut statement = tx.prepare_cached(
            "SELECT report, entry, NULL, NULL, NULL FROM journal WHERE report > ?1
             UNION ALL SELECT report, NULL, at, code, text FROM alarms WHERE report > ?1
             UNION ALL SELECT report, NULL, at, NULL, body FROM facts WHERE report > ?1
             ORDER BY report LIMIT ?2",
        )?;
        let rows = statement.query_map(params![after as i64, limit as i64 + 1], body)?;
        let mut reports = Vec::new();
        for row in rows {
            let (no, at, body) = row?;
            let report =
                Report { origin: reporter.me, incarnation: reporter.incarnation, no, base, at, body };
            reports.push((no, ReportMsg::from(&report)));
        }
        let more = reports.len() > limit;
        reports.truncate(limit);
        // All numbers below the newest kept are either here or were receipted and let go.
        let through = reports.last().map_or(after, |(no, _)| *no);
        Ok(Batch { through, reports, more })
    }
}

fn body(row: &Row<'_>) -> rusqlite::Result<(u64, Time, Body)> {
    let no = row.get::<_, i64>(0)?.unsigned_abs();
    let entry: Option<Vec<u8>> = row.get(1)?;
    match entry {
        Some(bytes) => {
            let entry = decode(&bytes).map_err(unreadable)?;
            let said = line(&entry).ok_or_else(|| {
                unreadable(packhorse_wire::envelope::CborError::Malformed(format!(
                    "journal entry {no} is no report"
                )))
            })?;
            Ok((no, entry.at, Body::Line(said)))
        }
        None => {
            let (at, code, text) = (Time(row.get(2)?), row.get::<_, Option<String>>(3)?, row.get(4)?);
            let body = match code {
                Some(code) => Body::Alarm { code, text },
                None => Body::Facts(facts(&text)),
            };
            Ok((no, at, body))
        }
    }
}

/// What was told. (A fact that this program would not tell any more is left out.)
pub(super) fn facts(body: &str) -> Facts {
    let mut facts = Facts::default();
    let said: Vec<(String, String)> = serde_json::from_str(body).unwrap_or_default();
    for (name, value) in said {
        let _ = facts.set(&name, &value);
    }
    facts
}

fn line(entry: &Entry) -> Option<LineReport> {
    Some(LineReport {
        job: entry.line.job.clone(),
        package: entry.line.package,
        attempt: entry.attempt,
        event: entry.kind.event()?,
    })
}
