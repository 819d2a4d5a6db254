//! Jobs are made, watched, cancelled and tried again.

use std::time::Duration;

use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{FailClass, LineEvent, Outcome};
use packhorse_server::system::now;
use serde_json::{Value, json};

use super::support::{Many, Top, install};

fn failed(exit_code: i32) -> LineEvent {
    let outcome = Outcome::failed(FailClass::Installer, "install", "the installer ended with an error");
    LineEvent::Ended(Outcome { exit_code: Some(exit_code), ..outcome })
}

fn done() -> LineEvent {
    LineEvent::Ended(Outcome::plain(State::Done))
}

fn time(secs: i64) -> String {
    jiff::Timestamp::from_microsecond(now().plus_secs(secs).0).unwrap().to_string()
}

#[tokio::test]
async fn bad_input_gets_a_reason_and_a_hint() {
    let top = Top::new().await;
    top.with_editor().await;
    top.join("pc1", HostRole::Client, None).await;
    let with = |field: &str, value: Value| {
        let mut job = install(&["pc1"]);
        job[field] = value;
        job
    };
    let both = |at: i64, until: i64| {
        let mut job = install(&["pc1"]);
        let from = now();
        let time = |secs| jiff::Timestamp::from_microsecond(from.plus_secs(secs).0).unwrap().to_string();
        (job["at"], job["until"]) = (json!(time(at)), json!(time(until)));
        job
    };
    for (job, status, code) in [
        (install(&["pc1", "pc9", "nowhere"]), 404, "unknown_host"),
        (install(&["below:nowhere"]), 404, "unknown_host"),
        (install(&["below:pc1"]), 400, "bad_destination"),
        (install(&["all-relays"]), 400, "bad_destination"),
        (install(&["group:sales"]), 404, "unknown_group"),
        (install(&[]), 400, "no_destination"),
        (with("packages", json!([])), 400, "no_package"),
        (with("packages", json!(["office/nothing"])), 404, "unknown_package"),
        (with("packages", json!(["office/editor@9"])), 404, "unknown_package"),
        (with("packages", json!(["a/b/c"])), 400, "bad_package"),
        (with("packages", json!(["office/editor", "office/editor@1.0"])), 400, "bad_request"),
        (with("job_type", json!("remove")), 400, "bad_request"),
        (with("at", json!(time(-60))), 400, "past"),
        (with("until", json!(time(-60))), 400, "past"),
        (with("at", json!("tomorrow")), 400, "bad_time"),
        (with("at", json!(time(91 * 86_400))), 400, "until_before_at"),
        (both(600, 300), 400, "until_before_at"),
        (both(600, 600), 400, "until_before_at"),
    ] {
        top.refused("/admin/v1/jobs", &job, status, code).await;
        top.refused("/admin/v1/plan", &job, status, code).await;
    }
    let message = top.refused("/admin/v1/jobs", &install(&["pc1", "pc9", "x"]), 404, "unknown_host").await;
    assert_eq!(message, "there is no pc9, x");
    for body in [json!({}), json!("x"), Value::Null] {
        let (status, _) = top.post("/admin/v1/jobs", &body).await;
        assert_eq!(status.as_u16(), 400, "{body}");
    }
    let (status, _) = top.post("/admin/v1/jobs", &json!("x".repeat(2 << 20))).await;
    assert_eq!(status.as_u16(), 413);
    for path in ["/admin/v1/jobs/1/cancel", "/admin/v1/jobs/osaka:1/cancel"] {
        top.refused(path, &Value::Null, 404, "unknown_job").await;
    }
    top.refused("/admin/v1/jobs/x/cancel", &Value::Null, 400, "bad_job").await;
    // What was refused took no number.
    assert_eq!(top.done("/admin/v1/jobs", &install(&["pc1"])).await["number"], 1);
}

