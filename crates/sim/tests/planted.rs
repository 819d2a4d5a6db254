//! The checks find what they are for: each fault built in on purpose is found, under the rule it breaks, within 600 seeds.

use packhorse_sim::{Options, Plant, Rule, run};

const SEEDS: u64 = 600;

/// The first seed that finds the fault under the rule that it breaks.
fn check(plant: Plant, expected: Rule) {
    let options = Options { plant: Some(plant), calm_secs: 3600, ..Options::default() };
    let mut others = std::collections::BTreeMap::new();
    let found = (0..SEEDS).find_map(|seed| {
        let failure = run(seed, &options).err()?;
        if failure.violation.rule == expected {
            return Some(failure);
        }
        *others.entry(failure.violation.rule).or_insert(0) += 1;
        None
    });
    let failure = found
        .unwrap_or_else(|| panic!("{plant:?} is not found in {SEEDS} seeds, but these rules: {others:?}"));
    println!("{plant:?}: seed {}, {}: {}", failure.seed, failure.violation.rule, failure.violation.what);
}

#[test]
fn rule_1_a_relay_that_forgets_what_it_staged() {
    check(Plant::ForgetStaging, Rule::OneCopy);
}

#[test]
fn rule_1_a_relay_that_asks_for_what_it_keeps() {
    check(Plant::FetchKept, Rule::OneCopy);
}

#[test]
fn rule_7_a_relay_that_writes_without_asking() {
    check(Plant::WriteUnasked, Rule::RoomFirst);
}

#[test]
fn rule_7_a_relay_that_pushes_out_what_it_keeps() {
    check(Plant::PushOutKept, Rule::RoomFirst);
}

#[test]
fn rule_2_an_installer_before_its_intent() {
    check(Plant::InstallBeforeIntent, Rule::OneStart);
}

#[test]
fn rule_3_a_host_that_does_not_wait_for_the_receipt() {
    check(Plant::SkipReceipt, Rule::NoResultLostOrDoubled);
}

#[test]
fn rule_3_a_relay_that_forgets_its_outbox() {
    check(Plant::ForgetOutbox, Rule::NoResultLostOrDoubled);
}

#[test]
fn rule_3_an_answer_before_it_is_durable() {
    check(Plant::AnswerBeforeSync, Rule::NoResultLostOrDoubled);
}

#[test]
fn rule_3_cursors_without_the_senders_life() {
    check(Plant::DropIncarnation, Rule::NoResultLostOrDoubled);
}

#[test]
fn rule_5_a_system_that_trusts_every_sender() {
    check(Plant::TrustEverySender, Rule::BelowOnly);
}

#[test]
fn rule_6_nobody_looks_at_signatures() {
    check(Plant::SkipSignature, Rule::TwoSignatures);
}

#[test]
fn rule_6_an_older_revision_for_news() {
    check(Plant::TakeOlder, Rule::TwoSignatures);
}

#[test]
fn rule_11_a_host_that_does_not_look_what_is_newer() {
    check(Plant::LowerVersions, Rule::NeverBackwards);
}

#[test]
fn rule_11_versions_compared_as_texts() {
    check(Plant::CompareAsText, Rule::NeverBackwards);
}

#[test]
fn rule_9_a_feed_that_is_never_made_anew() {
    check(Plant::NeverRebuild, Rule::GoesOn);
}

#[test]
fn rule_4_an_offer_taken_for_required() {
    check(Plant::RequireAtOnce, Rule::NoChoiceNoInstall);
}

#[test]
fn rule_4_a_choice_taken_for_another() {
    check(Plant::ChooseAnother, Rule::NoChoiceNoInstall);
}

#[test]
fn rule_10_a_suspended_job_that_goes_on_after_a_restart() {
    check(Plant::ForgetSuspended, Rule::InItsWindow);
}

#[test]
fn rule_10_a_time_that_is_forgotten_at_a_restart() {
    check(Plant::ForgetWhen, Rule::InItsWindow);
}
