//! The store: sharing, resuming, serving while arriving, removing, surviving a kill and a lost database.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;

use packhorse_content::store::{Store, StoreError};
use packhorse_domain::fetch::RangeSet;

use super::util::{Packed, bytes_of, editor, noise, pack, put, write};

fn versions() -> (Packed, Packed) {
    let (one, two) = (editor("1.0"), editor("2.0"));
    write(two.path(), "lib/new", &noise(150_000, 9), 0o644);
    (pack(one.path()), pack(two.path()))
}

fn is_good(store: &Store, package: &Packed) -> bool {
    let found = store.verify(&package.manifest.id()).unwrap();
    found.damaged.is_empty() && found.good_bytes == package.manifest.unique_bytes()
}

#[test]
fn what_versions_share_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, two) = versions();
    put(&store, &one);
    let before = store.used_bytes().unwrap();
    let intake = store.begin(&two.envelope, &two.manifest).unwrap();
    let missing = two.manifest.bytes_of(&intake.missing());
    assert!(missing > 150_000 && missing < 160_000, "{missing}");
    two.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    assert_eq!(intake.stats().received_bytes, missing);
    assert_eq!(intake.stats().reused_bytes + missing, two.manifest.unique_bytes());
    intake.finish().unwrap();
    intake.finish().unwrap();
    assert!(store.used_bytes().unwrap() - before < 300_000);
    assert!(is_good(&store, &one) && is_good(&store, &two));
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(store.manifest_envelope(&two.manifest.id()).unwrap(), two.envelope);

    // What they share stays when the first goes, and goes with the second.
    store.remove(&one.manifest.id()).unwrap();
    assert!(!store.has(&one.manifest.id()).unwrap());
    assert!(is_good(&store, &two));
    drop(intake);
    store.remove(&two.manifest.id()).unwrap();
    assert!(fs::read_dir(dir.path().join("packs")).unwrap().next().is_none());
    assert!(matches!(store.remove(&two.manifest.id()), Err(StoreError::NotFound(_))));
    put(&store, &one);
    assert!(is_good(&store, &one));
}

#[test]
fn a_package_comes_again_while_others_use_its_old_pack() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, two) = versions();
    put(&store, &two);
    put(&store, &one);
    store.remove(&two.manifest.id()).unwrap();
    put(&store, &two);
    assert!(is_good(&store, &one) && is_good(&store, &two));
    let store = Store::open(dir.path()).unwrap();
    assert!(is_good(&store, &one) && is_good(&store, &two));
}

#[test]
fn a_cut_at_any_byte_costs_one_piece() {
    let (one, _) = versions();
    let id = one.manifest.id();
    let all = bytes_of(&one.frames);
    let largest = one.frames.iter().map(|frame| frame.total_len()).max().unwrap();
    for cut in [0, 1, 10, 11, 12, 70_000, all.len() / 2, all.len() - 1, all.len()] {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        fs::write(dir.path().join("staging").join(format!("{id}.pack")), &all[..cut]).unwrap();
        fs::write(dir.path().join("staging").join(format!("{id}.env")), &one.envelope).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.staged().unwrap(), [id]);
        let intake = store.begin(&one.envelope, &one.manifest).unwrap();
        let to_come: usize = one
            .frames
            .iter()
            .filter(|f| intake.missing().contains(f.header.first))
            .map(|f| f.total_len())
            .sum();
        assert!(to_come < all.len() - cut + largest, "cut at {cut}: {to_come} bytes come again");
        one.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
        intake.finish().unwrap();
        assert!(is_good(&store, &one));
        assert!(store.staged().unwrap().is_empty());
    }
}

#[test]
fn damage_in_staging_is_found() {
    let (one, _) = versions();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    one.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    drop(intake);
    let staged = dir.path().join("staging").join(format!("{}.pack", one.manifest.id()));
    let mut bytes = fs::read(&staged).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&staged, &bytes).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    assert!(!intake.missing().is_empty());
    assert!(matches!(intake.finish(), Err(StoreError::Incomplete { .. })));
    put(&store, &one);
    assert!(is_good(&store, &one));
}

