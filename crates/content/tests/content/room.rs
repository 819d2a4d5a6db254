//! Room: what is reserved, what a full disk does, what dropping a copy frees, who pins what.

use std::fs;

use packhorse_content::fetch::AcceptError;
use packhorse_content::store::{Store, StoreError};

use super::util::{Packed, SmallDisk, editor, noise, pack, put, write};

const MIB: u64 = 1 << 20;

/// A package of about so many bytes that do not compress.
fn package(bytes: usize, seed: u64) -> Packed {
    let folder = tempfile::tempdir().unwrap();
    super::util::recipe(folder.path(), &format!("1.{seed}"));
    write(folder.path(), "data", &noise(bytes, seed), 0o644);
    pack(folder.path())
}

fn is_good(store: &Store, package: &Packed) -> bool {
    let found = store.verify(&package.manifest.id()).unwrap();
    found.damaged.is_empty() && found.good_bytes == package.manifest.unique_bytes()
}

#[test]
fn what_is_reserved_is_taken_at_once_and_what_was_not_written_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = package(3 << 20, 1);
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    let before = store.used_bytes().unwrap();
    assert!(intake.needed_bytes() >= one.built.stats().packed_bytes);
    if !intake.reserve().unwrap() {
        return; // a file system that cannot
    }
    let reserved = store.used_bytes().unwrap() - before;
    assert!(reserved >= 3 * MIB && reserved <= intake.needed_bytes(), "{reserved}");
    // Half of it comes; the rest is given back, and asked for again.
    let half = one.frames.len() / 2;
    one.frames[..half].iter().for_each(|frame| intake.accept(frame).unwrap());
    assert!(store.used_bytes().unwrap() - before <= reserved + 64 * 1024);
    intake.give_back().unwrap();
    assert!(store.used_bytes().unwrap() - before < reserved * 3 / 4);
    assert!(intake.reserve().unwrap());
    one.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    intake.finish().unwrap();
    assert!(is_good(&store, &one));
    let taken = store.used_bytes().unwrap() - before;
    assert!(taken <= one.built.stats().packed_bytes + 128 * 1024, "{taken}");
    // A second version is asked for what is missing of it alone.
    let (old, new) = (editor("1.0"), editor("2.0"));
    let (old, new) = (pack(old.path()), pack(new.path()));
    put(&store, &old);
    let intake = store.begin(&new.envelope, &new.manifest).unwrap();
    assert!(intake.needed_bytes() < 200 * 1024, "{}", intake.needed_bytes());
}

#[test]
fn a_reservation_survives_a_restart_as_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let one = package(2 << 20, 1);
    let store = Store::open(dir.path()).unwrap();
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    intake.reserve().unwrap();
    one.frames[..3].iter().for_each(|frame| intake.accept(frame).unwrap());
    let missing = intake.missing();
    // As a kill leaves it: the reserved tail is still there.
    drop((intake, store));
    let store = Store::open(dir.path()).unwrap();
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    assert_eq!(intake.missing(), missing);
    assert!(store.used_bytes().unwrap() < 2 * MIB);
    put(&store, &one);
    assert!(is_good(&store, &one));
}

#[test]
fn a_full_disk_is_an_error_and_no_damage() {
    let disk = SmallDisk::new(6 * MIB);
    let store = Store::open(disk.path()).unwrap();
    let (one, two) = (package(3 << 20, 1), package(3 << 20, 2));
    put(&store, &one);
    let intake = store.begin(&two.envelope, &two.manifest).unwrap();
    assert!(intake.reserve().unwrap_err().is_no_space());
    let refused = two.frames.iter().find_map(|frame| intake.accept(frame).err()).unwrap();
    assert!(matches!(&refused, AcceptError::Write { .. }) && refused.is_no_space(), "{refused}");
    assert!(matches!(intake.finish(), Err(StoreError::Incomplete { .. })));
    assert!(is_good(&store, &one));
    // A kill on the full disk, and opening on it.
    let here = two.manifest.chunk_count() as u64 - intake.missing().len();
    assert!(here > 10, "{here} chunks came before the disk was full");
    drop((intake, store));
    let store = Store::open(disk.path()).unwrap();
    assert!(is_good(&store, &one));
    // Room is made, and it goes on where it stopped.
    store.remove(&one.manifest.id()).unwrap();
    let intake = store.begin(&two.envelope, &two.manifest).unwrap();
    assert_eq!(two.manifest.chunk_count() as u64 - intake.missing().len(), here);
    assert!(intake.reserve().unwrap());
    two.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    intake.finish().unwrap();
    assert!(is_good(&store, &two));
}

