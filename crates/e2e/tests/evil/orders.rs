//! Lies about orders: none of them makes a client do anything that was not ordered.

use packhorse_e2e::evil::Behaviour;
use packhorse_e2e::wait;

use super::scene::Scene;

/// For whom the job is that the lie is made of.
#[derive(Clone, Copy, PartialEq)]
enum For {
    /// The victim: the lie takes the place of its order.
    Victim,
    /// The neighbour: the lie brings the victim into it.
    Neighbour,
}

/// A lie, and the alarm it raises. `None`: it can only delay, so there is nothing to be said about it.
const LIES: [(Behaviour, For, Option<&str>); 25] = [
    (Behaviour::DropsJobs, For::Victim, None),
    (Behaviour::StallsOrders, For::Victim, None),
    (Behaviour::GarblesOrders, For::Victim, None),
    (Behaviour::SkipsOrders, For::Victim, None),
    (Behaviour::ClaimsEnded, For::Victim, None),
    (Behaviour::SendsAbsurdNumbers, For::Victim, None),
    (Behaviour::WidensProof, For::Neighbour, Some("not_for_me")),
    (Behaviour::SwapsHostInProof, For::Neighbour, Some("not_for_me")),
    (Behaviour::PassesJobOfAnother, For::Neighbour, Some("not_for_me")),
    (Behaviour::SwapsPackage, For::Victim, Some("bad_job")),
    (Behaviour::AltersJob, For::Victim, Some("bad_job")),
    (Behaviour::StripsSignatures, For::Victim, Some("bad_job")),
    (Behaviour::SignsJobItself, For::Victim, Some("bad_job")),
    (Behaviour::SignsAsServer, For::Victim, Some("bad_job")),
    (Behaviour::ForgesKeyName, For::Victim, Some("bad_job")),
    (Behaviour::InventsTrust, For::Victim, Some("bad_trust")),
    (Behaviour::ForgesDelegation, For::Victim, Some("bad_delegation")),
    (Behaviour::UsesEndedDelegation, For::Victim, Some("bad_job")),
    (Behaviour::UsesForeignDelegation, For::Victim, Some("bad_job")),
    // From here on with a delegation of its own: what is done under it is judged first, and revoked last.
    (Behaviour::SignsTransfer, For::Victim, Some("bad_job")),
    (Behaviour::SignsAsOtherRelay, For::Victim, Some("bad_job")),
    (Behaviour::UsesNarrowDelegation, For::Victim, Some("bad_job")),
    (Behaviour::ReplaysWiderDelegation, For::Victim, Some("older_delegation")),
    (Behaviour::UsesRevokedDelegation, For::Victim, Some("bad_job")),
    (Behaviour::ReplaysOlderDelegation, For::Victim, Some("older_delegation")),
];

#[test]
fn lies_about_orders() {
    let mut scene = Scene::new();
    for (n, (behaviour, whose, alarm)) in LIES.into_iter().enumerate() {
        one(&mut scene, n, behaviour, whose, alarm);
    }
}

fn one(scene: &mut Scene, n: usize, behaviour: Behaviour, whose: For, alarm: Option<&str>) {
    let begun = std::time::Instant::now();
    let source = scene.package(n);
    let heard = alarm.map_or(0, |code| scene.world.access().alarms_of("victim", code).len());
    let before = alarm.map_or(0, |code| scene.refusals(code));
    scene.relay.behave(behaviour);
    let host = if whose == For::Victim { "victim" } else { "neighbour" };
    let job = scene.world.install(&format!("p{n}"), &[host], &[]);
    scene.deed(behaviour);
    if let Some(code) = alarm {
        scene.refusal(behaviour, code, before);
    }
    // Whoever says that there is nothing left to do is not believed, and an honest order under an absurd number is one.
    let may = matches!(behaviour, Behaviour::ClaimsEnded | Behaviour::SendsAbsurdNumbers);
    assert!(!scene.has(&source, n) || may, "{behaviour:?}: it was not ordered so");
    assert!(scene.victim.is_running(), "{behaviour:?}: the agent goes on");
    assert!(scene.victim.status().is_some(), "{behaviour:?}: and answers its user");
    scene.relay.behave(Behaviour::Honest);
    let job = match whose {
        For::Victim => job,
        For::Neighbour => {
            scene.world.done(&job, 30);
            assert!(!scene.has(&source, n), "{behaviour:?}: it was not ordered for this host");
            scene.world.install(&format!("p{n}"), &["victim"], &[])
        }
    };
    scene.world.done(&job, 60);
    assert!(scene.has(&source, n), "{behaviour:?}: the honest job is done");
    if let Some(code) = alarm {
        scene.alarm(behaviour, code, heard + 1);
    }
    eprintln!("{behaviour:?}: {:?}, {:.1} s", alarm, begun.elapsed().as_secs_f32());
}

