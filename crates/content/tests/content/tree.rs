//! A client's tree: staged in place, resumed by hashing, built out of what is installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use packhorse_content::tree::{TreeError, TreeIntake};

use super::util::{editor, listing, noise, pack, write};

#[test]
fn the_tree_is_the_folder() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let dir = tempfile::tempdir().unwrap();
    let tree = TreeIntake::open(&dir.path().join("stage"), &package.manifest).unwrap();
    package.frames.iter().rev().for_each(|frame| tree.accept(frame).unwrap());
    let root = tree.finish().unwrap();
    assert_eq!(listing(&root), listing(folder.path()));
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o755);

    // Opened again before anybody used it: everything is there, and finishing works once more.
    let tree = TreeIntake::open(&dir.path().join("stage"), &package.manifest).unwrap();
    assert!(tree.missing().is_empty());
    assert_eq!(listing(&tree.finish().unwrap()), listing(folder.path()));
}

#[test]
fn what_was_written_is_found_by_hashing() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("stage");
    let half = package.frames.len() / 2;
    let tree = TreeIntake::open(&stage, &package.manifest).unwrap();
    package.frames[..half].iter().for_each(|frame| tree.accept(frame).unwrap());
    let missing = tree.missing();
    drop(tree);
    let tree = TreeIntake::open(&stage, &package.manifest).unwrap();
    assert_eq!(tree.missing(), missing);
    drop(tree);

    // Damage costs the chunks it hit, and a chunk found in one place is put into the others.
    fs::remove_file(stage.join("tree/lib/copy")).unwrap();
    let mut editor = fs::read(stage.join("tree/bin/editor")).unwrap();
    editor[0] ^= 1;
    fs::write(stage.join("tree/bin/editor"), editor).unwrap();
    let tree = TreeIntake::open(&stage, &package.manifest).unwrap();
    assert_eq!(tree.missing().subtract(&missing).len(), 1);
    package.frames.iter().for_each(|frame| tree.accept(frame).unwrap());
    assert_eq!(listing(&tree.finish().unwrap()), listing(folder.path()));
}

#[test]
fn what_is_installed_is_reused_if_it_hashes() {
    let (old, new) = (editor("1.0"), editor("2.0"));
    write(new.path(), "bin/editor", &[noise(5_000, 4), noise(900_000, 1)].concat(), 0o755);
    let (one, two) = (pack(old.path()), pack(new.path()));
    let dir = tempfile::tempdir().unwrap();
    let installed = dir.path().join("installed");
    let tree = TreeIntake::open(&dir.path().join("a"), &one.manifest).unwrap();
    one.frames.iter().for_each(|frame| tree.accept(frame).unwrap());
    fs::rename(tree.finish().unwrap(), &installed).unwrap();

    // The user changed a file meanwhile: it gives nothing wrong.
    fs::write(installed.join("lib/text.txt"), "mine").unwrap();
    let tree = TreeIntake::open(&dir.path().join("b"), &two.manifest).unwrap();
    let previous = [(one.manifest.clone(), installed), (one.manifest.clone(), dir.path().join("nowhere"))];
    let reused = tree.reuse(&previous).unwrap();
    assert!(reused > 700_000, "{reused}");
    let missing = tree.missing();
    assert!(two.manifest.bytes_of(&missing) + reused == two.manifest.unique_bytes());
    two.frames.iter().filter(|f| missing.contains(f.header.first)).for_each(|f| tree.accept(f).unwrap());
    assert_eq!(listing(&tree.finish().unwrap()), listing(new.path()));
}

#[test]
fn strangers_in_the_staging_folder_are_not_followed() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("stage");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("editor"), "precious").unwrap();
    drop(TreeIntake::open(&stage, &package.manifest).unwrap());
    fs::remove_dir(stage.join("tree/bin")).unwrap();
    symlink(&outside, stage.join("tree/bin")).unwrap();
    symlink(outside.join("editor"), stage.join("tree/share/version")).unwrap();
    fs::hard_link(outside.join("editor"), stage.join("tree/share/empty")).unwrap();
    fs::create_dir_all(stage.join("tree/extra/deep")).unwrap();
    let tree = TreeIntake::open(&stage, &package.manifest).unwrap();
    // One that comes later is an error, not a way out.
    symlink(&outside, stage.join("tree/lib/zeros")).unwrap();
    let errors = package.frames.iter().filter(|frame| tree.accept(frame).is_err()).count();
    assert!(errors > 0);
    fs::remove_file(stage.join("tree/lib/zeros")).unwrap();
    package.frames.iter().for_each(|frame| tree.accept(frame).unwrap());
    assert_eq!(listing(&tree.finish().unwrap()), listing(folder.path()));
    assert_eq!(fs::read_to_string(outside.join("editor")).unwrap(), "precious");
}

#[test]
fn a_staging_folder_open_to_others_is_refused() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("stage");
    fs::create_dir(&stage).unwrap();
    fs::set_permissions(&stage, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(TreeIntake::open(&stage, &package.manifest), Err(TreeError::NotOurs(_))));
}

#[test]
fn an_incomplete_tree_is_not_given_out() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let dir = tempfile::tempdir().unwrap();
    let tree = TreeIntake::open(&dir.path().join("stage"), &package.manifest).unwrap();
    package.frames[1..].iter().for_each(|frame| tree.accept(frame).unwrap());
    assert!(matches!(tree.finish(), Err(TreeError::Incomplete(1))));
}
