//! Offers and what their users decide.

use super::tests::{NOW, agent, all, ends, entries, exit, id, order};
use super::*;
use crate::instruction::State;
use crate::job::tests::{host, job, package};
use crate::job::{JobType, Round, Terms};
use crate::report::LineEvent;

fn offer(number: u64) -> Job {
    Job { job_type: JobType::Offer, ..job(number, all()) }
}

fn wish(number: u64, wish: Wish) -> Input {
    Input::Wish { line: id(number), by: "mia".into(), wish }
}

fn choose(number: u64) -> Input {
    wish(number, Wish::Choose { at: None })
}

/// An agent that shows the offer, and the steps that led there.
fn shown(offer: &Job) -> (Agent, Vec<Step>) {
    let mut agent = agent();
    let steps = vec![
        agent.step(order(offer), NOW, 0),
        agent.step(Input::Probed(id(offer.key.number), Ok(Found::Other)), NOW, 0),
    ];
    (agent, steps)
}

fn chosen(by: &str, at: Option<Time>) -> LineEvent {
    LineEvent::Chosen { by: by.into(), at }
}

fn restart(offer: &Job, steps: &[Step]) -> Agent {
    let known = KnownJob { job: offer.clone(), attempt: Some(1), ahead_secs: 0 };
    Agent::restore(host(1), "pc1", Incarnation(1), vec![known], 0, &entries(steps))
}

#[test]
fn an_offer_is_judged_then_shown_and_nothing_travels() {
    let (mut agent, steps) = shown(&offer(1));
    assert_eq!(steps[0].effects, vec![Effect::Probe(id(1))]);
    assert_eq!(Agent::events(&steps[1]), vec![LineEvent::Offered]);
    assert_eq!(steps[1].effects, vec![Effect::Send]);
    assert_eq!(agent.step(Input::Tick, NOW.plus_days(1), 0), Step::default());
    for (found, end) in [
        (Found::Same, State::AlreadyInstalled),
        (Found::Unfit("os windows".into()), State::NotApplicable),
        (Found::Newer("2".into()), State::NotApplicable),
    ] {
        let mut agent = super::tests::agent();
        agent.step(order(&offer(1)), NOW, 0);
        let step = agent.step(Input::Probed(id(1), Ok(found)), NOW, 0);
        assert_eq!(ends(&step), vec![end]);
    }
}

#[test]
fn what_was_chosen_is_looked_at_again_and_installed_in_the_users_name() {
    let (mut agent, _) = shown(&offer(1));
    let step = agent.step(choose(1), NOW, 0);
    assert_eq!(Agent::events(&step), vec![chosen("mia", None)]);
    assert_eq!(step.effects, vec![Effect::Probe(id(1)), Effect::Send]);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    // Timing and date of the package count for nothing.
    let ready = Ready { timing: Timing::Stop, install_at: Some(NOW.plus_days(3)) };
    let step = agent.step(Input::Obtained(id(1), Ok(ready)), NOW, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Delivered, LineEvent::Begun]);
    assert_eq!(agent.may(&id(1), Wish::Reject, NOW), Err(Denied::Begun));
    agent.step(Input::Exited(id(1), exit(true, 0)), NOW, 0);
    let step = agent.step(Input::Checked(id(1), Ok(())), NOW, 0);
    let [LineEvent::Ended(outcome)] = &Agent::events(&step)[..] else { panic!("{step:?}") };
    assert_eq!((outcome.end, outcome.by.as_deref()), (State::Done, Some("mia")));
}

#[test]
fn a_choice_for_later_waits_and_its_time_may_be_changed() {
    let (mut agent, _) = shown(&offer(1));
    let later = NOW.plus_secs(3600);
    let step = agent.step(wish(1, Wish::Choose { at: Some(later) }), NOW, 0);
    assert_eq!(Agent::events(&step)[0], chosen("mia", Some(later)));
    let LineEvent::Waits(reason) = &Agent::events(&step)[1] else { panic!("{step:?}") };
    assert_eq!((reason.code(), reason.next_try()), (Code::ChosenFor, crate::reason::NextTry::At(later)));
    assert_eq!(agent.wakes_at(), Some(later));
    assert_eq!(agent.step(Input::Tick, NOW.plus_secs(60), 0), Step::default());
    let mut sooner = agent.clone();
    assert_eq!(sooner.step(choose(1), NOW, 0).effects, vec![Effect::Probe(id(1)), Effect::Send]);
    assert_eq!(agent.step(Input::Tick, later, 0).effects, vec![Effect::Probe(id(1))]);
}

#[test]
fn a_choice_waits_for_a_relay_that_is_away() {
    let (mut agent, _) = shown(&offer(1));
    agent.step(choose(1), NOW, 0);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    let trouble = Trouble { code: Code::Network, system: "osaka".into(), text: "refused".into() };
    let step = agent.step(Input::Obtained(id(1), Err(trouble)), NOW, 0);
    assert!(
        matches!(&Agent::events(&step)[..], [LineEvent::Waits(reason)] if reason.code() == Code::Network)
    );
    let step = agent.step(Input::Cleared(Code::Network), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Probe(id(1))]);
}

