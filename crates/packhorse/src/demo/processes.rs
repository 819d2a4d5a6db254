//! The demo's processes. Each is ended by its number, and none outlives the demo.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Outcome, Within};
use crate::signals::DIES_WITH_PARENT;

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(8);
/// Lines of a log that are shown when its process ended by itself.
const LOG_LINES: usize = 8;

/// The processes, by the name of their system.
#[derive(Debug, Default)]
pub struct Processes {
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log: PathBuf,
}

impl Processes {
    /// Starts this same program with these arguments; what it logs goes to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, name: &str, args: &[&str], log: &Path, env: &[(&str, String)]) -> Outcome {
        let file = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).envs(env.iter().map(|(name, value)| (name, value)));
        command.env(DIES_WITH_PARENT, "1").env_remove("PACKHORSE_CONTEXT").env_remove("PACKHORSE_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::from(file.try_clone()?)).stderr(Stdio::from(file));
        // A group of its own: Ctrl-C in the terminal is for the demo, which then ends the others in order.
        command.process_group(0);
        let child = command.spawn().within(|| format!("starting {name}"))?;
        self.running.insert(name.to_owned(), Running { child, log: log.to_owned() });
        Ok(())
    }

    /// kill -9, and waits until the process is gone.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn kill(&mut self, name: &str) -> Outcome {
        let mut running =
            self.running.remove(name).ok_or_else(|| Failure::new(format!("{name} does not run")))?;
        running.child.kill()?;
        running.child.wait()?;
        Ok(())
    }

    /// Fails if one of them ended by itself.
    ///
    /// # Errors
    /// Which one, and the end of its log.
    pub fn check(&mut self) -> Outcome {
        for (name, running) in &mut self.running {
            if let Some(status) = running.child.try_wait()? {
                let log = std::fs::read_to_string(&running.log).unwrap_or_default();
                return Err(Failure::new(format!("{name} ended by itself ({status}): {}", tail(&log))));
            }
        }
        Ok(())
    }

    /// Asks all to end, waits, and kills those that do not.
    pub async fn end(&mut self) {
        for running in self.running.values() {
            // Gone already: then there is nothing to ask.
            let _ = kill_process(Pid::from_child(&running.child), Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.running.is_empty() && Instant::now() < deadline {
            self.running.retain(|_, running| matches!(running.child.try_wait(), Ok(None)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for name in self.running.keys() {
            tracing::warn!(name, "did not end when asked to, and is killed");
        }
        self.kill_all();
    }

    fn kill_all(&mut self) {
        for running in self.running.values_mut() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        self.running.clear();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ")
}
