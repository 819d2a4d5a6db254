//! Weeks of an organisation: 60 hosts under three levels of relays, 200 faults each, and no rule broken.
//!
//! As many seeds as fit into `PACKHORSE_SIM_WEEK_SECS` (default 20), at least `PACKHORSE_SIM_WEEKS_MIN` (default 8);
//! `PACKHORSE_SIM_WEEKS=50000` runs so many, however long that takes; `PACKHORSE_SIM_WEEK=17` replays one. `./test` says how
//! much of it is run there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use packhorse_sim::{Failure, Options, Stats, run};

const SEEDS_MIN: u64 = 8;
const SECS: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One core's work: the next seed that nobody has taken, until there is no more time or one breaks a rule.
fn work(next: &AtomicU64, goes_on: impl Fn(u64) -> bool) -> Result<Stats, Box<Failure>> {
    let mut sum = Stats::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !goes_on(seed) {
            return Ok(sum);
        }
        match run(seed, &Options::week()) {
            Ok(stats) => sum.add(&stats),
            Err(failure) => {
                // Nobody begins another one.
                next.store(u64::MAX / 2, Ordering::Relaxed);
                return Err(failure);
            }
        }
    }
}

/// Weeks on all cores; the failure of the lowest seed that was found, or the figures of all and how many they were.
fn weeks(goes_on: impl Fn(u64) -> bool + Sync) -> Result<(Stats, u64), Box<Failure>> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let goes_on = |seed| {
        let goes_on = goes_on(seed);
        done.fetch_add(u64::from(goes_on), Ordering::Relaxed);
        goes_on
    };
    let mut shares = std::thread::scope(|scope| {
        let started: Vec<_> = (0..cores).map(|_| scope.spawn(|| work(&next, goes_on))).collect();
        started.into_iter().map(|share| share.join().expect("a run does not panic")).collect::<Vec<_>>()
    });
    shares.sort_by_key(|share| share.as_ref().err().map_or(u64::MAX, |failure| failure.seed));
    let mut sum = Stats::default();
    for share in shares {
        sum.add(&share?);
    }
    Ok((sum, done.into_inner()))
}

#[test]
fn a_week_with_two_hundred_faults() {
    if let Some(seed) = number("PACKHORSE_SIM_WEEK") {
        match run(seed, &Options::week()) {
            Ok(stats) => println!("{stats}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let start = Instant::now();
    let patience = Duration::from_secs(number("PACKHORSE_SIM_WEEK_SECS").unwrap_or(SECS));
    let fixed = number("PACKHORSE_SIM_WEEKS");
    let least = number("PACKHORSE_SIM_WEEKS_MIN").unwrap_or(SEEDS_MIN);
    let goes_on = |seed: u64| match fixed {
        Some(seeds) => seed < seeds,
        None => seed < least || start.elapsed() < patience,
    };
    let (stats, seeds) = weeks(goes_on).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{stats}{seeds} weeks in {:.1} s", start.elapsed().as_secs_f64());
}
