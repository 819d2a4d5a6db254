//! Its own lower side: it takes in orders and passes reports on like an honest relay, as long as it does.

use std::sync::Arc;
use std::time::Duration;

use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{
    CursorMsg, FEED, FeedRequest, FeedResponse, PROTOCOL, Presence, REPORTS, ReportMsg, ReportsRequest,
    ReportsResponse, Soft,
};
use packhorse_wire::net::LinkError;

use super::relay::Inner;

/// Its own life: it has only one.
const LIFE: u64 = 77;
const HOLD_SECS: u32 = 30;
const PATIENCE: Duration = Duration::from_secs(45);
/// After the higher system did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks for orders for ever.
pub(super) async fn run_feed(inner: Arc<Inner>) {
    loop {
        if ask(&inner).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn ask(inner: &Inner) -> Result<(), LinkError> {
    let cursor = inner.state().cursor.map(CursorMsg::from);
    let request =
        FeedRequest { v: PROTOCOL, run: inner.run, incarnation: LIFE, cursor, hold_secs: HOLD_SECS };
    let response: FeedResponse = inner.link.call(FEED, &request, PATIENCE).await?;
    inner.change(|state| {
        state.server = response.server;
        state.take(response.feed, response.orders);
    });
    Ok(())
}

/// Passes reports on, as long as the behaviour lets it.
pub(super) async fn run_reports(inner: Arc<Inner>) {
    let mut news = inner.news.subscribe();
    loop {
        match send(&inner).await {
            Ok(true) => {}
            Ok(false) => drop(news.changed().await),
            // What is refused for good is not said again.
            Err(LinkError::Refused { status: 400, .. }) => {
                let mut state = inner.state();
                let stored = state.stored as usize;
                state.outbox.truncate(stored);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Sends what is there; answers whether something was sent.
async fn send(inner: &Inner) -> Result<bool, LinkError> {
    let Some(request) = bundle(inner) else { return Ok(false) };
    let through = request.through;
    let response: ReportsResponse = inner.link.call(REPORTS, &request, PATIENCE).await?;
    inner.state().stored = response.stored.min(through);
    Ok(true)
}

fn bundle(inner: &Inner) -> Option<ReportsRequest> {
    let state = inner.state();
    let after = state.stored;
    let numbered = state.outbox.iter().cloned().zip(1u64..).map(|(report, n)| (n, report));
    let reports: Vec<(u64, ReportMsg)> = numbered.filter(|(n, _)| *n > after).collect();
    if state.server == 0 || !state.behaviour.passes_reports() || reports.is_empty() {
        return None;
    }
    Some(ReportsRequest {
        v: PROTOCOL,
        run: inner.run,
        incarnation: LIFE,
        server: state.server,
        after,
        through: state.outbox.len() as u64,
        reports,
        soft: Soft { presence: state.lives.keys().map(|host| present(host.0)).collect(), ..Soft::default() },
    })
}

/// Everybody who ever asked is said to be there.
fn present(host: [u8; 16]) -> Presence {
    Presence { host: Fixed(host), online: true, last_seen: 1, twins_since: None }
}
