use super::*;
use crate::place::{Above, HostRole};

const SECOND: i64 = 1_000_000;
const START: i64 = 1_800_000_000 * SECOND;

fn id(n: u8) -> HostId {
    HostId([n; 16])
}

fn at(secs: i64) -> Time {
    Time(START + secs * SECOND)
}

/// A place below relay `on`, with these systems in its list.
fn place(list: &[u8], on: u8, called: u64) -> Place {
    let above = |n: &u8| Above { id: id(*n), relay: true, name: String::new(), urls: Vec::new() };
    Place {
        route: vec![id(on)],
        above: list.iter().map(above).collect(),
        called,
        ..Place::new(id(9), "pc", HostRole::Client)
    }
}

fn call(to: u8) -> Call {
    Call { to: id(to), number: 0, since: Time(0), relapses: 0 }
}

fn machine(me: u8, list: &[u8]) -> Calling {
    Calling::new(HostId([me; 16]), Paces::USUAL, &place(list, list[0], 0), call(list[0]), at(0))
}

/// Drives a machine as its agent does, with the systems `up` by the second; answers when it called whom.
fn drive(machine: &mut Calling, secs: std::ops::Range<i64>, up: impl Fn(u8, i64) -> bool) -> Vec<(i64, u8)> {
    let mut calls = Vec::new();
    for t in secs {
        let called = machine.call().to.0[0];
        match up(called, t) {
            true => machine.answered(at(t)),
            false if t % 5 == 0 => machine.unreached(at(t)),
            false => {}
        }
        while let Some(to) = machine.look(at(t)) {
            let current = to == machine.call().to;
            if machine.looked(to, !current && up(to.0[0], t), at(t)) {
                calls.push((t, machine.call().to.0[0]));
            }
        }
    }
    calls
}

#[test]
fn the_first_that_answers_is_called_and_the_first_again_when_it_answers_steadily() {
    let mut pc = machine(9, &[1, 2, 3]);
    // The first is away for ten minutes; so is the second, for five.
    let up = |n: u8, t: i64| match n {
        1 => !(100..700).contains(&t),
        2 => !(100..400).contains(&t),
        _ => true,
    };
    let calls = drive(&mut pc, 0..3000, up);
    assert_eq!(calls.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [3, 2, 1], "{calls:?}");
    let [third, second, first] = [calls[0].0, calls[1].0, calls[2].0];
    assert!((160..=195).contains(&third), "60 to 90 s of attempts: {third}");
    assert!(second >= third + 300 && second >= 400 + 180, "a stay, and steady answers: {second}");
    assert!(first >= second + 300, "{first}");
    assert_eq!(pc.call().relapses, 0);
}

#[test]
fn short_outages_and_single_failures_are_none() {
    let mut pc = machine(9, &[1, 2]);
    assert_eq!(drive(&mut pc, 0..2000, |n, t| n != 1 || t % 100 > 50), []);
    // A clock that was set an hour ahead after one failure.
    let mut pc = machine(9, &[1, 2]);
    pc.unreached(at(0));
    assert_eq!(pc.look(at(3600)), None);
}

#[test]
fn a_refusal_is_an_answer_and_one_that_turns_it_away_is_left_at_once() {
    let mut pc = machine(9, &[1, 2, 3]);
    assert_eq!(drive(&mut pc, 0..200, |n, _| n != 1).iter().map(|(_, to)| *to).collect::<Vec<_>>(), [2]);
    assert!(pc.is_untold() && pc.is_away());
    // It went by a place that lists it no more.
    pc.turned_away(at(200));
    let calls = drive(&mut pc, 200..210, |n, _| n == 3);
    assert_eq!(calls, [(200, 3)]);
}

