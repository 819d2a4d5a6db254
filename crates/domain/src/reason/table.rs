//! Every reason in every state where it can occur, found by going through everything that can be known of a line.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use State::{AtRelay, Chosen, Delivered, Installing, Offered, Registered, Restarting, Waiting};

/// What the surroundings say of a line whose host has said nothing: all of it, and in which states.
const AROUND: [(Code, &[State]); 17] = [
    (Code::Scheduled, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::RelayOff, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::HostOff, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::Silent, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::RelayFetching, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::RelaySuspended, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::LineClosed, &[Registered, Waiting, Chosen, AtRelay]),
    // A relay's own word on what keeps it from getting the package.
    (Code::Network, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::Disk, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::Content, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::NotTrusted, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::OnItsWay, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::HostFetching, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::NotChosen, &[Offered]),
    (Code::Suspended, &[Registered, Waiting, Offered, Chosen, AtRelay, Delivered]),
    (Code::Twins, &[Registered, Waiting, Offered, Chosen, AtRelay, Delivered]),
    (Code::Installing, &[Installing, Restarting]),
];

/// What only the host (of a transfer: the relay) itself can say, and in which states it may say it.
const OWN: [(Code, &[State]); 14] = [
    (Code::Network, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::Disk, &[Registered, Waiting, Chosen, AtRelay, Delivered, Installing]),
    (Code::Content, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::NotTrusted, &[Registered, Waiting, Chosen, AtRelay]),
    (Code::Lock, &[Registered, Waiting, Chosen, AtRelay, Delivered, Installing]),
    (Code::Turn, &[Registered, Waiting, Chosen, AtRelay, Delivered]),
    (Code::InstallerRetry, &[Delivered, Installing]),
    (Code::NoRoom, &[Registered, Waiting]),
    (Code::ChosenFor, &[Chosen, AtRelay, Delivered]),
    (Code::Postponed, &[Registered, Waiting, AtRelay, Delivered]),
    (Code::HeldUntil, &[Registered, Waiting, AtRelay, Delivered]),
    (Code::SystemStart, &[AtRelay, Delivered]),
    (Code::SystemStop, &[AtRelay, Delivered]),
    (Code::NoMembership, &[Registered, Waiting]),
];

const NOW: Time = Time(400 * 86_400_000_000);

fn open() -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(|state| !state.is_end())
}

/// Everything that can be known of a line's surroundings, one after the other.
fn everything(mut judge: impl FnMut(&LineFacts<'_>)) {
    let job = JobKey::server(1, 3);
    let relay = |online, has_copy, percent, suspended, shut| RelayFacts {
        name: "osaka".into(),
        online,
        last_seen: Time(7),
        has_copy,
        percent,
        suspended,
        shut,
        trouble: None,
    };
    let trouble = |code| RelayFacts {
        trouble: Some(Reason::new(code, "osaka", Time(9), NextTry::WhenCleared, "wait", "it says so")),
        ..relay(true, false, None, None, None)
    };
    let next = Some(NextTry::At(NOW.plus_secs(60)));
    let routes: [Vec<RelayFacts>; 11] = [
        Vec::new(),
        vec![relay(true, true, None, None, None)],
        vec![relay(true, false, None, None, None)],
        vec![relay(true, false, Some(3), None, None)],
        vec![relay(false, false, None, None, None)],
        vec![relay(true, false, None, Some(Time(9)), None)],
        vec![relay(true, false, None, None, next)],
        vec![trouble(Code::Network)],
        vec![trouble(Code::Disk)],
        vec![trouble(Code::Content)],
        vec![trouble(Code::NotTrusted)],
    ];
    for route in &routes {
        for bits in 0..64u32 {
            let is = |bit: u32| bits & 1 << bit != 0;
            judge(&LineFacts {
                asked: "server",
                job: &job,
                at: is(0).then(|| NOW.plus_secs(60)),
                created: Time(0),
                suspended: is(1).then_some(Time(5)),
                host: "pc17",
                online: is(2),
                last_seen: if is(3) { NOW } else { Time(5) },
                twins_since: is(4).then_some(Time(1)),
                route,
                percent: is(5).then_some(40),
                silent_days: super::SILENT_DAYS,
            });
        }
    }
}

fn sound(reason: &Reason) {
    assert!(!reason.system().is_empty() && !reason.clear().is_empty(), "{reason:?}");
    assert!(!reason.detail().is_empty() && reason.since() <= NOW, "{reason:?}");
    if let NextTry::At(at) = reason.next_try() {
        assert!(at > NOW, "{reason:?} was to be tried again already");
    }
}

#[test]
fn what_the_surroundings_say_is_the_table() {
    let mut found: BTreeMap<Code, BTreeSet<State>> = BTreeMap::new();
    for state in open() {
        let line = Line { state, ..Line::new(1, Time(0)) };
        everything(|facts| {
            let reason = shown(&line, facts, NOW).expect("it has not ended");
            sound(&reason);
            found.entry(reason.code()).or_default().insert(state);
        });
    }
    let table: BTreeMap<Code, BTreeSet<State>> =
        AROUND.into_iter().map(|(code, states)| (code, states.iter().copied().collect())).collect();
    assert_eq!(found, table);
}

#[test]
fn a_hosts_own_word_counts_where_it_is_current() {
    let outranks = [Code::Twins, Code::Suspended, Code::RelaySuspended, Code::LineClosed];
    for (code, states) in OWN {
        for state in states {
            let own = Reason::new(code, "pc17", Time(2), NextTry::WhenCleared, "wait", "it says so");
            let line = Line { state: *state, reason: Some(own.clone()), ..Line::new(1, Time(0)) };
            let mut said = false;
            everything(|facts| {
                let reason = shown(&line, facts, NOW).expect("it has not ended");
                sound(&reason);
                if reason == own {
                    said = true;
                } else if facts.online || state.has_begun() {
                    // That a host gets nothing from its relay says less than what the relay says.
                    let relays_own = code == Code::Network && reason.system() == "osaka";
                    let outranked = outranks.contains(&reason.code()) || relays_own;
                    assert!(outranked, "{code:?} in {state:?}: {reason:?}");
                }
            });
            assert!(said, "{code:?} in {state:?} is never told");
        }
    }
}

#[test]
fn every_reason_and_every_state_is_in_the_tables() {
    let codes: BTreeSet<Code> = AROUND.iter().chain(&OWN).map(|(code, _)| *code).collect();
    assert_eq!(codes, Code::ALL.into_iter().collect());
    let states: BTreeSet<State> = AROUND.iter().flat_map(|(_, states)| states.iter().copied()).collect();
    assert_eq!(states, open().collect());
}

#[test]
fn what_has_ended_has_no_reason() {
    for state in State::ALL.into_iter().filter(|state| state.is_end()) {
        let line = Line { state, ..Line::new(1, Time(0)) };
        everything(|facts| assert_eq!(shown(&line, facts, NOW), None));
    }
}
