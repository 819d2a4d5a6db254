//! Rule 9: once faults stop, every line ends and the managing server's view becomes the hosts'.

use packhorse_domain::agent::{Agent, AgentLine, Stage};
use packhorse_domain::ids::HostId;
use packhorse_domain::instruction::LineKey;
use packhorse_domain::job::JobType;

use super::{Checked, Rule, require};
use crate::cx::Seen;
use crate::hub::HubState;

/// An agent as it stands at the end.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Its host.
    pub host: HostId,
    /// Its machine.
    pub agent: &'a Agent,
}

/// There are no two machines under one name in a run, so none is held: a restart or a replacement is not taken for one.
///
/// # Errors
/// One was.
pub fn nobody_is_held(seen: &Seen) -> Checked {
    match seen {
        Seen::Held(lower) => require(Rule::GoesOn, false, || format!("{lower:?} is held for twins")),
        _ => Ok(()),
    }
}

/// Judges whether every line has ended at its host.
///
/// # Errors
/// One is open there, or the host has not heard of it.
pub fn hosts_end(server: &HubState, agents: &[View<'_>]) -> Checked {
    for view in agents {
        let open = view.agent.lines().find(|line| !line.stage.is_end());
        require(Rule::GoesOn, open.is_none(), || format!("not ended at {}: {open:?}", view.host))?;
    }
    let is_transfer = |key: &LineKey| {
        server.jobs.get(&key.job).is_some_and(|row| row.doc.unverified().job_type == JobType::Transfer)
    };
    // A transfer's line is the relay system's own: its agent knows nothing of it.
    let open = server.lines.iter().filter(|(key, line)| !line.shown().is_end() && !is_transfer(key));
    for (key, line) in open {
        let view = agents.iter().find(|view| view.host == key.host);
        let known = view.is_some_and(|view| {
            let mut lines = view.agent.lines();
            lines.any(|own| (&own.id.job, own.id.package) == (&key.job, key.package))
        });
        require(Rule::GoesOn, known, || format!("not known at its host: {key:?} {line:?}"))?;
    }
    Ok(())
}

/// Judges whether the managing server sees that everything has come to its end.
///
/// # Errors
/// Something is open, or seen differently by the managing server and a host.
pub fn goes_on(server: &HubState, agents: &[View<'_>]) -> Checked {
    for (key, line) in &server.lines {
        require(Rule::GoesOn, line.shown().is_end(), || {
            format!("not ended at the server: {key:?} {line:?}")
        })?;
    }
    for view in agents {
        for line in view.agent.lines() {
            same_view(server, view, line)?;
        }
        require(Rule::GoesOn, view.agent.base() == view.agent.reported(), || {
            format!(
                "{} has {} reports without a receipt",
                view.host,
                view.agent.reported() - view.agent.base()
            )
        })?;
    }
    Ok(())
}

fn same_view(server: &HubState, view: &View<'_>, line: &AgentLine) -> Checked {
    let Stage::Ended(outcome) = &line.stage else {
        return require(Rule::GoesOn, false, || format!("not ended at {}: {line:?}", view.host));
    };
    let key = LineKey { job: line.id.job.clone(), package: line.id.package, host: view.host };
    let there = server.lines.get(&key);
    // An earlier life of a replaced host may have had the last word.
    if there.and_then(|there| there.seen).is_some_and(|(life, _)| life != view.agent.incarnation()) {
        return Ok(());
    }
    let same = there.is_some_and(|there| {
        there.attempt == line.attempt && there.state == outcome.end && there.outcome.as_ref() == Some(outcome)
    });
    require(Rule::GoesOn, same, || format!("{} says {line:?}, the server {there:?}", view.host))
}