#[tokio::test]
async fn a_job_goes_from_scheduled_to_ended() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let mut job = install(&["below:osaka", "osaka"]);
    job["at"] = json!(time(3600));
    let made = top.done("/admin/v1/jobs", &job).await;
    assert_eq!(made, json!({"id": "server/1", "number": 1, "lines": 2}));
    let shown = top.get("/admin/v1/jobs/server:1").await;
    assert_eq!(
        (&shown["state"], &shown["type"], &shown["counts"]),
        (&json!("scheduled"), &json!("install"), &json!({"waiting": 2}))
    );
    assert_eq!(shown["to"], json!(["below:osaka", "osaka"]));
    let lines = shown["instructions"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| line["host"].as_str().unwrap()).collect::<Vec<_>>(), ["osaka", "pc1"]);
    assert_eq!(lines[1]["reason"]["code"], "scheduled");
    assert!(lines[1]["reason"]["text"].as_str().unwrap().starts_with("pc1: waiting at localhost since "));

    top.done("/admin/v1/jobs/1/cancel", &Value::Null).await;
    let made = top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    assert_eq!(made["lines"], 1);
    let shown = top.get("/admin/v1/jobs/2").await;
    assert_eq!((&shown["state"], &shown["at"]), (&json!("running"), &Value::Null));
    assert_eq!(shown["instructions"][0]["reason"]["code"], "relay_off");
    top.report(&pc1, 1, 2, 1, LineEvent::Delivered).await;
    assert_eq!(top.get("/admin/v1/jobs/2").await["instructions"][0]["progress_percent"], 100);
    top.report(&pc1, 2, 2, 1, LineEvent::Begun).await;
    assert_eq!(top.get("/admin/v1/jobs/2").await["instructions"][0]["reason"]["code"], "installing");
    top.report(&pc1, 3, 2, 1, done()).await;
    let shown = top.get("/admin/v1/jobs/2").await;
    assert_eq!((&shown["state"], &shown["counts"]), (&json!("ended"), &json!({"done": 1})));
    assert_eq!(
        (&shown["instructions"][0]["reason"], &shown["instructions"][0]["state"]),
        (&Value::Null, &json!("done"))
    );
    let listed = top.get("/admin/v1/jobs").await;
    assert_eq!(listed[0]["id"], "server/2");
    assert_eq!(listed[1]["counts"], json!({"cancelled": 2}));
}

#[tokio::test]
async fn a_watcher_is_answered_when_something_changes_and_not_before() {
    let top = Top::new().await;
    top.with_editor().await;
    let pc1 = top.join("pc1", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    let seen = top.get("/admin/v1/jobs/1").await["change"].as_u64().unwrap();
    let held = |seen: u64, secs: u64| format!("/admin/v1/jobs/1?seen={seen}&hold_secs={secs}");
    let began = std::time::Instant::now();
    assert_eq!(top.get(&held(seen, 1)).await["change"], seen);
    assert!(began.elapsed() >= Duration::from_secs(1));

    // Who is there is no change of a line, and is told all the same.
    let came = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        top.system.presence.came(pc1.id, 1, now());
    };
    let path = held(seen, 30);
    let (view, ()) = tokio::join!(top.get(&path), came);
    assert_eq!(view["instructions"][0]["reason"]["code"], "on_its_way");
    let seen = view["change"].as_u64().unwrap();
    let path = held(seen, 30);
    let (view, ()) = tokio::join!(top.get(&path), top.report(&pc1, 1, 1, 1, done()));
    assert_eq!(view["counts"], json!({"done": 1}));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn cancel_stops_what_has_not_begun() {
    let top = Top::new().await;
    top.with_editor().await;
    let pc1 = top.join("pc1", HostRole::Client, None).await;
    top.join("pc2", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc1", "pc2"])).await;
    top.report(&pc1, 1, 1, 1, LineEvent::Begun).await;
    let made = top.done("/admin/v1/jobs/1/cancel", &Value::Null).await;
    assert_eq!(made["lines"], 1);
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["state"], &shown["revision"]), (&json!("running"), &json!(2)));
    assert_eq!(shown["counts"], json!({"installing": 1, "cancelled": 1}));
    assert_eq!(top.done("/admin/v1/jobs/1/cancel", &Value::Null).await["lines"], 0);
    assert_eq!(top.get("/admin/v1/jobs/1").await["revision"], 2);
    // The host's own end outranks it.
    top.report(&pc1, 2, 1, 1, done()).await;
    assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"done": 1, "cancelled": 1}));
    top.refused("/admin/v1/jobs/1/retry", &json!({"failed": true}), 409, "cancelled").await;
    let again = top.done("/admin/v1/jobs/1/retry", &json!({"failed": false})).await;
    assert_eq!(again["lines"], 1);
    assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"done": 1, "waiting": 1}));
    let late = top.done("/admin/v1/jobs", &install(&["pc1"])).await["number"].clone();
    assert_eq!(late, 2);
    top.report(&pc1, 3, 2, 1, done()).await;
    top.refused("/admin/v1/jobs/2/cancel", &Value::Null, 409, "ended").await;
}

