//! The one table of states (design section 4). A state changes here and nowhere else; what the table does not know is a
//! named refusal.

use std::fmt;

use crate::ids::{HostId, Incarnation, JobKey, PackageId};
use crate::reason::Reason;
use crate::report::{LineEvent, LineReport, Outcome};
use crate::time::Time;

/// The state of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Written down, not planned yet.
    Registered,
    /// Planned; something has to happen first, and the reason says what.
    Waiting,
    /// Shown to the client's user, who has not chosen.
    Offered,
    /// The user chose it.
    Chosen,
    /// The host's own higher system, a relay, keeps the package.
    AtRelay,
    /// The host has the package, whole and verified.
    Delivered,
    /// INTENT is durable at the host: begun.
    Installing,
    /// The host restarts to finish.
    Restarting,
    /// The installer ended well and the package's check holds.
    Done,
    /// What is installed is this package, and its check holds.
    AlreadyInstalled,
    /// The relay system keeps the package.
    Transferred,
    /// A condition does not hold at the host.
    NotApplicable,
    /// The user does not want it.
    Rejected,
    /// A newer job for the same package took its place before it began.
    Superseded,
    /// Not chosen by `--until`.
    OfferEnded,
    /// It did not work.
    Failed,
    /// Cancelled before it began.
    Cancelled,
    /// Not begun by `--until`.
    Missed,
}

impl State {
    /// All states, for tables and tests.
    pub const ALL: [State; 18] = [
        State::Registered,
        State::Waiting,
        State::Offered,
        State::Chosen,
        State::AtRelay,
        State::Delivered,
        State::Installing,
        State::Restarting,
        State::Done,
        State::AlreadyInstalled,
        State::Transferred,
        State::NotApplicable,
        State::Rejected,
        State::Superseded,
        State::OfferEnded,
        State::Failed,
        State::Cancelled,
        State::Missed,
    ];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Registered => "registered",
            State::Waiting => "waiting",
            State::Offered => "offered",
            State::Chosen => "chosen",
            State::AtRelay => "at_relay",
            State::Delivered => "delivered",
            State::Installing => "installing",
            State::Restarting => "restarting",
            State::Done => "done",
            State::AlreadyInstalled => "already_installed",
            State::Transferred => "transferred",
            State::NotApplicable => "not_applicable",
            State::Rejected => "rejected",
            State::Superseded => "superseded",
            State::OfferEnded => "offer_ended",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Missed => "missed",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether an attempt ends in it.
    pub fn is_end(self) -> bool {
        self >= State::Done
    }

    /// Whether INTENT is durable at the host.
    pub fn has_begun(self) -> bool {
        matches!(self, State::Installing | State::Restarting | State::Done)
    }

    /// Whether the same attempt may go on after this end: only what a user rejected, who may choose it after all while the
    /// offer is open.
    pub fn may_come_back(self) -> bool {
        self == State::Rejected
    }

    /// "Ended well" as in design section 4.
    pub fn ended_well(self) -> bool {
        self.is_end() && !matches!(self, State::Failed | State::Cancelled | State::Missed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its order was planned for a lower system.
    Planned,
    /// The host's own higher system keeps the package now.
    ReachedRelay,
    /// The host calls another higher system from now on.
    Moved,
    /// The host says why it waits.
    Waits,
    /// The host shows the offer to its user; also when the user takes a choice back.
    Offered,
    /// The user chose it; or the time came from which the offer is required.
    Chosen,
    /// The host has the package.
    Delivered,
    /// The first piece of a transfer is stored at the relay.
    Storing,
    /// INTENT is durable.
    Begun,
    /// The attempt ended, in this state.
    Ended(State),
    /// The next attempt.
    Retried,
}

/// A transition that the table does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The state it was in.
    pub state: State,
    /// What was to happen.
    pub event: Event,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' does not follow '{}'", event_word(self.event), self.state)
    }
}

impl std::error::Error for Refused {}

fn event_word(event: Event) -> &'static str {
    match event {
        Event::Planned => "planned",
        Event::ReachedRelay => "reached relay",
        Event::Moved => "moved",
        Event::Waits => "waits",
        Event::Offered => "offered",
        Event::Chosen => "chosen",
        Event::Delivered => "delivered",
        Event::Storing => "storing",
        Event::Begun => "begun",
        Event::Ended(state) => state.as_str(),
        Event::Retried => "retried",
    }
}

