//! Lines as they are shown.

use packhorse_domain::instruction::{Line, State, Verdict};
use packhorse_domain::reason::{NextTry, Reason};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{InstructionView, ReasonView, ResultView};

use super::around::{Around, JobFacts};
use super::format::rfc3339;
use super::sentence;
use crate::db::hosts::{HostRecord, HostRow};
use crate::db::views::JobPackageRecord;

/// A line with what stands around it.
pub fn view(
    around: &Around<'_>,
    job: &JobFacts,
    package: &JobPackageRecord,
    host: HostRow,
    line: &Line,
) -> InstructionView {
    let record = around.host(host);
    let name = record.map_or_else(|| format!("removed-{host}"), |record| record.name.clone());
    let state = line.shown();
    let reason = around.reason(job, record, &package.id, line);
    let percent = match state {
        State::Delivered | State::Installing | State::Restarting | State::Done => Some(100),
        state if state.is_end() => None,
        _ => record.and_then(|record| around.percent(record, &package.id)),
    };
    InstructionView {
        silent: reason.is_some() && record.is_some_and(|record| around.is_silent(record)),
        package: package.label.to_string(),
        attempt: line.attempt,
        state: state.as_str().to_owned(),
        reason: reason.map(|reason| reason_view(&name, state, &reason, around.now)),
        progress_percent: percent,
        result: result(around, job, record, line),
        host: name,
    }
}

/// A reason of a host's line.
pub fn reason_view(host: &str, state: State, reason: &Reason, now: Time) -> ReasonView {
    ReasonView {
        code: reason.code().as_str().to_owned(),
        system: reason.system().to_owned(),
        since: rfc3339(reason.since()),
        next_try: match reason.next_try() {
            NextTry::At(at) => Some(rfc3339(at)),
            NextTry::WhenCleared => None,
        },
        clear: reason.clear().to_owned(),
        text: sentence::waits(host, state, reason, now),
    }
}

/// How a line ended; `None` if it has not.
fn result(around: &Around<'_>, job: &JobFacts, host: Option<&HostRecord>, line: &Line) -> Option<ResultView> {
    if !line.shown().is_end() {
        return None;
    }
    // A verdict over a line that has not ended at its host: why it was made.
    let cancelled = matches!(line.verdict, Some((Verdict::Cancelled, _))) && !line.state.is_end();
    let stopped = job.stopped.clone().or_else(|| around.left(job, host?)).filter(|_| cancelled);
    let verdict = line.verdict.map(|(verdict, _)| verdict.as_str().to_owned());
    let at = match line.verdict {
        Some((_, at)) if !line.state.is_end() => at,
        _ => line.since,
    };
    // A verdict over a line that has not ended at its host is the end itself: the host's words are not there yet.
    let outcome = line.outcome.as_ref().filter(|_| line.state.is_end());
    Some(ResultView {
        at: rfc3339(at),
        class: outcome.and_then(|outcome| outcome.class).map(|class| class.as_str().to_owned()),
        step: outcome.map_or_else(String::new, |outcome| outcome.step.clone()),
        exit_code: outcome.and_then(|outcome| outcome.exit_code),
        text: stopped.unwrap_or_else(|| sentence::ended(line, job.until, around.now)),
        tail: outcome.map_or_else(String::new, |outcome| outcome.tail.clone()),
        verdict,
        by: outcome.and_then(|outcome| outcome.by.clone()),
    })
}
