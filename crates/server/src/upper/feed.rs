//! Orders from above: asked for, judged, stored together with the cursor, handed on.

use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::feed::{Batch, Cursor, receive};
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::job::Proof;
use packhorse_domain::outbox::Hop;
use packhorse_domain::report::Receipt;
use packhorse_wire::messages::{
    CursorMsg, FEED, FeedRequest, FeedResponse, JobOrder, Order, PROTOCOL, RESPONSE_BYTES_MAX,
};
use packhorse_wire::net::LinkError;
use packhorse_wire::signed::RetiredDoc;
use packhorse_wire::trust::Distrust;
use serde_bytes::ByteBuf;

use super::rest;
use crate::db::jobs::Incoming;
use crate::db::orders::{Judged, TakeOrders};
use crate::db::relay_jobs::TellAgain;
use crate::db::retired::Word;
use crate::db::{DbError, hosts};
use crate::system::{System, now};

/// How long a request is held, in seconds.
const HOLD_SECS: u32 = 50;

/// Asks for orders for ever.
pub async fn run(system: Arc<System>) {
    let mut failures = 0;
    loop {
        match ask(&system).await {
            Ok(()) => {
                if failures > 0 {
                    // It may be one that was started anew, and knows nothing of what was said softly.
                    system.presence.all_changed();
                    system.outbox_news.notify_one();
                }
                failures = 0;
            }
            Err(error) => {
                tracing::info!(%error, "the higher system does not answer");
                let refused = if let FeedError::Link(error) = &error { Some(error) } else { None };
                rest(refused, failures).await;
                failures += 1;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("{0}")]
    Batch(#[from] packhorse_domain::feed::BadBatch),
}

async fn ask(system: &Arc<System>) -> Result<(), FeedError> {
    // This runs at relays only, which have a higher system.
    let Some(upper) = &system.upper else { return Ok(()) };
    let cursor = upper.cursor();
    let request = FeedRequest {
        v: PROTOCOL,
        run: upper.run,
        incarnation: system.incarnation.0,
        cursor: cursor.map(CursorMsg::from),
        hold_secs: HOLD_SECS,
    };
    let patience = Duration::from_secs(u64::from(HOLD_SECS) + 20);
    // A job for very many hosts carries all their ids in one order.
    let response: FeedResponse =
        upper.link().call_up_to(RESPONSE_BYTES_MAX, FEED, &request, patience).await?;
    let answered = now();
    meet(system, &response).await?;
    let complete = !response.more;
    let batch = Batch {
        incarnation: Incarnation(response.feed),
        after: response.after,
        entries: response.orders.into_iter().map(|order| (order.n, order)).collect(),
    };
    let (orders, next) = receive(cursor, batch)?;
    if orders.is_empty() && cursor == Some(next) && (!complete || system.is_ready()) {
        if complete {
            system.set_read(answered);
        }
        return Ok(());
    }
    let judged = judge(system, orders);
    store(system, judged, next, complete).await?;
    if complete {
        system.set_read(answered);
        system.set_ready();
    }
    Ok(())
}

/// Which lives answer now: is one new, everything that is kept is told again.
async fn meet(system: &System, response: &FeedResponse) -> Result<(), FeedError> {
    let Some(upper) = &system.upper else { return Ok(()) };
    let (server, higher) = (Incarnation(response.server), Incarnation(response.higher));
    let before = upper.hop();
    let hop = Hop::meet(before, server, higher);
    if before != Some(hop) && before.is_none_or(|old| old.server != server || old.higher != higher) {
        upper.set_hop(hop);
        system.db.write(crate::db::orders::StoreHop(hop)).await?;
        if before.is_none_or(|old| old.server != server) {
            let tell = TellAgain { own: system.id, issuer: system.issuer().to_owned(), now: now() };
            system.db.write(tell).await?;
        }
        system.presence.all_changed();
        system.outbox_news.notify_one();
    }
    if system.server_life() != server {
        system.set_server_life(server);
    }
    Ok(())
}

/// Judges orders one by one. What is refused is logged and said upwards; it holds up nothing that comes after it.
fn judge(system: &System, orders: Vec<packhorse_wire::messages::OrderMsg>) -> Vec<Judged> {
    let mut judged = Vec::new();
    for message in orders {
        let order = match Order::decode(&message.kind, &message.body) {
            Ok(Some(order)) => order,
            Ok(None) => {
                tracing::info!(kind = %message.kind, "an order from a newer system is passed over");
                continue;
            }
            Err(error) => {
                judged.push(refused("bad_order", &format!("order {}: {error}", message.n)));
                continue;
            }
        };
        judged.extend(judge_one(system, order));
    }
    judged
}

fn judge_one(system: &System, order: Order) -> Vec<Judged> {
    match order {
        Order::Trust(envelope) => vec![trust(system, &envelope)],
        Order::Place(envelope) => match system.trust().place(&envelope) {
            Ok(place) if place.host == system.id => vec![Judged::OwnPlace(place, envelope.into_vec())],
            Ok(place) => {
                vec![refused("place", &format!("the place of {} was sent as this relay's own", place.name))]
            }
            Err(error) => vec![refused("place", &error.to_string())],
        },
        Order::Delegation(envelope) => match system.trust().delegation(&envelope) {
            Ok(doc) => {
                system.add_delegation(doc.clone());
                vec![Judged::Delegation(doc, envelope.into_vec())]
            }
            Err(error) => vec![refused("delegation", &error.to_string())],
        },
        Order::Below(hosts) => hosts
            .into_iter()
            .map(|below| match hosts::verified(&system.trust(), below.place.to_vec(), below.generation) {
                Ok(learned) => Judged::Host(learned),
                Err(error) => refused("place", &error.to_string()),
            })
            .collect(),
        Order::Retired(words) => retired(system, words),
        Order::Control(envelope) => match system.trust().control(&envelope) {
            Ok(doc) => vec![Judged::Control(doc, envelope.into_vec())],
            Err(error) => vec![refused("control", &error.to_string())],
        },
        Order::Receipts(receipts) => {
            vec![Judged::Receipts(receipts.into_iter().map(Receipt::from).collect())]
        }
        Order::Job(order) => vec![job(system, order)],
    }
}

/// Words that count, together; those that do not, one by one.
fn retired(system: &System, envelopes: Vec<ByteBuf>) -> Vec<Judged> {
    let (mut words, mut judged) = (Vec::new(), Vec::new());
    for envelope in envelopes {
        match system.trust().retired(&envelope) {
            Ok(doc) => {
                if doc.host.0 == system.id.0 && doc.generation >= system.certificate_generation() {
                    tracing::error!(name = %system.config.name, "{}", retired_itself(&doc));
                }
                words.push(Word { doc, envelope: envelope.into_vec() });
            }
            Err(error) => judged.push(refused("retired", &error.to_string())),
        }
    }
    judged.push(Judged::Retired(words));
    judged
}

/// What a relay says of itself when it hears that it was retired.
fn retired_itself(doc: &RetiredDoc) -> String {
    let what = if doc.removed { "removed" } else { "retired" };
    format!(
        "this relay system was {what}: nobody above serves it any more. At the managing server: packhorse token new --relay{}; \
         then join anew in another folder",
        if doc.removed { String::new() } else { format!(" --replace {}", doc.name) }
    )
}

fn trust(system: &System, envelope: &[u8]) -> Judged {
    match system.trust().follow(envelope) {
        Ok(next) => {
            let judged = Judged::Trust(next.envelope().to_vec());
            system.set_trust(next);
            judged
        }
        // A feed made anew begins with the document that is known already. It may be known and not stored, if storing
        // failed the last time: that is looked at where it is stored.
        Err(Distrust::OlderTrust { offered, known }) if offered == known => {
            if system.trust().envelope() == envelope {
                Judged::Trust(envelope.to_vec())
            } else {
                Judged::Nothing
            }
        }
        Err(error) => refused("trust", &error.to_string()),
    }
}

fn job(system: &System, order: JobOrder) -> Judged {
    // A relay judges as somebody who passes on: whether a host is below the issuer is judged by the host.
    match system.trust().job(&order.job, &system.delegations(), None, now()) {
        Ok(job) => Judged::Job(Box::new(Incoming {
            job,
            envelope: order.job.into_vec(),
            proofs: order.proofs.into_iter().map(Proof::from).collect(),
            ended: order.ended.into_iter().map(Into::into).collect(),
            named: order.named.into_iter().map(Into::into).collect(),
            copies: order
                .copies
                .into_iter()
                .map(|copy| (copy.package.into(), copy.size_bytes, copy.capability.into_vec()))
                .collect(),
            asked: "[]".to_owned(),
        })),
        Err(error) => refused("job", &error.to_string()),
    }
}

fn refused(code: &str, text: &str) -> Judged {
    tracing::warn!(%code, %text, "refused what came from the higher system");
    Judged::Refused { code: code.to_owned(), text: text.to_owned() }
}

async fn store(
    system: &Arc<System>,
    judged: Vec<Judged>,
    cursor: Cursor,
    complete: bool,
) -> Result<(), FeedError> {
    let Some(upper) = &system.upper else { return Ok(()) };
    let hosts: Vec<HostId> = judged
        .iter()
        .filter_map(|order| match order {
            Judged::Host(learned) => Some(learned.place.host),
            _ => None,
        })
        .collect();
    let retired = judged.iter().any(|order| matches!(order, Judged::Retired(_)));
    let command = TakeOrders {
        own: system.id,
        orders: judged,
        cursor,
        complete,
        capabilities: system.capabilities.clone(),
        trust: system.trust(),
        delegations: system.delegations(),
        now: now(),
    };
    let taken = system.db.write(command).await?;
    upper.set_cursor(cursor);
    if retired || !hosts.is_empty() {
        system.reload_directory().await?;
        // What was said of them before the higher system knew that they are here was not taken.
        system.presence.tell_again(&hosts);
    }
    if taken.control {
        system.reload_control().await?;
        // Copies may be to go, or there may be more room.
        let swept = system.clone();
        tokio::spawn(async move { crate::copies::swept(&swept).await });
    }
    system.wake(&taken.lowers);
    if taken.jobs || taken.control {
        system.orders_news.send_modify(|n| *n += 1);
        system.copies_news.notify_one();
        system.lines_changed();
    }
    if taken.reports {
        system.outbox_news.notify_one();
    }
    Ok(())
}
