//! The process around an installer.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use packhorse_domain::report::TAIL_BYTES_MAX;
use rustix::process::{Pid, Signal, kill_process_group};

use super::process::Process;
use super::spool::{End, Spool};

/// How often it is looked whether the installer has ended.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long the rest of the output is waited for once the installer has ended: something it started may hold the pipe.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a killed group is waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// First argument of the process that becomes the installer.
const GATE: &str = "--gate";
/// Exit code of a gate whose program could not be started, as shells say it.
const NOT_STARTED: u8 = 127;

/// The process an installer runs in: `SPOOL TIMEOUT_SECS -- PROGRAM ARGUMENT…`. It is a session of its own, so that it
/// outlives the agent, and writes how the installer ended into the spool folder. With `--gate SPOOL -- PROGRAM ARGUMENT…` it
/// is the process that becomes the installer once its start is noted.
pub fn run_installer_wrapper(args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut args = args.peekable();
    if args.next_if(|first| first == GATE).is_some() {
        return gate(args);
    }
    let spool = args.next().map(PathBuf::from);
    let timeout = args.next().and_then(|text| text.to_str()?.parse().ok()).map(Duration::from_secs);
    let dashes = args.next().is_some_and(|dashes| dashes == "--");
    let argv: Vec<OsString> = args.collect();
    let (Some(spool), Some(timeout), true, false) = (spool, timeout, dashes, argv.is_empty()) else {
        return ExitCode::from(2);
    };
    // Fails only for the leader of a group, which a process just started by another is not.
    let _ = rustix::process::setsid();
    match work(&Spool::of(spool), timeout, &argv, Some(Path::new(super::OWN_PROGRAM))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Waits for the word that this process is noted in the spool folder, and becomes the installer. Where the word does not come,
/// because whoever was to give it was killed, nothing is started: an installer that runs is always one that was noted.
fn gate(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let spool = args.next().map(|path| Spool::of(path.into()));
    let dashes = args.next().is_some_and(|dashes| dashes == "--");
    let (Some(spool), true, Some(program)) = (spool, dashes, args.next()) else { return ExitCode::from(2) };
    if io::stdin().read_exact(&mut [0]).is_err() {
        return ExitCode::FAILURE;
    }
    let error = Command::new(&program).args(args).stdin(Stdio::null()).exec();
    match spool.refused(&not_started(&program, &error)) {
        Ok(()) => ExitCode::from(NOT_STARTED),
        Err(_) => ExitCode::FAILURE,
    }
}

fn not_started(program: &OsStr, error: &io::Error) -> String {
    format!("{} could not be started: {error}", program.to_string_lossy())
}

/// Notes the start, runs, notes the end. `gate` is the program that has the hidden command; without it (in unit tests) the
/// installer is noted only after it was started.
///
/// # Errors
/// The spool folder; then nothing was run, or its end is not known.
pub(super) fn work(
    spool: &Spool,
    timeout: Duration,
    argv: &[OsString],
    gate: Option<&Path>,
) -> io::Result<()> {
    let me = Process::of(std::process::id()).ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    let held = spool.hold()?;
    spool.started(&me)?;
    let end = match spawn(spool, argv, gate) {
        Ok(mut started) => {
            begin(spool, &mut started.0)?;
            watch(started, timeout)?
        }
        Err(error) => {
            let why = not_started(argv.first().map_or(OsStr::new("nothing"), OsString::as_os_str), &error);
            End { code: None, timed_out: false, why, tail: String::new() }
        }
    };
    let end = match spool.why_refused()? {
        Some(why) => End { code: None, why, ..end },
        None => end,
    };
    spool.ended(&end)?;
    drop(held);
    Ok(())
}

fn spawn(spool: &Spool, argv: &[OsString], gate: Option<&Path>) -> io::Result<(Child, Output)> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("no program"))?;
    let (reader, writer) = io::pipe()?;
    let mut command = match gate {
        Some(gate) => {
            let mut command = Command::new(gate);
            command
                .arg(super::COMMAND)
                .arg(GATE)
                .arg(spool.folder())
                .arg("--")
                .args(argv)
                .stdin(Stdio::piped());
            command
        }
        None => {
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null());
            command
        }
    };
    command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn()?;
    // The command holds the writing end; without it the reader sees the output's end.
    drop(command);
    Ok((child, Output::read(reader)?))
}

