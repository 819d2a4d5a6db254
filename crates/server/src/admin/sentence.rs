//! A line as a sentence: `pc17: waiting at osaka since 09:12: osaka has no room. Tried again when that is cleared.`

use packhorse_domain::instruction::{Line, State, Verdict};
use packhorse_domain::reason::{NextTry, Reason};
use packhorse_domain::time::Time;

use super::format::clock;

/// Why a line of a host waits.
pub fn waits(host: &str, state: State, reason: &Reason, now: Time) -> String {
    let place = if reason.system() == host { String::new() } else { format!(" at {}", reason.system()) };
    let since = clock(reason.since(), now);
    let detail = reason.detail().trim_end_matches('.');
    let again = again(reason, now);
    format!("{host}: {}{place} since {since}: {detail}. {again}", doing(state))
}

fn doing(state: State) -> &'static str {
    match state {
        State::Delivered => "delivered, waiting",
        State::Installing => "installing",
        State::Restarting => "restarting",
        _ => "waiting",
    }
}

fn again(reason: &Reason, now: Time) -> String {
    match reason.next_try() {
        NextTry::At(at) => format!("Tried again at {}.", clock(at, now)),
        NextTry::WhenCleared if reason.clear().starts_with("nothing to do") => {
            "It goes on by itself.".to_owned()
        }
        NextTry::WhenCleared => "It goes on as soon as that is cleared.".to_owned(),
    }
}

/// How a line ended, without the host's name.
pub fn ended(line: &Line, until: Time, now: Time) -> String {
    let verdict = line.verdict.filter(|_| !line.state.is_end());
    match (verdict, &line.outcome) {
        (Some((Verdict::Missed, _)), _) => {
            let last = line.reason.as_ref().map(|reason| format!("; last it said: {}", reason.detail()));
            format!("not begun by {}{}", clock(until, now), last.unwrap_or_default())
        }
        (Some((Verdict::Cancelled, at)), _) => format!("cancelled at {}, before it began", clock(at, now)),
        (Some((Verdict::Superseded, at)), _) => {
            format!("a newer job took its place at {}, before it began", clock(at, now))
        }
        (Some((Verdict::Retired, at)), _) => format!("the host was retired at {}", clock(at, now)),
        (Some((Verdict::OfferEnded, _)), _) => format!("not chosen by {}", clock(until, now)),
        (None, Some(outcome)) if !outcome.text.is_empty() => outcome.text.clone(),
        (None, _) => line.state.as_str().replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use packhorse_domain::reason::Code;

    use super::*;

    #[test]
    fn a_sentence_says_where_since_when_why_and_when_again() {
        let now = Time(1_700_000_000_000_000);
        let since = clock(now, now);
        let room = "osaka has no room: 4.1 GB needed, 1.2 GB free";
        let reason =
            Reason::new(Code::Disk, "osaka", now, NextTry::WhenCleared, "packhorse relay drop", room);
        assert_eq!(
            waits("pc17", State::Waiting, &reason, now),
            format!("pc17: waiting at osaka since {since}: {room}. It goes on as soon as that is cleared.")
        );
        let reason = Reason::new(
            Code::Installing,
            "pc17",
            now,
            NextTry::At(now),
            "nothing to do",
            "the installer runs",
        );
        assert_eq!(
            waits("pc17", State::Installing, &reason, now),
            format!("pc17: installing since {since}: the installer runs. Tried again at {since}.")
        );
    }

    #[test]
    fn a_verdict_is_told_with_the_last_word() {
        let now = Time(1_700_000_000_000_000);
        let mut line = Line::new(1, now);
        line.reason = Some(Reason::new(Code::Lock, "pc17", now, NextTry::WhenCleared, "wait", "apt runs"));
        line.judge(Verdict::Missed, now);
        assert_eq!(
            ended(&line, now, now),
            format!("not begun by {}; last it said: apt runs", clock(now, now))
        );
    }
}
