//! What is told afterwards: attempts with their times, what was planned beside what became of it.

use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array};

#[test]
fn a_line_tells_its_past_and_rates_are_measured() {
    let world = World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", "2000000")]);
    let relay = world.relay("osaka", &world.server.url());
    let _client = world.client("pc17", &relay.url());
    let broken = world.source("editor", "1.0").recipe("\n[check]\nfile = \"/opt/editor/absent\"\n");
    world.add(&broken.noise("data", 5_000_000, 3));
    let unmeasured = world.cli.ok(&["install", "main/editor", "--to", "pc17", "--plan"]);
    assert!(unmeasured.contains("unknown, nothing measured yet: localhost → osaka"), "{unmeasured}");
    let job = world.install("main/editor", &["pc17"], &[]);
    world.line_until(&job, "pc17", 30, "failed");
    world.cli.ok(&["job", "retry", &job, "--failed"]);
    world.job_until(&job, 30, "failed again", |view| {
        let line = &view["instructions"][0];
        line["attempt"] == 2 && line["state"] == "failed"
    });
    let line = world.cli.json(&["job", "show", &job, "pc17"]);
    let events: Vec<(u64, &str)> = array(&line["events"])
        .iter()
        .map(|event| (event["attempt"].as_u64().unwrap_or(0), event["event"].as_str().unwrap_or_default()))
        .collect();
    for event in
        [(1, "ordered"), (0, "at_relay"), (1, "installing"), (1, "failed"), (2, "ordered"), (2, "failed")]
    {
        assert!(events.contains(&event), "{event:?} in {events:?}");
    }
    let text = world.cli.ok(&["job", "show", &job, "pc17"]);
    assert!(text.contains("at relay") && text.contains("pc17"), "{text}");
    assert!(world.cli.ok(&["host", "show", "pc17"]).contains("joined below osaka"));
    let shown = world.cli.ok(&["job", "show", &job]);
    assert!(shown.contains("PLANNED") && shown.contains("localhost → osaka"), "{shown}");

    // What was measured is what the next plan says.
    world.add(&world.source("viewer", "1.0").noise("data", 4_000_000, 4));
    wait::until_ok("the lines are measured", 15, || {
        let plan = world.cli.json(&["install", "main/viewer", "--to", "osaka", "--plan"]);
        let text = plan["text"].as_str().unwrap_or_default().to_owned();
        if text.contains("Mbit/s") { Ok(()) } else { Err(text) }
    });
}