#[test]
fn what_was_rejected_may_be_chosen_after_all_and_no_other_end() {
    let (mut agent, _) = shown(&offer(1));
    let step = agent.step(wish(1, Wish::Reject), NOW, 0);
    let [LineEvent::Ended(outcome)] = &Agent::events(&step)[..] else { panic!("{step:?}") };
    assert_eq!((outcome.end, outcome.by.as_deref()), (State::Rejected, Some("mia")));
    assert_eq!(agent.may(&id(1), Wish::Reject, NOW), Err(Denied::Ended(State::Rejected)));
    let step = agent.step(choose(1), NOW, 0);
    assert_eq!(Agent::events(&step), vec![chosen("mia", None)]);
    assert_eq!(agent.lines().next().unwrap().attempt, 1);
    agent.step(Input::Probed(id(1), Ok(Found::Same)), NOW, 0);
    assert_eq!(
        agent.may(&id(1), Wish::Choose { at: None }, NOW),
        Err(Denied::Ended(State::AlreadyInstalled))
    );
    assert_eq!(agent.step(choose(1), NOW, 0), Step::default());
}

#[test]
fn a_choice_that_has_not_begun_can_be_taken_back() {
    let (mut agent, _) = shown(&offer(1));
    assert_eq!(agent.may(&id(1), Wish::Withdraw, NOW), Err(Denied::NotChosen));
    agent.step(choose(1), NOW, 0);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    let step = agent.step(wish(1, Wish::Withdraw), NOW, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Offered]);
    assert_eq!(step.effects, vec![Effect::Stop(id(1)), Effect::Send]);
    let late = agent.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0);
    assert_eq!(late, Step::default(), "what comes too late begins nothing");
}

#[test]
fn a_choice_is_as_durable_as_its_taking_back() {
    let offer = offer(1);
    let (mut agent, mut steps) = shown(&offer);
    let mut restored = restart(&offer, &steps);
    assert_eq!(restored.resume(NOW), Step::default(), "an offer stays one");
    assert_eq!(restored.lines().next().unwrap().stage, Stage::Offered);
    steps.push(agent.step(wish(1, Wish::Choose { at: Some(NOW.plus_secs(50)) }), NOW, 0));
    let mut restored = restart(&offer, &steps);
    assert_eq!(restored.resume(NOW), Step::default());
    assert_eq!(restored.wakes_at(), Some(NOW.plus_secs(50)));
    assert_eq!(restored.step(Input::Tick, NOW.plus_secs(50), 0).effects, vec![Effect::Probe(id(1))]);
    steps.push(agent.step(wish(1, Wish::Withdraw), NOW, 0));
    assert_eq!(restart(&offer, &steps).resume(NOW.plus_secs(60)), Step::default());
    steps.push(agent.step(wish(1, Wish::Reject), NOW, 0));
    steps.push(agent.step(choose(1), NOW, 0));
    let mut restored = restart(&offer, &steps);
    assert_eq!(restored.resume(NOW).effects, vec![Effect::Probe(id(1))]);
}

#[test]
fn an_offer_ends_and_a_choice_that_has_not_begun_is_missed() {
    let mut short = offer(1);
    short.until = NOW.plus_secs(60);
    let (mut agent, _) = shown(&short);
    let mut chosen = agent.clone();
    assert_eq!(agent.wakes_at(), Some(short.until));
    assert_eq!(ends(&agent.step(Input::Tick, short.until, 0)), vec![State::OfferEnded]);
    chosen.step(choose(1), NOW, 0);
    assert_eq!(ends(&chosen.step(Input::Tick, short.until, 0)), vec![State::Missed]);
    assert_eq!(chosen.may(&id(1), Wish::Reject, short.until), Err(Denied::Over(short.until)));
}

#[test]
fn from_its_date_on_everybody_gets_what_is_required() {
    let from = NOW.plus_secs(100);
    let required = Job { terms: Terms { required_from: Some(from), ..Terms::default() }, ..offer(1) };
    let (agent, steps) = shown(&required);
    let go = |mut agent: Agent, wishes: &[Wish]| {
        wishes.iter().for_each(|one| drop(agent.step(wish(1, *one), NOW, 0)));
        let step = agent.step(Input::Tick, from, 0);
        (Agent::events(&step), agent)
    };
    assert_eq!(agent.wakes_at(), Some(from));
    assert_eq!(go(agent.clone(), &[]).0, vec![chosen(REQUIRED, None)]);
    let (events, required_now) = go(agent.clone(), &[Wish::Reject]);
    assert_eq!(events, vec![chosen(REQUIRED, None)], "also for one who rejected it");
    for late in [Wish::Reject, Wish::Withdraw] {
        assert_eq!(required_now.may(&id(1), late, from), Err(Denied::Required(from)));
    }
    let past = Wish::Choose { at: Some(from.plus_secs(1)) };
    assert_eq!(agent.may(&id(1), past, NOW), Err(Denied::AfterRequired(from)));
    // A machine that hears of it only then does not show it first.
    let mut late = super::tests::agent();
    late.step(order(&required), from, 0);
    let step = late.step(Input::Probed(id(1), Ok(Found::Other)), from, 0);
    assert_eq!(Agent::events(&step), vec![chosen(REQUIRED, None)]);
    // One that was off across the date and the end of the job has missed it.
    let mut off = restart(&required, &steps);
    assert_eq!(ends(&off.resume(required.until)), vec![State::OfferEnded]);
}