/// The table.
///
/// # Errors
/// The transition is not in it.
pub fn next(state: State, event: Event) -> Result<State, Refused> {
    use State::{AtRelay, Chosen, Delivered, Installing, Offered, Registered, Restarting, Waiting};
    Ok(match (state, event) {
        (Registered | Waiting, Event::Planned) => Waiting,
        (Registered | Waiting | Chosen | AtRelay, Event::ReachedRelay) => AtRelay,
        // What the relay before kept says nothing of the new one; what the host has, it has.
        (AtRelay, Event::Moved) => Waiting,
        (from, Event::Moved) if !from.is_end() => from,
        (Registered | Waiting, Event::Waits | Event::Storing) => Waiting,
        (Offered | Chosen | AtRelay | Delivered, Event::Waits) => state,
        // A user may choose, take it back before it has begun, and choose again.
        (Registered | Waiting | Offered | Chosen | AtRelay | Delivered, Event::Offered) => Offered,
        (Registered | Waiting | Offered | Chosen | AtRelay, Event::Chosen) => Chosen,
        (Delivered, Event::Chosen) => Delivered,
        // Rejecting is the one end that its own user may take back: see `docs/decisions/0008-choices.md`.
        (from, Event::Chosen) if from.may_come_back() => Chosen,
        // The copy at the relay says nothing of an offer that nobody has chosen, and that is all there is to say.
        (Offered, Event::ReachedRelay) => Offered,
        // An installer that failed and may be tried again: the host waits with the package in hand.
        (Installing | Restarting, Event::Waits) => Delivered,
        (Registered | Waiting | Offered | Chosen | AtRelay | Delivered, Event::Delivered) => Delivered,
        (from, Event::Begun) if !from.is_end() => Installing,
        (from, Event::Ended(to)) if !from.is_end() && to.is_end() => to,
        (from, Event::Retried) if from.is_end() => Waiting,
        (state, event) => return Err(Refused { state, event }),
    })
}

/// What a higher system decides about a line that, as far as it knows, has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The job was cancelled.
    Cancelled,
    /// `--until` passed.
    Missed,
    /// A newer job took its place.
    Superseded,
    /// `--until` passed, and nobody had chosen it.
    OfferEnded,
    /// The host was retired: nothing is heard of it any more, also of what it has begun.
    Retired,
}

impl Verdict {
    const ALL: [Verdict; 5] =
        [Verdict::Cancelled, Verdict::Missed, Verdict::Superseded, Verdict::OfferEnded, Verdict::Retired];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        if self == Verdict::Retired { "retired" } else { self.end().as_str() }
    }

    /// The end it stands for.
    pub fn end(self) -> State {
        match self {
            Verdict::Cancelled | Verdict::Retired => State::Cancelled,
            Verdict::Missed => State::Missed,
            Verdict::Superseded => State::Superseded,
            Verdict::OfferEnded => State::OfferEnded,
        }
    }

    /// The verdict of a word.
    pub fn parse(word: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// One package for one host of one job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    /// The job.
    pub job: JobKey,
    /// The package.
    pub package: PackageId,
    /// The host.
    pub host: HostId,
}

/// An instruction as a server or relay knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The attempt it is in, from 1: the job's round that named the host last.
    pub attempt: u32,
    /// By what hosts and relays reported.
    pub state: State,
    /// In this state since then.
    pub since: Time,
    /// The newest report of the host that is in it.
    pub seen: Option<(Incarnation, u64)>,
    /// Whether it has begun though its state does not say so: a transfer of which a piece is stored.
    pub begun: bool,
    /// What a higher system decided, and when.
    pub verdict: Option<(Verdict, Time)>,
    /// The host's own word on why it waits.
    pub reason: Option<Reason>,
    /// How the attempt ended, in the host's words.
    pub outcome: Option<Outcome>,
}

/// What became of a report about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The line changed.
    Changed,
    /// It is in already.
    Repeat,
    /// It belongs to an attempt that is over: of interest to the history only.
    Old,
    /// The table refuses it.
    Refused(Refused),
}

