//! A seed makes the same run each time, and without faults everything is simple.

use packhorse_sim::{Options, Plant, run};

#[test]
fn a_seed_makes_the_same_run_again() {
    for seed in 0..20 {
        let first = run(seed, &Options::default()).unwrap();
        assert_eq!(first, run(seed, &Options::default()).unwrap(), "seed {seed}");
        assert_ne!(first.trace_hash, run(seed + 1, &Options::default()).unwrap().trace_hash);
    }
}

#[test]
fn a_failure_is_found_again_and_tells_its_seed() {
    let options = Options { plant: Some(Plant::SkipSignature), ..Options::default() };
    let failure = (0..200).find_map(|seed| run(seed, &options).err()).unwrap();
    let again = run(failure.seed, &options).unwrap_err();
    assert_eq!((&failure.violation, &failure.trace), (&again.violation, &again.trace));
    assert!(failure.to_string().contains(&format!("PACKHORSE_SIM_SEED={}", failure.seed)));
    assert!(!failure.trace.is_empty() && failure.trace.len() <= 100);
}

#[test]
fn without_faults_nothing_is_lost_refused_or_repeated() {
    for seed in 0..50 {
        let stats = run(seed, &Options { faults: false, ..Options::default() }).unwrap();
        let trouble = [
            stats.lost,
            stats.kills,
            stats.rewinds,
            stats.feed_gaps,
            stats.bad_signatures,
            stats.older_refused,
            stats.not_below,
            stats.odd_reports,
            stats.interrupted,
        ];
        assert_eq!(trouble, [0; 9], "seed {seed}");
        assert!(stats.jobs > 0);
    }
}
