//! What a job was planned to do when it was made, kept with it; afterwards plan and fact stand side by side.

use std::collections::BTreeMap;

use packhorse_domain::instruction::{Line, State};
use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{PlanFact, PlanView};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::AdminError;
use super::around::Around;
use super::format::{clock, count, parse_time, size};
use super::jobs::Found;
use super::plan;
use super::wish::Wish;
use crate::db::hosts::Fleet;
use crate::db::{DbError, history, views};
use crate::system::System;

/// A plan, and bytes by line.
type KeptAndSent = (Kept, BTreeMap<String, u64>);

/// As it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    plan: PlanView,
    /// What each relay had received in all when the job was made.
    received_bytes: BTreeMap<String, u64>,
}

/// Plans a wish, to be kept with the job that is made of it; `staged` as [`plan::of`] takes it.
///
/// # Errors
/// It cannot be granted, or the database's.
pub async fn of(system: &System, wish: Wish, staged: Option<Time>) -> Result<String, AdminError> {
    let mut plan = plan::of(system, wish, staged).await?;
    // What was said is made anew of what is kept.
    plan.text.clear();
    let received_bytes = system.db.read(received).await?;
    let kept = Kept { plan, received_bytes };
    serde_json::to_string(&kept).map_err(|error| AdminError::internal("a plan", &error))
}

fn received(connection: &Connection) -> Result<BTreeMap<String, u64>, DbError> {
    let (fleet, traffic) = (Fleet::load(connection)?, views::traffic(connection)?);
    let relays = fleet.hosts().iter().filter(|host| host.role == HostRole::Relay);
    Ok(relays
        .map(|relay| {
            (relay.name.clone(), traffic.get(&relay.row).map_or(0, |traffic| traffic.received_bytes))
        })
        .collect())
}

/// Loads a job's plan with what relays have received by now; `None`: it has none.
///
/// # Errors
/// The database's.
pub fn load(connection: &Connection, found: &Found) -> Result<Option<KeptAndSent>, DbError> {
    let Some(text) = history::plan(connection, found.job.row)? else { return Ok(None) };
    // One of a later version is no plan of ours.
    let Ok(kept) = serde_json::from_str(&text) else { return Ok(None) };
    Ok(Some((kept, received(connection)?)))
}

/// Plan and fact.
pub fn facts(
    around: &Around<'_>,
    found: &Found,
    kept: &Kept,
    received: &BTreeMap<String, u64>,
) -> Vec<PlanFact> {
    let plan = &kept.plan;
    let mut facts = vec![hosts(found, plan), end(around, found, plan)];
    for line in &plan.lines {
        let Some(now) = received.get(&line.to) else { continue };
        let before = kept.received_bytes.get(&line.to).copied().unwrap_or(0);
        let note = if line.note.is_empty() { String::new() } else { format!(" ({})", line.note) };
        facts.push(PlanFact {
            what: format!("{} → {}", line.from, line.to),
            planned: format!("{}{note}", size(line.bytes)),
            // Counters do not know for which job bytes came.
            fact: format!("{} since, all jobs together", size(now.saturating_sub(before))),
        });
    }
    facts
}

fn hosts(found: &Found, plan: &PlanView) -> PlanFact {
    let of = |keep: fn(State) -> bool| -> u64 {
        let counted = found.counts.iter().filter(|(word, _)| State::parse(word).is_some_and(keep));
        counted.map(|(_, lines)| *lines).sum()
    };
    let (well, bad) = (of(State::ended_well), of(|state| state.is_end() && !state.ended_well()));
    let open = of(|state| !state.is_end());
    PlanFact {
        what: "hosts".to_owned(),
        planned: format!("{}: {} in, {} out", plan.hosts, plan.within, plan.hosts - plan.within),
        fact: format!("{}: {well} ended well, {bad} not well, {open} open", count(well + bad + open, "line")),
    }
}

fn end(around: &Around<'_>, found: &Found, plan: &PlanView) -> PlanFact {
    let expected = plan.ends.as_deref().and_then(|text| parse_time("the plan's end", text).ok());
    let ended = |line: &Line| line.shown().is_end();
    let last: Option<Time> = found.lines.iter().map(|(_, line)| line.since).max();
    let open = found.lines.iter().filter(|(_, line)| !ended(line)).count() as u64;
    PlanFact {
        what: "end".to_owned(),
        planned: expected.map_or_else(|| "unknown".to_owned(), |at| clock(at, around.now)),
        fact: match (open, last) {
            (0, Some(last)) => clock(last, around.now),
            (0, None) => "no line".to_owned(),
            (open, _) => format!("{} open", count(open, "line")),
        },
    }
}
