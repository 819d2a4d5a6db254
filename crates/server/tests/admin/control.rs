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
