//! What is held: suspended jobs, times, starts and stops, what a user put off.

use super::tests::{NOW, agent, all, ends, entries, exit, id, order, to_install};
use super::*;
use crate::instruction::State;
use crate::job::tests::{host, job};
use crate::job::{Intent, JobType, Terms};
use crate::reason::NextTry;
use crate::report::LineEvent;

fn reasons(step: &Step) -> Vec<Code> {
    Agent::events(step)
        .into_iter()
        .filter_map(|event| if let LineEvent::Waits(reason) = event { Some(reason.code()) } else { None })
        .collect()
}

fn revised(job: &Job, revision: u64, intent: Intent) -> Input {
    order(&Job { revision, intent, ..job.clone() })
}

fn to_obtained(agent: &mut Agent, job: &Job, ready: Ready, now: Time) -> Vec<Step> {
    vec![
        agent.step(order(job), now, 0),
        agent.step(Input::Probed(id(1), Ok(Found::Other)), now, 0),
        agent.step(Input::Obtained(id(1), Ok(ready)), now, 0),
    ]
}

#[test]
fn nothing_of_a_suspended_job_begins_and_what_was_begun_goes_on() {
    let job = job(1, all());
    let mut agent_a = agent();
    agent_a.step(order(&job), NOW, 0);
    agent_a.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    let step = agent_a.step(revised(&job, 2, Intent::Suspended), NOW, 0);
    assert_eq!((reasons(&step), step.effects[0].clone()), (vec![Code::Suspended], Effect::Stop(id(1))));
    let LineEvent::Waits(reason) = Agent::events(&step).remove(0) else { panic!("{step:?}") };
    assert_eq!(reason.clear(), "packhorse job resume 1");
    assert_eq!(agent_a.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0), Step::default());
    assert_eq!(agent_a.wakes_at(), Some(job.until), "nothing but its end wakes it");
    let mut cancelled = agent_a.clone();
    assert_eq!(ends(&cancelled.step(revised(&job, 3, Intent::Cancelled), NOW, 0)), vec![State::Cancelled]);
    let step = agent_a.step(revised(&job, 3, Intent::Open), NOW, 0);
    assert_eq!((reasons(&step), step.effects[0].clone()), (vec![Code::Turn], Effect::Probe(id(1))));

    let mut agent_b = agent();
    to_install(&mut agent_b, &job);
    agent_b.step(revised(&job, 2, Intent::Suspended), NOW, 0);
    agent_b.step(Input::Exited(id(1), exit(false, 1)), NOW, 0);
    let later = agent_b.wakes_at().unwrap();
    assert_eq!(agent_b.step(Input::Tick, later, 0).effects, vec![Effect::Probe(id(1))]);
}

#[test]
fn a_suspension_survives_a_restart() {
    let suspended = Job { intent: Intent::Suspended, ..job(1, all()) };
    let mut agent = agent();
    let steps = [agent.step(order(&suspended), NOW, 0)];
    let known = KnownJob { job: suspended.clone(), attempt: Some(1), ahead_secs: 0 };
    let mut again = Agent::restore(host(1), "pc1", Incarnation(1), vec![known], 0, &entries(&steps));
    assert_eq!(again.resume(NOW), Step::default(), "nothing begins, and nothing is said twice");
    let step = again.step(revised(&suspended, 2, Intent::Open), NOW, 0);
    assert_eq!(step.effects[0], Effect::Probe(id(1)));
}

#[test]
fn a_suspended_offer_can_be_chosen_and_begins_when_it_goes_on() {
    let offer = Job { job_type: JobType::Offer, ..job(1, all()) };
    let mut agent = agent();
    agent.step(order(&offer), NOW, 0);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    assert_eq!(reasons(&agent.step(revised(&offer, 2, Intent::Suspended), NOW, 0)), vec![Code::Suspended]);
    let mut unchosen = agent.clone();
    let step = unchosen.step(revised(&offer, 3, Intent::Open), NOW, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Offered]);
    let wish = Wish::Choose { at: None };
    let step = agent.step(Input::Wish { line: id(1), by: "mia".into(), wish }, NOW, 0);
    assert_eq!((reasons(&step), step.effects), (vec![Code::Suspended], vec![Effect::Send]));
    let step = agent.step(revised(&offer, 3, Intent::Open), NOW, 0);
    assert_eq!(step.effects[0], Effect::Probe(id(1)));
}

#[test]
fn the_date_in_the_package_holds_what_was_delivered() {
    let mut agent = agent();
    let at = NOW.plus_secs(500);
    let ready = Ready { install_at: Some(at), ..Ready::default() };
    let steps = to_obtained(&mut agent, &job(1, all()), ready, NOW);
    assert_eq!(Agent::events(&steps[2])[0], LineEvent::Delivered);
    assert_eq!(reasons(&steps[2]), vec![Code::HeldUntil]);
    assert_eq!(agent.wakes_at(), Some(at));
    assert_eq!(agent.step(Input::Tick, at, 0).effects, vec![Effect::Probe(id(1))]);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), at, 0);
    let step = agent.step(Input::Obtained(id(1), Ok(ready)), at, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Begun]);
}

#[test]
fn a_package_for_the_systems_start_waits_for_another_boot() {
    let job = job(1, all());
    let ready = Ready { timing: Timing::Start, ..Ready::default() };
    let mut agent = agent();
    agent.booted("one");
    let steps = to_obtained(&mut agent, &job, ready, NOW);
    assert_eq!(reasons(&steps[2]), vec![Code::SystemStart]);
    assert_eq!(agent.wakes_at(), Some(job.until));
    let known = KnownJob { job: job.clone(), attempt: Some(1), ahead_secs: 0 };
    for (boot, begins) in [("one", false), ("two", true)] {
        let mut again =
            Agent::restore(host(1), "pc1", Incarnation(1), vec![known.clone()], 0, &entries(&steps));
        again.booted(boot);
        assert_eq!(again.resume(NOW).effects, vec![Effect::Probe(id(1))]);
        again.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
        let step = again.step(Input::Obtained(id(1), Ok(ready)), NOW, 0);
        assert_eq!(step.effects.contains(&Effect::Install(id(1))), begins, "{boot}");
        assert_eq!(reasons(&step), vec![], "what was said is not said again");
    }
}

