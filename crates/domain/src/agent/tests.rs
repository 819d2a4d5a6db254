use super::*;
use crate::ids::PackageId;
use crate::instruction::State;
use crate::job::Intent;
use crate::job::tests::{host, job, package};
use crate::job::{Clause, Round};
use crate::report::{LineEvent, Outcome};

pub(super) const NOW: Time = Time(1_000_000);

pub(super) fn agent() -> Agent {
    Agent::new(host(1), "pc1", Incarnation(1))
}

pub(super) fn all() -> Vec<Clause> {
    vec![Clause::All { relays: false }]
}

pub(super) fn order(job: &Job) -> Input {
    Input::Order { job: job.clone(), attempt: job.rounds.last().map(|round| round.attempt), ahead_secs: 0 }
}

pub(super) fn id(number: u64) -> LineId {
    LineId { job: JobKey::server(1, number), place: 0, package: PackageId([1; 32]) }
}

pub(super) fn exit(ok: bool, retries: u32) -> Exit {
    Exit {
        ok,
        code: Some(i32::from(!ok)),
        class: FailClass::Installer,
        text: "exit 1".into(),
        tail: "tail".into(),
        retries,
    }
}

pub(super) fn ends(step: &Step) -> Vec<State> {
    Agent::events(step)
        .into_iter()
        .filter_map(|event| match event {
            LineEvent::Ended(outcome) => Some(outcome.end),
            _ => None,
        })
        .collect()
}

/// The journal that a run of steps made durable.
pub(super) fn entries(steps: &[Step]) -> Vec<Entry> {
    let writes = steps.iter().flat_map(|step| &step.writes);
    writes
        .filter_map(|write| if let Write::Journal(entry) = write { Some(entry.clone()) } else { None })
        .collect()
}

pub(super) fn to_install(agent: &mut Agent, job: &Job) -> Vec<Step> {
    let line = id(job.key.number);
    vec![
        agent.step(order(job), NOW, 0),
        agent.step(Input::Probed(line.clone(), Ok(Found::Other)), NOW, 0),
        agent.step(Input::Obtained(line, Ok(Ready::default())), NOW, 0),
    ]
}

#[test]
fn an_order_goes_through_to_its_result() {
    let mut agent = agent();
    let steps = to_install(&mut agent, &job(1, all()));
    assert_eq!(steps[0].effects, vec![Effect::Probe(id(1))]);
    assert_eq!(steps[1].effects, vec![Effect::Obtain(id(1))]);
    assert_eq!(steps[2].effects, vec![Effect::Install(id(1)), Effect::Send]);
    assert_eq!(Agent::events(&steps[2]), vec![LineEvent::Delivered, LineEvent::Begun]);
    let step = agent.step(Input::Exited(id(1), exit(true, 0)), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Check(id(1))]);
    let step = agent.step(Input::Checked(id(1), Ok(())), NOW, 0);
    assert_eq!(ends(&step), vec![State::Done]);
    assert_eq!(agent.step(order(&job(1, all())), NOW, 0), Step::default());
}

#[test]
fn what_is_installed_is_not_installed_again() {
    let mut agent = agent();
    agent.step(order(&job(1, all())), NOW, 0);
    let step = agent.step(Input::Probed(id(1), Ok(Found::Same)), NOW, 0);
    assert_eq!(ends(&step), vec![State::AlreadyInstalled]);
}

#[test]
fn what_cannot_be_installed_here_fails_before_its_bytes_travel() {
    let mut agent = agent();
    agent.step(order(&job(1, all())), NOW, 0);
    let step = agent.step(Input::Probed(id(1), Ok(Found::Impossible("needs root".into()))), NOW, 0);
    assert_eq!((ends(&step), step.effects), (vec![State::Failed], vec![Effect::Drop(id(1)), Effect::Send]));
}

#[test]
fn alarms_share_the_row_of_numbers() {
    let mut agent = agent();
    assert_eq!(agent.number(), 1);
    let steps = to_install(&mut agent, &job(1, all()));
    let numbers: Vec<u64> = entries(&steps).iter().filter_map(|entry| entry.report).collect();
    assert_eq!(numbers, vec![2, 3]);
    let mut again = Agent::new(host(1), "pc1", Incarnation(1));
    again.numbered(3);
    assert_eq!(again.number(), 4);
}

#[test]
fn versions_go_down_only_if_the_job_says_so() {
    let mut low = job(1, all());
    let newer = || Input::Probed(id(1), Ok(Found::Newer("2".into())));
    let mut agent_a = agent();
    agent_a.step(order(&low), NOW, 0);
    assert_eq!(ends(&agent_a.step(newer(), NOW, 0)), vec![State::NotApplicable]);
    low.allow_downgrade = true;
    let mut agent_b = agent();
    agent_b.step(order(&low), NOW, 0);
    assert_eq!(agent_b.step(newer(), NOW, 0).effects, vec![Effect::Obtain(id(1))]);
}

