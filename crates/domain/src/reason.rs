//! Why a line waits: a closed list. A reason cannot be made without saying at which system, since when, when it is tried
//! again and what would clear it (design section 4).

use crate::ids::JobKey;
use crate::instruction::{Line, State};
use crate::time::Time;

/// The kinds of reasons. Their texts ([`Code::as_str`]) are what JSON carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The job's `--at` has not come.
    Scheduled,
    /// A relay on the route is not connected.
    RelayOff,
    /// The host is not connected.
    HostOff,
    /// The relay is taking in the package.
    RelayFetching,
    /// The order has been handed down and nothing has been heard from the host yet.
    OnItsWay,
    /// The host is taking in the package.
    HostFetching,
    /// The host could not reach its higher system for the package; tried again.
    Network,
    /// The host's disk is full or broken; tried again.
    Disk,
    /// What came was not what was signed; tried again.
    Content,
    /// The package's signature is by no key this host trusts for the cabinet; tried again.
    NotTrusted,
    /// Another installer holds the package database; tried again.
    Lock,
    /// An earlier package of this job, or another job, comes first.
    Turn,
    /// The installer failed and the package allows another try.
    InstallerRetry,
    /// The installer runs.
    Installing,
    /// The job is suspended.
    Suspended,
    /// Transfers to or through the relay are suspended.
    RelaySuspended,
    /// The relay's store has no room for the package.
    NoRoom,
    /// The user has not chosen yet.
    NotChosen,
    /// The user chose it for a later time.
    ChosenFor,
    /// The user put it off.
    Postponed,
    /// The package is there and is to be installed at a later time.
    HeldUntil,
    /// The package is there and is to be installed when the system starts.
    SystemStart,
    /// The package is there and is to be installed when the system stops.
    SystemStop,
    /// The host belongs to the group only by a statement that has not come.
    NoMembership,
    /// The line to the higher system carries nothing at this hour.
    LineClosed,
    /// The host has not been heard for a very long time.
    Silent,
    /// Two machines answer under this name; both are held.
    Twins,
}

impl Code {
    /// All codes, for tables and tests.
    pub const ALL: [Code; 27] = [
        Code::Scheduled,
        Code::RelayOff,
        Code::HostOff,
        Code::RelayFetching,
        Code::OnItsWay,
        Code::HostFetching,
        Code::Network,
        Code::Disk,
        Code::Content,
        Code::NotTrusted,
        Code::Lock,
        Code::Turn,
        Code::InstallerRetry,
        Code::Installing,
        Code::Suspended,
        Code::RelaySuspended,
        Code::NoRoom,
        Code::NotChosen,
        Code::ChosenFor,
        Code::Postponed,
        Code::HeldUntil,
        Code::SystemStart,
        Code::SystemStop,
        Code::NoMembership,
        Code::LineClosed,
        Code::Silent,
        Code::Twins,
    ];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Scheduled => "scheduled",
            Code::RelayOff => "relay_off",
            Code::HostOff => "host_off",
            Code::RelayFetching => "relay_fetching",
            Code::OnItsWay => "on_its_way",
            Code::HostFetching => "host_fetching",
            Code::Network => "network",
            Code::Disk => "disk",
            Code::Content => "content",
            Code::NotTrusted => "not_trusted",
            Code::Lock => "lock",
            Code::Turn => "turn",
            Code::InstallerRetry => "installer_retry",
            Code::Installing => "installing",
            Code::Suspended => "suspended",
            Code::RelaySuspended => "relay_suspended",
            Code::NoRoom => "no_room",
            Code::NotChosen => "not_chosen",
            Code::ChosenFor => "chosen_for",
            Code::Postponed => "postponed",
            Code::HeldUntil => "held_until",
            Code::SystemStart => "system_start",
            Code::SystemStop => "system_stop",
            Code::NoMembership => "no_membership",
            Code::LineClosed => "line_closed",
            Code::Silent => "silent",
            Code::Twins => "twins",
        }
    }

    /// The code of a word.
    pub fn parse(word: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == word)
    }

    /// Whether it is trouble with taking a package in, which a relay may tell of itself.
    pub fn is_of_taking_in(self) -> bool {
        matches!(self, Code::Network | Code::Disk | Code::Content | Code::NotTrusted)
    }

    /// The few words for a group of lines: `11 off`.
    pub fn brief(self) -> &'static str {
        match self {
            Code::Scheduled => "scheduled",
            Code::RelayOff => "behind a relay that is off",
            Code::HostOff => "off",
            Code::RelayFetching => "relay fetching",
            Code::OnItsWay => "on the way",
            Code::HostFetching => "fetching",
            Code::Network => "no line",
            Code::Disk => "no disk",
            Code::Content => "bad content",
            Code::NotTrusted => "not trusted",
            Code::Lock => "locked",
            Code::Turn => "waiting their turn",
            Code::InstallerRetry => "trying again",
            Code::Installing => "installing",
            Code::Suspended => "suspended",
            Code::RelaySuspended => "behind a suspended relay",
            Code::NoRoom => "no room at the relay",
            Code::NotChosen => "not chosen yet",
            Code::ChosenFor => "chosen for later",
            Code::Postponed => "put off by the user",
            Code::HeldUntil => "held for its time",
            Code::SystemStart => "at the next start",
            Code::SystemStop => "at the next stop",
            Code::NoMembership => "membership not proven",
            Code::LineClosed => "outside the hours of its line",
            Code::Silent => "silent",
            Code::Twins => "held as twins",
        }
    }
}

