//! What became of an installer whose end nobody saw.

use std::sync::Arc;

use packhorse_domain::agent::{Evidence, Exit, Input};
use packhorse_domain::report::FailClass;

use super::install::ended_well;
use super::{Busy, Task, Tools};
use crate::installer::{self, Look};

/// How often an unreadable spool folder is looked at again, in seconds.
const AGAIN_SECS: u64 = 10;

impl Tools {
    /// Looks. One that runs still is waited for: the answer is its end, as if it had been seen.
    pub(super) async fn recover(self: &Arc<Self>, task: &Task, busy: &Busy) -> Input {
        let line = task.line.clone();
        let spool = self.spool(task);
        let look = loop {
            match spool.look() {
                Ok(look) => break look,
                Err(error) => {
                    // Without knowing, nothing may be started.
                    tracing::warn!(%error, "what became of an installer cannot be read; looked at again");
                    tokio::time::sleep(std::time::Duration::from_secs(AGAIN_SECS)).await;
                }
            }
        };
        let end = match look {
            Look::Gone => return Input::Recovered(line, self.noted(task).await),
            Look::Ended(end) => end,
            Look::Running => match installer::ended(&spool).await {
                Ok(end) => end,
                Err(error) => {
                    tracing::warn!(%error, "the end of an installer cannot be read");
                    return Input::Recovered(line, Evidence::Gone);
                }
            },
        };
        match self.kept_manifest(task, busy).await {
            Ok(Some(signed)) => match self.ended(task, &signed, end).await {
                Input::Exited(line, exit) => Input::Recovered(line, Evidence::Exited(exit)),
                other => other,
            },
            _ => Input::Recovered(line, Evidence::Exited(bare(end))),
        }
    }

    /// A tree has no process: either this very start is noted as installed, or nothing was changed.
    async fn noted(&self, task: &Task) -> Evidence {
        match self.installed(task).await {
            Ok(Some(found)) if found.start == task.start() => Evidence::Exited(ended_well(String::new(), 0)),
            _ => Evidence::Gone,
        }
    }
}

/// The end of an installer whose package is not known any more.
fn bare(end: crate::installer::End) -> Exit {
    let class = if end.timed_out { FailClass::Timeout } else { FailClass::Installer };
    Exit { ok: end.code == Some(0), code: end.code, class, text: end.why, tail: end.tail, retries: 0 }
}
