//! What the host says of itself: judged with at once, told upwards when it is news.

use packhorse_domain::agent::{Input, Step};
use packhorse_domain::facts::Facts;
use packhorse_domain::time::Time;

use super::Driver;
use crate::ClientError;
use crate::store::{Commit, Told};
use crate::zone::ahead_secs;

/// The free disk alone is told at most this often, in seconds.
const DISK_EVERY_SECS: i64 = 600;

/// What was told last, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Last {
    facts: Facts,
    at: Option<Time>,
}

impl From<Option<Told>> for Last {
    fn from(told: Option<Told>) -> Last {
        told.map_or_else(Last::default, |told| Last { facts: told.facts, at: Some(told.at) })
    }
}

impl Last {
    /// Whether these are worth a report.
    fn is_old(&self, facts: &Facts, now: Time) -> bool {
        // A clock that was turned back does not keep the host silent.
        let long_ago = self.at.is_none_or(|at| !(at..at.plus_secs(DISK_EVERY_SECS)).contains(&now));
        facts.differ(&self.facts) || (long_ago && facts.disk_moved(&self.facts))
    }
}

impl Driver {
    /// Takes in what the host says of itself now.
    pub(super) async fn facts(&mut self, facts: Facts) -> Result<(), ClientError> {
        let now = self.tools.clock.now();
        self.judge.set_facts(facts.clone());
        let step = self.reconsidered(now);
        self.apply(step, Commit { at: now, ..Commit::default() }).await?;
        if !self.told_facts.is_old(&facts, now) {
            return Ok(());
        }
        let told = Told { report: self.agent.number(), at: now, facts };
        self.told_facts = Last::from(Some(told.clone()));
        self.commit(Commit { at: now, facts: Some(told), ..Commit::default() }).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Jobs that are known here and did not name the host, and do now: what is said of it has changed.
    pub(super) fn reconsidered(&mut self, now: Time) -> Step {
        let mut step = Step::default();
        for (job, attempt) in self.judge.named_now(self.agent.jobs(), now) {
            let input = Input::Order { ahead_secs: ahead_secs(&job), job, attempt: Some(attempt) };
            self.step_into(&mut step, input, now);
        }
        step
    }
}