#[test]
fn a_package_for_the_systems_stop_begins_when_it_is_said() {
    let ready = Ready { timing: Timing::Stop, ..Ready::default() };
    let mut agent = agent();
    let steps = to_obtained(&mut agent, &job(1, all()), ready, NOW);
    assert_eq!((reasons(&steps[2]), agent.is_stopping()), (vec![Code::SystemStop], false));
    assert_eq!(agent.step(Input::Stopping, NOW, 0).effects, vec![Effect::Probe(id(1))]);
    assert!(agent.is_stopping());
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    let mut troubled = agent.clone();
    let step = agent.step(Input::Obtained(id(1), Ok(ready)), NOW, 0);
    assert!(step.effects.contains(&Effect::Install(id(1))));
    agent.step(Input::Exited(id(1), exit(true, 0)), NOW, 0);
    agent.step(Input::Checked(id(1), Ok(())), NOW, 0);
    assert!(!agent.is_stopping());
    // Nobody who shuts the machine down waits for trouble to pass.
    let trouble = Trouble { code: Code::Disk, system: "pc1".into(), text: "full".into() };
    troubled.step(Input::Obtained(id(1), Err(trouble)), NOW, 0);
    assert!(!troubled.is_stopping());
}

#[test]
fn an_install_is_put_off_as_often_as_its_job_says() {
    let job = Job { terms: Terms { postpone: 2, ..Terms::default() }, ..job(1, all()) };
    let mut agent = agent();
    let mut steps = vec![agent.step(order(&job), NOW, 0)];
    let off = |until| Input::Wish { line: id(1), by: "mia".into(), wish: Wish::Postpone { until } };
    steps.push(agent.step(off(None), NOW, 0));
    assert_eq!(reasons(&steps[1]), vec![Code::Postponed]);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    let step = agent.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0);
    assert_eq!(Agent::events(&step)[0], LineEvent::Delivered, "it is brought, and not begun");
    assert_eq!(reasons(&step), vec![Code::Postponed], "whoever hears that it is there hears why it waits");
    let first = NOW.plus_secs(POSTPONE_SECS);
    assert_eq!(agent.wakes_at(), Some(first));
    steps.push(step);
    let second = NOW.plus_secs(POSTPONE_SECS * 2);
    steps.push(agent.step(off(Some(second)), NOW, 0));
    assert_eq!(reasons(&steps[3]), vec![Code::Postponed]);
    assert_eq!(agent.may(&id(1), Wish::Postpone { until: None }, NOW), Err(Denied::NoneLeft(2)));
    assert_eq!(agent.step(Input::Tick, first, 0), Step::default());
    let known = KnownJob { job: job.clone(), attempt: Some(1), ahead_secs: 0 };
    let mut again = Agent::restore(host(1), "pc1", Incarnation(1), vec![known], 0, &entries(&steps));
    again.resume(first);
    again.step(Input::Probed(id(1), Ok(Found::Other)), first, 0);
    let step = again.step(Input::Obtained(id(1), Ok(Ready::default())), first, 0);
    assert_eq!(Agent::events(&step), vec![], "a restart begins nothing that was put off");
    assert_eq!(agent.step(Input::Tick, second, 0).effects, vec![Effect::Probe(id(1))]);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), second, 0);
    let step = agent.step(Input::Obtained(id(1), Ok(Ready::default())), second, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Begun]);
}

#[test]
fn what_is_put_off_still_runs_before_it_would_be_missed() {
    let mut job = Job { terms: Terms { postpone: 9, ..Terms::default() }, ..job(1, all()) };
    job.until = NOW.plus_secs(3600);
    let mut agent = agent();
    agent.step(order(&job), NOW, 0);
    let wish = Wish::Postpone { until: None };
    agent.step(Input::Wish { line: id(1), by: "mia".into(), wish }, NOW, 0);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    agent.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0);
    let last = job.until.plus_secs(-LAST_CALL_SECS);
    assert_eq!(agent.wakes_at(), Some(last));
    assert_eq!(agent.may(&id(1), wish, last), Err(Denied::LastCall(job.until)));
    let late = Wish::Postpone { until: Some(job.until) };
    assert_eq!(agent.may(&id(1), late, NOW), Err(Denied::AfterEnd(job.until)));
}

#[test]
fn each_host_starts_by_its_own_clock() {
    let mut job = Job { terms: Terms { host_time: true, ..Terms::default() }, ..job(1, all()) };
    job.at = Some(NOW.plus_secs(3600));
    // Two hours behind UTC: its clock shows the time two hours later.
    let ahead_secs = -2 * 3600;
    let starts = job.at.unwrap().plus_secs(2 * 3600);
    let mut agent = agent();
    let step = agent.step(Input::Order { job, attempt: Some(1), ahead_secs }, NOW, 0);
    let [LineEvent::Waits(reason)] = &Agent::events(&step)[..] else { panic!("{step:?}") };
    assert_eq!((reason.code(), reason.next_try()), (Code::Scheduled, NextTry::At(starts)));
    assert_eq!(agent.wakes_at(), Some(starts));
    assert_eq!(agent.step(Input::Tick, starts, 0).effects, vec![Effect::Probe(id(1))]);
}
