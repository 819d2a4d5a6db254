//! Jobs are suspended, resumed, closed, made again.

use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{LineEvent, Outcome};
use packhorse_server::system::now;
use serde_json::{Value, json};

use super::support::{Many, Top, install};

fn done() -> LineEvent {
    LineEvent::Ended(Outcome::plain(State::Done))
}

fn time(secs: i64) -> String {
    jiff::Timestamp::from_microsecond(now().plus_secs(secs).0).unwrap().to_string()
}

fn path(job: u64, verb: &str) -> String {
    format!("/admin/v1/jobs/{job}/{verb}")
}

#[tokio::test]
async fn what_has_not_begun_waits_until_the_job_is_resumed() {
    let top = Top::new().await;
    top.with_editor().await;
    let pc1 = top.join("pc1", HostRole::Client, None).await;
    top.join("pc2", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc1", "pc2"])).await;
    top.report(&pc1, 1, 1, 1, LineEvent::Begun).await;
    assert_eq!(top.done(&path(1, "suspend"), &Value::Null).await["lines"], 1);
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["state"], &shown["revision"]), (&json!("suspended"), &json!(2)));
    let reason = |n: usize| shown["instructions"][n]["reason"].clone();
    assert_eq!((&reason(0)["code"], &reason(1)["code"]), (&json!("installing"), &json!("suspended")));
    assert_eq!(reason(1)["clear"], "packhorse job resume server/1");
    // Twice is once.
    assert_eq!(top.done(&path(1, "suspend"), &Value::Null).await["lines"], 0);
    assert_eq!(top.get("/admin/v1/jobs/1").await["revision"], 2);
    let message = top.refused(&path(1, "retry"), &json!({"failed": false}), 409, "suspended").await;
    assert_eq!(message, "job server/1 is suspended: what is tried again would wait");

    assert_eq!(top.done(&path(1, "resume"), &Value::Null).await["lines"], 1);
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["state"], &shown["revision"]), (&json!("running"), &json!(3)));
    assert_eq!(shown["instructions"][1]["reason"]["code"], "host_off");
    assert_eq!(top.done(&path(1, "resume"), &Value::Null).await["lines"], 0);

    // What is suspended can be cancelled, and then neither suspended nor resumed.
    top.done(&path(1, "suspend"), &Value::Null).await;
    assert_eq!(top.done(&path(1, "cancel"), &Value::Null).await["lines"], 1);
    assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"installing": 1, "cancelled": 1}));
    for verb in ["suspend", "resume", "close"] {
        top.refused(&path(1, verb), &Value::Null, 409, "cancelled").await;
    }
}

#[tokio::test]
async fn a_closed_job_takes_in_nobody_and_ends_with_those_it_has() {
    let top = Top::new().await;
    top.with_editor().await;
    let pc1 = top.join("pc1", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["all"])).await;
    top.join("pc2", HostRole::Client, None).await;
    assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"waiting": 2}));
    top.done(&path(1, "suspend"), &Value::Null).await;
    top.join("pc3", HostRole::Client, None).await;
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["counts"], &shown["closed"]), (&json!({"waiting": 3}), &Value::Null));
    top.done(&path(1, "close"), &Value::Null).await;
    top.done(&path(1, "resume"), &Value::Null).await;
    top.join("pc4", HostRole::Client, None).await;
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["counts"], &shown["state"]), (&json!({"waiting": 3}), &json!("running")));
    assert!(shown["closed"].is_string());
    assert_eq!(top.done(&path(1, "close"), &Value::Null).await["lines"], 0);
    top.report(&pc1, 1, 1, 1, done()).await;
    top.done(&path(1, "cancel"), &Value::Null).await;
    assert_eq!(top.get("/admin/v1/jobs/1").await["state"], "ended");
    // Nobody is named, and nobody will be.
    top.join("osaka", HostRole::Relay, None).await;
    top.done("/admin/v1/jobs", &install(&["below:osaka"])).await;
    assert_eq!(top.get("/admin/v1/jobs/2").await["state"], "running");
    top.done(&path(2, "close"), &Value::Null).await;
    assert_eq!(top.get("/admin/v1/jobs/2").await["state"], "ended");
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    top.refused(&path(3, "close"), &Value::Null, 409, "not_growing").await;
}

