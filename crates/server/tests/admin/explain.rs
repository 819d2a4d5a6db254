//! What `explain` answers, in each of its forms, word for word but for the times.

use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::reason::{Code, NextTry, Reason};
use packhorse_domain::report::{Body, CopyReport, FailClass, LineEvent, Outcome, Traffic};
use packhorse_server::db::hosts::HostRecord;
use packhorse_server::system::now;
use serde_json::{Value, json};

use crate::support::{Top, install};

/// Times of day are all the same here.
fn calm(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_time = |at: usize| {
        let digit = |n: usize| bytes.get(at + n).is_some_and(u8::is_ascii_digit);
        digit(0) && digit(1) && bytes.get(at + 2) == Some(&b':') && digit(3) && digit(4)
    };
    let (mut calm, mut at) = (String::new(), 0);
    while at < text.len() {
        let char = text[at..].chars().next().unwrap();
        let (word, step) =
            if is_time(at) { ("09:12", 5) } else { (&text[at..at + char.len_utf8()], char.len_utf8()) };
        calm.push_str(word);
        at += step;
    }
    calm
}

/// As the command line lays it out.
async fn told(top: &Top, about: &str) -> Vec<String> {
    let answer = top.get(&format!("/admin/v1/explain?{about}")).await;
    let mut lines = vec![answer["summary"].as_str().unwrap().to_owned()];
    for entry in answer["entries"].as_array().unwrap() {
        lines.push(format!("  {}", entry["text"].as_str().unwrap()));
        if let Some(clear) = entry["clear"].as_str() {
            lines.push(format!("    {clear}"));
        }
    }
    lines.iter().map(|line| calm(line)).collect()
}

async fn fleet(top: &Top) -> [HostRecord; 5] {
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let [a, b, c, d] = ["pc1", "pc2", "pc3", "pc4"];
    [
        top.join(a, HostRole::Client, Some(&osaka)).await,
        top.join(b, HostRole::Client, Some(&osaka)).await,
        top.join(c, HostRole::Client, Some(&osaka)).await,
        top.join(d, HostRole::Client, None).await,
        osaka,
    ]
}

#[tokio::test]
async fn a_job_by_reasons_and_each_machine_by_itself() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let [pc1, pc2, _pc3, pc4, osaka] = fleet(&top).await;
    for host in [&osaka, &pc1, &pc2, &pc4] {
        top.system.presence.came(host.id, 1, now());
    }
    top.done("/admin/v1/jobs", &install(&["pc1", "pc2", "pc3", "pc4"])).await;
    let package = top.package().await;
    let traffic = Traffic { used_bytes: 9_000_000, free_bytes: 4_100_000_000, ..Traffic::default() };
    let until = now().plus_days(9);
    top.say(&osaka, 1, Body::Copy(CopyReport { package, keep_until: Some(until), size_bytes: 9, traffic }))
        .await;
    top.say(&osaka, 2, Body::Traffic(traffic)).await;
    let failed = Outcome::failed(FailClass::Installer, "install", "the installer said no");
    top.report(&pc1, 1, 1, 1, LineEvent::Ended(Outcome { exit_code: Some(1603), ..failed })).await;
    let lock = Reason::new(
        Code::Lock,
        "pc2",
        now(),
        NextTry::At(now().plus_secs(60)),
        "end apt",
        "apt holds the package database",
    );
    top.report(&pc2, 1, 1, 1, LineEvent::Waits(lock)).await;
    top.report(&pc4, 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
    assert_eq!(
        told(&top, "job=1").await,
        [
            "1 of 4 done · 1 locked · 1 off · 1 failed: exit 1603 (packhorse job retry 1 --failed)",
            "  pc4: done",
            "  pc2: waiting since 09:12: apt holds the package database. Tried again at 09:12.",
            "    end apt",
            "  pc3: waiting at osaka since 09:12: pc3 is off. It goes on as soon as that is cleared.",
            "    start pc3; it asks by itself",
            "  pc1: failed: the installer said no",
            "    packhorse job retry 1 --failed",
        ]
    );
    assert_eq!(
        told(&top, "job=1&host=pc2").await,
        [
            "pc2: waiting since 09:12: apt holds the package database. Tried again at 09:12.",
            "  pc2: waiting since 09:12: apt holds the package database. Tried again at 09:12. (office/editor@1.0:1)",
            "    end apt",
        ]
    );
    assert_eq!(
        told(&top, "host=pc3").await,
        [
            "pc3: was never heard, below osaka; 1 of 1 line not ended",
            "  pc3: waiting at osaka since 09:12: pc3 is off. It goes on as soon as that is cleared. (job 1, office/editor@1.0:1)",
            "    start pc3; it asks by itself",
        ]
    );
    let day = packhorse_server::authority::timestamp(until).to_zoned(jiff::tz::TimeZone::system());
    let day = day.strftime(if day.year() == jiff::Zoned::now().year() { "%-d %b" } else { "%-d %b %Y" });
    let kept = format!("  office/editor@1.0:1: kept until {day}, 2 open lines below");
    for about in ["relay=osaka", "relay=osaka&package=office/editor"] {
        let told = told(&top, about).await;
        assert!(
            told[0].starts_with("osaka: is there") && told[0].contains("9.0 MB used, 4.1 GB free"),
            "{told:?}"
        );
        assert_eq!(told[1], kept);
    }
}

#[tokio::test]
async fn a_transfer_by_its_relays() {
    let top = Top::new().await;
    let _key = top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    top.join("sendai", HostRole::Relay, None).await;
    top.system.presence.came(osaka.id, 1, now());
    let transfer: Value = json!({
        "job_type": "transfer", "packages": ["office/editor"], "to": ["osaka", "sendai"], "at": null, "until": null,
        "allow_downgrade": false,
    });
    top.done("/admin/v1/jobs", &transfer).await;
    top.report(&osaka, 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Transferred))).await;
    assert_eq!(
        told(&top, "job=1").await,
        [
            "1 of 2 transferred · 1 behind a relay that is off",
            "  osaka: transferred",
            "  sendai: waiting since 09:12: relay system sendai is off. It goes on as soon as that is cleared.",
            "    start relay system sendai, or its line to its higher system",
        ]
    );
}
