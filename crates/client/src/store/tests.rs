use packhorse_domain::agent::{Entry, Kind, LineId, Write};
use packhorse_domain::facts::Facts;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, Incarnation, JobKey, PackageId};
use packhorse_domain::instruction::State;
use packhorse_domain::outbox::Hop;
use packhorse_domain::reason::{Code, NextTry, Reason};
use packhorse_domain::report::Outcome;
use packhorse_domain::time::Time;
use packhorse_wire::messages::BodyMsg;

use super::*;

fn entry(report: Option<u64>, kind: Kind) -> Entry {
    let line = LineId { job: JobKey::server(1, 2), place: 0, package: PackageId([1; 32]) };
    Entry { report, at: Time(5), line, attempt: 1, kind }
}

fn kinds() -> Vec<Entry> {
    let reason = Reason::new(Code::Network, "osaka", Time(1), NextTry::At(Time(2)), "line", "refused");
    vec![
        entry(Some(1), Kind::Waits(reason)),
        entry(Some(2), Kind::Delivered { boot: Some("b".into()) }),
        entry(Some(3), Kind::Intent),
        entry(None, Kind::NotStarted),
        entry(None, Kind::Exited { ok: false, code: Some(3) }),
        entry(None, Kind::Interrupted),
        entry(Some(5), Kind::Ended(Outcome::with(State::Done, "check", ""))),
    ]
}

#[test]
fn what_was_stored_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path()).unwrap();
    let first = db.run_blocking(Kept::load).unwrap();
    assert_eq!((first.base, first.cursor, first.hop), (0, None, None));
    let cursor = Cursor { incarnation: Incarnation(7), n: 9 };
    let hop = Hop { server: Incarnation(1), higher: Incarnation(u64::MAX), stored: 2 };
    let alarm = Alarm { report: 4, at: Time(6), code: "bad_job", what: "server/1".into(), text: "no".into() };
    let commit = Commit {
        writes: kinds().into_iter().map(Write::Journal).chain([Write::Base(1)]).collect(),
        cursor: Some(cursor),
        hop: Some(hop),
        trust: Some(vec![1]),
        delegations: vec![("osaka".into(), vec![2])],
        alarms: vec![alarm],
        ..Commit::default()
    };
    let storing = commit.clone();
    db.run_blocking(move |connection| storing.store(connection)).unwrap();
    // The same numbers again: all or nothing.
    let again = Commit { place: Some(vec![9]), ..commit };
    assert!(db.run_blocking(move |connection| again.store(connection)).is_err());
    drop(db);

    let db = Db::open(folder.path()).unwrap();
    let kept = db.run_blocking(Kept::load).unwrap();
    assert_eq!(kept.incarnation, first.incarnation);
    assert_eq!((kept.base, kept.cursor, kept.hop), (1, Some(cursor), Some(hop)));
    assert_eq!(kept.entries, kinds());
    assert_eq!((kept.trust, kept.place), (Some(vec![1]), None));
    assert_eq!((kept.newest_alarm, kept.told.len()), (4, 1));

    let reporter = Reporter { me: HostId([1; 16]), incarnation: Incarnation(3) };
    let batch = |after, limit| {
        db.run_blocking(move |connection| Batch::read(connection, reporter, after, limit)).unwrap()
    };
    let all = batch(0, 10);
    assert_eq!(all.reports.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(matches!(&all.reports[3].1.body, BodyMsg::Alarm { code, .. } if code == "bad_job"));
    assert_eq!((all.through, all.more, all.reports[4].1.base), (5, false, 1));
    let some = batch(1, 2);
    assert_eq!((some.through, some.more, some.reports.len()), (3, true, 2));
    assert_eq!((batch(5, 2).through, batch(5, 2).reports.len()), (5, 0));
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path()).unwrap();
    db.run_blocking(|connection| connection.execute("UPDATE meta SET value = '9' WHERE key = 'schema'", []))
        .unwrap_err();
    db.run_blocking(|connection| {
        connection.execute("UPDATE meta SET value = CAST('9' AS BLOB) WHERE key = 'schema'", [])
    })
    .unwrap();
    drop(db);
    let Err(error) = Db::open(folder.path()) else { panic!("opened") };
    assert!(error.to_string().contains("later version"), "{error}");
}

#[test]
fn what_was_told_of_the_host_is_kept_until_something_newer_is_durable_above() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path()).unwrap();
    let told = |report, os: &str| Told {
        report,
        at: Time(report as i64),
        facts: Facts::new([("os".to_owned(), os.to_owned())]).unwrap(),
    };
    let store = |commit: Commit| db.run_blocking(move |connection| commit.store(connection)).unwrap();
    for told in [told(1, "linux"), told(2, "bsd")] {
        store(Commit { facts: Some(told), ..Commit::default() });
    }
    let reporter = Reporter { me: HostId([1; 16]), incarnation: Incarnation(3) };
    let sent = || {
        let batch = db.run_blocking(move |connection| Batch::read(connection, reporter, 0, 9)).unwrap();
        batch.reports.into_iter().map(|(no, report)| (no, report.body)).collect::<Vec<_>>()
    };
    let body = |os: &str| BodyMsg::Facts(vec![("os".into(), os.into())]);
    assert_eq!(sent(), [(1, body("linux")), (2, body("bsd"))]);
    store(Commit { writes: vec![Write::Base(2)], ..Commit::default() });
    // The newest stays for whoever has lost it.
    assert_eq!(sent(), [(2, body("bsd"))]);
    assert_eq!(db.run_blocking(Kept::load).unwrap().facts, Some(told(2, "bsd")));
}

#[test]
fn a_database_of_version_1_is_brought_forward_and_its_journal_read() {
    use packhorse_domain::agent::Choice;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.db");
    let mut connection = Connection::open(&path).unwrap();
    schema::prepare(&mut connection, &path).unwrap();
    schema::put(&connection, "schema", "1").unwrap();
    schema::prepare(&mut connection, &path).unwrap();
    assert_eq!(schema::get(&connection, "schema").unwrap().as_deref(), Some("2"));
    schema::put(&connection, "schema", "3").unwrap();
    assert!(matches!(schema::prepare(&mut connection, &path), Err(ClientError::Schema { found: 3, .. })));
    // As the version before wrote that a package is there.
    let old = entry(Some(2), Kind::Delivered { boot: None });
    let bytes = super::entry::encode(&old).unwrap();
    let before = bytes.windows(12).any(|word| word == b"delivered_in");
    assert!(before && super::entry::decode(&bytes).unwrap() == old);
    for kind in [
        Kind::Offered,
        Kind::Chosen(Choice { by: "mia".into(), at: Some(Time(7)) }),
        Kind::Postponed { by: "mia".into(), until: Time(9) },
    ] {
        let written = entry(Some(3), kind);
        assert_eq!(super::entry::decode(&super::entry::encode(&written).unwrap()).unwrap(), written);
    }
}

#[test]
fn a_rate_is_measured_or_not_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.db");
    let mut connection = Connection::open(&path).unwrap();
    schema::prepare(&mut connection, &path).unwrap();
    assert_eq!(rate(&connection).unwrap(), None);
    note_rate(&connection, 1000).unwrap();
    note_rate(&connection, 2000).unwrap();
    assert_eq!(rate(&connection).unwrap(), Some(1300));
}