#[tokio::test]
async fn a_job_is_made_once_more() {
    let top = Top::new().await;
    let key = top.with_editor().await;
    top.join("pc1", HostRole::Client, None).await;
    let mut first = install(&["pc1", "all"]);
    (first["at"], first["until"]) = (json!(time(3600)), json!(time(7200)));
    first["allow_downgrade"] = json!(true);
    top.done("/admin/v1/jobs", &first).await;
    top.done(&path(1, "cancel"), &Value::Null).await;
    // A newer version is there meanwhile: again is the very package.
    top.add(&super::support::Package::new(top.folder.path(), "2.0", 2, &key)).await;
    let made = top.done(&path(1, "again"), &Value::Null).await;
    let again = top.get(&format!("/admin/v1/jobs/{}", made["number"])).await;
    assert_eq!(again["plan"][0]["what"], "hosts", "it keeps a plan of its own: {again}");
    assert_eq!((&made["number"], &made["lines"]), (&json!(2), &json!(1)));
    let (old, new) = (top.get("/admin/v1/jobs/1").await, top.get("/admin/v1/jobs/2").await);
    for field in ["to", "at", "until", "packages", "type"] {
        assert_eq!(old[field], new[field], "{field}");
    }
    assert_eq!(new["packages"], json!(["office/editor@1.0:1"]));
    assert_eq!((&old["state"], &new["state"]), (&json!("ended"), &json!("scheduled")));
    top.refused(&path(9, "again"), &Value::Null, 404, "unknown_job").await;
}

