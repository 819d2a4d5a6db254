//! Orders: jobs are taken in by revision, lines opened, cancelled, superseded.

use super::{Agent, AgentLine, KnownJob, LineId, Stage, Write, forgotten_at};
use crate::delegated::Lapsed;
use crate::ids::{JobKey, SERVER};
use crate::instruction::State;
use crate::job::{Gate, Intent, Job, JobType, gate};
use crate::report::{Outcome, UNFIT_STEP};
use crate::time::Time;
use crate::version::not_above;

impl Agent {
    pub(super) fn order(&mut self, job: Job, attempt: Option<u32>, ahead_secs: i64, now: Time) {
        // A transfer stops at relays: nothing of it is an agent's business.
        if job.job_type == JobType::Transfer {
            return;
        }
        let revision = self.revision(&job.key);
        // A host that a revision does not name (any more) keeps the attempt it is in; a number never falls.
        let before = self.jobs.get(&job.key).and_then(|known| known.attempt);
        let news = match gate(revision, job.revision) {
            Gate::Take => true,
            // The same revision again, with a proof that was not there before: the host was moved, or came late.
            Gate::Known => attempt > before,
            Gate::Older => false,
        };
        if !news || forgotten_at(&job) <= now {
            return;
        }
        let known = KnownJob { attempt: attempt.max(before), ahead_secs, job };
        let key = known.job.key.clone();
        self.step.writes.push(Write::Job(key.clone(), known.attempt));
        self.open_lines(&known, now);
        self.jobs.insert(key, known);
    }

    /// The host's own word on a condition is the last: above a line is open for it, which ends. A job that it was once named
    /// by goes on.
    pub(super) fn unfit(&mut self, job: Job, attempt: u32, why: &str, now: Time) {
        let key = job.key.clone();
        if self.jobs.contains_key(&key) {
            let ahead_secs = self.jobs.get(&key).map_or(0, |known| known.ahead_secs);
            return self.order(job, None, ahead_secs, now);
        }
        self.order(job.clone(), None, 0, now);
        // It takes no part in the attempt: it says so, and is asked again when it is named after all.
        self.open_lines(&KnownJob { job, attempt: Some(attempt), ahead_secs: 0 }, now);
        for id in self.ids(|line| line.id.job == key && line.is_unbegun()) {
            self.end(&id, Outcome::with(State::NotApplicable, UNFIT_STEP, why), now);
        }
    }

    pub(super) fn open_lines(&mut self, known: &KnownJob, now: Time) {
        let Some(attempt) = known.attempt else { return };
        for (place, package) in (0u32..).zip(&known.job.packages) {
            let id = LineId { job: known.job.key.clone(), place, package: package.id };
            let line = self.lines.entry(id.clone()).or_insert_with(|| AgentLine::new(id, attempt, now));
            line.offer_attempt(attempt, now);
        }
    }

    /// Ends lines of cancelled jobs that have not begun. After every step, not only when the cancel comes: a line may be
    /// unbegun again later, when its installer could not be started or a later attempt takes its turn.
    pub(super) fn cancel(&mut self, now: Time) {
        let cancelled = |line: &AgentLine| {
            let known = self.jobs.get(&line.id.job);
            line.is_unbegun() && known.is_some_and(|known| known.job.intent == Intent::Cancelled)
        };
        for id in self.ids(cancelled) {
            self.end(&id, Outcome::with(State::Cancelled, "", "the job was cancelled"), now);
        }
        // The same for jobs that are not (any more) what was delegated to the relay that made them.
        let Some((rights, place)) = self.rights.take() else { return };
        for id in self.ids(AgentLine::is_unbegun) {
            let Some(known) = self.jobs.get(&id.job).filter(|known| known.job.key.issuer != SERVER) else {
                continue;
            };
            let Err(lapsed) = rights.goes_on(&known.job, &place, now) else { continue };
            // That it ended nobody told: it may have been renewed while this host heard nothing. Until that is known it is held.
            let unsure = rights.ends(&id.job.issuer).is_some_and(|end| self.read < end);
            if lapsed != Lapsed::Ended || !unsure {
                let text = lapsed.told(&id.job.issuer);
                self.end(&id, Outcome::with(State::Cancelled, "", &text), now);
            }
        }
        self.rights = Some((rights, place));
    }

    /// Whether the end has come of what is delegated to the relay that made a job, as far as is known here.
    pub(super) fn has_ended(&self, job: &Job, now: Time) -> bool {
        let rights = self.rights.as_ref().filter(|_| job.key.issuer != SERVER);
        rights.is_some_and(|(rights, place)| rights.goes_on(job, place, now) == Err(Lapsed::Ended))
    }

    /// When a job ends to be what was delegated to the relay that made it, by time alone.
    pub(super) fn lapses(&self, job: &Job) -> Option<Time> {
        let (rights, _) = self.rights.as_ref().filter(|_| job.key.issuer != SERVER)?;
        rights.ends(&job.key.issuer)
    }

    /// Ends lines that have not begun and for whose package (same cabinet and name) a later order is known.
    pub(super) fn supersede(&mut self, now: Time) {
        for id in self.ids(AgentLine::is_unbegun) {
            if let Some(newer) = self.superseded_by(&id) {
                let text = format!("job {newer} is newer and brings the same package");
                self.end(&id, Outcome::with(State::Superseded, "", &text), now);
            }
        }
    }

    /// The job that takes a line's place: a later one of the same type for the same cabinet and name. What a user chose is
    /// left alone until the user chooses the later one too; what nobody has chosen also gives way to an install of the same
    /// or a higher version. The same rule as the server's (`db/lines.rs::supersede`).
    pub(super) fn superseded_by(&self, id: &LineId) -> Option<JobKey> {
        let (ordered, label) = self.ordered(id)?;
        let own = &self.jobs.get(&id.job)?.job;
        let chosen = |id: &LineId| self.lines.get(id).is_some_and(|line| line.choice.is_some());
        // A job that does not name this host takes nobody's place here.
        let named = |line: &&AgentLine| !matches!(&line.stage, Stage::Ended(outcome) if outcome.is_unfit());
        let others = self.lines.values().filter(named).map(|line| &line.id);
        let others = others.filter(|other| other.job != id.job && other.job.issuer == id.job.issuer);
        others.into_iter().find_map(|other| {
            let (later, theirs) = self.ordered(other)?;
            let job = &self.jobs.get(&other.job)?.job;
            let same = theirs.cabinet == label.cabinet && theirs.name == label.name;
            let newer = (later, other.job.number) > (ordered, id.job.number);
            let fits = match (own.job_type, job.job_type) {
                (JobType::Offer, JobType::Offer) => !chosen(id) || chosen(other),
                (JobType::Offer, JobType::Install) => {
                    !chosen(id) && not_above(&label.version, &theirs.version)
                }
                (mine, theirs) => mine == theirs,
            };
            (same && newer && fits && job.intent != Intent::Cancelled).then(|| other.job.clone())
        })
    }

    pub(super) fn ordered(&self, id: &LineId) -> Option<(Time, &crate::ids::PackageLabel)> {
        let known = self.jobs.get(&id.job)?;
        let attempt = self.lines.get(id)?.attempt;
        let round = known.job.rounds.iter().find(|round| round.attempt == attempt)?;
        let package = known.job.packages.get(id.place as usize)?;
        Some((round.ordered, &package.label))
    }
}