#[test]
fn a_failed_check_is_a_failure_and_done_needs_both() {
    let mut agent = agent();
    to_install(&mut agent, &job(1, all()));
    agent.step(Input::Exited(id(1), exit(true, 0)), NOW, 0);
    let step = agent.step(Input::Checked(id(1), Err("missing".into())), NOW, 0);
    assert_eq!(ends(&step), vec![State::Failed]);
}

#[test]
fn an_installer_is_tried_as_often_as_the_package_says() {
    let mut agent = agent();
    to_install(&mut agent, &job(1, all()));
    let step = agent.step(Input::Exited(id(1), exit(false, 1)), NOW, 0);
    assert_eq!(ends(&step), vec![]);
    let later = agent.wakes_at().unwrap();
    let step = agent.step(Input::Tick, later, 0);
    assert_eq!(step.effects, vec![Effect::Probe(id(1))]);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), later, 0);
    let step = agent.step(Input::Obtained(id(1), Ok(Ready::default())), later, 0);
    assert_eq!(Agent::events(&step), vec![LineEvent::Begun], "delivered is said once");
    let step = agent.step(Input::Exited(id(1), exit(false, 1)), later, 0);
    assert_eq!(ends(&step), vec![State::Failed]);
}

#[test]
fn trouble_waits_with_growing_pauses_and_ends_as_missed() {
    let mut agent = agent();
    let mut short = job(1, all());
    short.until = NOW.plus_secs(60);
    agent.step(order(&short), NOW, 0);
    let trouble = || Trouble { code: Code::Network, system: "osaka".into(), text: "refused".into() };
    let (mut now, mut said) = (NOW, 0);
    while now < short.until {
        if agent.lines().next().is_some_and(|line| line.stage == Stage::Probing) {
            agent.step(Input::Probed(id(1), Ok(Found::Other)), now, 0);
            said += Agent::events(&agent.step(Input::Obtained(id(1), Err(trouble())), now, 0)).len();
        }
        now = agent.wakes_at().unwrap();
        let step = agent.step(Input::Tick, now, 0);
        if now >= short.until {
            assert_eq!(ends(&step), vec![State::Missed]);
        }
    }
    assert_eq!(said, 1, "the same reason is not said twice");
}

#[test]
fn what_was_cleared_is_tried_at_once() {
    let mut agent = agent();
    agent.step(order(&job(1, all())), NOW, 0);
    let trouble = Trouble { code: Code::Network, system: "osaka".into(), text: "refused".into() };
    agent.step(Input::Probed(id(1), Err(trouble)), NOW, 0);
    assert_eq!(agent.step(Input::Cleared(Code::NotTrusted), NOW, 0), Step::default());
    let step = agent.step(Input::Cleared(Code::Network), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Probe(id(1))]);
}

#[test]
fn cancel_wins_until_intent_is_durable() {
    let mut agent_a = agent();
    let mut cancelled = job(1, all());
    agent_a.step(order(&cancelled), NOW, 0);
    agent_a.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    (cancelled.revision, cancelled.intent) = (2, Intent::Cancelled);
    let step = agent_a.step(order(&cancelled), NOW, 0);
    assert_eq!((ends(&step), step.effects[0].clone()), (vec![State::Cancelled], Effect::Drop(id(1))));
    assert_eq!(agent_a.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0), Step::default());

    let mut agent_b = agent();
    to_install(&mut agent_b, &job(1, all()));
    assert_eq!(ends(&agent_b.step(order(&cancelled), NOW, 0)), vec![]);
    agent_b.step(Input::Exited(id(1), exit(true, 0)), NOW, 0);
    assert_eq!(ends(&agent_b.step(Input::Checked(id(1), Ok(())), NOW, 0)), vec![State::Done]);
}

#[test]
fn whoever_heard_that_it_began_hears_each_time_that_it_waits_again() {
    let mut agent = agent();
    to_install(&mut agent, &job(1, all()));
    let lock = || Trouble { code: Code::Lock, system: "pc1".into(), text: "held".into() };
    let mut step = agent.step(Input::NotStarted(id(1), lock()), NOW, 0);
    for _ in 0..3 {
        assert!(matches!(Agent::events(&step)[..], [LineEvent::Waits(_)]));
        let later = agent.wakes_at().unwrap();
        agent.step(Input::Tick, later, 0);
        agent.step(Input::Probed(id(1), Ok(Found::Other)), later, 0);
        let begun = agent.step(Input::Obtained(id(1), Ok(Ready::default())), later, 0);
        assert_eq!(Agent::events(&begun), vec![LineEvent::Begun]);
        step = agent.step(Input::NotStarted(id(1), lock()), later, 0);
    }
}

