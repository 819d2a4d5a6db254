//! The feed: a held request, asked again at once. It makes notice instant; asking again after a pause is the safety net.

use std::time::Duration;

use packhorse_domain::ids::Incarnation;
use packhorse_wire::messages::{FEED, FeedRequest, FeedResponse, PROTOCOL, RESPONSE_BYTES_MAX};
use packhorse_wire::net::{Link, LinkError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::calling::Calls;
use super::{Contact, call, pause, pause_after, retired_pause, sentence};
use crate::driver::Event;

/// How long the higher system may hold a request, in seconds.
const HOLD_SECS: u32 = 50;
/// What an answer may take beyond the hold.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// An empty answer that came sooner than this was not held: the higher system is spared a storm.
const HELD_AT_LEAST: Duration = Duration::from_secs(1);

/// Someone who asked for an answer now: how many orders came, or why none could.
pub(crate) type Sync = oneshot::Sender<Result<u64, String>>;

/// The loop that asks for orders.
pub(crate) struct Feed {
    /// The link.
    pub link: Link,
    /// Random at each start.
    pub run: u64,
    /// Which life of the agent's state.
    pub incarnation: Incarnation,
    /// Where orders are stored and judged.
    pub driver: mpsc::Sender<Event>,
    /// How the connection is.
    pub contact: watch::Sender<Contact>,
    /// Asked to ask now.
    pub syncs: mpsc::Receiver<Sync>,
    /// The certificate was replaced: try at once.
    pub renewed: watch::Receiver<u64>,
    /// Whom it calls.
    pub calls: Calls,
    /// The system that is called knows that it is.
    pub announced: bool,
}

/// How one request ended.
enum Outcome {
    Answered(Box<FeedResponse>, Duration),
    Failed(LinkError),
    /// Somebody wants an answer now: the held request is dropped, and asked without a hold.
    Interrupted(Sync),
    Renewed,
    Stopped,
}

impl Feed {
    /// Asks until the driver is gone.
    pub async fn run(mut self) {
        let mut failures = 0;
        // Without a hold at first: the first answer says what time it is there, and who is there.
        let mut hold_secs = 0;
        let mut waiting: Vec<Sync> = Vec::new();
        loop {
            let outcome = match self.announce().await {
                Ok(()) => self.ask(hold_secs).await,
                Err(error) => Outcome::Failed(error),
            };
            match outcome {
                Outcome::Stopped => return,
                Outcome::Renewed => {}
                Outcome::Interrupted(sync) => {
                    waiting.push(sync);
                    hold_secs = 0;
                }
                Outcome::Answered(response, took) => {
                    self.calls.answered();
                    let (empty, more) = (response.orders.is_empty(), response.more);
                    let stored = self.store(*response).await;
                    if let Err(error) = &stored {
                        self.failed(error);
                        failures += 1;
                    } else {
                        failures = 0;
                    }
                    let hasty = empty && !more && hold_secs > 0 && took < HELD_AT_LEAST;
                    hold_secs = HOLD_SECS;
                    answer(&mut waiting, &stored);
                    if stored.is_err() || hasty {
                        waiting.extend(self.rest(pause(failures.max(3))).await);
                    }
                }
                Outcome::Failed(error) => {
                    if self.calls.failed(&error) {
                        self.announced = false;
                    }
                    let text = sentence(&error);
                    self.failed(&text);
                    answer(&mut waiting, &Err(text));
                    // Without a certificate that counts the refusal itself is not heard here.
                    let retired = self.contact.borrow().retired.is_some();
                    let pause = if retired { retired_pause() } else { pause_after(&error, failures) };
                    waiting.extend(self.rest(pause).await);
                    failures += 1;
                    hold_secs = 0;
                }
            }
            if !waiting.is_empty() {
                hold_secs = 0;
            }
        }
    }

    /// Tells the system that is called, if the host came to it by itself.
    async fn announce(&mut self) -> Result<(), LinkError> {
        if !self.announced {
            self.calls.announce(&self.link).await?;
            self.announced = true;
        }
        Ok(())
    }

    async fn ask(&mut self, hold_secs: u32) -> Outcome {
        let cursor = {
            let (answer, answered) = oneshot::channel();
            if self.driver.send(Event::Cursor(answer)).await.is_err() {
                return Outcome::Stopped;
            }
            match answered.await {
                Ok(cursor) => cursor,
                Err(_) => return Outcome::Stopped,
            }
        };
        let request = FeedRequest {
            v: PROTOCOL,
            run: self.run,
            incarnation: self.incarnation.0,
            cursor: cursor.map(Into::into),
            hold_secs,
        };
        let timeout = ANSWER_TIMEOUT + Duration::from_secs(hold_secs.into());
        let started = Instant::now();
        self.renewed.mark_unchanged();
        tokio::select! {
            answer = call(&self.link, FEED, &request, RESPONSE_BYTES_MAX, timeout) => match answer {
                Ok(response) => Outcome::Answered(Box::new(response), started.elapsed()),
                Err(error) => Outcome::Failed(error),
            },
            // Only what is held is interrupted: whoever asks again and again would else keep every answer away.
            Some(sync) = self.syncs.recv(), if hold_secs > 0 => Outcome::Interrupted(sync),
            Ok(()) = self.renewed.changed() => Outcome::Renewed,
        }
    }

    /// Hands an answer to the driver, which has stored it when it answers.
    async fn store(&self, response: FeedResponse) -> Result<u64, String> {
        let (done, stored) = oneshot::channel();
        let gone = |_| "the agent is shutting down".to_owned();
        self.driver.send(Event::Feed { response: Box::new(response), done }).await.map_err(|_| gone(()))?;
        stored.await.map_err(|_| gone(()))?
    }

    fn failed(&self, text: &str) {
        self.contact.send_modify(|contact| {
            if contact.online || contact.trouble.as_deref() != Some(text) {
                tracing::warn!(url = self.link.url(), text, "no orders from the higher system");
            }
            contact.online = false;
            contact.trouble = Some(text.to_owned());
        });
    }

    /// A pause that ends early if somebody wants an answer or the certificate is new.
    async fn rest(&mut self, pause: Duration) -> Option<Sync> {
        tokio::select! {
            () = tokio::time::sleep(pause) => None,
            sync = self.syncs.recv() => sync,
            Ok(()) = self.renewed.changed() => None,
        }
    }
}

fn answer(waiting: &mut Vec<Sync>, outcome: &Result<u64, String>) {
    for sync in waiting.drain(..) {
        // Whoever asked may have gone.
        let _ = sync.send(outcome.clone());
    }
}