#[test]
fn a_wish_that_makes_no_sense_changes_nothing() {
    let (mut agent, _) = shown(&offer(1));
    let late = Wish::Choose { at: Some(Time::MAX) };
    assert!(matches!(agent.may(&id(1), late, NOW), Err(Denied::AfterEnd(_))));
    assert_eq!(agent.step(wish(1, late), NOW, 0), Step::default());
    assert_eq!(agent.may(&id(7), Wish::Reject, NOW), Err(Denied::Unknown));
    assert_eq!(agent.may(&id(1), Wish::Postpone { until: None }, NOW), Err(Denied::NotToPostpone));
    let mut unjudged = super::tests::agent();
    unjudged.step(order(&offer(1)), NOW, 0);
    assert_eq!(unjudged.may(&id(1), Wish::Choose { at: None }, NOW), Err(Denied::NotJudged));
    let mut install = super::tests::agent();
    install.step(order(&job(1, all())), NOW, 0);
    assert_eq!(install.may(&id(1), Wish::Reject, NOW), Err(Denied::NotOffered));
}

#[test]
fn several_packages_of_an_offer_are_chosen_one_by_one() {
    let mut agent = agent();
    let mut both = offer(1);
    both.packages.push(package(2));
    let second = LineId { place: 1, package: crate::ids::PackageId([2; 32]), ..id(1) };
    agent.step(order(&both), NOW, 0);
    let step = agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Probe(second.clone()), Effect::Send]);
    agent.step(Input::Probed(second.clone(), Ok(Found::Other)), NOW, 0);
    agent.step(wish(1, Wish::Reject), NOW, 0);
    let step = agent.step(
        Input::Wish { line: second.clone(), by: "mia".into(), wish: Wish::Choose { at: None } },
        NOW,
        0,
    );
    assert_eq!(step.effects, vec![Effect::Probe(second), Effect::Send]);
}

#[test]
fn what_supersedes_an_offer() {
    let version = |mut job: Job, version: &str| {
        job.packages[0].label.version = version.into();
        job
    };
    let install = |number| job(number, all());
    for (newer, is_chosen, gone) in [
        (version(install(2), "1"), false, true),
        (version(install(2), "2"), false, true),
        (version(install(2), "0.9"), false, false),
        (version(install(2), "2"), true, false),
        (version(offer(2), "0.9"), false, true),
        (version(offer(2), "2"), true, false),
    ] {
        let (mut agent, _) = shown(&offer(1));
        if is_chosen {
            agent.step(choose(1), NOW, 0);
        }
        let superseded = ends(&agent.step(order(&newer), NOW, 0)) == vec![State::Superseded];
        assert_eq!(superseded, gone, "{:?} {} chosen {is_chosen}", newer.job_type, newer.packages[0].label);
    }
    // The user chose the later one too.
    let (mut agent, _) = shown(&offer(1));
    agent.step(wish(1, Wish::Choose { at: Some(NOW.plus_secs(9)) }), NOW, 0);
    agent.step(order(&version(offer(2), "2")), NOW, 0);
    agent.step(Input::Probed(id(2), Ok(Found::Other)), NOW, 0);
    assert_eq!(ends(&agent.step(choose(2), NOW, 0)), vec![State::Superseded]);
    // An offer takes nothing from an install.
    let mut agent = super::tests::agent();
    agent.step(order(&install(1)), NOW, 0);
    assert_eq!(ends(&agent.step(order(&version(offer(2), "2")), NOW, 0)), vec![]);
}

#[test]
fn the_next_round_of_an_offer_asks_the_user_again() {
    let mut offer = offer(1);
    let (mut agent, _) = shown(&offer);
    agent.step(choose(1), NOW, 0);
    agent.step(Input::Probed(id(1), Ok(Found::Impossible("needs root".into()))), NOW, 0);
    offer.revision = 2;
    offer.rounds.push(Round { attempt: 2, ordered: NOW, to: all() });
    agent.step(order(&offer), NOW, 0);
    let step = agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Offered]);
}

#[test]
fn a_transfer_is_no_agents_business() {
    let mut agent = agent();
    let transfer = Job { job_type: JobType::Transfer, ..job(1, all()) };
    assert_eq!(agent.step(order(&transfer), NOW, 0), Step::default());
}
