//! The outbox, sent upwards until it is stored there.

use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::ids::Incarnation;
use packhorse_domain::outbox::Hop;
use packhorse_wire::messages::{
    PROTOCOL, Progress, REPORTS, REQUEST_BYTES_MAX, ReportsRequest, ReportsResponse, Soft,
};
use packhorse_wire::net::{CALL_LIMIT_BYTES, LinkError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::{Contact, call, pause_after};
use crate::driver::Event;
use crate::executor::{Percent, Tools};
use crate::store::{Batch, Reporter};

/// Most reports of one request; each has at most some 8 KB, and a request at most 8 MiB.
const REPORTS_AT_ONCE: usize = 500;
const _: () = assert!(REPORTS_AT_ONCE * 10_000 < REQUEST_BYTES_MAX);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Progress is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The loop that sends reports.
pub(crate) struct Reports {
    /// Link, database, progress.
    pub tools: Arc<Tools>,
    /// Random at each start.
    pub run: u64,
    /// Which life of the agent's state.
    pub incarnation: Incarnation,
    /// There is something to send.
    pub wake: Arc<Notify>,
    /// How the connection is, and how far the outbox is stored above.
    pub contact: watch::Receiver<Contact>,
    /// Who keeps that.
    pub driver: mpsc::Sender<Event>,
    /// How far the package has come that is being taken in.
    pub progress: watch::Receiver<Option<Percent>>,
    /// It is not told before.
    pub progress_at: Instant,
}

impl Reports {
    /// Sends until the driver is gone.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let hop = self.contact.borrow_and_update().hop;
            // Without knowing who is above, it is not known what is stored there.
            let outcome = match hop {
                Some(hop) => self.send(hop).await,
                None => Ok(false),
            };
            match outcome {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    if !self.wait(hop).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, ?hop, "reports were not taken");
                    tokio::time::sleep(pause_after(&error, failures)).await;
                    failures += 1;
                }
            }
            if self.driver.is_closed() {
                return;
            }
        }
    }

    /// Waits until there is something to send; `false` if there never will be.
    async fn wait(&mut self, hop: Option<Hop>) -> bool {
        loop {
            let untold = hop.is_some() && self.progress.has_changed().unwrap_or(false);
            tokio::select! {
                () = self.wake.notified() => return true,
                changed = self.contact.changed() => match changed {
                    Ok(()) if self.contact.borrow_and_update().hop != hop => return true,
                    Ok(()) => {}
                    Err(_) => return false,
                },
                () = tokio::time::sleep_until(self.progress_at), if untold => return true,
                changed = self.progress.changed(), if hop.is_some() && !untold => {
                    if changed.is_err() {
                        return false;
                    }
                    // Seen and not told yet.
                    self.progress.mark_changed();
                }
            }
        }
    }

    /// Sends one batch; answers whether there may be more at once.
    async fn send(&mut self, hop: Hop) -> Result<bool, LinkError> {
        let reporter = Reporter { me: self.tools.me, incarnation: self.incarnation };
        let reading = move |connection: &mut rusqlite::Connection| {
            Batch::read(connection, reporter, hop.stored, REPORTS_AT_ONCE)
        };
        let batch = match self.tools.db.run(reading).await {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                return Ok(false);
            }
        };
        let soft = self.soft();
        if batch.reports.is_empty() && soft.progress.is_empty() {
            return Ok(false);
        }
        let request = ReportsRequest {
            v: PROTOCOL,
            run: self.run,
            incarnation: self.incarnation.0,
            server: hop.server.0,
            after: hop.stored,
            through: batch.through,
            reports: batch.reports,
            soft,
        };
        let link = &self.tools.link;
        let response: ReportsResponse =
            call(link, REPORTS, &request, CALL_LIMIT_BYTES, ANSWER_TIMEOUT).await?;
        self.stored(hop, batch.through, response).await;
        // More, or less was stored than was sent: the next batch begins where the higher system says.
        Ok(batch.more || response.stored < batch.through)
    }

    async fn stored(&self, hop: Hop, through: u64, response: ReportsResponse) {
        let mut next = Hop::meet(Some(hop), Incarnation(response.server), Incarnation(response.higher));
        if next == hop {
            // What it says beyond what was sent cannot be: then it would be told nothing for ever.
            next.stored(response.stored.min(through));
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        if next != hop && self.driver.send(Event::Stored { hop: next, done: answer }).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// How far the package has come, unless that was told just now.
    fn soft(&mut self) -> Soft {
        if Instant::now() < self.progress_at || !self.progress.has_changed().unwrap_or(false) {
            return Soft::default();
        }
        self.progress_at = Instant::now() + PROGRESS_EVERY;
        let now = self.progress.borrow_and_update().clone();
        let progress = now.map(|now| Progress {
            host: self.tools.me.into(),
            package: now.line.package.into(),
            percent: now.percent,
        });
        Soft { progress: progress.into_iter().collect(), ..Soft::default() }
    }
}
