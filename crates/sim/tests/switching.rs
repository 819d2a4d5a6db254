//! Whom hosts with a list of higher systems call, over a thousand seeds; and faults that are found.

use packhorse_sim::switching::{Fault, Switches, run};

const SEEDS: u64 = 1000;

#[test]
fn hosts_call_whom_they_should_in_a_thousand_seeds() {
    let mut sum = Switches::default();
    for seed in 0..SEEDS {
        let stats = run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        sum.driven_away += stats.driven_away;
        sum.returned += stats.returned;
        sum.moved += stats.moved;
        sum.restarts += stats.restarts;
        sum.late_places += stats.late_places;
    }
    println!("{sum:?}");
    for figure in [sum.driven_away, sum.returned, sum.moved, sum.restarts, sum.late_places] {
        assert!(figure > 0, "never happened: {sum:?}");
    }
}

#[test]
fn a_fault_that_is_built_in_is_found() {
    for fault in [Fault::ForgetCall, Fault::BelieveOldPlaces, Fault::ReturnAtOnce] {
        let found = (0..50).find_map(|seed| run(seed, Some(fault)).err().map(|why| (seed, why)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{fault:?} was not found"));
        println!("{fault:?}: seed {seed}: {why}");
    }
}
