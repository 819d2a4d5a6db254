//! What this relay and the hosts below it have to say, in bundles.

use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_wire::bytes::{Id16, Id32};
use packhorse_wire::messages::{
    PROTOCOL, REPORTS, REPORTS_MAX, ReportsRequest, ReportsResponse, Soft, TROUBLE_MAX,
};
use packhorse_wire::net::LinkError;

use super::rest;
use crate::db::orders::StoreHop;
use crate::db::{DbError, outbox};
use crate::system::{System, now};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Soft words of each kind in one request: beside the most reports they still fit into it. The rest follows at once.
const SOFT_MAX: usize = 10_000;
/// Soft words alone are sent at most this often.
const SOFT_PAUSE: Duration = Duration::from_millis(500);
/// The safety net: it is looked this often even if nothing was heard.
const LOOK: Duration = Duration::from_secs(15);

/// Sends for ever.
pub async fn run(system: Arc<System>) {
    let mut failures = 0;
    loop {
        match send(&system).await {
            Ok(true) => failures = 0,
            Ok(false) => {
                failures = 0;
                // A missed word costs at most `LOOK`.
                let _ = tokio::time::timeout(LOOK, system.outbox_news.notified()).await;
            }
            Err(error) => {
                tracing::info!(%error, "the higher system takes no reports");
                // What is known is said again: the higher system may be another one by then.
                system.presence.all_changed();
                let refused = if let SendError::Link(error) = &error { Some(error) } else { None };
                rest(refused, failures).await;
                failures += 1;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Sends one bundle; answers whether there may be more.
async fn send(system: &Arc<System>) -> Result<bool, SendError> {
    // Before the first answer of the feed it is not known whose life the outbox is numbered for.
    let Some((upper, hop)) = system.upper.as_ref().and_then(|upper| upper.hop().map(|hop| (upper, hop)))
    else {
        return Ok(false);
    };
    let after = hop.stored;
    let (reports, through) =
        system.db.read(move |connection| outbox::after(connection, after, REPORTS_MAX)).await?;
    let soft = Soft {
        presence: system.presence.take_changed(now(), SOFT_MAX),
        progress: system.presence.take_progress(SOFT_MAX),
        trouble: system.presence.take_troubled(TROUBLE_MAX),
    };
    if through == after && soft.presence.is_empty() && soft.progress.is_empty() && soft.trouble.is_empty() {
        return Ok(false);
    }
    let only_soft = through == after;
    // All words but these are of something that is, and are said again by that.
    let key = |host: &Id16, package: &Id32| (HostId(host.0), PackageId(package.0));
    let progress: Vec<_> = soft.progress.iter().map(|step| key(&step.host, &step.package)).collect();
    let trouble: Vec<_> = soft.trouble.iter().map(|word| key(&word.relay, &word.package)).collect();
    let request = ReportsRequest {
        v: PROTOCOL,
        run: upper.run,
        incarnation: system.incarnation.0,
        server: hop.server.0,
        after,
        through,
        reports,
        soft,
    };
    let called = upper.link().call(REPORTS, &request, PATIENCE).await;
    let response: ReportsResponse = called.inspect_err(|_| system.presence.not_told(&progress, &trouble))?;
    let mut next = packhorse_domain::outbox::Hop::meet(
        Some(hop),
        hop.server,
        packhorse_domain::ids::Incarnation(response.higher),
    );
    next.stored(response.stored);
    if next != hop {
        upper.set_hop(next);
        system.db.write(StoreHop(next)).await?;
    }
    if only_soft {
        tokio::time::sleep(SOFT_PAUSE).await;
    }
    Ok(true)
}
