//! What the users of hosts decide, drawn from the seed: they choose, reject, take back, put off.

use packhorse_domain::agent::{Input, LineId, Wish};
use packhorse_domain::job::{Intent, JobType};
use packhorse_domain::time::Time;

use super::{Event, World};
use crate::sites::NodeId;

/// Most wishes for each dozen of jobs.
const WISHES_MAX: i64 = 60;

impl World {
    /// Draws when users decide something.
    pub(super) fn plan_users(&mut self) {
        let last = self.options.rough_secs * 1_000_000;
        let often = self.options.job_count.map_or(1, |jobs| jobs as i64 / 12);
        for _ in 0..self.rng.between(0, WISHES_MAX * often) {
            let at = Time(self.rng.between(8_000_000.min(last), last));
            self.at(at, Event::User);
        }
    }

    /// The user of some host decides on something that is shown there, if there is anything.
    pub(super) fn user_decides(&mut self) {
        let agents: Vec<NodeId> = self.sites.agents().filter(|id| self.nodes[*id].up).collect();
        let first = self.rng.below(agents.len().max(1) as u64) as usize;
        let order = agents.iter().cycle().skip(first).take(agents.len());
        let Some((node, lines)) =
            order.map(|id| (*id, self.decidable(*id))).find(|(_, lines)| !lines.is_empty())
        else {
            return;
        };
        let Some((line, offer)) = self.rng.pick(&lines).cloned() else { return };
        let later = self.rng.between(20, 400) * self.options.pace;
        let at = self.rng.per_mille(400).then(|| self.now.plus_secs(later));
        let wish = match (offer, self.rng.below(5)) {
            (false, _) => Wish::Postpone { until: Some(self.now.plus_secs(later)) },
            (true, 0) => Wish::Reject,
            (true, 1) => Wish::Withdraw,
            (true, _) => Wish::Choose { at },
        };
        self.note(node, &format!("its user decides {wish:?} on {line:?}"));
        let may = self.nodes[node]
            .agent()
            .is_some_and(|(agent, _)| agent.agent().may(&line, wish, self.now).is_ok());
        self.stats.wishes += u64::from(may);
        if let (Wish::Choose { .. }, true) = (wish, may) {
            let life = self.nodes[node].role.life();
            self.ledger.chose((node, life), &line);
        }
        self.input(node, Input::Wish { line, by: "user".to_owned(), wish });
    }

    /// What is shown to the user of a host, and whether it is an offer.
    fn decidable(&self, node: NodeId) -> Vec<(LineId, bool)> {
        let Some((agent, _)) = self.nodes[node].agent() else { return Vec::new() };
        let agent = agent.agent();
        let lines = agent.lines().filter_map(|line| {
            let job = &agent.job(&line.id.job)?.job;
            let offer = job.job_type == JobType::Offer;
            let open = job.intent != Intent::Cancelled && job.until > self.now;
            let shown = if offer { line.offered } else { job.terms.postpone > 0 && line.is_unbegun() };
            (open && shown).then(|| (line.id.clone(), offer))
        });
        lines.collect()
    }
}
