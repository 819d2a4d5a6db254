//! What a user may decide on: offers, and installs that may be put off.

use packhorse_domain::agent::{AgentLine, Denied, Input, KnownJob, LineId, Stage, Wish};
use packhorse_domain::instruction::State;
use packhorse_domain::job::{Choosers, Intent, JobType};
use packhorse_domain::time::Time;
use packhorse_wire::local::LocalOffer;

use super::Driver;
use super::status::state;
use crate::ClientError;
use crate::clock::rfc3339;
use crate::executor::Task;
use crate::judge::short_hash;

/// Most that are told: the answer is one line of limited length.
pub(crate) const OFFERS_MAX: usize = 100;
/// Longest reason that is told, in characters.
const REASON_CHARS_MAX: usize = 160;

/// Something a user may decide on, without what its manifest says and without who asks.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// As it is told.
    pub offer: LocalOffer,
    /// Who may decide.
    pub choosers: Choosers,
    /// The package.
    pub task: Task,
}

/// Names a line in requests; what a user sends reaches nothing else.
fn offer_id(id: &LineId) -> String {
    short_hash(format!("{}\0{}\0{}\0{}", id.job.issuer, id.job.epoch, id.job.number, id.place).as_bytes())
}

impl Driver {
    /// All of it, the newest job first.
    pub(super) fn offers(&self) -> Vec<Listed> {
        let now = self.tools.clock.now();
        let mut lines: Vec<&AgentLine> =
            self.agent.lines().filter(|line| self.is_listed(line, now)).collect();
        let created = |line: &AgentLine| self.agent.job(&line.id.job).map(|known| known.job.created);
        lines.sort_by_key(|line| (std::cmp::Reverse(created(line)), line.id.place));
        lines.into_iter().take(OFFERS_MAX).filter_map(|line| self.listed(line)).collect()
    }

    fn is_listed(&self, line: &AgentLine, now: Time) -> bool {
        let Some(KnownJob { job, .. }) = self.agent.job(&line.id.job) else { return false };
        if job.intent == Intent::Cancelled || job.until <= now {
            return false;
        }
        match job.job_type {
            JobType::Offer => line.offered && (!line.stage.is_end() || line.may_be_chosen()),
            JobType::Install => job.terms.postpone > 0 && line.is_unbegun(),
            JobType::Transfer => false,
        }
    }

    fn listed(&self, line: &AgentLine) -> Option<Listed> {
        let KnownJob { job, .. } = self.agent.job(&line.id.job)?;
        let label = &job.packages.get(line.id.place as usize)?.label;
        let left = job.terms.postpone.saturating_sub(line.postponed);
        let offer = LocalOffer {
            id: offer_id(&line.id),
            job: line.id.job.to_string(),
            kind: job.job_type.as_str().to_owned(),
            package: label.to_string(),
            name: label.name.clone(),
            version: label.version.clone(),
            summary: String::new(),
            size_bytes: self.hints.get(&line.id.package).map_or(0, |hint| hint.size_bytes),
            missing_bytes: None,
            from: self.tools.higher.clone(),
            takes_secs: None,
            state: shown(line).as_str().to_owned(),
            chosen_for: line.choice.as_ref().and_then(|choice| choice.at).map(rfc3339),
            until: rfc3339(job.until),
            required_from: job.terms.required_from.map(rfc3339),
            postpones_left: left,
            reason: self.reason(line).map(|text| text.chars().take(REASON_CHARS_MAX).collect()),
            may_choose: false,
        };
        Some(Listed { offer, choosers: job.terms.choosers.clone(), task: self.task(&line.id)? })
    }

    /// Does what a user decided; who may was judged before.
    ///
    /// # Errors
    /// The database's thread is gone, which never should be.
    pub(super) async fn wish(
        &mut self,
        offer: &str,
        by: String,
        wish: Wish,
    ) -> Result<Result<Listed, String>, ClientError> {
        let now = self.tools.clock.now();
        let line = self.agent.lines().find(|line| offer_id(&line.id) == offer).map(|line| line.id.clone());
        let Some(line) = line else { return Ok(Err(Denied::Unknown.text(rfc3339))) };
        if let Err(denied) = self.agent.may(&line, wish, now) {
            return Ok(Err(denied.text(rfc3339)));
        }
        // Durable before it is acted on, and before the user hears of it.
        self.input(Input::Wish { line: line.clone(), by, wish }).await?;
        let known = self.agent.lines().find(|known| known.id == line);
        Ok(known.and_then(|line| self.listed(line)).ok_or_else(|| Denied::Unknown.text(rfc3339)))
    }

    /// Packages of which the manifest is still of use, because they are offered, though nothing is staged of them.
    pub(super) fn is_offered(&self, package: &packhorse_domain::ids::PackageId) -> bool {
        let now = self.tools.clock.now();
        self.agent.lines().any(|line| line.id.package == *package && self.is_listed(line, now))
    }
}

/// As a user understands it: chosen is chosen until the installer runs.
fn shown(line: &AgentLine) -> State {
    match (&line.stage, &line.choice) {
        (Stage::Ended(_) | Stage::Offered | Stage::Installing | Stage::Checking, _) | (_, None) => {
            state(line)
        }
        _ => State::Chosen,
    }
}
