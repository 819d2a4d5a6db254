//! Lies about bytes: none of them is installed, and what cannot be believed is named.

use packhorse_e2e::evil::Behaviour;
use packhorse_e2e::wait;
use packhorse_e2e::world::line;

use super::scene::Scene;

/// A lie, and the code of the reason for which the victim waits. `None`: it can only delay.
const LIES: [(Behaviour, Option<&str>); 10] = [
    (Behaviour::FlipsChunkBit, Some("content")),
    (Behaviour::SwapsChunks, Some("content")),
    (Behaviour::SendsUnaskedChunks, Some("content")),
    (Behaviour::SendsBomb, Some("content")),
    (Behaviour::AltersManifest, Some("content")),
    (Behaviour::SwapsManifest, Some("content")),
    (Behaviour::SendsEndlessManifest, Some("content")),
    (Behaviour::SendsEndlessContent, None),
    (Behaviour::TruncatesContent, None),
    (Behaviour::StallsContent, None),
];

#[test]
fn lies_about_content() {
    let mut scene = Scene::new();
    // Something honest first, so that there is another package's manifest to lie with.
    scene.package(100);
    scene.world.done(&scene.world.install("p100", &["victim"], &[]), 30);
    for (n, (behaviour, reason)) in LIES.into_iter().enumerate() {
        one(&mut scene, n, behaviour, reason);
    }
    let peak = scene.victim.process().peak_bytes();
    assert!(peak < 150 << 20, "lies cost no memory: {peak} bytes");
}

fn one(scene: &mut Scene, n: usize, behaviour: Behaviour, reason: Option<&str>) {
    let begun = std::time::Instant::now();
    let source = scene.package(n);
    scene.relay.behave(behaviour);
    let job = scene.world.install(&format!("p{n}"), &["victim"], &[]);
    scene.deed(behaviour);
    if let Some(code) = reason {
        waits_for(scene, behaviour, n, code);
    }
    assert!(scene.victim.is_running(), "{behaviour:?}: the agent goes on");
    if behaviour != Behaviour::SendsEndlessContent {
        // What came before the endless rest is whole and verified: it may be used.
        assert!(!scene.has(&source, n), "{behaviour:?}: it is not whole");
    }
    scene.relay.behave(Behaviour::Honest);
    if let Some(code) = reason {
        heard(scene, &job, behaviour, code);
    }
    scene.victim.sync();
    scene.world.done(&job, 90);
    assert!(scene.has(&source, n), "{behaviour:?}: the honest job is done");
    eprintln!("{behaviour:?}: {reason:?}, {:.1} s", begun.elapsed().as_secs_f32());
}

/// The agent tells its user why it waits.
fn waits_for(scene: &Scene, behaviour: Behaviour, n: usize, code: &str) {
    wait::until_ok(&format!("{behaviour:?} is named as {code}"), 60, || {
        let status = scene.victim.status().ok_or("the agent does not answer")?;
        let log = scene.victim.log_text();
        let package = format!("main/p{n}@1.0:1");
        let lines = status["lines"].as_array().cloned().unwrap_or_default();
        let found = lines.iter().find(|line| line["package"] == package.as_str());
        let reason = found.map(|line| line["reason"].to_string()).unwrap_or_default();
        // In words: the sentence of the reason.
        if reason.len() > 4 && !reason.contains("null") { Ok(()) } else { Err(format!("{status}\n{log}")) }
    });
}

/// And its administrator, once what it reports is passed on.
fn heard(scene: &Scene, job: &str, behaviour: Behaviour, code: &str) {
    wait::until_ok(&format!("the server hears of {behaviour:?} as {code}"), 60, || {
        let alarms = scene.world.access().alarms_of("victim", code);
        let view = scene.world.job(job);
        let found = line(&view, "victim").is_some_and(|line| line["reason"]["code"] == code);
        if found || !alarms.is_empty() { Ok(()) } else { Err(view.to_string()) }
    });
}