#[test]
fn a_later_order_supersedes_whichever_came_first() {
    for swapped in [false, true] {
        let mut agent = agent();
        let (old, new) = (job(1, all()), job(2, all()));
        let (first, second) = if swapped { (&new, &old) } else { (&old, &new) };
        let mut steps = vec![agent.step(order(first), NOW, 0)];
        steps.push(agent.step(order(second), NOW, 0));
        let all: Vec<State> = steps.iter().flat_map(ends).collect();
        assert_eq!(all, vec![State::Superseded], "swapped: {swapped}");
        let open: Vec<u64> = agent.lines().filter(|l| !l.stage.is_end()).map(|l| l.id.job.number).collect();
        assert_eq!(open, vec![2]);
    }
}

#[test]
fn packages_of_a_job_come_in_order_and_a_failure_holds_up_the_rest() {
    let mut agent = agent();
    let mut both = job(1, all());
    both.packages.push(package(2));
    agent.step(order(&both), NOW, 0);
    agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0);
    agent.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0);
    let step = agent.step(Input::Exited(id(1), exit(false, 0)), NOW, 0);
    assert_eq!(ends(&step), vec![State::Failed, State::Failed]);
}

#[test]
fn after_a_restart_everything_goes_on_and_nothing_is_started_blindly() {
    let job = job(1, all());
    let mut first = agent();
    let steps = to_install(&mut first, &job);
    let known = KnownJob { job: job.clone(), attempt: Some(1), ahead_secs: 0 };
    let restart =
        |entries: &[Entry]| Agent::restore(host(1), "pc1", Incarnation(1), vec![known.clone()], 0, entries);

    let mut agent = restart(&entries(&steps));
    assert_eq!(agent.resume(NOW).effects, vec![Effect::Recover(id(1))]);
    let mut adopted = agent.clone();
    assert_eq!(adopted.step(Input::Recovered(id(1), Evidence::Running), NOW, 0), Step::default());
    let step = adopted.step(Input::Exited(id(1), exit(true, 0)), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Check(id(1))]);

    let step = agent.step(Input::Recovered(id(1), Evidence::Gone), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Probe(id(1))]);
    let step = agent.step(Input::Probed(id(1), Ok(Found::Same)), NOW, 0);
    assert_eq!(ends(&step), vec![State::Done], "installed once, reported once, as done");
    assert_eq!(agent.reported(), 3);
}

#[test]
fn an_installer_that_is_cut_off_again_and_again_fails() {
    let mut agent = agent();
    let mut journal = entries(&to_install(&mut agent, &job(1, all())));
    let known = KnownJob { job: job(1, all()), attempt: Some(1), ahead_secs: 0 };
    let mut starts = 1;
    let last = loop {
        let mut agent = Agent::restore(host(1), "pc1", Incarnation(1), vec![known.clone()], 0, &journal);
        let mut steps = vec![agent.resume(NOW), agent.step(Input::Recovered(id(1), Evidence::Gone), NOW, 0)];
        if agent.lines().all(|line| line.stage.is_end()) {
            break ends(&steps[1]);
        }
        steps.push(agent.step(Input::Probed(id(1), Ok(Found::Other)), NOW, 0));
        steps.push(agent.step(Input::Obtained(id(1), Ok(Ready::default())), NOW, 0));
        starts += 1;
        journal.extend(entries(&steps));
    };
    assert_eq!((last, starts), (vec![State::Failed], INTERRUPTED_STARTS_MAX));
}

#[test]
fn a_restart_at_any_point_of_the_journal_keeps_numbers_and_ends() {
    let mut agent = agent();
    let job = job(1, all());
    let mut steps = to_install(&mut agent, &job);
    steps.push(agent.step(Input::Exited(id(1), exit(true, 0)), NOW, 0));
    steps.push(agent.step(Input::Checked(id(1), Ok(())), NOW, 0));
    let journal = entries(&steps);
    let known = KnownJob { job, attempt: Some(1), ahead_secs: 0 };
    for cut in 0..=journal.len() {
        let restored =
            Agent::restore(host(1), "pc1", Incarnation(1), vec![known.clone()], 0, &journal[..cut]);
        let newest = journal[..cut].iter().filter_map(|entry| entry.report).max().unwrap_or(0);
        assert_eq!(restored.reported(), newest);
        assert_eq!(restored.lines().all(|line| line.stage.is_end()), cut == journal.len());
    }
}

