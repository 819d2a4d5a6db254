//! Being asked to end.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Outcome;

/// Completes at SIGTERM or SIGINT (Ctrl-C). Call it before anything else is started: from then on neither signal ends the
/// process by itself.
///
/// # Errors
/// The signals cannot be caught.
pub fn ended() -> Outcome<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Set for processes that must not outlive the one that started them.
pub const DIES_WITH_PARENT: &str = "PACKHORSE_DIES_WITH_PARENT";

/// Asks the system to end this process with its parent, if the parent wished so: nothing of a demo stays behind, not even
/// if the demo itself is killed.
pub fn obey_parent() {
    if std::env::var_os(DIES_WITH_PARENT).is_some() {
        // Only a convenience: without it the processes are ended by their numbers.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
}
