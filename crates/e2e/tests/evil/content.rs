//! Lies about bytes: none of them is installed, and what cannot be believed is named.

use packhorse_e2e::evil::Behaviour;
use packhorse_e2e::wait;

use super::scene::Scene;

/// A lie, and the alarm it raises. `None`: it can only delay, so there is nothing to be said about it.
const LIES: [(Behaviour, Option<&str>); 10] = [
    (Behaviour::FlipsChunkBit, Some("bad_content")),
    (Behaviour::SwapsChunks, Some("bad_content")),
    (Behaviour::SendsUnaskedChunks, Some("bad_content")),
    (Behaviour::SendsBomb, Some("bad_content")),
    (Behaviour::AltersManifest, Some("bad_content")),
    (Behaviour::SwapsManifest, Some("bad_content")),
    (Behaviour::SendsEndlessManifest, Some("bad_content")),
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
    for (n, (behaviour, alarm)) in LIES.into_iter().enumerate() {
        one(&mut scene, n, behaviour, alarm);
    }
    let peak = scene.victim.process().peak_bytes();
    assert!(peak < 150 << 20, "lies cost no memory: {peak} bytes");
}

fn one(scene: &mut Scene, n: usize, behaviour: Behaviour, alarm: Option<&str>) {
    let begun = std::time::Instant::now();
    let source = scene.package(n);
    let heard = alarm.map_or(0, |code| scene.world.access().alarms_of("victim", code).len());
    let before = alarm.map_or(0, |code| scene.refusals(code));
    scene.relay.behave(behaviour);
    let job = scene.world.install(&format!("p{n}"), &["victim"], &[]);
    scene.deed(behaviour);
    if let Some(code) = alarm {
        named(scene, behaviour, n);
        scene.refusal(behaviour, code, before);
    }
    assert!(scene.victim.is_running(), "{behaviour:?}: the agent goes on");
    if behaviour != Behaviour::SendsEndlessContent {
        // What came before the endless rest is whole and verified: it may be used.
        assert!(!scene.has(&source, n), "{behaviour:?}: it is not whole");
    }
    scene.relay.behave(Behaviour::Honest);
    scene.world.done(&job, 90);
    assert!(scene.has(&source, n), "{behaviour:?}: the honest job is done");
    if let Some(code) = alarm {
        scene.alarm(behaviour, code, heard + 1);
    }
    eprintln!("{behaviour:?}: {alarm:?}, {:.1} s", begun.elapsed().as_secs_f32());
}

/// The agent tells its user why it waits.
fn named(scene: &Scene, behaviour: Behaviour, n: usize) {
    wait::until_ok(&format!("{behaviour:?} is named to the user"), 30, || {
        let status = scene.victim.status().ok_or("the agent does not answer")?;
        let package = format!("main/p{n}@1.0:1");
        let lines = status["lines"].as_array().cloned().unwrap_or_default();
        let found = lines.iter().find(|line| line["package"] == package.as_str());
        let named = found.is_some_and(|line| line["reason"].is_string());
        if named { Ok(()) } else { Err(status.to_string()) }
    });
}