#[test]
fn an_old_revision_after_a_newer_one() {
    let scene = Scene::new();
    let source = scene.package(0);
    scene.relay.behave(Behaviour::DropsJobs);
    let job = scene.world.install("p0", &["victim"], &[]);
    scene.world.cli.ok(&["job", "cancel", &job]);
    wait::until("both revisions are at the relay", 20, || (scene.relay.jobs() >= 2).then_some(()));
    // The cancelled one first, then the one that says "install".
    scene.relay.behave(Behaviour::ReversesOrders);
    scene.refusal(Behaviour::ReversesOrders, "older_revision", 0);
    assert!(!scene.has(&source, 0), "it was cancelled");
    scene.relay.behave(Behaviour::Honest);
    let other = scene.package(1);
    scene.world.done(&scene.world.install("p1", &["victim"], &[]), 30);
    assert!(scene.has(&other, 1) && !scene.has(&source, 0));
    scene.alarm(Behaviour::ReversesOrders, "older_revision", 1);
}

#[test]
fn old_trust_and_wrong_places() {
    let scene = Scene::new();
    // A newer trust document is on its way down before the first is sent again.
    scene.world.cli.ok(&["key", "new", "--out", "second.key"]);
    scene.world.cli.ok(&["cabinet", "new", "office", "--key", "second.pub"]);
    let source = scene.package(0);
    scene.world.done(&scene.world.install("p0", &["victim"], &[]), 30);
    for (behaviour, code) in [
        (Behaviour::ReplaysOldTrust, "older_trust"),
        (Behaviour::InventsPlace, "bad_place"),
        (Behaviour::SendsPlaceOfAnother, "other_place"),
    ] {
        scene.relay.behave(behaviour);
        scene.deed(behaviour);
        scene.refusal(behaviour, code, 0);
        scene.relay.behave(Behaviour::Honest);
        scene.alarm(behaviour, code, 1);
    }
    // It still trusts the newer document, and stands where it stood.
    let office = scene.world.source("q", "1.0").file("a", "a").path().display().to_string();
    scene.world.cli.ok(&["package", "add", &office, "--key", "second.key", "--cabinet", "office"]);
    let job = scene.world.install("office/q", &["below:evil"], &[]);
    scene.world.line_until(&job, "victim", 30, "done");
    assert!(scene.has(&source, 0));
}

#[test]
fn a_lie_about_the_time() {
    let scene = Scene::new();
    let source = scene.package(0);
    scene.relay.behave(Behaviour::LiesAboutTime);
    let job = scene.world.install("p0", &["victim"], &["--at", "+8h"]);
    scene.deed(Behaviour::LiesAboutTime);
    wait::until("the job is at the relay", 20, || (scene.relay.jobs() >= 1).then_some(()));
    // Whatever the agent made of it has happened when it has asked twice more.
    for _ in 0..2 {
        scene.victim.sync();
    }
    wait::always("nothing starts before its time", 3, || !scene.has(&source, 0));
    scene.relay.behave(Behaviour::Honest);
    let waiting = scene.world.job(&job);
    assert_eq!(waiting["state"], "scheduled", "{waiting}");
}

#[test]
fn joining_through_a_liar() {
    let scene = Scene::new();
    scene.relay.behave(Behaviour::InventsTrust);
    let token = scene.world.token(&[]);
    let ran =
        scene.world.join(packhorse_e2e::system::Kind::Client, "newcomer", &scene.relay.url(), &token, &[]);
    assert!(ran.code != 0 && ran.error().contains("not trusted"), "{}", ran.stderr);
    for left in ["newcomer", "newcomer-root"] {
        assert!(!scene.world.folder().join(left).exists(), "{left} was left behind");
    }
}

/// What is delegated is a cabinet of the relay's own: under the name of the managing server's its key counts for nothing.
#[test]
fn a_package_of_the_servers_cabinet_signed_by_a_delegated_key() {
    let scene = Scene::new();
    let source = scene.package(0);
    scene.relay.behave(Behaviour::SignsPackageItself);
    scene.world.install("p0", &["victim"], &[]);
    scene.refusal(Behaviour::SignsPackageItself, "not_trusted", 0);
    assert!(!scene.has(&source, 0));
    scene.relay.behave(Behaviour::Honest);
    wait::until("the honest job is done", 60, || scene.has(&source, 0).then_some(()));
    scene.alarm(Behaviour::SignsPackageItself, "not_trusted", 1);
}

/// A number that was used means the job that used it first, whatever is signed under it later.
#[test]
fn a_job_number_used_twice() {
    let scene = Scene::new();
    scene.relay.behave(Behaviour::ReusesJobNumber);
    let first = scene.package(0);
    scene.world.install("p0", &["victim"], &[]);
    wait::until("what was delegated is done", 30, || scene.has(&first, 0).then_some(()));
    let second = scene.package(1);
    scene.world.install("p1", &["victim"], &[]);
    wait::until("both jobs are at the relay", 20, || (scene.relay.jobs() >= 2).then_some(()));
    for _ in 0..2 {
        scene.victim.sync();
    }
    wait::always("the second job under one number is none", 3, || !scene.has(&second, 1));
    scene.relay.behave(Behaviour::Honest);
    wait::until("the honest job is done", 30, || scene.has(&second, 1).then_some(()));
}
