//! The checks find what they are for: each fault built in on purpose is found, under the rule it breaks, by the seed it is
//! pinned to. At least two faults for each rule.
//!
//! A change of what a run does changes what its seed finds. `cargo test -p packhorse-sim --test planted -- --ignored
//! --nocapture` looks for new seeds and prints the table anew.

use packhorse_sim::Rule::{
    BelowOnly, GoesOn, InItsWindow, NeverBackwards, NoChoiceNoInstall, NoResultLostOrDoubled, OneCopy,
    OneStart, ReachesTheAbsent, RoomFirst, TwoSignatures,
};
use packhorse_sim::{Failure, Options, Plant, Rule, run};

/// Fault, rule, seed.
const PINNED: &[(Plant, Rule, u64)] = &[
    (Plant::ForgetStaging, OneCopy, 1),
    (Plant::FetchKept, OneCopy, 0),
    (Plant::FetchGone, OneCopy, 4),
    (Plant::PassForEach, OneCopy, 0),
    (Plant::InstallBeforeIntent, OneStart, 0),
    (Plant::TakeRunningForGone, OneStart, 48),
    (Plant::SkipReceipt, NoResultLostOrDoubled, 0),
    (Plant::ForgetOutbox, NoResultLostOrDoubled, 2),
    (Plant::AnswerBeforeSync, NoResultLostOrDoubled, 61),
    (Plant::DropIncarnation, NoResultLostOrDoubled, 0),
    (Plant::RequireAtOnce, NoChoiceNoInstall, 1),
    (Plant::ChooseAnother, NoChoiceNoInstall, 1),
    (Plant::TrustEverySender, BelowOnly, 2),
    (Plant::TellOfStrangers, BelowOnly, 0),
    (Plant::SkipSignature, TwoSignatures, 2),
    (Plant::TakeOlder, TwoSignatures, 27),
    (Plant::WriteUnasked, RoomFirst, 0),
    (Plant::PushOutKept, RoomFirst, 0),
    (Plant::TellThosePresent, ReachesTheAbsent, 0),
    (Plant::RebuildOpen, ReachesTheAbsent, 99),
    (Plant::KeepFirstControl, ReachesTheAbsent, 0),
    (Plant::NeverRebuild, GoesOn, 1),
    (Plant::AskOnce, GoesOn, 7),
    (Plant::ForgetSuspended, InItsWindow, 39),
    (Plant::ForgetWhen, InItsWindow, 0),
    (Plant::ServersClock, InItsWindow, 13),
    (Plant::InstallAtOnce, InItsWindow, 20),
    (Plant::LowerVersions, NeverBackwards, 4),
    (Plant::CompareAsText, NeverBackwards, 4),
];

/// Rules 1 to 11.
const RULES: [Rule; 11] = [
    OneCopy,
    OneStart,
    NoResultLostOrDoubled,
    NoChoiceNoInstall,
    BelowOnly,
    TwoSignatures,
    RoomFirst,
    ReachesTheAbsent,
    GoesOn,
    InItsWindow,
    NeverBackwards,
];

/// Seeds in which a new one is looked for.
const SEEDS: u64 = 2000;

/// What a seed finds with the fault, if without it nothing is wrong.
fn find(plant: Plant, seed: u64) -> Option<Box<Failure>> {
    let options = Options { calm_secs: 3600, ..Options::default() };
    let found = run(seed, &Options { plant: Some(plant), ..options.clone() }).err()?;
    run(seed, &options).is_ok().then_some(found)
}

#[test]
fn each_planted_fault_is_found_by_its_seed_under_the_rule_it_breaks() {
    let mut missed = Vec::new();
    for (plant, rule, seed) in PINNED {
        let found = find(*plant, *seed).map(|failure| failure.violation.rule);
        if found != Some(*rule) {
            missed.push(format!("{plant:?} by seed {seed}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "not found any more, look for new seeds (see above): {missed:#?}");
}

#[test]
fn every_rule_has_two_faults_at_least_and_every_fault_a_rule() {
    for rule in RULES {
        let faults = PINNED.iter().filter(|(_, breaks, _)| *breaks == rule).count();
        assert!(faults >= 2, "{rule}: {faults}");
    }
    for plant in Plant::ALL {
        let pins = PINNED.iter().filter(|(pinned, ..)| pinned == plant).count();
        assert_eq!(pins, 1, "{plant:?}");
    }
}

#[test]
#[ignore = "looks for new seeds, which takes minutes"]
fn new_seeds() {
    let mut lost = Vec::new();
    for (plant, rule, _) in PINNED {
        let mut others = std::collections::BTreeMap::new();
        let found = (0..SEEDS).find(|seed| match find(*plant, *seed).map(|failure| failure.violation.rule) {
            Some(broken) if broken == *rule => true,
            Some(broken) => {
                *others.entry(broken).or_insert(0) += 1;
                false
            }
            None => false,
        });
        match found {
            Some(seed) => println!("    (Plant::{plant:?}, {rule:?}, {seed}),"),
            None => lost.push(format!("{plant:?}, but these rules: {others:?}")),
        }
    }
    assert!(lost.is_empty(), "found by none of {SEEDS} seeds: {lost:#?}");
}