#[test]
fn a_retry_is_the_next_attempt() {
    let mut agent = agent();
    let mut job = job(1, all());
    to_install(&mut agent, &job);
    agent.step(Input::Exited(id(1), exit(false, 0)), NOW, 0);
    job.revision = 2;
    job.rounds.push(Round { attempt: 2, ordered: Time(9), to: all() });
    let step = agent.step(order(&job), NOW, 0);
    assert_eq!(step.effects, vec![Effect::Probe(id(1))]);
    assert_eq!(agent.lines().next().unwrap().attempt, 2);
    agent.step(Input::Receipt(Receipt { origin: host(1), incarnation: Incarnation(1), upto: 2 }), NOW, 0);
    assert_eq!(agent.base(), 2);
}

#[test]
fn nothing_starts_before_its_time() {
    let mut agent = agent();
    let mut later = job(1, all());
    later.at = Some(NOW.plus_secs(100));
    assert_eq!(agent.step(order(&later), NOW, 0).effects, vec![]);
    assert_eq!(agent.wakes_at(), later.at);
    assert_eq!(agent.step(Input::Tick, NOW.plus_secs(100), 0).effects, vec![Effect::Probe(id(1))]);
}

#[test]
fn a_line_that_waits_for_its_turn_wakes_nobody() {
    let mut agent = agent();
    let mut two = job(1, all());
    two.packages.push(package(2));
    agent.step(order(&two), NOW, 0);
    assert_eq!(agent.wakes_at(), Some(two.until), "one is at work, the other behind it");
    let trouble = Trouble { code: Code::Lock, system: "pc1".into(), text: "held".into() };
    agent.step(Input::Probed(id(1), Err(trouble)), NOW, 0);
    let next_try = agent.lines().next().unwrap().next_try;
    assert_eq!(agent.wakes_at(), Some(next_try), "not when the one behind it might");
}

#[test]
fn a_begun_line_is_not_woken_for_its_jobs_end() {
    let mut agent = agent();
    let mut short = job(1, all());
    short.until = NOW.plus_secs(60);
    to_install(&mut agent, &short);
    agent.step(Input::Exited(id(1), exit(false, 1)), short.until, 0);
    assert!(agent.wakes_at().unwrap() > short.until);
}

#[test]
fn a_cancel_holds_for_what_is_unbegun_again() {
    let mut agent = agent();
    let mut cancelled = job(1, all());
    to_install(&mut agent, &cancelled);
    (cancelled.revision, cancelled.intent) = (2, Intent::Cancelled);
    assert_eq!(ends(&agent.step(order(&cancelled), NOW, 0)), vec![]);
    let held = Trouble { code: Code::Lock, system: "pc1".into(), text: "held".into() };
    let step = agent.step(Input::NotStarted(id(1), held), NOW, 0);
    assert_eq!(ends(&step), vec![State::Cancelled]);
}

#[test]
fn a_cancel_holds_for_the_attempt_that_comes_after_a_begun_one() {
    let mut agent = agent();
    let mut job = job(1, all());
    to_install(&mut agent, &job);
    job.rounds.push(Round { attempt: 2, ordered: Time(9), to: all() });
    (job.revision, job.intent) = (2, Intent::Cancelled);
    agent.step(order(&job), NOW, 0);
    let step = agent.step(Input::Exited(id(1), exit(false, 0)), NOW, 0);
    assert_eq!(ends(&step), vec![State::Failed, State::Cancelled]);
    assert!(!step.effects.iter().any(|effect| matches!(effect, Effect::Probe(_))));
}

#[test]
fn a_condition_that_does_not_hold_here_ends_the_line() {
    let mut agent = Agent::new(HostId([9; 16]), "pc9", Incarnation(1));
    let job = job(1, vec![Clause::All { relays: false }]);
    let unfit = Input::Unfit { job: job.clone(), attempt: 1, why: "os bsd".to_owned() };
    let step = agent.step(unfit.clone(), Time(1), 0);
    let said = Outcome::with(State::NotApplicable, "destination", "os bsd");
    assert_eq!(Agent::events(&step), vec![LineEvent::Ended(said)]);
    assert!(agent.lines().all(|line| line.stage.is_end()));
    // Said once; a later revision in which it still does not hold changes nothing.
    assert_eq!(Agent::events(&agent.step(unfit, Time(2), 0)), vec![]);
    let next = Job { revision: 2, ..job };
    let step = agent.step(Input::Unfit { job: next.clone(), attempt: 1, why: String::new() }, Time(3), 0);
    assert_eq!(Agent::events(&step), vec![]);
    // What is said of it changes, and names it after all: it takes part.
    agent.step(Input::Order { job: next, attempt: Some(1), ahead_secs: 0 }, Time(4), 0);
    assert!(agent.lines().all(|line| line.attempt == 1 && !line.stage.is_end()));
}
