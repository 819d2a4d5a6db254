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

use super::{Contact, call, pause};
use crate::driver::Event;
use crate::executor::Tools;
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
}

impl Reports {
    /// Sends until the driver is gone.
    pub async fn run(mut self) {
        let mut progress = self.tools.progress.subscribe();
        let mut failures = 0;
        let mut last_hop = None;
        loop {
            let hop = self.contact.borrow_and_update().hop;
            // Without knowing who is above, it is not known what is stored there.
            let outcome = match hop {
                Some(hop) => self.send(hop, &mut progress).await,
                None => Ok(false),
            };
            match outcome {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    last_hop = hop;
                    if !self.wait(&mut progress, last_hop).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, ?last_hop, "reports were not taken");
                    tokio::time::sleep(pause(failures)).await;
                    failures += 1;
                }
            }
            if self.driver.is_closed() {
                return;
            }
        }
    }

    /// Waits until there is something to send; `false` if there never will be.
    async fn wait(
        &mut self,
        progress: &mut watch::Receiver<Option<crate::executor::Percent>>,
        hop: Option<Hop>,
    ) -> bool {
        loop {
            tokio::select! {
                () = self.wake.notified() => return true,
                changed = self.contact.changed() => match changed {
                    Ok(()) if self.contact.borrow_and_update().hop != hop => return true,
                    Ok(()) => {}
                    Err(_) => return false,
                },
                changed = progress.changed(), if hop.is_some() => {
                    tokio::time::sleep(PROGRESS_EVERY).await;
                    return changed.is_ok();
                }
            }
        }
    }

    /// Sends one batch; answers whether there may be more at once.
    async fn send(
        &self,
        hop: Hop,
        progress: &mut watch::Receiver<Option<crate::executor::Percent>>,
    ) -> Result<bool, LinkError> {
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
        let soft = self.soft(progress);
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

    fn soft(&self, progress: &mut watch::Receiver<Option<crate::executor::Percent>>) -> Soft {
        let now = match progress.has_changed() {
            Ok(true) => progress.borrow_and_update().clone(),
            _ => None,
        };
        let progress = now.map(|now| Progress {
            host: self.tools.me.into(),
            package: now.line.package.into(),
            percent: now.percent,
        });
        Soft { presence: Vec::new(), progress: progress.into_iter().collect() }
    }
}
