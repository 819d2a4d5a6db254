//! Which process is which, across restarts of the agent and of the machine.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, named so that no later one can be taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Its number.
    pub pid: u32,
    /// The machine's boot id.
    pub boot: String,
    /// Its start, in ticks since the boot.
    pub start: u64,
}

impl Process {
    /// The process of a number; `None` if there is none.
    pub fn of(pid: u32) -> Option<Process> {
        Some(Process { pid, boot: boot()?, start: start(pid)? })
    }

    /// Whether it is still there. One that has ended and waits for its parent is not.
    pub fn is_alive(&self) -> bool {
        boot().as_ref() == Some(&self.boot) && start(self.pid) == Some(self.start)
    }
}

fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

/// Start time of a process that has not ended.
fn start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything; after it fields are plain.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22 of the whole, of which the first two and the state are taken.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me.clone() }.is_alive());
        assert!(!Process { boot: "another".into(), ..me }.is_alive());
    }
}
