//! The page to look at: opened with an address made for it, and live while things happen.

use std::time::Duration;

use packhorse_e2e::chromium::Chromium;
use packhorse_e2e::visitor::Visitor;
use packhorse_e2e::wait;
use packhorse_e2e::world::World;
use serde_json::Value;

/// Opens the page of the system at `port` with the address that `packhorse page` prints.
fn opened(world: &World, port: u16, options: &[&str]) -> Visitor {
    let mut visitor = Visitor::new(&world.server.data.join("ca.pem"), port);
    let args: Vec<&str> = ["page"].iter().chain(options).copied().collect();
    let url = world.cli.ok(&args);
    let path = url.strip_prefix(&format!("https://localhost:{port}")).expect("the system's own address");
    let answer = visitor.get(path);
    assert_eq!((answer.status, answer.header("location")), (303, "/page"), "{answer:?}");
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/", "__Host-packhorse-"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let again = visitor.get(path);
    assert_eq!(again.status, 401, "an address opens once");
    assert!(again.header("set-cookie").is_empty());
    visitor.cookie = cookie.split(';').next().map(str::to_owned);
    visitor
}

#[test]
fn only_who_was_let_in_looks_and_everything_comes_from_the_system_itself() {
    let world = World::new();
    let mut visitor = opened(&world, world.server.port, &[]);
    let page = visitor.get("/page");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-store");
    for inside in ["<style", " style=", " onclick=", "http://", "https://", "token="] {
        assert!(!page.body.contains(inside), "{inside} in the page");
    }
    for named in page.body.split('"').filter(|text| text.starts_with("/page/") && text.contains('?')) {
        let file = visitor.get(named);
        assert_eq!(file.status, 200, "{named}");
        assert!(file.header("cache-control").contains("immutable"), "{named}");
    }
    let cookie = visitor.cookie.take();
    for path in ["/page", "/page/events"] {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.body.contains("packhorse page"), "it says which command to run: {}", answer.body);
    }
    visitor.cookie = Some(cookie.as_ref().expect("a cookie").replace('=', "=x"));
    assert_eq!(visitor.get("/page").status, 401);
    visitor.cookie = cookie;
    assert_eq!(visitor.ask("POST", "/page/leave").status, 401);
    assert_eq!(visitor.get("/page").status, 401, "who left looks no more");
}

#[test]
fn the_page_is_live_at_the_server_and_at_a_relay() {
    let mut world = World::new();
    let relay = world.relay("osaka", &world.server.url());
    let _client = world.client("pc17", &relay.url());
    let _absent = world.joined_client("pc18", &relay.url());
    let package = world.add(&world.source("editor", "2.1").noise("data", 300_000, 7));
    let looks =
        [opened(&world, world.server.port, &[]), opened(&world, relay.port, &["--relay", &relay.url()])];
    let mut streams = looks.each_ref().map(Visitor::events);
    for stream in &mut streams {
        let first = stream.next_event();
        assert_eq!(first.name, "parts");
        for part in ["head", "tree", "jobs", "why"] {
            assert!(first.data[part].is_string(), "the first event says everything: {part}");
        }
        assert!(first.data["tree"].as_str().expect("html").contains("pc17"));
    }
    world.install(&package, &["pc17", "pc18"], &[]);
    for stream in &mut streams {
        let mut last = None;
        loop {
            let event = stream.next_event();
            if let Some(last) = last.replace(event.at) {
                let pause = event.at.duration_since(last);
                assert!(pause > Duration::from_millis(900), "at most one a second, not after {pause:?}");
            }
            let jobs = event.data["jobs"].as_str().unwrap_or_default();
            if jobs.contains("1 done") && jobs.contains("main/editor@2.1:1") {
                break;
            }
        }
    }
    for look in &looks {
        let page = look.get("/page").body;
        assert!(page.contains("pc18 is off"), "the sentence that explain says: {page}");
        assert!(page.contains("start pc18"), "and what clears it");
        assert!(page.contains("keeps 300 kB"), "the hop into the relay: {page}");
    }
    // Who looks goes on looking after a restart.
    world.server.restart();
    world.answering();
    assert_eq!(looks[0].get("/page").status, 200);
}

/// A real browser runs the script under the page's policy.
#[test]
#[ignore = "needs chromium and its driver"]
fn a_browser_shows_the_page_live() {
    let world = World::new();
    let _client = world.client("pc17", &world.server.url());
    let package = world.add(&world.source("editor", "2.1").file("data", "x"));
    let window = Chromium::open(&world.folder().join("profile"));
    window.go(&world.cli.ok(&["page"]));
    assert!(!window.run("return location.href").as_str().expect("text").contains("token"), "no secret stays");
    let text = |id: &str| {
        let text = window.run(&format!("return document.getElementById('{id}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    };
    wait::until("the page is live", 20, || (text("state") == "live").then_some(()));
    assert!(text("jobs").contains("No job yet"), "{}", text("jobs"));
    world.install(&package, &["pc17"], &[]);
    wait::until("the page shows that it is done", 20, || text("jobs").contains("1 done").then_some(()));
    // What a reader opened stays open when the part around it is swapped.
    world.install("main/editor", &["all"], &["--at", "+3h"]);
    let first = "document.querySelector('#why details')";
    wait::until("something waits", 20, || {
        window.run(&format!("return !!{first}")).as_bool().filter(|is| *is)
    });
    window.run(&format!("{first}.open = false; return 1"));
    let late = world.client("pc18", &world.server.url());
    // It is taken in by the job that waits: the part is swapped.
    wait::until("the part is swapped", 20, || text("why").contains("2\nscheduled").then_some(()));
    assert_eq!(window.run(&format!("return {first}.open")), Value::Bool(false));
    drop(late);
    let inner = window.run("return document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(inner, Value::Bool(true), "nothing sticks out");
}