/// When it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextTry {
    /// At this time.
    At(Time),
    /// As soon as what stands in `clear` has happened.
    WhenCleared,
}

/// Why a line waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    code: Code,
    system: String,
    since: Time,
    next_try: NextTry,
    clear: String,
    detail: String,
}

/// Trouble that is there is said anew with every try. With the way to here and clocks that differ, in seconds.
const OUT_OF_DATE_SECS: i64 = 180;

/// Longest detail or clear text, in bytes; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 1000;

impl Reason {
    /// The only way to make one: `system` is where it waits, `clear` what would clear it, `detail` what exactly is
    /// (may be empty).
    pub fn new(
        code: Code,
        system: &str,
        since: Time,
        next_try: NextTry,
        clear: &str,
        detail: &str,
    ) -> Reason {
        Reason { code, system: cut(system), since, next_try, clear: cut(clear), detail: cut(detail) }
    }

    /// Its kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The system where it waits.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// Since when.
    pub fn since(&self) -> Time {
        self.since
    }

    /// When it is tried again.
    pub fn next_try(&self) -> NextTry {
        self.next_try
    }

    /// What would clear it.
    pub fn clear(&self) -> &str {
        &self.clear
    }

    /// What exactly is.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether it was only about a time, and that has come, or about the job being suspended, which whoever knows the job knows
    /// better: what holds the line up now, its surroundings say.
    fn is_over(&self, now: Time) -> bool {
        let timed =
            matches!(self.code, Code::Scheduled | Code::ChosenFor | Code::Postponed | Code::HeldUntil);
        self.code == Code::Suspended || timed && matches!(self.next_try, NextTry::At(at) if at <= now)
    }

    /// Whether it was to be tried again a while ago, and nothing was heard of that: whoever said it says it no more, as after
    /// a restart.
    pub fn is_out_of_date(&self, now: Time) -> bool {
        matches!(self.next_try, NextTry::At(at) if now.secs_since(at) > OUT_OF_DATE_SECS)
    }

