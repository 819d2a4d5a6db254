//! Plans as they are written, and kept beside what became of them.

use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{Body, CopyReport, LineEvent, Outcome, Traffic};
use packhorse_server::db::rates::{Way, one};
use packhorse_server::db::{Command, DbError};
use packhorse_server::system::now;
use serde_json::{Value, json};

use crate::support::{Many, Package, Top, install};

/// What a line carried is measured: bytes a second.
struct Measured(i64, Way, u64);

impl Command for Measured {
    type Answer = ();

    fn apply(self, tx: &rusqlite::Connection) -> Result<(), DbError> {
        one(tx, self.0, self.1, 0, now().plus_secs(-9))?;
        one(tx, self.0, self.1, self.2 * 4, now().plus_secs(-5))
    }
}

fn job(job_type: &str, to: &[&str], terms: Value) -> Value {
    json!({
        "job_type": job_type, "packages": ["office/editor"], "to": to, "at": null, "until": null,
        "allow_downgrade": false, "terms": terms,
    })
}

async fn text(top: &Top, new: &Value) -> Vec<String> {
    let plan = top.done("/admin/v1/plan", new).await;
    plan["text"].as_str().unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// osaka with 180 hosts, sendai with 132, two hosts of the server's own.
async fn fleet() -> Top {
    let top = Top::new().await;
    let key = top.with_editor().await;
    top.add(&Package::new(top.folder.path(), "2.0", 2, &key)).await;
    for (name, count) in [("osaka", 180), ("sendai", 132)] {
        let relay = top.join(name, HostRole::Relay, None).await;
        Many { relay: &relay, count }.join(&top).await;
    }
    for name in ["pc1", "pc2"] {
        top.join(name, HostRole::Client, None).await;
    }
    top
}

async fn row(top: &Top, name: &str) -> i64 {
    let name = name.to_owned();
    let host = top.system.db.read(move |db| packhorse_server::db::hosts::by_name(db, &name)).await;
    host.unwrap().unwrap().row
}

#[tokio::test]
async fn an_install_says_what_goes_where_and_its_end_only_from_what_was_measured() {
    let top = fleet().await;
    let new = install(&["below:osaka", "below:sendai"]);
    assert_eq!(
        text(&top, &new).await,
        [
            "install office/editor@2.0:1 to below:osaka below:sendai  312 hosts: 312 in, 0 out",
            "  when  now; no window: any time                      closes after 90 days; late joiners are taken in",
            "  line  localhost → osaka  640 kB                     osaka → 180 hosts  640 kB each at most",
            "        localhost → sendai  640 kB                    sendai → 132 hosts  640 kB each at most",
            "  room  not told yet by osaka, sendai",
            "  end   unknown, nothing measured yet: localhost → osaka, osaka → hosts, localhost → sendai, …",
            "  hint  off now: osaka, sendai; what is behind begins when they are back",
            "  hint  312 of 312 off now: they begin when they are back",
        ]
    );
    let (osaka, sendai) = (row(&top, "osaka").await, row(&top, "sendai").await);
    for (relay, way, rate) in [
        (osaka, Way::In, 6_250_000),
        (osaka, Way::Out, 125_000_000),
        (sendai, Way::In, 100_000),
        (sendai, Way::Out, 125_000_000),
    ] {
        top.system.db.write(Measured(relay, way, rate)).await.unwrap();
    }
    let text = text(&top, &new).await;
    assert!(text[2].contains("localhost → osaka  640 kB (50 Mbit/s: 1 s)"), "{text:#?}");
    assert!(text[3].contains("localhost → sendai  640 kB (800 kbit/s: 7 s)"), "{text:#?}");
    assert!(
        text[5].contains("delivered by") && text[5].ends_with("(sendai last), by measured rates"),
        "{text:#?}"
    );
    let plan = top.done("/admin/v1/plan", &new).await;
    assert!(plan["ends"].is_string());
}

#[tokio::test]
async fn who_has_it_or_something_newer_is_out() {
    let top = fleet().await;
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    let pc1 =
        top.system.db.read(|db| packhorse_server::db::hosts::by_name(db, "pc1")).await.unwrap().unwrap();
    top.report(&pc1, 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
    let mut older = install(&["pc1", "pc2"]);
    older["packages"] = json!(["office/editor@1.0"]);
    let text_of = text(&top, &older).await;
    assert_eq!(text_of[0], "install office/editor@1.0:1 to pc1 pc2                2 hosts: 1 in, 1 out");
    assert_eq!(text_of[1], "  out   1 have a newer version (--allow-downgrade)");
    older["allow_downgrade"] = json!(true);
    assert!(text(&top, &older).await[0].ends_with("2 hosts: 2 in, 0 out"));
    let same = text(&top, &install(&["pc1", "pc2"])).await;
    assert_eq!(same[1], "  out   1 have it already");
    let all = text(&top, &install(&["all"])).await;
    assert_eq!(
        all.last().unwrap(),
        "  hint  not needed on all 314? `packhorse offer` sends only what is chosen"
    );
}

#[tokio::test]
async fn a_transfer_stops_at_relays_and_an_install_before_it_is_told() {
    let top = fleet().await;
    let osaka =
        top.system.db.read(|db| packhorse_server::db::hosts::by_name(db, "osaka")).await.unwrap().unwrap();
    let labels = top.system.db.read(packhorse_server::db::views::labels).await.unwrap();
    let (package, _) = labels.into_iter().find(|(_, label)| label.version == "2.0").unwrap();
    let copy = CopyReport {
        package,
        keep_until: Some(now().plus_days(9)),
        size_bytes: 9,
        traffic: Traffic::default(),
    };
    top.say(&osaka, 1, Body::Copy(copy)).await;
    let new = job("transfer", &["osaka", "sendai"], json!({"keep": "30d"}));
    let told = text(&top, &new).await;
    assert_eq!(told[0], "transfer office/editor@2.0:1 to osaka sendai          2 relays: 1 in, 1 out");
    assert_eq!(told[1], "  out   1 keep it already: only the date moves");
    assert_eq!(told[3], "  keep  at relays 30 days from arrival");
    assert_eq!(told[4], "  line  localhost → sendai  640 kB");
    assert!(told.iter().any(|row| row.contains("it stops at the relays")), "{told:#?}");
    let mut later = new.clone();
    later["at"] = json!(packhorse_server::authority::timestamp(now().plus_secs(7200)).to_string());
    top.done("/admin/v1/jobs", &later).await;
    let told = text(&top, &install(&["below:sendai"])).await;
    assert!(told.iter().any(|row| row.contains("due before its transfer: job server/1 begins")), "{told:#?}");
}

#[tokio::test]
async fn plan_and_fact_stand_side_by_side() {
    let top = fleet().await;
    top.done("/admin/v1/jobs", &install(&["pc1", "below:osaka"])).await;
    let [pc1, osaka] = [row(&top, "pc1").await, row(&top, "osaka").await];
    let hosts = top.system.db.read(packhorse_server::db::hosts::all).await.unwrap();
    let host = |row| hosts.iter().find(|host| host.row == row).unwrap();
    top.report(host(pc1), 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
    let traffic = Traffic { received_bytes: 700_000, ..Traffic::default() };
    top.say(host(osaka), 1, Body::Traffic(traffic)).await;
    let job = top.get("/admin/v1/jobs/1").await;
    let row = |what: &str, planned: &str, fact: &str| json!({"what": what, "planned": planned, "fact": fact});
    assert_eq!(
        job["plan"],
        json!([
            row("hosts", "181: 181 in, 0 out", "181 lines: 1 ended well, 0 not well, 180 open"),
            row("end", "unknown", "180 lines open"),
            row("localhost → osaka", "640 kB", "700 kB since, all jobs together"),
        ])
    );
}

#[tokio::test]
async fn a_staged_install_is_two_plans_and_carries_nothing_over_the_relays_lines() {
    let top = fleet().await;
    let later =
        |hours: i64| packhorse_server::authority::timestamp(now().plus_secs(hours * 3600)).to_string();
    let mut new = install(&["below:osaka"]);
    new["at"] = json!(later(10));
    new["terms"] = json!({ "stage_at": later(2) });
    let plan = top.done("/admin/v1/plan", &new).await;
    let (stage, install) = (&plan["stage"]["lines"], &plan["lines"]);
    assert_eq!((&stage[0]["to"], &stage[0]["bytes"]), (&json!("osaka"), &json!(640_000)), "{plan}");
    assert_eq!((&install[0]["to"], &install[0]["bytes"]), (&json!("osaka"), &json!(0)), "{plan}");
    assert!(install[0]["note"].as_str().unwrap().starts_with("brought by the transfer from"), "{plan}");
    let lines = text(&top, &new).await;
    assert!(lines[0].starts_with("transfer office/editor@2.0:1 for below:osaka"), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("install office/editor@2.0:1 to below:osaka")),
        "{lines:#?}"
    );
    assert!(lines.contains(&"  room  what the transfer needs".to_owned()), "{lines:#?}");
    // Due before its own transfer: said so, and the bytes are its own.
    new["at"] = json!(later(1));
    let early = top.done("/admin/v1/plan", &new).await;
    assert_eq!(early["lines"][0]["bytes"], 640_000, "{early}");
    let lines = text(&top, &new).await;
    assert!(lines.iter().any(|line| line.contains("due before its transfer: its own begins")), "{lines:#?}");
}