/// Notes the process that is to be the installer, durably, and lets it begin.
fn begin(spool: &Spool, child: &mut Child) -> io::Result<()> {
    // Dropped without a word, the gate ends and starts nothing.
    let word = child.stdin.take();
    if let Some(process) = Process::of(child.id()) {
        spool.child(&process)?;
    }
    match word {
        // A gate that died meanwhile is seen by its end.
        Some(mut word) => word.write_all(b"\n").or(Ok(())),
        None => Ok(()),
    }
}

fn watch((mut child, output): (Child, Output), timeout: Duration) -> io::Result<End> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(end(status, false, output.tail()));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let status = kill(&mut child)?;
    Ok(End { why: format!("killed after {} s", timeout.as_secs()), ..end(status, true, output.tail()) })
}

/// Kills the installer and all it started, and takes its end.
fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // One that ended in this moment is no failure.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.wait()
}

fn end(status: ExitStatus, timed_out: bool, tail: String) -> End {
    let why = match status.signal() {
        Some(signal) => format!("ended by signal {signal}"),
        None => String::new(),
    };
    End { code: status.code(), timed_out, why, tail }
}

/// The end of what a program says, read as it comes.
struct Output {
    tail: Arc<Mutex<Vec<u8>>>,
    ended: std::sync::mpsc::Receiver<()>,
}

impl Output {
    fn read(mut from: io::PipeReader) -> io::Result<Output> {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let (done, ended) = std::sync::mpsc::channel();
        let kept = Arc::clone(&tail);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = from.read(&mut buffer) {
                let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
                keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), piece);
            }
            let _ = done.send(());
        })?;
        Ok(Output { tail, ended })
    }

    fn tail(&self) -> String {
        let _ = self.ended.recv_timeout(OUTPUT_PATIENCE);
        let kept = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let start = kept.len().saturating_sub(TAIL_BYTES_MAX);
        let text = String::from_utf8_lossy(kept.get(start..).unwrap_or_default());
        // Each byte that is no text became three.
        let mut cut = text.len().saturating_sub(TAIL_BYTES_MAX);
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        text.get(cut..).unwrap_or_default().to_owned()
    }
}

/// Appends, and lets the beginning go before it grows.
fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    kept.extend_from_slice(piece);
    if kept.len() > 4 * TAIL_BYTES_MAX {
        kept.drain(..kept.len() - TAIL_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installer::Look;

    #[test]
    fn a_start_that_was_found_gone_never_begins() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path(), "x");
        spool.make().unwrap();
        let held = spool.hold().unwrap();
        assert_eq!(spool.look().unwrap(), Look::Running);
        drop(held);
        assert_eq!(spool.look().unwrap(), Look::Gone);
        assert!(work(&spool, Duration::from_secs(1), &["/bin/true".into()], None).is_err());
        spool.remove().unwrap();
        assert_eq!(spool.look().unwrap(), Look::Gone);
    }

    fn run(timeout: Duration, script: &str) -> End {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path(), "x");
        spool.make().unwrap();
        work(&spool, timeout, &["/bin/sh".into(), "-c".into(), script.into()], None).unwrap();
        let Look::Ended(end) = spool.look().unwrap() else { panic!("no end") };
        end
    }

    #[test]
    fn the_end_and_the_last_of_the_output_are_kept() {
        let end = run(Duration::from_secs(60), "seq 1 9999; echo last >&2; exit 3");
        assert_eq!((end.code, end.timed_out), (Some(3), false));
        assert!(end.tail.ends_with("9999\nlast\n") && end.tail.len() <= TAIL_BYTES_MAX);
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_it_started() {
        let started = Instant::now();
        let end = run(Duration::from_millis(200), "sleep 600 & sleep 600");
        assert!(end.timed_out && end.code.is_none() && started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path(), "x");
        spool.make().unwrap();
        work(&spool, Duration::from_secs(1), &["/no/such/program".into()], None).unwrap();
        let Look::Ended(end) = spool.look().unwrap() else { panic!("no end") };
        assert!(end.code.is_none() && end.why.contains("/no/such/program"));
    }
}