#[test]
fn who_asks_for_the_same_package_waits_for_the_same_intake() {
    let (one, _) = versions();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = store.begin(&one.envelope, &one.manifest).unwrap();
    let second = store.begin(&one.envelope, &one.manifest).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert!(matches!(store.abandon(&one.manifest.id()), Err(StoreError::Arriving(_))));
    assert!(matches!(store.remove(&one.manifest.id()), Err(StoreError::Arriving(_))));
    drop((first, second));
    store.abandon(&one.manifest.id()).unwrap();
    assert!(store.staged().unwrap().is_empty());
    put(&store, &one);
    let whole = store.begin(&one.envelope, &one.manifest).unwrap();
    assert!(whole.missing().is_empty() && whole.is_finished());
    whole.finish().unwrap();
}

#[test]
fn what_an_arriving_package_builds_on_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, two) = versions();
    put(&store, &one);
    let intake = store.begin(&two.envelope, &two.manifest).unwrap();
    store.remove(&one.manifest.id()).unwrap();
    let missing = intake.missing();
    two.frames.iter().filter(|f| missing.contains(f.header.first)).for_each(|f| intake.accept(f).unwrap());
    intake.finish().unwrap();
    assert!(is_good(&store, &two));
    assert!(is_good(&Store::open(dir.path()).unwrap(), &two));
}

#[test]
fn a_reader_reads_on_after_removal() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, _) = versions();
    put(&store, &one);
    let reader = store.reader(&one.manifest.id()).unwrap();
    store.remove(&one.manifest.id()).unwrap();
    for frame in &one.frames {
        assert_eq!(reader.frame(frame.header.first).unwrap().unwrap(), *frame);
    }
    assert!(matches!(store.reader(&one.manifest.id()), Err(StoreError::NotFound(_))));
}

#[test]
fn a_lost_database_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = versions();
    {
        let store = Store::open(dir.path()).unwrap();
        put(&store, &one);
        put(&store, &two);
    }
    // With the indexes, and without.
    for lose_index in [false, true] {
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            fs::remove_file(dir.path().join(name)).ok();
        }
        if lose_index {
            fs::remove_file(dir.path().join("packs").join(format!("{}.index", one.manifest.id()))).unwrap();
        }
        let store = Store::open(dir.path()).unwrap();
        assert!(is_good(&store, &one) && is_good(&store, &two));
    }
}

#[test]
fn a_kill_before_the_commit_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (one, _) = versions();
    let id = one.manifest.id();
    drop(Store::open(dir.path()).unwrap());
    // As it lies after the rename and before the commit.
    fs::write(dir.path().join("packs").join(format!("{id}.pack")), bytes_of(&one.frames)).unwrap();
    fs::write(dir.path().join("manifests").join(format!("{id}.env")), &one.envelope).unwrap();
    fs::write(dir.path().join("staging").join(format!("{id}.env")), &one.envelope).unwrap();
    fs::write(dir.path().join("packs").join("junk.pack"), b"x").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(!store.has(&id).unwrap());
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    assert!(intake.missing().is_empty());
    intake.finish().unwrap();
    assert!(is_good(&store, &one));
    assert_eq!(fs::read_dir(dir.path().join("packs")).unwrap().count(), 2);
}

#[test]
fn verify_finds_a_flipped_bit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, _) = versions();
    put(&store, &one);
    let pack = dir.path().join("packs").join(format!("{}.pack", one.manifest.id()));
    let mut bytes = fs::read(&pack).unwrap();
    bytes[20] ^= 1;
    OpenOptions::new().write(true).open(&pack).unwrap().write_all(&bytes).unwrap();
    assert_eq!(store.verify(&one.manifest.id()).unwrap().damaged, RangeSet::full(1));
}

#[test]
fn an_envelope_of_another_package_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, two) = versions();
    assert!(matches!(store.begin(&one.envelope, &two.manifest), Err(StoreError::WrongEnvelope(_))));
    assert!(matches!(store.begin(b"junk", &two.manifest), Err(StoreError::WrongEnvelope(_))));
    assert!(store.staged().unwrap().is_empty());
    assert!(store.free_bytes().unwrap() > 0);
}
