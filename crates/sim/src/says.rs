//! What hosts say of themselves, in truth: some change their mind once. Nobody draws it: it follows from the host's id.

use packhorse_domain::condition::Condition;
use packhorse_domain::facts::Facts;
use packhorse_domain::ids::{GroupId, HostId};
use packhorse_domain::job::Clause;
use packhorse_domain::time::Time;

/// The one fixed group.
pub const GROUP: GroupId = GroupId([5; 16]);

fn number(host: &HostId) -> u64 {
    host.0.iter().fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte))
}

/// Whether a host is a member of the group from the start; the others become one when somebody puts them in.
pub fn is_member(host: &HostId) -> bool {
    number(host).is_multiple_of(2)
}

/// When a host says something for the first time, and when it is something else.
fn times(host: &HostId) -> [Time; 2] {
    let number = (number(host) / 6) as i64;
    [Time(0).plus_secs(2 + number % 40), Time(0).plus_secs(90 + number % 600)]
}

/// What a host is like at a time: always red, first red, or first blue.
pub fn facts(host: &HostId, now: Time) -> Facts {
    let changed = now >= times(host)[1];
    let red = match number(host) % 3 {
        0 => true,
        1 => !changed,
        _ => changed,
    };
    let mut facts = Facts::default();
    // A name and a value that are good.
    let _ = facts.set("colour", if red { "red" } else { "blue" });
    facts
}

/// Whether it says anything yet.
pub fn speaks(host: &HostId, now: Time) -> bool {
    now >= times(host)[0]
}

/// When it has something new to say.
pub fn next(host: &HostId, now: Time) -> Option<Time> {
    times(host).into_iter().find(|at| *at > now)
}

/// The clause for whoever is red.
pub fn red() -> Clause {
    match Condition::parse("colour = red") {
        Ok(condition) => Clause::Condition(condition),
        Err(_) => Clause::All { relays: false },
    }
}

/// How far a host's clock is ahead of the run's, by its zone, in seconds, in a run of such a pace. It tells the same instant.
pub fn ahead_secs(host: &HostId, pace: i64) -> i64 {
    [-600, -120, 0, 60, 240][(number(host) % 5) as usize] * pace
}