impl Line {
    /// A new line.
    pub fn new(attempt: u32, now: Time) -> Line {
        Line {
            attempt,
            state: State::Waiting,
            since: now,
            seen: None,
            begun: false,
            verdict: None,
            reason: None,
            outcome: None,
        }
    }

    /// Whether it has begun, as far as is known here.
    pub fn has_begun(&self) -> bool {
        self.state.has_begun() || self.begun
    }

    /// The state to show: the host's own events outrank a verdict; a verdict stands while the host has not begun. That of a
    /// host that was retired stands until the host's own end is known: it may have been on its way.
    pub fn shown(&self) -> State {
        match self.verdict {
            Some((Verdict::Retired, _)) if !self.state.is_end() => State::Cancelled,
            Some((verdict, _)) if !self.state.is_end() && !self.has_begun() => verdict.end(),
            _ => self.state,
        }
    }

    /// Takes in what the host reported.
    pub fn apply(&mut self, incarnation: Incarnation, no: u64, at: Time, report: &LineReport) -> Applied {
        if matches!(self.seen, Some((seen, newest)) if seen == incarnation && no <= newest) {
            return Applied::Repeat;
        }
        if report.attempt < self.attempt {
            return Applied::Old;
        }
        // A machine that was re-imaged begins the attempt anew; what its life before said last stands no more. A report
        // of the life before that comes late does not bring it back.
        let other_life = self.seen.is_some_and(|(seen, _)| seen != incarnation);
        if other_life && self.state.is_end() && at > self.since {
            *self = Line::new(report.attempt, at);
        }
        // A host that the job did not name, as the host was then, is named now.
        let named_now = self.outcome.as_ref().is_some_and(Outcome::is_unfit);
        if report.attempt > self.attempt || named_now {
            *self = Line { seen: self.seen, ..Line::new(report.attempt, at) };
        }
        let event = match &report.event {
            LineEvent::Waits(_) => Event::Waits,
            LineEvent::Offered => Event::Offered,
            LineEvent::Chosen { .. } => Event::Chosen,
            LineEvent::Delivered => Event::Delivered,
            LineEvent::Storing => Event::Storing,
            LineEvent::Begun => Event::Begun,
            LineEvent::Ended(outcome) => Event::Ended(outcome.end),
        };
        match next(self.state, event) {
            Err(refused) => return Applied::Refused(refused),
            Ok(state) if state != self.state => (self.state, self.since) = (state, at),
            Ok(_) => {}
        }
        self.seen = Some((incarnation, no));
        (self.reason, self.outcome) = (None, None);
        match &report.event {
            LineEvent::Waits(reason) => self.reason = Some(reason.clone()),
            LineEvent::Ended(outcome) => self.outcome = Some(outcome.clone()),
            LineEvent::Storing => self.begun = true,
            LineEvent::Offered | LineEvent::Chosen { .. } | LineEvent::Delivered | LineEvent::Begun => {}
        }
        Applied::Changed
    }

    /// A higher system's verdict; answers whether the line changed. Not for lines that have ended or begun; only that a host
    /// was retired ends also what it has begun.
    pub fn judge(&mut self, verdict: Verdict, now: Time) -> bool {
        let open = match verdict {
            Verdict::Retired => !self.shown().is_end(),
            _ => !self.state.is_end() && !self.has_begun() && self.verdict.is_none(),
        };
        if open {
            self.verdict = Some((verdict, now));
        }
        open
    }

