//! Hosts, relays, plans and explanations.

use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{FailClass, LineEvent, Outcome};
use packhorse_server::db::{Command, DbError};
use packhorse_server::system::now;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{Presence, Progress};
use serde_json::{Value, json};

use super::support::{Top, install};

/// Runs SQL: what relays report is tested elsewhere.
struct Sql(&'static str);

impl Command for Sql {
    type Answer = ();

    fn apply(self, tx: &rusqlite::Connection) -> Result<(), DbError> {
        Ok(tx.execute_batch(self.0)?)
    }
}

const OSAKA_KEEPS_IT: &str = "
    INSERT INTO relay_copies SELECT h.row, p.id, 4102444799000000, 700000 FROM hosts h, packages p WHERE h.name = 'osaka';
    INSERT INTO traffic SELECT row, 700100, 1400200, 700000, 5000000000 FROM hosts WHERE name = 'osaka';";

async fn fleet(top: &Top) {
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let namba = top.join("namba", HostRole::Relay, Some(&osaka)).await;
    for name in ["pc1", "pc2"] {
        top.join(name, HostRole::Client, Some(&osaka)).await;
    }
    let pc3 = top.join("pc3", HostRole::Client, Some(&namba)).await;
    top.join("pc4", HostRole::Client, None).await;
    top.system.presence.came(osaka.id, 1, now());
    let there = |host: &packhorse_server::db::hosts::HostRecord, online| Presence {
        host: Fixed(host.id.0),
        online,
        last_seen: now().0,
        twins_since: None,
    };
    top.system.presence.told(&[there(&pc3, true), there(&namba, false)], &osaka.id, now());
}

#[tokio::test]
async fn a_host_behind_a_relay_that_is_off_is_off() {
    let top = Top::new().await;
    fleet(&top).await;
    let hosts = top.get("/admin/v1/hosts").await;
    let seen: Vec<(&str, &str, bool)> = hosts
        .as_array()
        .unwrap()
        .iter()
        .map(|host| {
            (
                host["name"].as_str().unwrap(),
                host["higher"].as_str().unwrap(),
                host["online"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("namba", "osaka", false),
            ("osaka", "localhost", true),
            ("pc1", "osaka", false),
            ("pc2", "osaka", false),
            ("pc3", "namba", false),
            ("pc4", "localhost", false),
        ]
    );
    assert!(hosts[4]["last_seen"].is_string() && hosts[5]["last_seen"].is_null());
    let tree = top.get("/admin/v1/tree").await;
    let names = |node: &Value| -> Vec<String> {
        node["lower"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lower| lower["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((&tree["role"], names(&tree)), (&json!("server"), vec!["osaka".into(), "pc4".into()]));
    assert_eq!(names(&tree["lower"][0]), ["namba", "pc1", "pc2"]);
    let shown = top.get("/admin/v1/hosts/pc3").await;
    assert_eq!(shown["route"], json!(["localhost", "osaka", "namba"]));
    let (status, problem) = top.ask(axum::http::Method::GET, "/admin/v1/hosts/pc9", "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("unknown_host")));
}

#[tokio::test]
async fn a_plan_says_what_goes_over_each_line() {
    let top = Top::new().await;
    top.with_editor().await;
    fleet(&top).await;
    let plan = top.done("/admin/v1/plan", &install(&["all"])).await;
    assert_eq!((&plan["hosts"], &plan["within"], &plan["out"]), (&json!(4), &json!(4), &json!([])));
    let line = |from: &str, to: &str, bytes: u64, note: &str| json!({"from": from, "to": to, "bytes": bytes, "note": note});
    assert_eq!(
        plan["lines"],
        json!([
            line("localhost", "osaka", 640_000, ""),
            line("osaka", "2 hosts", 640_000, "each at most"),
            line("osaka", "namba", 640_000, ""),
            line("namba", "1 host", 640_000, "each at most"),
            line("localhost", "1 host", 640_000, "each at most"),
        ])
    );
    top.system.db.write(Sql(OSAKA_KEEPS_IT)).await.unwrap();
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    let pc1 = top.system.db.read(|connection| packhorse_server::db::hosts::by_name(connection, "pc1")).await;
    top.report(&pc1.unwrap().unwrap(), 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
    let plan = top.done("/admin/v1/plan", &install(&["below:osaka"])).await;
    assert_eq!((&plan["hosts"], &plan["within"]), (&json!(3), &json!(2)));
    assert_eq!(plan["out"], json!([{"hosts": 1, "why": "have it already"}]));
    assert_eq!(plan["lines"][0]["bytes"], 0);
    assert_eq!(
        plan["text"].as_str().unwrap(),
        "install office/editor@1.0:1 to below:osaka            3 hosts: 2 in, 1 out
  out   1 have it already
  when  now; no window: any time                      closes after 90 days; late joiners are taken in
  line  localhost → osaka  0 B (kept until 31 Dec 2099)  osaka → 1 host  640 kB each at most
        osaka → namba  640 kB                         namba → 1 host  640 kB each at most
  room  not told yet by namba
  end   unknown, nothing measured yet: osaka → hosts, osaka → namba, namba → hosts
  hint  off now: namba; what is behind begins when they are back
  hint  2 of 2 off now: they begin when they are back
"
    );
}

#[tokio::test]
async fn relays_show_what_they_keep_and_who_needs_it() {
    let top = Top::new().await;
    top.with_editor().await;
    fleet(&top).await;
    top.system.db.write(Sql(OSAKA_KEEPS_IT)).await.unwrap();
    top.done("/admin/v1/jobs", &install(&["below:osaka"])).await;
    let counts = &top.get("/admin/v1/jobs/1").await["counts"];
    assert_eq!(
        *counts,
        json!({"at_relay": 2, "waiting": 1}),
        "what calls osaka finds it there; pc3 calls namba"
    );
    let shown = top.get("/admin/v1/relays/osaka").await;
    assert_eq!(
        shown,
        json!({
            "name": "osaka",
            "packages": [{"package": "office/editor@1.0:1", "keep_until": "2099-12-31T23:59:59Z",
                          "size_bytes": 700_000, "needed_by": 3}],
            "received_bytes": 700_100, "sent_bytes": 1_400_200, "used_bytes": 700_000,
            "free_bytes": 5_000_000_000u64,
            "control": {"suspended_since": null, "store_bytes": null, "limits": [], "zone": "", "revision": 0,
                        "applied": false},
        })
    );
    let listed = top.get("/admin/v1/relays").await;
    assert_eq!(
        (&listed[0]["name"], &listed[1]["packages"], &listed[1]["online"]),
        (&json!("namba"), &json!(1), &json!(true))
    );
    let told = top.get("/admin/v1/explain?relay=namba").await;
    assert_eq!(told["entries"][0]["text"], "office/editor@1.0:1: comes when it is back; 1 open line below");
    let told = top.get("/admin/v1/explain?relay=osaka&package=office/editor").await;
    assert_eq!(told["entries"][0]["text"], "office/editor@1.0:1: kept until 31 Dec 2099, 3 open lines below");
    top.system
        .db
        .write(Sql("INSERT INTO alarms VALUES (1, 'osaka', 5, 'not_below', 'two reports')"))
        .await
        .unwrap();
    assert_eq!(top.get("/admin/v1/alarms").await[0]["code"], "not_below");
}

#[tokio::test]
async fn explanations_say_who_has_it_and_why_not() {
    let top = Top::new().await;
    top.with_editor().await;
    fleet(&top).await;
    top.system.db.write(Sql(OSAKA_KEEPS_IT)).await.unwrap();
    top.done("/admin/v1/jobs", &install(&["all"])).await;
    let host = |name: &'static str| {
        let read =
            top.system.db.read(move |connection| packhorse_server::db::hosts::by_name(connection, name));
        async move { read.await.unwrap().unwrap() }
    };
    let (pc1, pc2) = (host("pc1").await, host("pc2").await);
    top.report(&pc1, 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
    let outcome = Outcome::failed(FailClass::Installer, "install", "the installer ended with an error");
    top.report(&pc2, 1, 1, 1, LineEvent::Ended(Outcome { exit_code: Some(1603), ..outcome })).await;
    let told = top.get("/admin/v1/explain?job=1").await;
    assert_eq!(
        told["summary"],
        "1 of 4 done · 1 failed: exit 1603 (packhorse job retry 1 --failed) · 1 behind a relay that is off · 1 off"
    );
    let failed = &told["entries"][1];
    assert_eq!(failed["clear"], "packhorse job retry 1 --failed");
    assert_eq!(failed["text"], "pc2: failed: the installer ended with an error");
    let told = top.get("/admin/v1/explain?job=1&host=pc3").await;
    let text = told["summary"].as_str().unwrap();
    assert!(
        text.starts_with("pc3: waiting at namba since ") && text.contains(": relay system namba is off. "),
        "{text}"
    );
    assert!(told["entries"][0]["clear"].as_str().unwrap().starts_with("start relay system namba"));
    let told = top.get("/admin/v1/explain?host=pc2").await;
    assert!(told["summary"].as_str().unwrap().ends_with("0 of 1 line not ended"), "{told}");
    let (status, _) = top.ask(axum::http::Method::GET, "/admin/v1/explain", "").await;
    assert_eq!(status.as_u16(), 400);

    // What is on the way shows how far it has come.
    let package = top.system.store.list().unwrap()[0].id;
    let (pc4, step) = (host("pc4").await, |host, percent| Progress {
        host: Fixed(host),
        package: Fixed(package.0),
        percent,
    });
    top.system.presence.came(pc4.id, 1, now());
    top.system.presence.progressed(&[step(pc4.id.0, 41)]);
    let shown = top.get("/admin/v1/jobs/1").await;
    let line = &shown["instructions"][3];
    assert_eq!((&line["reason"]["code"], &line["progress_percent"]), (&json!("host_fetching"), &json!(41)));
}
