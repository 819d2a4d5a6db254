//! What happened, as it is told afterwards.

use axum::http::StatusCode;
use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::reason::{Code, NextTry, Reason};
use packhorse_domain::report::{Body, CopyReport, FailClass, LineEvent, Outcome, Traffic};
use packhorse_server::db::history::{Fold, FoldedAway};
use packhorse_server::system::now;
use serde_json::{Value, json};

use crate::support::{Top, install};

fn words(events: &Value) -> Vec<String> {
    let word = |event: &Value| {
        let at = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", event["attempt"].as_u64().unwrap_or(0), at("system"), at("event"))
    };
    events.as_array().unwrap().iter().map(word).collect()
}

#[tokio::test]
async fn a_line_keeps_its_attempts_with_times_choices_and_what_was_said() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc = top.join("pc17", HostRole::Client, Some(&osaka)).await;
    top.done("/admin/v1/jobs", &install(&["pc17"])).await;
    let package = top.package().await;
    let copy = CopyReport {
        package,
        keep_until: Some(now().plus_days(9)),
        size_bytes: 9,
        traffic: Traffic::default(),
    };
    top.say(&osaka, 1, Body::Copy(copy)).await;
    let lock = Reason::new(Code::Lock, "pc17", now(), NextTry::WhenCleared, "wait", "apt runs");
    let failed = Outcome {
        exit_code: Some(3),
        tail: "no such user".to_owned(),
        ..Outcome::failed(FailClass::Installer, "install", "the installer said no")
    };
    for (no, event) in
        [LineEvent::Waits(lock), LineEvent::Delivered, LineEvent::Begun, LineEvent::Ended(failed)]
            .into_iter()
            .enumerate()
    {
        top.report(&pc, no as u64 + 1, 1, 1, event).await;
    }
    top.done("/admin/v1/jobs/1/retry", &json!({"failed": true})).await;
    let mut rejected = Outcome::with(State::Rejected, "choose", "its user does not want it");
    rejected.by = Some("mia".to_owned());
    top.report(&pc, 5, 1, 2, LineEvent::Ended(rejected)).await;

    let line = top.get("/admin/v1/jobs/1/hosts/pc17").await;
    assert_eq!(
        words(&line["events"]),
        [
            "1 localhost ordered",
            "0 osaka at_relay",
            "1 pc17 waiting",
            "1 pc17 delivered",
            "1 pc17 installing",
            "1 pc17 failed",
            "2 localhost ordered",
            "2 pc17 rejected",
        ]
    );
    let events = line["events"].as_array().unwrap();
    let failed = &events[5];
    assert_eq!((failed["exit_code"].as_i64(), failed["tail"].as_str()), (Some(3), Some("no such user")));
    assert_eq!(events[2]["reason"], "lock");
    assert_eq!(
        (events[7]["by"].as_str(), events[7]["package"].as_str()),
        (Some("mia"), Some("office/editor@1.0:1"))
    );
    assert!(events[5]["received"].is_string() && events[0]["received"].is_null());
    let host = top.get("/admin/v1/hosts/pc17").await;
    assert_eq!(words(&host["events"])[0], "0 localhost joined");
    assert_eq!(words(&host["events"]).last().unwrap(), "2 pc17 rejected");
    let relay = top.get("/admin/v1/hosts/osaka").await;
    assert_eq!(words(&relay["events"]), ["0 localhost joined", "0 osaka keeps"]);
    let (status, problem) = top.ask(axum::http::Method::GET, "/admin/v1/jobs/1/hosts/osaka", "").await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown_host")));
}

#[tokio::test]
async fn a_verdict_stays_in_the_past_when_it_is_tried_again() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let pc = top.join("pc17", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc17"])).await;
    top.done("/admin/v1/jobs/1/cancel", &Value::Null).await;
    top.done("/admin/v1/jobs/1/retry", &json!({"failed": false})).await;
    top.report(&pc, 1, 1, 2, LineEvent::Ended(Outcome::plain(State::Done))).await;
    let line = top.get("/admin/v1/jobs/1/hosts/pc17").await;
    assert_eq!(
        words(&line["events"]),
        ["1 localhost ordered", "1 localhost cancelled", "2 localhost ordered", "2 pc17 done"]
    );
}

#[tokio::test]
async fn old_results_become_numbers_and_what_a_host_has_is_still_known() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let (a, b) = (top.join("a", HostRole::Client, None).await, top.join("b", HostRole::Client, None).await);
    for job in [1, 2] {
        top.done("/admin/v1/jobs", &install(&["a", "b"])).await;
        top.report(&a, job, job, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
        let failed = Outcome::failed(FailClass::Disk, "fetch", "full");
        top.report(&b, job, job, 1, LineEvent::Ended(failed)).await;
    }
    let fold = |days| Fold { before: now().plus_days(days) };
    assert_eq!(top.system.db.write(fold(-1)).await.unwrap(), FoldedAway::default());
    let folded = top.system.db.write(fold(200)).await.unwrap();
    assert_eq!((folded.lines, folded.reports), (3, 4));
    assert_eq!(top.system.db.write(fold(200)).await.unwrap(), FoldedAway::default());
    for job in ["1", "2"] {
        let view = top.get(&format!("/admin/v1/jobs/{job}")).await;
        assert_eq!((&view["counts"]["done"], &view["counts"]["failed"]), (&json!(1), &json!(1)), "{view}");
        assert_eq!(view["state"], "ended");
    }
    let plan = top.done("/admin/v1/plan", &install(&["a", "b"])).await;
    assert_eq!((plan["within"].as_u64(), plan["hosts"].as_u64()), (Some(1), Some(2)), "{plan}");
}