#[tokio::test]
async fn retry_asks_those_who_failed_again() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let mut hosts = Vec::new();
    for name in ["pc1", "pc2", "pc3"] {
        hosts.push(top.join(name, HostRole::Client, Some(&osaka)).await);
    }
    top.done("/admin/v1/jobs", &install(&["below:osaka"])).await;
    top.refused("/admin/v1/jobs/1/retry", &json!({"failed": true}), 409, "nothing_to_retry").await;
    top.report(&hosts[0], 1, 1, 1, done()).await;
    top.report(&hosts[1], 1, 1, 1, failed(7)).await;
    let (first, second) = (json!({"failed": true}), json!({"failed": true}));
    let path = "/admin/v1/jobs/1/retry";
    // Two at the same time: one finds what failed, the other nothing that did.
    let answers = tokio::join!(top.post(path, &first), top.post(path, &second));
    let mut statuses = [answers.0.0.as_u16(), answers.1.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let shown = top.get("/admin/v1/jobs/1").await;
    let attempts: Vec<u64> = shown["instructions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!((attempts, &shown["revision"]), (vec![1, 2, 1], &json!(2)));
    assert_eq!(shown["counts"], json!({"done": 1, "waiting": 2}));
    top.report(&hosts[1], 2, 1, 2, done()).await;
    assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"done": 2, "waiting": 1}));
}

/// Statements of making a job, of showing it and of everything else that speaks of its hosts.
async fn statements(hosts: u32) -> (u64, u64) {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let sendai = top.join("sendai", HostRole::Relay, None).await;
    let mut names = Many { relay: &osaka, count: hosts / 2 }.join(&top).await;
    names.extend(Many { relay: &sendai, count: hosts / 2 }.join(&top).await);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let db = &top.system.db;
    let (written, read) = (db.statements_written(), db.statements_read());
    let made = top.done("/admin/v1/jobs", &install(&names)).await;
    assert_eq!(made["lines"], hosts);
    let written = db.statements_written() - written;
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!(shown["instructions"].as_array().unwrap().len(), hosts as usize);
    for path in [
        "/admin/v1/jobs",
        "/admin/v1/hosts",
        "/admin/v1/tree",
        "/admin/v1/explain?job=1",
        "/admin/v1/relays/osaka",
    ] {
        top.get(path).await;
    }
    top.done("/admin/v1/plan", &install(&names)).await;
    (written, db.statements_read() - read)
}

#[tokio::test]
async fn ten_hosts_and_two_thousand_need_the_same_number_of_statements() {
    let (few, many) = (statements(10).await, statements(2000).await);
    assert_eq!(few, many);
    assert!(few.0 < 60 && few.1 < 80, "{few:?}");
}
