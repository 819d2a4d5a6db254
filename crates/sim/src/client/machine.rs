//! The host under an agent: what is installed, and the installers that run. It goes on when the agent dies; when it loses
//! power itself, its installers end where they are.

use std::collections::BTreeMap;

use packhorse_domain::agent::{Evidence, Exit, Found, LineId};
use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::report::FailClass;
use packhorse_domain::version::{VersionOrder, compare};

use crate::options::Plant;
use crate::rng::Rng;
use crate::sites::Package;

/// An answer that the host owes its agent.
#[derive(Debug, Clone)]
pub enum Local {
    /// Look what is installed.
    Probe(LineId),
    /// Check what was installed.
    Check(LineId),
    /// Look what became of an installer.
    Recover(LineId),
    /// The installer did not start.
    Locked(LineId),
}

/// A start of an installer, as it was in truth.
#[derive(Debug, Clone)]
pub struct Start {
    /// For which line.
    pub line: LineId,
    /// In which attempt.
    pub attempt: u32,
    /// By which INTENT of the attempt.
    pub nth: u32,
    /// Its exit, once it ended by itself.
    pub exit: Option<Exit>,
    /// Whether it runs no more.
    pub over: bool,
    /// Whether the agent was told that it is over.
    pub told: bool,
}

/// How an installer's end is passed on.
#[derive(Debug, Clone)]
pub struct Ended {
    /// For which line.
    pub line: LineId,
    /// How.
    pub exit: Exit,
}

/// The host.
#[derive(Debug, Default)]
pub struct Machine {
    installed: BTreeMap<String, (PackageId, String, bool)>,
    /// Every start there ever was.
    pub starts: Vec<Start>,
    /// The start the agent waits for the end of, in this run of the agent.
    pub waited: Option<usize>,
}

impl Machine {
    /// The version of a package's name that is installed in truth, whole or not.
    pub fn version_of(&self, name: &str) -> Option<&str> {
        self.installed.get(name).map(|(_, version, _)| version.as_str())
    }

    /// What a probe finds; `plant` is a fault built in on purpose.
    pub fn probe(&self, host: &HostId, package: &Package, plant: Option<Plant>) -> Found {
        let label = &package.named.label;
        // Some packages fit some hosts not.
        if (host.0[0] ^ package.named.id.0[0].wrapping_mul(29)).is_multiple_of(16) {
            return Found::Unfit("disk: 1 MB free, 2 MB needed".to_owned());
        }
        match self.installed.get(&label.name) {
            Some((id, _, whole)) if *id == package.named.id && *whole => Found::Same,
            Some((_, version, _)) => {
                let order = match plant {
                    Some(Plant::CompareAsText) => Ok(version.cmp(&label.version)),
                    _ => compare(VersionOrder::Semver, version, &label.version),
                };
                match order {
                    Ok(std::cmp::Ordering::Greater) if plant != Some(Plant::LowerVersions) => {
                        Found::Newer(version.clone())
                    }
                    _ => Found::Other,
                }
            }
            None => Found::Other,
        }
    }

    /// Whether what is installed is this package, whole.
    pub fn check(&self, package: &Package) -> Result<(), String> {
        match self.installed.get(&package.named.label.name) {
            Some((id, _, true)) if *id == package.named.id => Ok(()),
            _ => Err("a file is not what the manifest says".to_owned()),
        }
    }

    /// Starts an installer; answers which start this is.
    pub fn start(&mut self, line: &LineId, attempt: u32, nth: u32) -> usize {
        let start = Start { line: line.clone(), attempt, nth, exit: None, over: false, told: false };
        self.starts.push(start);
        self.waited = Some(self.starts.len() - 1);
        self.starts.len() - 1
    }

    /// An installer comes to its end, if it still runs. Answers what the agent is told if it waits for it.
    pub fn end(&mut self, number: usize, package: &Package, rng: &mut Rng) -> Option<Ended> {
        let start = self.starts.get_mut(number).filter(|start| !start.over)?;
        start.over = true;
        let exit = draw_exit(rng, package.retries);
        if exit.ok {
            let label = &package.named.label;
            let whole = !rng.per_mille(40);
            self.installed.insert(label.name.clone(), (package.named.id, label.version.clone(), whole));
        }
        start.exit = Some(exit.clone());
        let line = start.line.clone();
        (self.waited == Some(number)).then_some(Ended { line, exit })
    }

    /// The power fails: what runs ends, with its work done or not.
    pub fn power_lost(&mut self, packages: &[Package], rng: &mut Rng) {
        for start in self.starts.iter_mut().filter(|start| !start.over) {
            start.over = true;
            let package = packages.iter().find(|package| package.named.id == start.line.package);
            if let (Some(package), true) = (package, rng.per_mille(500)) {
                let label = &package.named.label;
                self.installed.insert(label.name.clone(), (package.named.id, label.version.clone(), true));
            }
        }
    }

    /// What is left to be seen of a start that the journal knows of. An exit that was left behind may be lost.
    pub fn recover(&mut self, line: &LineId, attempt: u32, nth: u32, rng: &mut Rng) -> Evidence {
        let meant = |start: &Start| start.line == *line && (start.attempt, start.nth) == (attempt, nth);
        let Some(number) = self.starts.iter().rposition(meant) else {
            // INTENT was durable, and the agent died before it did anything.
            return Evidence::Gone;
        };
        let start = &mut self.starts[number];
        if !start.over {
            self.waited = Some(number);
            return Evidence::Running;
        }
        start.told = true;
        start.exit.clone().filter(|_| rng.per_mille(700)).map_or(Evidence::Gone, Evidence::Exited)
    }

    /// The agent hears of the end of a line's last start.
    pub fn told(&mut self, line: &LineId) {
        if let Some(start) = self.starts.iter_mut().rev().find(|start| start.line == *line && start.over) {
            start.told = true;
        }
        self.waited = None;
    }
}

fn draw_exit(rng: &mut Rng, retries: u32) -> Exit {
    let ok = !rng.per_mille(150);
    let (code, text) = if ok { (0, "") } else { (1603, "exit 1603") };
    Exit {
        ok,
        code: Some(code),
        class: FailClass::Installer,
        text: text.to_owned(),
        tail: format!("said {}", rng.below(1000)),
        retries,
    }
}
