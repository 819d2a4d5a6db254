//! Section 4: every line that has not ended has a reason with a system and a way out.

use packhorse_domain::ids::HostId;
use packhorse_domain::instruction::{Line, LineKey};
use packhorse_domain::job::{Intent, Job};
use packhorse_domain::reason::{LineFacts, RelayFacts, SILENT_DAYS, shown};
use packhorse_domain::time::Time;

use super::{Checked, Rule, require};
use crate::hub::Hub;
use crate::signed::Signed;
use crate::sites::Sites;

/// A system that was heard within this time counts as connected, in seconds.
const ONLINE_SECS: i64 = 90;

/// Judges a line at the managing server.
///
/// # Errors
/// It waits without a reason, or has ended and still has one.
pub fn every_line_has_a_reason(
    server: &Hub,
    sites: &Sites,
    (key, line): (&LineKey, &Line),
    job: &Job,
    now: Time,
) -> Checked {
    let Some(place) = sites.place_of(&key.host) else { return Ok(()) };
    let seen = |host: &HostId| server.last_seen(host).unwrap_or_default();
    let online = |host: &HostId| now.secs_since(seen(host)) < ONLINE_SECS;
    let copies = &server.store.now().copies_below;
    let set = |host: &HostId| server.store.now().controls.get(host).map(Signed::unverified);
    let relay = |host: &HostId| RelayFacts {
        trouble: None,
        name: sites.place_of(host).map_or_else(String::new, |place| place.name.clone()),
        online: online(host),
        last_seen: seen(host),
        has_copy: copies.contains_key(&(*host, key.package)),
        percent: None,
        suspended: set(host).and_then(|set| set.suspended),
        shut: set(host).and_then(|set| set.opens(now)),
    };
    let route: Vec<RelayFacts> = place.route.iter().map(relay).collect();
    let facts = LineFacts {
        asked: "server",
        job: &job.key,
        at: job.at,
        created: job.created,
        suspended: (job.intent == Intent::Suspended).then_some(job.created),
        host: &place.name,
        online: online(&place.host) || !place.route.is_empty(),
        last_seen: seen(&place.host),
        twins_since: server.twins_since(&place.host),
        route: &route,
        percent: None,
        silent_days: SILENT_DAYS,
    };
    let reason = shown(line, &facts, now);
    let ended = line.shown().is_end();
    require(Rule::HasReason, reason.is_none() == ended, || format!("{key:?}: {line:?} has {reason:?}"))?;
    let complete = reason.is_none_or(|reason| !reason.system().is_empty() && !reason.clear().is_empty());
    require(Rule::HasReason, complete, || format!("{key:?}: {line:?} has half a reason"))
}
