//! Jobs of relays: they count as far and as long as what is delegated covers them.

use super::tests::{NOW, agent, all, ends, exit, order};
use super::*;
use crate::delegated::{DelegatedType, Delegation};
use crate::ids::PackageId;
use crate::instruction::State;
use crate::job::tests::{host, job, place};
use crate::job::{HostRole, JobType};
use crate::place::Above;
use crate::report::LineEvent;

fn by_osaka(number: u64, job_type: JobType) -> Job {
    let mut job = Job { job_type, ..job(number, all()) };
    job.key.issuer = "osaka".into();
    job.until = NOW.plus_days(90);
    job.packages[0].label.cabinet = "own".into();
    // Each another package: none takes the place of one before.
    job.packages[0].label.name = format!("x{number}");
    job
}

fn id(job: &Job) -> LineId {
    LineId { job: job.key.clone(), place: 0, package: PackageId([1; 32]) }
}

fn rights(types: &[DelegatedType], cabinets: &[&str], expires: Time) -> Input {
    let delegation = Delegation {
        relay: host(2),
        job_types: types.to_vec(),
        cabinets: cabinets.iter().map(|name| (*name).to_owned()).collect(),
        expires,
        revoked: false,
    };
    let rights = Rights { delegations: [("osaka".to_owned(), delegation)].into(), ..Rights::default() };
    Input::Rights { rights, place: place(1, HostRole::Client, &[2]) }
}

fn texts(step: &Step) -> Vec<String> {
    let events = Agent::events(step).into_iter();
    events
        .filter_map(|event| match event {
            LineEvent::Ended(outcome) => Some(outcome.text),
            _ => None,
        })
        .collect()
}

const BOTH: [DelegatedType; 2] = [DelegatedType::Install, DelegatedType::Offer];

/// An agent with an install that waits for its time, and an offer that nobody has chosen.
fn scene() -> (Agent, Job, Job) {
    let mut agent = agent();
    agent.step(rights(&BOTH, &["own"], NOW.plus_days(30)), NOW, 0);
    let install = Job { at: Some(NOW.plus_secs(3600)), ..by_osaka(1, JobType::Install) };
    let offer = by_osaka(2, JobType::Offer);
    agent.step(order(&install), NOW, 0);
    agent.step(order(&offer), NOW, 0);
    agent.step(Input::Probed(id(&offer), Ok(Found::Other)), NOW, 0);
    (agent, install, offer)
}

#[test]
fn what_a_narrower_delegation_does_not_cover_ends_before_it_begins() {
    let (mut agent, ..) = scene();
    let step = agent.step(rights(&BOTH[..1], &["own"], NOW.plus_days(30)), NOW, 0);
    assert_eq!(texts(&step), ["jobs of type offer are not delegated to osaka any more"]);
    let step = agent.step(rights(&BOTH, &[], NOW.plus_days(30)), NOW, 0);
    assert_eq!(texts(&step), ["cabinet own is not delegated to osaka any more"]);
    // What has ended stays ended when it is granted again.
    let step = agent.step(rights(&BOTH, &["own"], NOW.plus_days(30)), NOW, 0);
    assert_eq!(ends(&step), vec![]);
    assert!(agent.lines().all(|line| line.stage.is_end()));
}

#[test]
fn at_its_end_by_this_hosts_clock_it_stops_by_itself() {
    let (mut agent, ..) = scene();
    let end = NOW.plus_secs(600);
    agent.step(rights(&BOTH, &["own"], end), NOW, 0);
    assert_eq!(agent.wakes_at(), Some(end));
    assert_eq!(ends(&agent.step(Input::Tick, Time(end.0 - 1), 0)), vec![]);
    // It is held; it ends when nothing else was told after that.
    assert_eq!(ends(&agent.step(Input::Tick, end, 0)), vec![]);
    assert_eq!(agent.wakes_at(), Some(NOW.plus_days(90)));
    let step = agent.step(Input::Read, end, 0);
    assert_eq!(texts(&step), vec!["the delegation of osaka has ended"; 2]);
}

