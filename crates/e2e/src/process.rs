//! One running process. It ends with its guard, also when a test panics.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{binary, wait};

/// Lines of a log that are shown when a test fails.
const LINES_SHOWN: usize = 60;

/// A running `packhorse`, its log in a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program; what it says is added to `log`.
    pub fn start<S: AsRef<OsStr>>(args: &[S], environment: &[(String, String)], log: &Path) -> Process {
        let out = File::options().create(true).append(true).open(log).expect("the log can be written");
        let mut command = Command::new(binary::path());
        command.args(args).env_remove("PACKHORSE_CONTEXT").env_remove("PACKHORSE_SOCKET");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // Not even if this process itself is killed does anything of it stay behind.
        command.env("PACKHORSE_DIES_WITH_PARENT", "1");
        command.stdin(Stdio::null());
        command.stdout(out.try_clone().expect("a second handle")).stderr(out);
        let child = command.spawn().expect("the program starts");
        Process { child, log: log.to_owned() }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(mut self) {
        self.end_now();
    }

    /// Asks it to end and waits until it has.
    pub fn end(mut self) {
        self.signal(Signal::TERM);
        let child = &mut self.child;
        wait::until("the process ends when it is asked to", 15, || child.try_wait().ok().flatten());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// The most memory it had at once, in bytes (`VmHWM`).
    pub fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kib * 1024
    }

    fn end_now(&mut self) {
        // Gone already: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_now();
        if std::thread::panicking() {
            show_log(&self.log);
        }
    }
}

/// Shows the end of a log, for whoever looks at a failed test.
pub fn show_log(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES_SHOWN);
    eprintln!("---- {} (last {} lines)\n{}", log.display(), lines.len() - from, lines[from..].join("\n"));
}
