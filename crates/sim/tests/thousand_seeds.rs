//! A thousand runs without a rule broken, in which everything that is to be survived has happened.
//!
//! `PACKHORSE_SIM_SEEDS=20000` runs more; `PACKHORSE_SIM_SEED=17` replays one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use packhorse_sim::{Failure, Options, Stats, run};

const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all cores; the failure of the lowest seed, or the figures of all.
fn campaign(seeds: u64) -> Result<Stats, Box<Failure>> {
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Stats::default());
    let broken: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || broken.lock().unwrap().is_some() {
                return;
            }
            match run(seed, &Options::default()) {
                Ok(stats) => sum.lock().unwrap().add(&stats),
                Err(failure) => {
                    let mut broken = broken.lock().unwrap();
                    if broken.as_ref().is_none_or(|other| failure.seed < other.seed) {
                        *broken = Some(failure);
                    }
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    match broken.into_inner().unwrap() {
        Some(failure) => Err(failure),
        None => Ok(sum.into_inner().unwrap()),
    }
}

#[test]
fn thousand_seeds() {
    if let Some(seed) = number("PACKHORSE_SIM_SEED") {
        match run(seed, &Options::default()) {
            Ok(stats) => println!("{stats}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let seeds = number("PACKHORSE_SIM_SEEDS").unwrap_or(SEEDS);
    let start = Instant::now();
    let stats = campaign(seeds).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{stats}{seeds} seeds in {:.1} s", start.elapsed().as_secs_f64());
    if seeds >= SEEDS {
        for (name, figure) in stats.figures() {
            assert!(figure > 0, "'{name}' never happened in {seeds} seeds");
        }
    }
}
