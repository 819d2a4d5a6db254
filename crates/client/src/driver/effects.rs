//! Starting effects, and giving them up.

use packhorse_domain::agent::{Effect, LineId};
use tokio::task::AbortHandle;

use super::{Driver, Event};
use crate::executor::{Task, What};

/// An effect that is being worked on.
pub(super) struct Running {
    /// Counted up at each effect: the answer of an older one is not taken.
    pub generation: u64,
    /// An installer runs, or what it did is looked at: that is not given up.
    pub installs: bool,
    handle: AbortHandle,
}

impl Driver {
    /// Starts an effect.
    pub(super) fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Probe(line) => self.spawn(line, What::Probe),
            Effect::Obtain(line) => self.spawn(line, What::Obtain),
            Effect::Install(line) => self.spawn(line, What::Install),
            Effect::Check(line) => self.spawn(line, What::Check),
            Effect::Recover(line) => self.spawn(line, What::Recover),
            Effect::Stop(line) => self.stop(&line),
            Effect::Drop(line) => self.give_up(line),
            Effect::Send => self.wake.notify_one(),
        }
    }

    /// The machine drops a line only before its installer was started or after it ended, so nothing is given up that must
    /// not be.
    fn give_up(&mut self, line: LineId) {
        self.stop(&line);
        let wanted = self
            .agent
            .lines()
            .any(|other| other.id.package == line.package && other.id != line && !other.stage.is_end());
        if !wanted {
            let what = if self.is_offered(&line.package) { What::Unstage } else { What::Drop };
            self.spawn(line, what);
        }
    }

    pub(super) fn stop(&mut self, line: &LineId) {
        if let Some(running) = self.running.remove(line) {
            running.handle.abort();
        }
    }

    fn spawn(&mut self, line: LineId, what: What) {
        let Some(task) = self.task(&line) else { return };
        self.generation += 1;
        let generation = self.generation;
        let (tools, events) = (std::sync::Arc::clone(&self.tools), self.events.clone());
        let answered = line.clone();
        let handle = self.tasks.spawn(async move {
            let input = Box::new(tools.perform(task, what).await);
            // The driver may be gone; then what was done is found at the next start.
            let _ = events.send(Event::Answer { generation, line: answered, input }).await;
        });
        if !matches!(what, What::Drop | What::Unstage) {
            let installs = !matches!(what, What::Probe | What::Obtain);
            self.running.insert(line, Running { generation, installs, handle });
        }
    }

    pub(super) fn task(&self, id: &LineId) -> Option<Task> {
        let line = self.agent.lines().find(|line| line.id == *id)?;
        let known = self.agent.job(&id.job)?;
        let label = known.job.packages.get(id.place as usize)?.label.clone();
        let keys = self.judge.packagers(&id.job.issuer, &label.cabinet);
        Some(Task {
            line: id.clone(),
            keys: keys.map_err(|error| error.to_string()),
            label,
            job: known.job.clone(),
            attempt: line.attempt,
            starts: line.starts,
            hint: self.hints.get(&id.package).cloned(),
        })
    }
}