#[test]
fn it_never_flaps() {
    // The first answers for seven minutes and is away for three, for a day.
    let mut pc = machine(9, &[1, 2]);
    let calls = drive(&mut pc, 0..86_400, |n, t| n != 1 || t % 600 < 420);
    let returns = calls.iter().filter(|(_, to)| *to == 1).count();
    assert!(returns <= 30, "{returns} returns: {calls:?}");
    let last =
        calls.windows(2).filter(|pair| pair[0].1 == 2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(last >= 3600, "the stay grows to an hour: {last}");
}

#[test]
fn with_nobody_there_all_are_tried_again_and_again_in_their_order() {
    let mut pc = machine(9, &[1, 2, 3]);
    let mut looks: Vec<(i64, u8)> = Vec::new();
    for t in 0..3600 {
        if t % 5 == 0 {
            pc.unreached(at(t));
        }
        while let Some(to) = pc.look(at(t)) {
            looks.push((t, to.0[0]));
            assert!(!pc.looked(to, false, at(t)));
        }
        assert!(pc.wakes_at(at(t)).is_none_or(|then| then <= at(t + 660)));
    }
    let order: Vec<u8> = looks.iter().map(|(_, to)| *to).collect();
    assert!(order.chunks(3).all(|round| round == [1, 2, 3]), "{order:?}");
    assert!((5..40).contains(&(order.len() / 3)), "{} rounds in an hour", order.len() / 3);
    // Whoever comes first.
    let calls = drive(&mut pc, 3600..5000, |n, t| n == 2 && t > 3700);
    assert_eq!(calls.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [2]);
}

#[test]
fn hosts_do_not_come_all_at_once() {
    let went = |me: u8| {
        let mut pc = machine(me, &[1, 2]);
        drive(&mut pc, 0..3000, |n, t| n != 1 || t > 600).iter().map(|(t, _)| *t).collect::<Vec<_>>()
    };
    let all: Vec<Vec<i64>> = (10..250).map(went).collect();
    for nth in 0..2 {
        let mut times: Vec<i64> = all.iter().map(|times| times[nth]).collect();
        times.sort_unstable();
        assert!(times[times.len() - 1] - times[0] >= 25, "spread: {times:?}");
        let most = times.chunk_by(|a, b| a == b).map(<[i64]>::len).max().unwrap_or(0);
        assert!(most < all.len() / 5, "{most} of {} in one second", all.len());
    }
}

#[test]
fn the_managing_servers_word_counts_if_it_knew_of_the_last_change() {
    let mut pc = machine(9, &[1, 2]);
    drive(&mut pc, 0..200, |n, _| n != 1);
    let number = pc.call().number;
    assert!(number >= 1_800_000_000);
    // Signed before it heard.
    assert!(!pc.placed(&place(&[1, 2], 1, 0), at(200)));
    assert_eq!(pc.call().to, id(2));
    // It heard.
    assert!(!pc.placed(&place(&[1, 2], 2, number), at(210)));
    assert!(!pc.is_untold());
    // An administrator moves it.
    assert!(pc.placed(&place(&[3, 1], 3, number), at(220)));
    assert_eq!((pc.call().to, pc.call().number), (id(3), number));
    // And the list is shortened by the one that it calls, before the managing server heard of anything.
    let mut pc = machine(9, &[1, 2]);
    drive(&mut pc, 0..200, |n, _| n != 1);
    assert!(pc.placed(&place(&[1], 1, 0), at(200)));
    assert_eq!(pc.call().to, id(1));
}

#[test]
fn it_goes_on_after_a_restart_of_its_agent() {
    let mut pc = machine(9, &[1, 2]);
    drive(&mut pc, 0..200, |n, _| n != 1);
    let kept = pc.call();
    let mut again = Calling::new(id(9), Paces::USUAL, &place(&[1, 2], 1, 0), kept, at(300));
    assert_eq!((again.call(), again.is_untold()), (kept, true));
    let calls = drive(&mut again, 300..2000, |_, _| true);
    assert_eq!(calls.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [1]);
    assert!(again.call().number > kept.number);
}

#[test]
fn without_a_list_nothing_is_looked_at() {
    let bare = Place::new(id(9), "pc", HostRole::Client);
    let mut pc = Calling::new(id(9), Paces::USUAL, &bare, call(1), at(0));
    assert_eq!(drive(&mut pc, 0..500, |_, _| false), []);
    assert_eq!(pc.wakes_at(at(500)), None);
}
