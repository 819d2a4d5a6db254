//! Jobs that relays below made: known here by the relays' reports. They are shown, and their lines become the truth by what
//! hosts say; they are handed to nobody, for the relay has done that.

use packhorse_domain::ids::HostId;
use packhorse_domain::report::{Body, JobReport, Report};
use packhorse_domain::time::Time;
use packhorse_wire::signed::DelegationDoc;
use packhorse_wire::trust::Trust;
use rusqlite::{Connection, params};

use super::hosts::{self, HostRow};
use super::jobs::{self, Incoming, JobRow, Taken};
use super::join::read_own_job;
use super::reports::alarm;
use super::{Command, DbError, delegations, meta, outbox};
use crate::signer;

/// Takes in the jobs that a batch of `lower` speaks of, before the reports about their lines; answers those that are new or
/// changed. What a relay says of a job counts only as far as its key, which the managing server delegated to, has signed it.
///
/// # Errors
/// The database's.
pub fn reported(
    tx: &Connection,
    lower: HostRow,
    batch: &[Report],
    now: Time,
) -> Result<Vec<JobRow>, DbError> {
    let mut learned = Vec::new();
    for (relay, said) in batch.iter().filter_map(of_a_job) {
        let below = hosts::by_id(tx, relay)?.filter(|host| host.row == lower || host.via == lower);
        // One that is not below the sender is refused like any report of it.
        let Some(host) = below else { continue };
        match verified(tx, relay, said)? {
            Ok((incoming, doc)) => {
                if let Taken::Stored { job, .. } = jobs::learn(tx, &incoming, now)? {
                    learned.push(job);
                    // What is not delegated (any more) is not begun again by a report that was on its way.
                    delegations::stop_lapsed(tx, &doc.name, &doc.delegation(), now)?;
                }
            }
            Err(why) => {
                tracing::warn!(relay = host.name, why, "refused a job that a relay told of");
                alarm(tx, &host.name, now, "bad_job", &why)?;
            }
        }
    }
    Ok(learned)
}

fn of_a_job(report: &Report) -> Option<(&HostId, &JobReport)> {
    match &report.body {
        Body::Job(job) => Some((&report.origin, job)),
        _ => None,
    }
}

fn verified(
    tx: &Connection,
    relay: &HostId,
    said: &JobReport,
) -> Result<Result<(Incoming, DelegationDoc), String>, DbError> {
    let Some(envelope) = delegations::of(tx, relay)? else {
        return Ok(Err("a relay tells of a job, and nothing was delegated to it".to_owned()));
    };
    let doc = delegations::read(&envelope)?;
    let trust = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
    let trust = Trust::own(&trust).map_err(DbError::damaged)?;
    let job = match trust.relay_job(&said.envelope, &doc) {
        Ok(job) => job,
        Err(error) => return Ok(Err(error.to_string())),
    };
    // Unsigned, and read as JSON wherever destinations are shown or searched.
    if serde_json::from_str::<Vec<String>>(&said.asked).is_err() {
        return Ok(Err("a relay tells of a job whose destinations are no list".to_owned()));
    }
    let copies = job.packages.iter().zip(said.sizes.iter().copied().chain(std::iter::repeat(0)));
    let incoming = Incoming {
        envelope: said.envelope.clone(),
        proofs: said.proofs.clone(),
        ended: Vec::new(),
        named: Vec::new(),
        copies: copies.map(|(package, size)| (package.id, size, Vec::new())).collect(),
        asked: said.asked.clone(),
        job,
    };
    Ok(Ok((incoming, doc)))
}

/// A relay tells of its open jobs again: the managing server may have been restored from before it heard of them.
pub struct TellAgain {
    /// This relay.
    pub own: HostId,
    /// The issuer of its jobs.
    pub issuer: String,
    /// Now.
    pub now: Time,
}

impl Command for TellAgain {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        let sql = "SELECT row, envelope, asked FROM jobs WHERE issuer = ?1 AND until > ?2 ORDER BY row";
        let mut statement = tx.prepare_cached(sql)?;
        let rows = statement.query_map(params![self.issuer, self.now.0], |row| {
            Ok((row.get::<_, JobRow>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, String>(2)?))
        })?;
        for (row, envelope, asked) in rows.collect::<Result<Vec<_>, _>>()? {
            let Some(job) = read_own_job(&envelope) else { continue };
            let copies = jobs::sizes(tx, row)?
                .into_iter()
                .map(|(package, size)| (package, size, Vec::new()))
                .collect();
            let proofs = jobs::all_proofs(tx, row)?;
            let named = Vec::new();
            let incoming = Incoming { job, envelope, proofs, ended: Vec::new(), named, copies, asked };
            outbox::say(tx, &self.own, Body::Job(signer::report(&incoming)), self.now)?;
        }
        Ok(())
    }
}
