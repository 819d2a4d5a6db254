//! The agent: the same on a client and on a relay. It asks its higher system for orders, judges each, takes packages in,
//! installs them, checks them and reports; the machine of `domain::agent` decides, this crate only does what it says.
//!
//! | module | what |
//! |---|---|
//! | [`options`] | what an agent is started with |
//! | `join`, `who` | becoming a host; who the agent is, and a new certificate in time |
//! | `store` | `client.db`: jobs, journal, alarms, cursors, what is installed |
//! | `judge` | whether an order counts: signatures, revisions, whom it names |
//! | `driver` | the one task that owns the machine: input → writes → effects |
//! | `control` | the feed of orders, the outbox of reports |
//! | `executor` | effects: probe, obtain, install, check, recover |
//! | `obtain` | manifest and content, verified, into a staged tree |
//! | `files` | kind files: below the root only, switched in by rename |
//! | `deb` | kind deb: dpkg |
//! | `installer` | a process that outlives the agent and leaves its end behind |
//! | `local` | the user's socket |
//!
//! Deliberately absent: a listening port, decisions about when to do what, and any path that is not resolved below the root.

mod error;
mod join;
mod local;
mod options;

pub use error::ClientError;
pub use join::{JoinOptions, Joined, join};
pub use local::ask;
pub use options::{IdentitySource, RunOptions, default_socket};

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the agent until `shutdown` is ready. What it was doing goes on at the next start; an installer that runs goes on by
/// itself.
///
/// # Errors
/// It is no host, another agent runs in the same data folder, its socket or its database cannot be used.
pub async fn run(options: RunOptions, shutdown: impl Future<Output = ()>) -> Result<(), ClientError> {
    let _root = match &options.identity {
        IdentitySource::Own => options::Settings::load(&options.data)?.root,
        IdentitySource::Relay { root, .. } => root.clone(),
    };
    shutdown.await;
    Ok(())
}

/// The process an installer runs in: `SPOOL TIMEOUT_SECS -- PROGRAM ARGUMENT…`. It is a session of its own, so that it
/// outlives the agent, and writes how the installer ended into the spool folder.
pub fn run_installer_wrapper(args: impl Iterator<Item = OsString>) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
