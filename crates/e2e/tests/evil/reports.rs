//! Lies upwards.

use packhorse_e2e::evil::Behaviour;
use packhorse_e2e::raw;
use packhorse_e2e::wait;

use super::scene::{EVIL, Scene};

#[test]
fn reports_about_a_host_that_is_not_below_the_reporter() {
    let scene = Scene::new();
    let stranger = scene.world.client("stranger", &scene.world.server.url());
    scene.package(0);
    // Both have a line of this job; the stranger's is none of the relay's business.
    scene.relay.behave(Behaviour::DropsJobs);
    let job = scene.world.install("p0", &["victim"], &[]);
    wait::until("the job is at the relay", 20, || (scene.relay.jobs() > 0).then_some(()));
    scene.relay.behave(Behaviour::ReportsForStranger);
    scene.relay.claim_done(raw::identity(&stranger.data).id);
    wait::until_ok("the server refuses it and says so", 20, || {
        let alarms = scene.world.access().alarms();
        let named =
            |alarm: &&packhorse_wire::admin::AlarmView| alarm.host == EVIL && alarm.code == "not_below";
        alarms.iter().find(named).map(|_| ()).ok_or(format!("{alarms:?}"))
    });
    let lines = scene.world.job(&job)["instructions"].to_string();
    assert!(!lines.contains("stranger"), "{lines}");
    let shown = scene.world.cli.json(&["host", "show", "stranger"]);
    assert_eq!(shown["instructions"].as_array().map(Vec::len), Some(0), "{shown}");
}

/// A relay can say of a host below it what it likes: results are not signed by hosts yet (design section 6, "Final results
/// have room for the host's own signature"). What the lie cannot do is change the host.
#[test]
fn reports_about_a_host_below_the_reporter() {
    let mut scene = Scene::new();
    let source = scene.package(0);
    scene.relay.behave(Behaviour::DropsJobs);
    scene.world.install("p0", &["victim"], &[]);
    wait::until("the job is at the relay", 20, || (scene.relay.jobs() > 0).then_some(()));
    scene.relay.behave(Behaviour::ReportsForLower);
    scene.relay.claim_done(scene.victim_id());
    // With its reports it passes orders on again: the host works, whatever was said about it.
    wait::until("the host does what it was ordered", 30, || scene.has(&source, 0).then_some(()));
    assert!(scene.victim.is_running());
    let reported = wait::until("its own word is in the history", 20, || {
        let own = packhorse_e2e::history::of(&scene.world.server, &scene.victim);
        let ends = own.iter().filter(|report| report.incarnation != 4711).count();
        (ends >= 3).then_some(own)
    });
    assert!(reported.len() >= 3);
}

/// Results that a relay throws away come again as soon as another takes its place (rule 3), even if it had said that the
/// managing server receipted them.
#[test]
fn results_that_are_thrown_away_come_again() {
    let scene = Scene::new();
    for (n, behaviour) in [Behaviour::SwallowsReports, Behaviour::ForgesReceipts].into_iter().enumerate() {
        let source = scene.package(n);
        scene.relay.behave(behaviour);
        let job = scene.world.install(&format!("p{n}"), &["victim"], &[]);
        wait::until("the host does what it was ordered", 30, || scene.has(&source, n).then_some(()));
        scene.deed(behaviour);
        wait::until("the host has said everything", 20, || {
            scene.victim.status().filter(|status| status["lines"].as_array().is_none_or(Vec::is_empty))
        });
        assert_ne!(scene.world.job(&job)["state"], "ended", "{behaviour:?}: nobody has heard of it");
        scene.relay.replaced();
        scene.world.done(&job, 30);
    }
}

/// Absurd numbers harm nobody but, at worst, the line they are about.
#[test]
fn absurd_numbers_in_reports() {
    let mut scene = Scene::new();
    scene.package(0);
    scene.relay.behave(Behaviour::DropsJobs);
    let job = scene.world.install("p0", &["victim"], &[]);
    wait::until("the job is at the relay", 20, || (scene.relay.jobs() > 0).then_some(()));
    scene.relay.behave(Behaviour::ReportsAbsurdNumbers);
    scene.relay.claim_absurd(scene.victim_id());
    wait::until("the server has taken them in, or refused them", 20, || {
        (scene.relay.unstored() == 0).then_some(())
    });
    assert!(scene.world.server.is_running(), "the server goes on");
    scene.world.job(&job);
    scene.world.cli.ok(&["host", "show", "victim"]);
    scene.world.cli.ok(&["explain", &job]);
    scene.relay.replaced();
    let other = scene.package(1);
    let job = scene.world.install("p1", &["victim"], &[]);
    scene.world.done(&job, 30);
    assert!(scene.has(&other, 1));
}
