//! Running an installer so that it outlives the agent and its end is evidence.
//!
//! The agent starts a process of this same program, which makes itself a session of its own, notes in the spool folder
//! who it is (`started`) and who is to be the installer (`child`), keeps the end of the output, and writes how it ended
//! (`exit`), each file whole or not at all. The process that is to be the installer is this program too: it becomes the
//! installer only when it has been noted, so that none ever runs that nobody can find. Whoever looks later reads the folder: a process is the same only if pid, start time and
//! the machine's boot id are.

mod process;
mod spool;
mod wrapper;

pub(crate) use spool::{End, Look, Spool};
pub use wrapper::run_installer_wrapper;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Names another program to start the wrapper by, instead of the agent's own.
const WRAPPER: &str = "PACKHORSE_INSTALLER_WRAPPER";
/// The hidden command of the program that leads to [`run_installer_wrapper`].
const COMMAND: &str = "__installer";
/// This very program, also after its file was replaced by a newer one.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How often it is looked whether an installer has ended that is not the agent's own child any more.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Installer {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Longest run in seconds.
    pub timeout_secs: u32,
}

/// Starts it in a fresh spool folder and waits for its end.
///
/// # Errors
/// It could not be started, or the spool folder cannot be used; then nothing was run.
pub(crate) async fn run(spool: &Spool, installer: Installer) -> io::Result<End> {
    spool.make()?;
    start(spool, installer).await?;
    ended(spool).await
}

/// Waits for the end of one that was started.
///
/// # Errors
/// The spool folder cannot be read.
pub(crate) async fn ended(spool: &Spool) -> io::Result<End> {
    loop {
        match spool.look()? {
            Look::Ended(end) => return Ok(end),
            Look::Running => tokio::time::sleep(LOOK_EVERY).await,
            Look::Gone => return Ok(End::lost()),
        }
    }
}

async fn start(spool: &Spool, installer: Installer) -> io::Result<()> {
    let Some(program) = wrapper_program() else { return start_here(spool, installer).await };
    let mut command = tokio::process::Command::new(program);
    command.arg(COMMAND).arg(spool.folder()).arg(installer.timeout_secs.to_string()).arg("--");
    command.args(&installer.argv).env_clear().envs(environment());
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut wrapper = command.spawn()?;
    // If the agent is told to stop while it waits here, the wrapper goes on: it is not killed with its handle.
    wrapper.wait().await.map(|_| ())
}

/// The program that has the hidden command. The unit tests' own has not: `None`.
fn wrapper_program() -> Option<PathBuf> {
    match std::env::var_os(WRAPPER) {
        Some(program) => Some(program.into()),
        None if cfg!(test) => None,
        None => Some(OWN_PROGRAM.into()),
    }
}

/// The same work on a thread.
async fn start_here(spool: &Spool, installer: Installer) -> io::Result<()> {
    let (spool, timeout) = (spool.clone(), Duration::from_secs(installer.timeout_secs.into()));
    let work = move || wrapper::work(&spool, timeout, &installer.argv, None);
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// An installer's surroundings: nothing of the agent's but what is needed, and the folders of system programs always.
fn environment() -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for folder in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let joined = std::env::join_paths(folders).unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    vec![
        ("PATH".into(), joined),
        ("LC_ALL".into(), "C".into()),
        ("DEBIAN_FRONTEND".into(), "noninteractive".into()),
        ("HOME".into(), "/".into()),
    ]
}

/// The same surroundings for a program that only asks.
pub(crate) fn plain_command(program: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.env_clear().envs(environment()).stdin(Stdio::null()).kill_on_drop(true);
    command
}
