use std::fs;

use packhorse_domain::job::Intent;
use packhorse_wire::local::{LocalRequest, LocalResponse};
use packhorse_wire::messages::{EventMsg, Order, ReceiptMsg};
use packhorse_wire::signed::KeySet;

use super::system::{System, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_installed_checked_reported_and_receipted() {
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    let package = system.package("1.0", &[("bin/editor", b"one"), ("readme", b"hello")]);
    system.order(&system.job(1, &package));
    let end = system.higher.end(1).await;
    assert_eq!((end.end.as_str(), end.step.as_str()), ("done", "check"), "{end:?}");
    assert_eq!(system.installed("bin/editor").as_deref(), Some("one"));
    let events = system.higher.known.lock().unwrap().events(1);
    assert!(matches!(events[..], [EventMsg::Delivered, EventMsg::Begun, EventMsg::Ended(_)]), "{events:?}");
    until(async || system.left_over().is_empty()).await;

    let status = agent.status().await;
    assert!(status.online && status.trouble.is_none() && status.lines.is_empty());
    assert_eq!(status.installed, ["main/editor@1.0:1"]);
    // What the host says of itself comes first.
    assert_eq!(status.unreceipted, 4);
    let incarnation = system.higher.known.lock().unwrap().reports[0].incarnation;
    let mine = ReceiptMsg { origin: system.me.into(), incarnation, upto: 4 };
    let others = ReceiptMsg { origin: system.relay.into(), incarnation, upto: 9 };
    system.higher.order(&Order::Receipts(vec![others, mine]));
    let LocalResponse::Synced { error, .. } = agent.ask(LocalRequest::Sync).await else { panic!() };
    assert_eq!(error, None);
    until(async || agent.status().await.unreceipted == 0).await;
    agent.stop().await;
    assert!(!system.data().join("user.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_version_takes_what_is_there_and_keeps_what_is_not_ours() {
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    let big: Vec<u8> = (0..600_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let one = system.package("1.0", &[("big", &big), ("gone", b"old"), ("sub/old", b"old")]);
    system.order(&system.job(1, &one));
    assert_eq!(system.higher.end(1).await.end, "done");
    let to = system.root_folder().join("opt/editor");
    fs::write(to.join("settings"), "mine").unwrap();
    fs::write(to.join("sub/mine"), "mine too").unwrap();
    fs::write(to.join("new"), "in the way").unwrap();
    std::os::unix::fs::symlink("settings", to.join("link")).unwrap();
    let before = system.higher.known.lock().unwrap().chunks;

    let two = system.package("2.0", &[("big", &big), ("new", b"new")]);
    system.order(&system.job(2, &two));
    let end = system.higher.end(2).await;
    assert_eq!(end.end, "done", "{end:?}");
    assert!(end.tail.contains("replaced 1 files") && end.tail.contains("new"), "{end:?}");
    assert_eq!(system.higher.known.lock().unwrap().chunks - before, 1, "only what is new travels");
    let told = system.higher.known.lock().unwrap().progress.clone();
    assert!(told.iter().any(|told| told.package.0 == one.id.0 && told.host.0 == system.me.0), "{told:?}");
    assert_eq!(system.installed("settings").as_deref(), Some("mine"));
    assert_eq!(system.installed("link").as_deref(), Some("mine"));
    assert_eq!(system.installed("sub/mine").as_deref(), Some("mine too"));
    assert_eq!(system.installed("new").as_deref(), Some("new"));
    assert_eq!((system.installed("gone"), system.installed("sub/old")), (None, None));

    // What is installed is not installed again; what is newer is not lowered; what was damaged is mended.
    system.order(&system.job(3, &two));
    assert_eq!(system.higher.end(3).await.end, "already_installed");
    system.order(&system.job(4, &one));
    assert_eq!(system.higher.end(4).await.end, "not_applicable");
    fs::write(to.join("big"), "damaged").unwrap();
    system.order(&system.job(5, &two));
    assert_eq!(system.higher.end(5).await.end, "done");
    assert_eq!(fs::read(to.join("big")).unwrap(), big);
    assert_eq!(system.installed("settings").as_deref(), Some("mine"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_by_an_untrusted_key_waits_until_the_trust_document_names_it() {
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    let stranger = packhorse_wire::envelope::SigningKey::generate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let recipe =
        "[package]\nname = \"editor\"\nversion = \"1\"\nkind = \"files\"\n[install]\nto = \"/opt/editor\"\n";
    fs::write(folder.path().join("packhorse.toml"), recipe).unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let package = system.package_of(folder.path(), &stranger);
    system.order(&system.job(1, &package));
    let code = |known: &super::higher::Known| match known.events(1).first() {
        Some(EventMsg::Waits(reason)) => Some(reason.code.clone()),
        _ => None,
    };
    assert_eq!(system.higher.until(code).await, "not_trusted");
    let status = agent.status().await;
    assert_eq!(status.lines[0].state, "waiting");
    assert!(status.lines[0].reason.as_ref().unwrap().contains("not_trusted"));
    let key = stranger.public();
    let next = system.next_trust(|doc| {
        doc.cabinets.insert("main".into(), KeySet::one(key));
    });
    system.higher.order(&Order::Trust(next.into()));
    assert_eq!(system.higher.end(1).await.end, "done");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_does_not_begin_and_leaves_nothing() {
    let system = System::start().await;
    system.join().await;
    system.higher.known.lock().unwrap().empty = true;
    let agent = system.agent();
    let package = system.package("1.0", &[("file", b"x")]);
    let mut job = system.job(1, &package);
    system.order(&job);
    let waits = |known: &super::higher::Known| known.events(1).first().cloned();
    let EventMsg::Waits(reason) = system.higher.until(waits).await else { panic!() };
    assert_eq!((reason.code.as_str(), reason.system.as_str()), ("network", "osaka"));
    (job.revision, job.intent) = (2, Intent::Cancelled);
    system.order(&job);
    assert_eq!(system.higher.end(1).await.end, "cancelled");
    assert_eq!(system.installed("file"), None);
    until(async || fs::read_dir(system.data().join("manifests")).unwrap().count() == 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deb_goes_into_an_empty_root() {
    assert!(rustix::process::geteuid().is_root(), "dpkg installs as root only");
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    let deb = |version: &str, architecture: &str| {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: ph-test\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: t <t@example.org>\nDescription: test\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::create_dir_all(tree.join("usr/share/ph-test")).unwrap();
        fs::write(tree.join("usr/share/ph-test/version"), version).unwrap();
        let file = folder.path().join("ph-test.deb");
        let built = std::process::Command::new("dpkg-deb").arg("-b").args([&tree, &file]).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        system.package_of(&file, &system.packager)
    };
    let (one, two, other) = (deb("1.0", "all"), deb("2.0~rc1", "all"), deb("3", "riscv64"));
    system.order(&system.job(1, &one));
    let end = system.higher.end(1).await;
    assert_eq!((end.end.as_str(), end.exit_code), ("done", Some(0)), "{end:?}");
    let file = system.root_folder().join("usr/share/ph-test/version");
    assert_eq!(fs::read_to_string(&file).unwrap(), "1.0");
    system.order(&system.job(2, &one));
    assert_eq!(system.higher.end(2).await.end, "already_installed");
    system.order(&system.job(3, &two));
    assert_eq!(system.higher.end(3).await.end, "done");
    assert_eq!(fs::read_to_string(&file).unwrap(), "2.0~rc1");
    system.order(&system.job(4, &one));
    assert_eq!(system.higher.end(4).await.end, "not_applicable");
    system.order(&system.job(5, &other));
    let end = system.higher.end(5).await;
    assert!(end.end == "not_applicable" && end.text.contains("riscv64"), "{end:?}");
    until(async || fs::read_dir(system.data().join("staging")).unwrap().count() == 0).await;
    agent.stop().await;
}
