//! "What is there after my cursor?" Held until there is something.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_wire::messages::{FeedRequest, FeedResponse, HOLD_SECS_MAX, PROTOCOL};
use tokio::time::Instant;

use super::{Caller, LowerError, check_version, decode, encode};
use crate::db::feeds::{self, FeedAnswer, Prune};
use crate::db::rebuild::RebuildFeed;
use crate::system::{System, now};

/// [`packhorse_wire::messages::FEED`].
pub async fn feed(
    State(system): State<Arc<System>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, LowerError> {
    let request: FeedRequest = decode(&body)?;
    check_version(request.v)?;
    caller.came(&system, request.run)?;
    let held = Held::new(&system, caller.0.id);
    let answer = wait(&system, &caller, &request).await?;
    held.answered();
    encode(&answer)
}

/// A request that is held. Dropped without an answer: the caller's connection was lost.
struct Held<'a> {
    system: &'a System,
    host: HostId,
    gone: bool,
}

impl<'a> Held<'a> {
    fn new(system: &'a System, host: HostId) -> Held<'a> {
        system.presence.held(host);
        system.outbox_news.notify_one();
        Held { system, host, gone: true }
    }

    fn answered(mut self) {
        self.gone = false;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.system.presence.released(self.host, self.gone, now());
        self.system.outbox_news.notify_one();
    }
}

async fn wait(system: &System, caller: &Caller, request: &FeedRequest) -> Result<FeedResponse, LowerError> {
    let hold = Duration::from_secs(u64::from(request.hold_secs.min(HOLD_SECS_MAX)));
    let until = Instant::now() + hold;
    let mut cursor = request.cursor.map(Cursor::from);
    let reader = Incarnation(request.incarnation);
    let news = system.feed_news(caller.0.row);
    loop {
        // Armed before looking, so that nothing that comes in between is slept over.
        let mut notified = std::pin::pin!(news.notified());
        notified.as_mut().enable();
        let (lower, at) = (caller.0.row, cursor);
        match system.db.read(move |connection| feeds::read(connection, lower, reader, at)).await? {
            FeedAnswer::Rebuild => {
                let rebuild =
                    RebuildFeed { lower, reader, capabilities: system.capabilities.clone(), now: now() };
                system.db.write(rebuild).await?;
                cursor = None;
            }
            FeedAnswer::Orders { incarnation, after, orders, more, prune } => {
                if prune {
                    forget(system, lower, after).await?;
                }
                if !orders.is_empty() || Instant::now() >= until {
                    return Ok(FeedResponse {
                        v: PROTOCOL,
                        now: now().0,
                        server: system.server_life().0,
                        higher: system.incarnation.0,
                        feed: incarnation.0,
                        after,
                        orders,
                        more,
                    });
                }
                // Whichever comes first: news, or the end of holding, after which it is looked once more.
                let _ = tokio::time::timeout_at(until, notified).await;
            }
        }
    }
}

async fn forget(system: &System, lower: i64, upto: u64) -> Result<(), LowerError> {
    Ok(system.db.write(Prune { lower, upto }).await?)
}
