//! Installers, and what else a host answers its agent.

use packhorse_domain::agent::{Effect, Input, Kind, LineId, Trouble};
use packhorse_domain::ids::HostId;
use packhorse_domain::reason::Code;

use super::{Event, World};
use crate::checks::one_start;
use crate::client::Local;
use crate::options::Plant;
use crate::sites::{NodeId, Package};

impl World {
    /// Starts an installer, or finds that it cannot start now.
    pub(super) fn install(&mut self, id: NodeId, line: &LineId) {
        if self.options.faults && self.calm_since.is_none() && self.rng.per_mille(60) {
            let run = self.nodes[id].run;
            return self.in_micros(1_000, 50_000, Event::Local(id, run, Local::Locked(line.clone())));
        }
        let Some((attempt, nth)) = self.intent(id, line) else { return };
        let Some(machine) = self.nodes[id].machine() else { return };
        let number = machine.start(line, attempt, nth);
        self.stats.installs += 1;
        self.note(id, &format!("starts installer {number}: {:?}", Effect::Install(line.clone())));
        self.check_start(id, line, attempt);
        self.in_micros(500_000, 40_000_000, Event::InstallerEnds(id, number));
    }

    /// Attempt and number of the INTENT under which a line is.
    fn intent(&self, id: NodeId, line: &LineId) -> Option<(u32, u32)> {
        let (agent, _) = self.nodes[id].agent()?;
        agent.agent().lines().find(|known| known.id == *line).map(|known| (known.attempt, known.starts))
    }

    fn check_start(&mut self, id: NodeId, line: &LineId, attempt: u32) {
        let Some((agent, machine)) = self.nodes[id].agent() else { return };
        let journal = &agent.store.durable().journal;
        let meant = |entry: &&packhorse_domain::agent::Entry| {
            entry.line == *line && entry.attempt == attempt && entry.kind == Kind::Intent
        };
        let checked = one_start(&machine.starts, journal.iter().filter(meant).count());
        self.check(checked);
        let life = self.nodes[id].role.life();
        let Some((agent, _)) = self.nodes[id].agent() else { return };
        let journal = &agent.store.durable().journal;
        let checked = self.ledger.no_choice_no_install((id, life), line, attempt, journal, self.now);
        self.check(checked);
        let Some((machine, package, _)) = self.look(id, line) else { return };
        let label = &package.named.label;
        let checked = self.ledger.never_backwards(line, label, machine.version_of(&label.name));
        self.check(checked);
    }

    /// An installer comes to its end, if nothing ended it before.
    pub(super) fn installer_ends(&mut self, id: NodeId, number: usize) {
        let (rng, packages) = (&mut self.rng, &self.packages);
        let Some(machine) = self.nodes[id].machine() else { return };
        let Some(start) = machine.starts.get(number) else { return };
        let package = packages.iter().find(|package| package.named.id == start.line.package);
        let ended = package.and_then(|package| machine.end(number, package, rng));
        if let Some(ended) = ended {
            machine.told(&ended.line);
            self.note(id, &format!("installer {number} ended: {:?}", ended.exit.code));
            self.input(id, Input::Exited(ended.line, ended.exit));
        }
    }

    /// A host answers its agent, if that is the one that asked.
    pub(super) fn local(&mut self, id: NodeId, run: u64, local: Local) {
        if !self.nodes[id].up || self.nodes[id].run != run {
            return;
        }
        self.note(id, &format!("{local:?}"));
        let input = match local {
            Local::Probe(line) => self.probe(id, line),
            Local::Check(line) => self.look(id, &line).map(|(machine, package, _)| {
                let result = machine.check(package);
                Input::Checked(line, result)
            }),
            Local::Locked(line) => Some(Input::NotStarted(line, trouble(Code::Lock))),
            Local::Recover(line) => self.recover(id, line),
        };
        if let Some(input) = input {
            self.input(id, input);
        }
    }

    fn look(&self, id: NodeId, line: &LineId) -> Option<(&crate::client::Machine, &Package, HostId)> {
        let (_, machine) = self.nodes[id].agent()?;
        let package = self.packages.iter().find(|package| package.named.id == line.package)?;
        let host = self.sites.lower(id)?.host;
        Some((machine, package, host))
    }

    fn probe(&mut self, id: NodeId, line: LineId) -> Option<Input> {
        let rough = self.options.faults && self.calm_since.is_none();
        if rough && self.rng.per_mille(40) {
            return Some(Input::Probed(line, Err(trouble(Code::Disk))));
        }
        let (machine, package, host) = self.look(id, &line)?;
        let found = machine.probe(&host, package, self.options.plant);
        Some(Input::Probed(line, Ok(found)))
    }

    fn recover(&mut self, id: NodeId, line: LineId) -> Option<Input> {
        use packhorse_domain::agent::Evidence;
        let (attempt, nth) = self.intent(id, &line)?;
        let rng = &mut self.rng;
        let evidence = self.nodes[id].machine()?.recover(&line, attempt, nth, rng);
        let evidence = match evidence {
            Evidence::Running if self.options.plant == Some(Plant::TakeRunningForGone) => Evidence::Gone,
            evidence => evidence,
        };
        match evidence {
            Evidence::Gone => self.stats.interrupted += 1,
            Evidence::Running | Evidence::Exited(_) => self.stats.adopted += 1,
        }
        Some(Input::Recovered(line, evidence))
    }
}

fn trouble(code: Code) -> Trouble {
    Trouble { code, system: "host".to_owned(), text: code.brief().to_owned() }
}