    /// The next attempt of a line that has ended.
    ///
    /// # Errors
    /// It has not ended.
    pub fn retry(&mut self, attempt: u32, now: Time) -> Result<(), Refused> {
        next(self.shown(), Event::Retried)?;
        *self = Line { seen: self.seen, ..Line::new(attempt, now) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(attempt: u32, event: LineEvent) -> LineReport {
        LineReport { job: JobKey::server(1, 1), package: PackageId([1; 32]), attempt, event }
    }

    fn ended(end: State) -> LineEvent {
        LineEvent::Ended(Outcome::plain(end))
    }

    #[test]
    fn a_retired_host_ends_what_it_has_begun_unless_its_own_end_comes() {
        for state in State::ALL {
            let mut line = Line { state, ..Line::new(1, Time(0)) };
            assert_eq!(line.judge(Verdict::Retired, Time(5)), !state.is_end(), "{state}");
            assert_eq!(line.shown(), if state.is_end() { state } else { State::Cancelled });
        }
        let mut line = Line::new(1, Time(0));
        line.judge(Verdict::Missed, Time(1));
        assert!(!line.judge(Verdict::Retired, Time(5)), "it has ended already");
        line.apply(Incarnation(1), 1, Time(2), &report(1, LineEvent::Begun));
        assert!(line.judge(Verdict::Retired, Time(5)));
        line.apply(Incarnation(1), 2, Time(3), &report(1, ended(State::Done)));
        assert_eq!((line.shown(), line.verdict), (State::Done, Some((Verdict::Retired, Time(5)))));
    }

    #[test]
    fn words_go_both_ways() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::parse(verdict.as_str()), Some(verdict));
        }
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn ends_are_ends() {
        for from in State::ALL.into_iter().filter(|s| s.is_end()) {
            for event in [Event::Planned, Event::ReachedRelay, Event::Waits, Event::Delivered, Event::Begun] {
                assert_eq!(next(from, event), Err(Refused { state: from, event }));
            }
            for to in State::ALL {
                assert!(next(from, Event::Ended(to)).is_err());
            }
            assert_eq!(next(from, Event::Retried), Ok(State::Waiting));
        }
        for from in State::ALL.into_iter().filter(|s| !s.is_end()) {
            assert!(next(from, Event::Retried).is_err());
            for to in State::ALL {
                assert_eq!(next(from, Event::Ended(to)).is_ok(), to.is_end());
            }
        }
    }

    #[test]
    fn an_offer_goes_the_way_of_its_user() {
        let run = Incarnation(1);
        let chosen = || LineEvent::Chosen { by: "mia".into(), at: None };
        let mut line = Line::new(1, Time(0));
        for (no, event, state) in [
            (1, LineEvent::Offered, State::Offered),
            (2, chosen(), State::Chosen),
            (3, LineEvent::Offered, State::Offered),
            (4, chosen(), State::Chosen),
            (5, LineEvent::Delivered, State::Delivered),
            (6, LineEvent::Begun, State::Installing),
            (7, ended(State::Done), State::Done),
        ] {
            assert_eq!(line.apply(run, no, Time(no as i64), &report(1, event)), Applied::Changed);
            assert_eq!(line.shown(), state);
        }
        assert_eq!(next(State::Offered, Event::ReachedRelay), Ok(State::Offered));
        assert!(next(State::Installing, Event::Offered).is_err());
    }

    #[test]
    fn only_what_was_rejected_may_be_chosen_after_all() {
        for from in State::ALL.into_iter().filter(|s| s.is_end()) {
            let chosen = next(from, Event::Chosen);
            assert_eq!(chosen.is_ok(), from == State::Rejected, "{from}");
            assert!(next(from, Event::Offered).is_err(), "{from}");
        }
        let run = Incarnation(1);
        let mut line = Line::new(1, Time(0));
        line.apply(run, 1, Time(1), &report(1, LineEvent::Offered));
        line.apply(run, 2, Time(2), &report(1, ended(State::Rejected)));
        assert_eq!((line.shown(), line.outcome.is_some()), (State::Rejected, true));
        let chosen = LineEvent::Chosen { by: "mia".into(), at: None };
        assert_eq!(line.apply(run, 3, Time(3), &report(1, chosen.clone())), Applied::Changed);
        assert_eq!((line.shown(), line.outcome.clone()), (State::Chosen, None));
        // A rejection that is told again after the choice changes nothing.
        assert_eq!(line.apply(run, 2, Time(2), &report(1, ended(State::Rejected))), Applied::Repeat);
        line.apply(run, 4, Time(4), &report(1, ended(State::Failed)));
        assert!(matches!(line.apply(run, 5, Time(5), &report(1, chosen)), Applied::Refused(_)));
    }

    #[test]
    fn a_transfer_that_has_begun_is_not_judged_any_more() {
        let run = Incarnation(1);
        let mut line = Line::new(1, Time(0));
        assert_eq!(line.apply(run, 1, Time(1), &report(1, LineEvent::Storing)), Applied::Changed);
        assert_eq!((line.shown(), line.has_begun()), (State::Waiting, true));
        assert!(!line.judge(Verdict::Missed, Time(2)));
        line.apply(run, 2, Time(3), &report(1, ended(State::Transferred)));
        assert_eq!(line.shown(), State::Transferred);
    }