#[tokio::test]
async fn bad_input_gets_a_reason_and_a_hint() {
    let top = Top::new().await;
    top.with_editor().await;
    let pc1 = top.join("pc1", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    top.report(&pc1, 1, 1, 1, done()).await;
    for verb in ["suspend", "resume"] {
        top.refused(&path(1, verb), &Value::Null, 409, "ended").await;
    }
    for verb in ["suspend", "resume", "close", "again"] {
        top.refused(&path(7, verb), &Value::Null, 404, "unknown_job").await;
        top.refused(&format!("/admin/v1/jobs/osaka:1/{verb}"), &Value::Null, 404, "unknown_job").await;
        top.refused(&format!("/admin/v1/jobs/x/{verb}"), &Value::Null, 400, "bad_job").await;
    }
    assert_eq!(top.get("/admin/v1/jobs/1").await["revision"], 1);
}

/// Statements of suspending a job and letting it go on.
async fn statements(hosts: u32) -> u64 {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    Many { relay: &osaka, count: hosts }.join(&top).await;
    top.done("/admin/v1/jobs", &install(&["all"])).await;
    let before = top.system.db.statements_written();
    for verb in ["suspend", "resume", "close"] {
        top.done(&path(1, verb), &Value::Null).await;
    }
    top.system.db.statements_written() - before
}

#[tokio::test]
async fn ten_hosts_and_two_thousand_need_the_same_number_of_statements() {
    let (few, many) = (statements(10).await, statements(2000).await);
    assert_eq!(few, many);
}

#[tokio::test]
async fn limits_of_a_relay_are_set_changed_and_taken_away() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let limit = "/admin/v1/relays/osaka/limit";
    let made = top.done(limit, &json!({"down": "20Mbit", "store": "40GB"})).await;
    // It is off: it gets them when it is back.
    // Revisions follow the clock, so that a server restored from a backup is not behind its relays.
    let revision = |made: &Value| made["revision"].as_u64().unwrap();
    let first = revision(&made);
    assert!(first > 1_700_000_000, "{made}");
    assert_eq!(made, json!({"relay": "osaka", "revision": first, "changed": true, "applied": false}));
    let night = json!({"down": "1Mbit", "hours": ["22:00-06:00", "12:00-13:00"]});
    let second = revision(&top.done(limit, &night).await);
    assert!(second > first);
    assert_eq!(top.done(limit, &night).await["changed"], false);
    let third = revision(&top.done(limit, &json!({"down": "5Mbit", "hours": ["12:00-13:00"]})).await);
    assert!(third > second);
    let set = top.get("/admin/v1/relays/osaka").await["control"].clone();
    assert_eq!(
        set["limits"],
        json!([
            {"bits_per_sec": 20_000_000, "hours": null},
            {"bits_per_sec": 1_000_000, "hours": "22:00-06:00"},
            {"bits_per_sec": 5_000_000, "hours": "12:00-13:00"},
        ])
    );
    assert_eq!((&set["store_bytes"], &set["applied"]), (&json!(40_000_000_000u64), &json!(false)));
    let fourth = revision(&top.done(limit, &json!({"none": true, "down": "0"})).await);
    assert!(fourth > third);
    let set = top.get("/admin/v1/relays/osaka").await["control"].clone();
    assert_eq!((&set["limits"][0]["bits_per_sec"], &set["store_bytes"]), (&json!(0), &Value::Null));
    for (body, code) in [
        (json!({}), "bad_request"),
        (json!({"hours": ["22:00-06:00"]}), "bad_request"),
        (json!({"down": "fast"}), "bad_limit"),
        (json!({"down": "20Mbit", "hours": ["22-6"]}), "bad_limit"),
        (json!({"store": "40"}), "bad_limit"),
        (json!({"down": "1Mbit", "hours": vec!["22:00-06:00"; 40]}), "bad_request"),
    ] {
        top.refused(limit, &body, 400, code).await;
    }
    let hours: Vec<String> = (0..32).map(|n| format!("00:{n:02}-01:00")).collect();
    top.refused(limit, &json!({"down": "1Mbit", "hours": hours}), 400, "limit").await;
    for name in ["pc1", "nowhere"] {
        let path = format!("/admin/v1/relays/{name}/suspend");
        top.refused(&path, &Value::Null, 404, "unknown_relay").await;
    }
    assert_eq!(top.get("/admin/v1/relays/osaka").await["control"]["revision"], fourth);
}

#[tokio::test]
async fn a_suspended_relay_is_why_its_lines_wait() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let namba = top.join("namba", HostRole::Relay, Some(&osaka)).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&namba)).await;
    for (host, run) in [(&osaka, 1), (&namba, 2), (&pc1, 3)] {
        top.system.presence.came(host.id, run, now());
    }
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    let reason = async || top.get("/admin/v1/jobs/1").await["instructions"][0]["reason"].clone();
    assert_eq!(reason().await["code"], "relay_fetching");
    let made = top.done("/admin/v1/relays/osaka/suspend", &Value::Null).await;
    assert_eq!((&made["changed"], &made["applied"]), (&json!(true), &json!(false)));
    let waits = reason().await;
    assert_eq!((&waits["code"], &waits["system"]), (&json!("relay_suspended"), &json!("osaka")));
    assert_eq!(waits["clear"], "packhorse relay resume osaka");
    assert_eq!(top.done("/admin/v1/relays/osaka/suspend", &Value::Null).await["changed"], false);
    assert!(top.get("/admin/v1/relays/osaka").await["control"]["suspended_since"].is_string());
    top.done("/admin/v1/relays/osaka/resume", &Value::Null).await;
    top.done("/admin/v1/relays/osaka/limit", &json!({"down": "0"})).await;
    let waits = reason().await;
    assert_eq!((&waits["code"], &waits["next_try"]), (&json!("line_closed"), &Value::Null));
    assert_eq!(top.get("/admin/v1/relays/osaka").await["control"]["suspended_since"], Value::Null);
}