#[test]
fn a_delegation_renewed_while_the_host_was_off_ends_nothing() {
    let (mut agent, install, offer) = scene();
    let end = NOW.plus_secs(600);
    agent.step(rights(&BOTH, &["own"], end), NOW, 0);
    agent.step(Input::Read, NOW, 0);
    // It starts again after the end, and knows the old delegation first of all; a user chooses the offer.
    let known = agent.jobs().cloned().collect();
    let mut agent = Agent::restore(host(1), "pc1", Incarnation(1), known, 0, &[]);
    let late = Time(install.at.map_or(0, |at| at.0));
    assert_eq!(ends(&agent.step(rights(&BOTH, &["own"], end), late, 0)), vec![]);
    let step = agent.resume(late);
    assert_eq!((ends(&step), &step.effects), (vec![], &vec![]), "nothing begins of what may have ended");
    assert!(agent.lines().all(|line| line.waits_with(Code::NotTrusted)));
    assert!(agent.wakes_at().is_some_and(|at| at > late));
    let step = agent.step(rights(&BOTH, &["own"], NOW.plus_days(30)), late, 0);
    assert_eq!(step.effects.iter().filter(|effect| matches!(effect, Effect::Probe(_))).count(), 1);
    assert_eq!(ends(&agent.step(Input::Read, late, 0)), vec![]);
    assert!(
        agent.lines().any(|line| line.id == id(&install)) && agent.lines().any(|line| line.id == id(&offer))
    );
}

#[test]
fn what_is_taken_in_when_the_delegation_has_ended_does_not_begin() {
    let mut agent = agent();
    let end = NOW.plus_secs(600);
    agent.step(rights(&BOTH, &["own"], end), NOW, 0);
    let install = by_osaka(1, JobType::Install);
    agent.step(order(&install), NOW, 0);
    agent.step(Input::Probed(id(&install), Ok(Found::Other)), NOW, 0);
    // The machine slept meanwhile: the answer comes before anything else.
    let step = agent.step(Input::Obtained(id(&install), Ok(Ready::default())), end, 0);
    assert!(!step.effects.iter().any(|effect| matches!(effect, Effect::Install(_))), "{step:?}");
    let step = agent.step(rights(&BOTH, &["own"], NOW.plus_days(30)), end, 0);
    assert!(step.effects.iter().any(|effect| matches!(effect, Effect::Probe(_))), "{step:?}");
}

#[test]
fn a_host_that_is_moved_away_from_the_relay_has_nothing_of_it_left_to_begin() {
    let (mut agent, ..) = scene();
    let Input::Rights { rights, .. } = rights(&BOTH, &["own"], NOW.plus_days(30)) else { unreachable!() };
    let step = agent.step(Input::Rights { rights, place: place(1, HostRole::Client, &[3]) }, NOW, 0);
    assert_eq!(texts(&step), vec!["this host is not below osaka any more"; 2]);
}

#[test]
fn a_host_that_calls_another_system_while_the_relay_is_away_keeps_what_it_has_of_it() {
    let (mut agent, ..) = scene();
    let Input::Rights { rights, .. } = rights(&BOTH, &["own"], NOW.plus_days(30)) else { unreachable!() };
    let osaka = Above { id: host(2), relay: true, name: "osaka".into(), urls: Vec::new() };
    let away = Place { above: vec![osaka], ..place(1, HostRole::Client, &[3]) };
    let step = agent.step(Input::Rights { rights: rights.clone(), place: away.clone() }, NOW, 0);
    assert_eq!(texts(&step), Vec::<String>::new());
    // The list is signed: once the relay is taken out of it, the host has left.
    let step = agent.step(Input::Rights { rights, place: Place { above: Vec::new(), ..away } }, NOW, 0);
    assert_eq!(texts(&step), vec!["this host is not below osaka any more"; 2]);
}

#[test]
fn what_has_begun_is_finished() {
    let mut agent = agent();
    agent.step(rights(&BOTH, &["own"], NOW.plus_days(30)), NOW, 0);
    let install = by_osaka(1, JobType::Install);
    agent.step(order(&install), NOW, 0);
    agent.step(Input::Probed(id(&install), Ok(Found::Other)), NOW, 0);
    agent.step(Input::Obtained(id(&install), Ok(Ready::default())), NOW, 0);
    assert_eq!(ends(&agent.step(rights(&[], &[], NOW.plus_days(30)), NOW, 0)), vec![]);
    agent.step(Input::Exited(id(&install), exit(true, 0)), NOW, 0);
    let step = agent.step(Input::Checked(id(&install), Ok(())), NOW, 0);
    assert_eq!(ends(&step), vec![State::Done]);
}