    /// Whether both say the same, apart from since when.
    pub fn same_as(&self, other: &Reason) -> bool {
        self.code == other.code && self.system == other.system && self.detail == other.detail
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A host that was not heard for longer than this is silent, in days, unless something else is set.
pub const SILENT_DAYS: i64 = 90;

/// Whether a host is silent: not there, and not heard for longer than so many days. It is shown apart and left out of
/// percentages, until it is heard again.
pub fn is_silent(online: bool, last_seen: Time, now: Time, days: i64) -> bool {
    !online && now.secs_since(last_seen) > days.saturating_mul(86_400)
}

/// A relay on a line's route, as the system that answers knows it.
#[derive(Debug, Clone)]
pub struct RelayFacts {
    /// Its name.
    pub name: String,
    /// Connected now.
    pub online: bool,
    /// Last heard.
    pub last_seen: Time,
    /// Whether it is known to keep the line's package.
    pub has_copy: bool,
    /// How much of it has arrived, 0 to 100.
    pub percent: Option<u8>,
    /// Transfers to it and through it are suspended, since then.
    pub suspended: Option<Time>,
    /// Its line to its higher system carries nothing at this hour, and then again.
    pub shut: Option<NextTry>,
    /// Its own word on why it does not get the package.
    pub trouble: Option<Reason>,
}

/// What is known about a line's surroundings.
#[derive(Debug, Clone)]
pub struct LineFacts<'a> {
    /// The system that answers.
    pub asked: &'a str,
    /// The job.
    pub job: &'a JobKey,
    /// When it starts.
    pub at: Option<Time>,
    /// When it was registered.
    pub created: Time,
    /// The job is suspended, since then.
    pub suspended: Option<Time>,
    /// The host's name.
    pub host: &'a str,
    /// Connected now.
    pub online: bool,
    /// Last heard.
    pub last_seen: Time,
    /// Two machines answer under this name, since then.
    pub twins_since: Option<Time>,
    /// Relays from the system that answers down to the host.
    pub route: &'a [RelayFacts],
    /// How much of the package the host has, 0 to 100.
    pub percent: Option<u8>,
    /// Not heard for longer than this, in days, it is silent.
    pub silent_days: i64,
}

/// The reason shown for a line: the host's own word where it is current, else what its surroundings say; `None` exactly
/// when the line has ended.
pub fn shown(line: &Line, facts: &LineFacts<'_>, now: Time) -> Option<Reason> {
    if line.shown().is_end() {
        return None;
    }
    let begun = matches!(line.state, State::Installing | State::Restarting);
    Some(match (&line.reason, begun) {
        (_, false) if facts.twins_since.is_some() => twins(facts),
        (_, false) if facts.suspended.is_some() => suspended(line, facts),
        // The host only sees that its relay does not have the package.
        (Some(own), false) if facts.online && own.code() == Code::Network && !own.is_over(now) => {
            held_at_relay(line, facts).unwrap_or_else(|| own.clone())
        }
        (Some(own), _) if (facts.online || begun) && !own.is_over(now) => {
            newest_of_relay(own, facts).unwrap_or_else(|| own.clone())
        }
        (_, false) if line.state == State::Offered => not_chosen(line, facts),
        (None, true) => Reason::new(
            Code::Installing,
            facts.host,
            line.since,
            NextTry::WhenCleared,
            "nothing to do: the installer runs",
            "the installer runs",
        ),
        _ => around(line, facts, now),
    })
}

/// Of a transfer the relay itself is the host: its trouble now says more than the trouble it wrote down. Whatever else a line
/// at a relay waits for (its room, the other installer, its time) has nothing to do with how the package comes.
fn newest_of_relay(own: &Reason, facts: &LineFacts<'_>) -> Option<Reason> {
    let relay = facts.route.last().filter(|relay| relay.name == facts.host && !relay.has_copy)?;
    relay.trouble.clone().filter(|_| own.code().is_of_taking_in())
}

fn twins(facts: &LineFacts<'_>) -> Reason {
    let clear = format!(
        "on the machine that is to keep the name: packhorse token new --replace {}, then join again",
        facts.host
    );
    let since = facts.twins_since.unwrap_or_default();
    Reason::new(
        Code::Twins,
        facts.host,
        since,
        NextTry::WhenCleared,
        &clear,
        "two machines answer under this name",
    )
}

/// Whether the host is there makes no difference: its user may choose all the same.
fn not_chosen(line: &Line, facts: &LineFacts<'_>) -> Reason {
    let clear = format!("on {}: packhorse choose PACKAGE, or packhorse reject PACKAGE", facts.host);
    let text = "it is offered, and nobody has chosen it";
    Reason::new(Code::NotChosen, facts.host, line.since, NextTry::WhenCleared, &clear, text)
}

fn suspended(line: &Line, facts: &LineFacts<'_>) -> Reason {
    Reason::new(
        Code::Suspended,
        facts.asked,
        facts.suspended.unwrap_or_default().max(line.since),
        NextTry::WhenCleared,
        &format!("packhorse job resume {}", facts.job),
        "the job is suspended",
    )
}

/// The first relay on the way that lacks the package does not take it in: because it, or any relay above it, was
/// told to wait, because its line carries nothing at this hour, or because of trouble that it tells of itself.
fn held_at_relay(line: &Line, facts: &LineFacts<'_>) -> Option<Reason> {
    let lacking = facts.route.iter().position(|relay| !relay.has_copy)?;
    let relay = &facts.route[lacking];
    let told = facts.route[..=lacking].iter().find(|relay| relay.suspended.is_some());
    if let Some(told) = told {
        return Some(Reason::new(
            Code::RelaySuspended,
            &told.name,
            told.suspended.unwrap_or_default().max(line.since),
            NextTry::WhenCleared,
            &format!("packhorse relay resume {}", told.name),
            &format!("transfers to and through relay system {} are suspended", told.name),
        ));
    }
    let Some(next_try) = relay.shut else { return relay.trouble.clone() };
    Some(Reason::new(
        Code::LineClosed,
        &relay.name,
        line.since,
        next_try,
        &format!("packhorse relay limit {} --none", relay.name),
        &format!("the line to relay system {} carries nothing at this hour", relay.name),
    ))
}

/// What clears trouble with taking a package in, at a host or at a relay.
pub fn clear_of(code: Code) -> &'static str {
    match code {
        Code::Network => "the line to the higher system, or the higher system itself",
        Code::Disk => "free space on the disk there, or let packhorse write there",
        Code::Content => "nothing to do if it passes; else look at the higher system's store",
        Code::NotTrusted => "packhorse cabinet trust CABINET --key KEY, if the key is to be trusted",
        Code::Lock => "nothing to do: the other installer ends",
        Code::InstallerRetry => "nothing to do: it is tried again",
        _ => "nothing to do: it goes on by itself",
    }
}

