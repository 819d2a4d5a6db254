//! "What is there after my cursor?" Held until there is something.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_wire::messages::{FeedRequest, FeedResponse, HOLD_SECS_MAX, Order, OrderMsg, PROTOCOL};
use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::auth::unknown;
use super::{Asker, Caller, LowerError, check_version, decode, encode};
use crate::db::feeds::{self, FeedAnswer, Prune};
use crate::db::rebuild::RebuildFeed;
use crate::db::{moving, retired};
use crate::system::{System, now};

/// [`packhorse_wire::messages::FEED`].
pub async fn feed(
    State(system): State<Arc<System>>,
    asker: Asker,
    body: Bytes,
) -> Result<Response, LowerError> {
    let request: FeedRequest = decode(&body)?;
    check_version(request.v)?;
    let caller = match asker {
        Asker::Direct(caller) => caller,
        Asker::Elsewhere(id, generation, refusal) => {
            return encode(&elsewhere(&system, id, generation, &request).await?.ok_or(refusal)?);
        }
    };
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
        // It may have been moved or retired meanwhile.
        if let Err(refusal) = caller.still(system) {
            if refusal.serves_nobody() {
                return Err(refusal);
            }
            let (id, generation) = (caller.0.id, caller.generation());
            return elsewhere(system, id, generation, request).await?.ok_or(refusal);
        }
        let (lower, at) = (caller.0.row, cursor);
        match system.db.read(move |connection| feeds::read(connection, lower, reader, at)).await? {
            FeedAnswer::Rebuild => {
                let rebuild =
                    RebuildFeed { lower, reader, capabilities: system.capabilities.clone(), now: now() };
                if !system.db.write(rebuild).await? {
                    // It was retired or moved just now; asked again, it hears of it.
                    return Err(unknown(system, &caller.0.name));
                }
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

/// The answer for a host that does not call this system (any more), as a feed of one order: its place, or that it was retired.
/// `None`: nothing is known of it, or it was told that it was retired.
async fn elsewhere(
    system: &System,
    id: HostId,
    generation: u64,
    request: &FeedRequest,
) -> Result<Option<FeedResponse>, LowerError> {
    if system.retired(&id, generation).is_some() {
        let word = system.db.read(move |connection| retired::word(connection, &id)).await?;
        return match word {
            Some((feed, word)) if !has_read(request, feed) => Ok(Some(only(system, feed, word, false)?)),
            _ => Ok(None),
        };
    }
    let found = system.db.read(move |connection| moving::elsewhere(connection, &id, generation)).await?;
    let Some((feed, place)) = found else { return Ok(None) };
    let known = has_read(request, feed.0);
    if known {
        // It has read this and asks here all the same: it is spared a storm, and so is this system.
        tokio::time::sleep(Duration::from_secs(u64::from(request.hold_secs.min(HOLD_SECS_MAX)))).await;
    }
    Ok(Some(only(system, feed.0, Order::Place(ByteBuf::from(place)), known)?))
}

/// Whether the only order of such a feed was read.
fn has_read(request: &FeedRequest, feed: u64) -> bool {
    request.cursor.is_some_and(|cursor| cursor.incarnation == feed && cursor.n == 1)
}

/// A feed of one order.
fn only(system: &System, feed: u64, order: Order, known: bool) -> Result<FeedResponse, LowerError> {
    let (kind, body) = order.encode().map_err(|error| {
        tracing::error!(%error, "an order cannot be encoded");
        LowerError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this system has trouble")
    })?;
    let order = OrderMsg { n: 1, kind: kind.to_owned(), body: ByteBuf::from(body) };
    Ok(FeedResponse {
        v: PROTOCOL,
        now: now().0,
        server: system.server_life().0,
        higher: system.incarnation.0,
        feed,
        after: if known { 1 } else { 0 },
        orders: if known { Vec::new() } else { vec![order] },
        more: false,
    })
}

async fn forget(system: &System, lower: i64, upto: u64) -> Result<(), LowerError> {
    Ok(system.db.write(Prune { lower, upto }).await?)
}
