//! A thousand runs without a rule broken, in which everything that is to be survived has happened.
//!
//! `PACKHORSE_SIM_SEEDS=20000` runs more; `PACKHORSE_SIM_SEED=17` replays one.

use std::time::Instant;

use packhorse_sim::{Failure, Options, Stats, run};

const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One core's share of the seeds, up to the first that breaks a rule.
fn share(first: u64, step: usize, seeds: u64) -> Result<Stats, Box<Failure>> {
    let mut sum = Stats::default();
    for seed in (first..seeds).step_by(step) {
        sum.add(&run(seed, &Options::default())?);
    }
    Ok(sum)
}

/// Runs seeds on all cores; the failure of the lowest seed that was found, or the figures of all.
fn campaign(seeds: u64) -> Result<Stats, Box<Failure>> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut shares = std::thread::scope(|scope| {
        let started: Vec<_> =
            (0..cores).map(|first| scope.spawn(move || share(first as u64, cores, seeds))).collect();
        started.into_iter().map(|share| share.join().expect("a run does not panic")).collect::<Vec<_>>()
    });
    shares.sort_by_key(|share| share.as_ref().err().map_or(u64::MAX, |failure| failure.seed));
    let mut sum = Stats::default();
    for share in shares {
        sum.add(&share?);
    }
    Ok(sum)
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