fn silent(facts: &LineFacts<'_>, now: Time) -> Reason {
    let days = now.secs_since(facts.last_seen) / 86_400;
    let at = facts.route.last().map_or(facts.asked, |relay| relay.name.as_str());
    Reason::new(
        Code::Silent,
        at,
        facts.last_seen,
        NextTry::WhenCleared,
        &format!("start {0}; if it is gone for good: packhorse host retire {0}", facts.host),
        &format!("{} has not been heard for {days} days", facts.host),
    )
}

fn around(line: &Line, facts: &LineFacts<'_>, now: Time) -> Reason {
    if let Some(at) = facts.at.filter(|at| *at > now) {
        let clear =
            format!("packhorse job cancel {}, and a new job without --at, to start at once", facts.job);
        return Reason::new(
            Code::Scheduled,
            facts.asked,
            facts.created,
            NextTry::At(at),
            &clear,
            "its time has not come",
        );
    }
    if let Some(relay) = facts.route.iter().find(|relay| !relay.online) {
        let clear = format!("start relay system {}, or its line to its higher system", relay.name);
        let detail = format!("relay system {} is off", relay.name);
        return Reason::new(
            Code::RelayOff,
            &relay.name,
            relay.last_seen,
            NextTry::WhenCleared,
            &clear,
            &detail,
        );
    }
    if is_silent(facts.online, facts.last_seen, now, facts.silent_days) {
        return silent(facts, now);
    }
    if !facts.online {
        let at = facts.route.last().map_or(facts.asked, |relay| relay.name.as_str());
        let clear = format!("start {}; it asks by itself", facts.host);
        let detail = format!("{} is off", facts.host);
        return Reason::new(
            Code::HostOff,
            at,
            facts.last_seen.max(facts.created),
            NextTry::WhenCleared,
            &clear,
            &detail,
        );
    }
    if line.state != State::Delivered
        && let Some(relay) = facts.route.iter().find(|relay| !relay.has_copy)
    {
        if let Some(held) = held_at_relay(line, facts) {
            return held;
        }
        // What has no room there passes through: the host has some of it, and that says more.
        if let Some(percent) = facts.percent {
            return host_fetching(line, facts, percent);
        }
        let detail = match relay.percent {
            Some(percent) => format!("{} is taking in the package, {percent} % there", relay.name),
            None => format!("{} is taking in the package", relay.name),
        };
        let clear = "nothing to do: it goes on by itself";
        return Reason::new(
            Code::RelayFetching,
            &relay.name,
            line.since,
            NextTry::WhenCleared,
            clear,
            &detail,
        );
    }
    if let Some(percent) = facts.percent {
        return host_fetching(line, facts, percent);
    }
    let detail = format!("the order is on its way to {}", facts.host);
    let clear = "nothing to do: it goes on by itself";
    Reason::new(Code::OnItsWay, facts.host, line.since, NextTry::WhenCleared, clear, &detail)
}