    #[test]
    fn repeats_and_old_attempts_change_nothing() {
        let run = Incarnation(1);
        let mut line = Line::new(2, Time(0));
        assert_eq!(line.apply(run, 4, Time(1), &report(2, LineEvent::Delivered)), Applied::Changed);
        let before = line.clone();
        assert_eq!(line.apply(run, 4, Time(2), &report(2, LineEvent::Delivered)), Applied::Repeat);
        assert_eq!(line.apply(run, 5, Time(2), &report(1, ended(State::Failed))), Applied::Old);
        assert_eq!(line, before);
        assert_eq!(line.apply(run, 6, Time(3), &report(2, ended(State::Done))), Applied::Changed);
        assert!(matches!(line.apply(run, 7, Time(4), &report(2, LineEvent::Begun)), Applied::Refused(_)));
        assert_eq!(line.shown(), State::Done);
    }

    #[test]
    fn the_hosts_own_word_outranks_a_verdict() {
        let run = Incarnation(1);
        let mut line = Line::new(1, Time(0));
        assert!(line.judge(Verdict::Cancelled, Time(1)));
        assert!(!line.judge(Verdict::Missed, Time(2)));
        assert_eq!(line.shown(), State::Cancelled);
        line.apply(run, 1, Time(3), &report(1, LineEvent::Begun));
        assert_eq!(line.shown(), State::Installing);
        line.apply(run, 2, Time(4), &report(1, ended(State::Done)));
        assert_eq!((line.shown(), line.verdict), (State::Done, Some((Verdict::Cancelled, Time(1)))));
    }

    #[test]
    fn a_reimaged_machine_begins_anew() {
        let mut line = Line::new(1, Time(0));
        line.apply(Incarnation(1), 9, Time(5), &report(1, ended(State::Failed)));
        let late = report(1, ended(State::Done));
        assert!(matches!(line.apply(Incarnation(2), 1, Time(4), &late), Applied::Refused(_)));
        assert_eq!(
            line.apply(Incarnation(2), 2, Time(6), &report(1, LineEvent::Delivered)),
            Applied::Changed
        );
        assert_eq!((line.shown(), line.outcome.clone()), (State::Delivered, None));
        assert_eq!(line.apply(Incarnation(2), 3, Time(7), &late), Applied::Changed);
        assert_eq!(line.shown(), State::Done);
    }

    #[test]
    fn a_host_that_is_named_after_all_begins_the_attempt_anew() {
        let run = Incarnation(1);
        let mut line = Line::new(1, Time(0));
        let unfit = Outcome::with(State::NotApplicable, crate::report::UNFIT_STEP, "os bsd");
        line.apply(run, 1, Time(1), &report(1, LineEvent::Ended(unfit)));
        assert_eq!(line.shown(), State::NotApplicable);
        assert_eq!(line.apply(run, 2, Time(2), &report(1, LineEvent::Delivered)), Applied::Changed);
        assert_eq!((line.shown(), line.outcome.clone()), (State::Delivered, None));
        // What the package itself asks for is judged once.
        let mut line = Line::new(1, Time(0));
        line.apply(run, 1, Time(1), &report(1, ended(State::NotApplicable)));
        assert!(matches!(line.apply(run, 2, Time(2), &report(1, LineEvent::Delivered)), Applied::Refused(_)));
    }

    #[test]
    fn a_later_attempt_starts_clean() {
        let run = Incarnation(1);
        let mut line = Line::new(1, Time(0));
        assert!(line.retry(2, Time(1)).is_err());
        line.apply(run, 1, Time(1), &report(1, ended(State::Failed)));
        assert_eq!(line.retry(2, Time(2)), Ok(()));
        assert_eq!((line.state, line.attempt, line.outcome.clone()), (State::Waiting, 2, None));
        line.apply(run, 2, Time(3), &report(3, LineEvent::Delivered));
        assert_eq!((line.state, line.attempt), (State::Delivered, 3));
    }
}
