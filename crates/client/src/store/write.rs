//! What one step of the agent makes durable, in one transaction.

use std::collections::HashMap;

use packhorse_domain::agent::{Entry, Write};
use packhorse_domain::calling::Call;
use packhorse_domain::facts::Facts;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::JobKey;
use packhorse_domain::outbox::Hop;
use packhorse_domain::time::Time;
use rusqlite::{Connection, Transaction, params};

use super::entry::{encode, unreadable};
use super::kept::{hop_text, put_call, put_cursor};
use super::schema::{put, put_blob};

/// A host keeps its final reports this long past their receipt.
const KEEP_DAYS: i64 = 90;

/// A refusal that is told upwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// Its number among the reports.
    pub report: u64,
    /// When.
    pub at: Time,
    /// A short word.
    pub code: &'static str,
    /// What it was about: each (code, what) is told once.
    pub what: String,
    /// One sentence.
    pub text: String,
}

/// What the host says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its number among the reports.
    pub report: u64,
    /// When.
    pub at: Time,
    /// All of it.
    pub facts: Facts,
}

/// Everything of one step. Stored whole or not at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commit {
    /// When.
    pub at: Time,
    /// The machine's writes, in order.
    pub writes: Vec<Write>,
    /// Orders as they came, by their job.
    pub bodies: HashMap<JobKey, Vec<u8>>,
    /// How far the feed is stored.
    pub cursor: Option<Cursor>,
    /// How far the outbox is stored above.
    pub hop: Option<Hop>,
    /// Whom it calls from now on.
    pub call: Option<Call>,
    /// A newer trust document.
    pub trust: Option<Vec<u8>>,
    /// A newer place.
    pub place: Option<Vec<u8>>,
    /// Newer delegations, by the relay's name.
    pub delegations: Vec<(String, Vec<u8>)>,
    /// What was refused.
    pub alarms: Vec<Alarm>,
    /// What the host says of itself, when that is news.
    pub facts: Option<Told>,
    /// The word that it was retired.
    pub retired: Option<Vec<u8>>,
}

impl Commit {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.bodies.is_empty()
            && self.cursor.is_none()
            && self.hop.is_none()
            && self.call.is_none()
            && self.trust.is_none()
            && self.place.is_none()
            && self.delegations.is_empty()
            && self.alarms.is_empty()
            && self.facts.is_none()
            && self.retired.is_none()
    }

    /// Stores it.
    ///
    /// # Errors
    /// What the database says; nothing was stored then.
    pub fn store(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let tx = connection.transaction()?;
        for write in &self.writes {
            self.write(&tx, write)?;
        }
        for (key, body) in &self.bodies {
            tx.execute(
                "UPDATE jobs SET body = ?4 WHERE issuer = ?1 AND epoch = ?2 AND number = ?3",
                params![key.issuer, key.epoch as i64, key.number as i64, body],
            )?;
        }
        if let Some(cursor) = self.cursor {
            put_cursor(&tx, cursor)?;
        }
        if let Some(hop) = self.hop {
            put(&tx, "hop", &hop_text(hop))?;
        }
        if let Some(call) = self.call {
            put_call(&tx, call)?;
        }
        if let Some(trust) = &self.trust {
            put_blob(&tx, "trust", trust)?;
        }
        if let Some(place) = &self.place {
            put_blob(&tx, "place", place)?;
        }
        if let Some(word) = &self.retired {
            put_blob(&tx, "retired", word)?;
        }
        self.tell(&tx)?;
        tx.commit()
    }

    fn write(&self, tx: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
        match write {
            Write::Job(key, attempt) => {
                let empty = Vec::new();
                let body = self.bodies.get(key).unwrap_or(&empty);
                tx.execute(
                    "INSERT INTO jobs (issuer, epoch, number, attempt, body) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET attempt = excluded.attempt",
                    params![key.issuer, key.epoch as i64, key.number as i64, attempt, body],
                )?;
            }
            Write::Forget(key) => forget(tx, key, self.at)?,
            Write::Journal(entry) => append(tx, entry)?,
            Write::Base(upto) => receipted(tx, *upto, self.at)?,
        }
        Ok(())
    }

    fn tell(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for (name, envelope) in &self.delegations {
            tx.execute(
                "INSERT OR REPLACE INTO delegations (name, envelope) VALUES (?1, ?2)",
                params![name, envelope],
            )?;
        }
        for alarm in &self.alarms {
            tx.execute(
                "INSERT INTO alarms (report, at, code, what, text) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![alarm.report as i64, alarm.at.0, alarm.code, alarm.what, alarm.text],
            )?;
        }
        if let Some(told) = &self.facts {
            let body: Vec<(&str, &str)> = told.facts.iter().collect();
            let body = serde_json::to_string(&body).map_err(other)?;
            tx.execute(
                "INSERT INTO facts (report, at, body) VALUES (?1, ?2, ?3)",
                params![told.report as i64, told.at.0, body],
            )?;
        }
        Ok(())
    }
}

fn other(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn append(tx: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let key = &entry.line.job;
    let bytes = encode(entry).map_err(unreadable)?;
    tx.prepare_cached(
        "INSERT INTO journal (report, issuer, epoch, number, entry) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        entry.report.map(|no| no as i64),
        key.issuer,
        key.epoch as i64,
        key.number as i64,
        bytes
    ])?;
    Ok(())
}

fn receipted(tx: &Transaction<'_>, upto: u64, at: Time) -> rusqlite::Result<()> {
    put(tx, "base", &upto.to_string())?;
    for table in ["journal", "alarms", "facts"] {
        tx.execute(
            &format!("UPDATE {table} SET receipted = ?2 WHERE report <= ?1 AND receipted IS NULL"),
            params![upto as i64, at.0],
        )?;
    }
    // Only the newest says something: it is sent again to whoever has lost it.
    tx.execute(
        "DELETE FROM facts WHERE receipted IS NOT NULL AND report < (SELECT MAX(report) FROM facts)",
        [],
    )?;
    Ok(())
}

/// Forgets a job, and whatever of forgotten jobs was receipted long enough ago. A report that was not is kept.
fn forget(tx: &Transaction<'_>, key: &JobKey, now: Time) -> rusqlite::Result<()> {
    tx.execute(
        "DELETE FROM jobs WHERE issuer = ?1 AND epoch = ?2 AND number = ?3",
        params![key.issuer, key.epoch as i64, key.number as i64],
    )?;
    tx.execute(
        "DELETE FROM journal WHERE (report IS NULL OR receipted < ?1) AND NOT EXISTS (SELECT 1 FROM jobs
         WHERE jobs.issuer = journal.issuer AND jobs.epoch = journal.epoch AND jobs.number = journal.number)",
        params![now.plus_days(-KEEP_DAYS).0],
    )?;
    Ok(())
}