#[test]
fn a_pack_that_was_unlinked_before_it_was_forgotten_is_found_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (one, two) = (package(300_000, 1), package(300_000, 2));
    put(&store, &one);
    put(&store, &two);
    drop(store);
    fs::remove_file(dir.path().join("packs").join(format!("{}.pack", one.manifest.id()))).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(!store.has(&one.manifest.id()).unwrap() && is_good(&store, &two));
    put(&store, &one);
    assert!(is_good(&store, &one) && is_good(&store, &two));
}

#[test]
fn a_disk_full_at_the_last_step_leaves_the_package_staged() {
    let disk = SmallDisk::new(6 * MIB);
    let store = Store::open(disk.path()).unwrap();
    let one = package(3 << 20, 1);
    let intake = store.begin(&one.envelope, &one.manifest).unwrap();
    one.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    let filler = disk.path().join("filler");
    let fill = std::process::Command::new("sh").arg("-c").arg("cat /dev/zero > \"$0\"").arg(&filler).output();
    assert!(!fill.unwrap().status.success(), "the disk is full now");
    let refused = intake.finish().unwrap_err();
    assert!(refused.is_no_space(), "{refused}");
    assert!(!store.has(&one.manifest.id()).unwrap());
    fs::remove_file(&filler).unwrap();
    intake.finish().unwrap();
    assert!(is_good(&store, &one));
    drop((intake, store));
    assert!(is_good(&Store::open(disk.path()).unwrap(), &one));
}

#[test]
fn a_reader_pins_its_copy_and_a_building_intake_the_packs_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (old, new) = (editor("1.0"), editor("2.0"));
    write(new.path(), "lib/new", &noise(150_000, 9), 0o644);
    let (old, new) = (pack(old.path()), pack(new.path()));
    put(&store, &old);
    let pinned = || store.space().unwrap().copies.iter().map(|copy| copy.pinned).collect::<Vec<_>>();
    assert_eq!(pinned(), [false]);
    let reader = store.reader(&old.manifest.id()).unwrap();
    let second = reader.clone();
    drop(reader);
    assert_eq!(pinned(), [true]);
    drop(second);
    assert_eq!(pinned(), [false]);
    let intake = store.begin(&new.envelope, &new.manifest).unwrap();
    assert_eq!(pinned(), [true]);
    new.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    intake.finish().unwrap();
    drop(intake);
    // Both use the old one's pack now; the new one's own is small.
    let space = store.space().unwrap();
    let sizes: Vec<u64> = space.packs.values().copied().collect();
    assert_eq!((space.copies.len(), sizes.len()), (2, 2));
    assert!(sizes.iter().max().unwrap() > &900_000 && sizes.iter().min().unwrap() < &300_000);
    assert!(space.copies.iter().all(|copy| !copy.pinned));
    assert_eq!(space.copies.iter().map(|copy| copy.packs.len()).sum::<usize>(), 3);
}

#[test]
fn a_reader_in_flight_is_not_cut_by_dropping_its_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = package(1 << 20, 1);
    put(&store, &one);
    let reader = store.reader(&one.manifest.id()).unwrap();
    store.remove(&one.manifest.id()).unwrap();
    assert!(fs::read_dir(dir.path().join("packs")).unwrap().next().is_none());
    for index in 0..one.manifest.chunk_count() {
        reader.frame(index).unwrap().unwrap().verify(&one.manifest).unwrap();
    }
}