fn host_fetching(line: &Line, facts: &LineFacts<'_>, percent: u8) -> Reason {
    let detail = format!("{} is taking in the package, {percent} % there", facts.host);
    let clear = "nothing to do: it goes on by itself";
    Reason::new(Code::HostFetching, facts.host, line.since, NextTry::WhenCleared, clear, &detail)
}

#[cfg(test)]
mod table;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::Verdict;

    fn facts<'a>(job: &'a JobKey, route: &'a [RelayFacts]) -> LineFacts<'a> {
        LineFacts {
            asked: "server",
            job,
            at: None,
            created: Time(0),
            suspended: None,
            host: "pc17",
            online: true,
            last_seen: Time(5),
            twins_since: None,
            route,
            percent: None,
            silent_days: SILENT_DAYS,
        }
    }

    #[test]
    fn every_line_that_has_not_ended_has_a_reason() {
        let job = JobKey::server(1, 3);
        let relay = |online, has_copy| RelayFacts {
            name: "osaka".into(),
            online,
            last_seen: Time(7),
            has_copy,
            percent: Some(12),
            suspended: None,
            shut: None,
            trouble: None,
        };
        let up = [relay(true, true)];
        let off = [relay(false, false)];
        let fetching = [relay(true, false)];
        let line = Line::new(1, Time(0));
        let now = Time(1_000_000);
        let code = |facts: &LineFacts<'_>| shown(&line, facts, now).unwrap().code();
        assert_eq!(code(&LineFacts { at: Some(Time(2_000_000)), ..facts(&job, &up) }), Code::Scheduled);
        assert_eq!(code(&facts(&job, &off)), Code::RelayOff);
        assert_eq!(code(&LineFacts { online: false, ..facts(&job, &up) }), Code::HostOff);
        assert_eq!(code(&facts(&job, &fetching)), Code::RelayFetching);
        assert_eq!(code(&facts(&job, &up)), Code::OnItsWay);
        // Through a relay that has no room for it.
        assert_eq!(code(&LineFacts { percent: Some(3), ..facts(&job, &fetching) }), Code::HostFetching);
        assert_eq!(code(&LineFacts { percent: Some(3), ..facts(&job, &up) }), Code::HostFetching);
        assert_eq!(code(&LineFacts { twins_since: Some(Time(1)), ..facts(&job, &up) }), Code::Twins);
        assert_eq!(code(&LineFacts { suspended: Some(Time(1)), ..facts(&job, &off) }), Code::Suspended);
        let held = |has_copy| RelayFacts { suspended: Some(Time(1)), ..relay(true, has_copy) };
        let shut = || RelayFacts { shut: Some(NextTry::At(Time(9))), ..relay(true, false) };
        assert_eq!(code(&facts(&job, &[held(false)])), Code::RelaySuspended);
        assert_eq!(code(&facts(&job, &[held(true), relay(true, false)])), Code::RelaySuspended);
        let trouble = |has_copy| RelayFacts {
            trouble: Some(Reason::new(Code::Content, "osaka", Time(3), NextTry::WhenCleared, "wait", "bad")),
            ..relay(true, has_copy)
        };
        assert_eq!(code(&facts(&job, &[trouble(false)])), Code::Content);
        // Whoever waits behind it says the same; what has passed it goes on.
        assert_eq!(code(&facts(&job, &[trouble(false), relay(true, false)])), Code::Content);
        assert_eq!(code(&facts(&job, &[trouble(true)])), Code::OnItsWay);
        // What has passed it already goes on.
        assert_eq!(code(&facts(&job, &[held(true)])), Code::OnItsWay);
        // At any depth.
        assert_eq!(
            code(&facts(&job, &[held(true), relay(true, true), relay(true, false)])),
            Code::RelaySuspended
        );
        assert_eq!(code(&facts(&job, &[shut()])), Code::LineClosed);
        for state in State::ALL.into_iter().filter(|state| !state.is_end()) {
            let line = Line { state, ..Line::new(1, Time(0)) };
            for route in [&up, &off, &fetching] {
                for online in [true, false] {
                    let reason = shown(&line, &LineFacts { online, ..facts(&job, route) }, now).unwrap();
                    assert!(!reason.clear().is_empty() && !reason.system().is_empty(), "{state:?}");
                }
            }
        }
        let mut ended = Line::new(1, Time(0));
        ended.judge(Verdict::Missed, Time(1));
        assert_eq!(shown(&ended, &facts(&job, &up), now), None);
    }

    #[test]
    fn an_offer_waits_for_its_user_and_a_time_that_came_is_no_reason() {
        let job = JobKey::server(1, 3);
        let mut line = Line { state: State::Offered, ..Line::new(1, Time(0)) };
        for online in [true, false] {
            let reason = shown(&line, &LineFacts { online, ..facts(&job, &[]) }, Time(9)).unwrap();
            assert_eq!((reason.code(), reason.system()), (Code::NotChosen, "pc17"));
        }
        line.state = State::Chosen;
        line.reason =
            Some(Reason::new(Code::ChosenFor, "pc17", Time(1), NextTry::At(Time(20)), "nothing to do", ""));
        let code = |now| shown(&line, &facts(&job, &[]), now).unwrap().code();
        assert_eq!((code(Time(19)), code(Time(20))), (Code::ChosenFor, Code::OnItsWay));
    }

    #[test]
    fn what_a_relay_tells_of_a_package_stands_only_over_trouble_with_getting_it() {
        let job = JobKey::server(1, 3);
        let reason = |code| Reason::new(code, "osaka", Time(1), NextTry::WhenCleared, "wait", "so");
        let shown_over = |own, has_copy, host: &str| {
            let relay = RelayFacts {
                name: "osaka".into(),
                online: true,
                last_seen: Time(7),
                has_copy,
                percent: None,
                suspended: None,
                shut: None,
                trouble: Some(reason(Code::Content)),
            };
            let line = Line { reason: Some(reason(own)), ..Line::new(1, Time(0)) };
            shown(&line, &LineFacts { host, ..facts(&job, &[relay]) }, Time(9)).unwrap().code()
        };
        for own in Code::ALL.into_iter().filter(|code| *code != Code::Suspended) {
            let newest = if own.is_of_taking_in() { Code::Content } else { own };
            assert_eq!(shown_over(own, false, "osaka"), newest);
            // With the package there, trouble is of another time.
            assert_eq!(shown_over(own, true, "osaka"), own);
            // A host's own disk is its own, whatever its relay has.
            let at_host = if own == Code::Network { Code::Content } else { own };
            assert_eq!(shown_over(own, false, "pc17"), at_host);
        }
    }

    #[test]
    fn trouble_of_which_nothing_is_heard_any_more_is_out_of_date() {
        let tried = |next_try| Reason::new(Code::Disk, "osaka", Time(1), next_try, "wait", "so");
        let at = Time(0).plus_secs(1000);
        let said = tried(NextTry::At(at));
        assert!(!said.is_out_of_date(at.plus_secs(-500)) && !said.is_out_of_date(at.plus_secs(180)));
        assert!(said.is_out_of_date(at.plus_secs(181)));
        assert!(!tried(NextTry::WhenCleared).is_out_of_date(at.plus_secs(86_400)));
    }

    #[test]
    fn words_and_codes_go_both_ways() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert!(!code.brief().is_empty());
        }
        assert_eq!(Code::parse("pending"), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let reason = Reason::new(Code::Disk, "a", Time(0), NextTry::WhenCleared, "b", &long);
        assert!(reason.detail().len() <= TEXT_BYTES_MAX);
    }
}
