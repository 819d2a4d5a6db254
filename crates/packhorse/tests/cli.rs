//! The real binary, without any system to ask: exit codes, where things are said, and how.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn packhorse(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_packhorse"))
        .args(args)
        .current_dir(dir)
        .env_remove("PACKHORSE_CONTEXT")
        .env_remove("PACKHORSE_SOCKET")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that is refused: code, nothing on stdout, and what is said.
fn refused(dir: &Path, args: &[&str], code: i32) -> String {
    let output = packhorse(dir, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "{args:?}: {}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(!said.contains('\u{1b}'), "colour on a pipe: {said:?}");
    said
}

#[test]
fn refusals_say_what_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(
        refused(dir, &["host", "list"], 2),
        "error: no system to ask: neither --context nor PACKHORSE_CONTEXT names an access file\n\
         hint: export PACKHORSE_CONTEXT=DATA/admin.toml (`server init` wrote it)\n"
    );
    assert!(refused(dir, &["install", "a", "--to", "group:x y"], 2).starts_with("error: --to \"group:x y\""));
    assert!(refused(dir, &["install", "--to", "pc17"], 2).contains("<PACKAGE>"));
    assert!(
        refused(dir, &["install", "a", "--to", "b", "--at", "2020-01-01 00:00"], 2).contains("in the past")
    );
    assert!(refused(dir, &["job", "show", "a/b"], 2).contains("'a/b' is not a job"));
    assert!(
        refused(dir, &["client", "status", "--data", "nowhere"], 3).contains("hint: packhorse client run")
    );
    assert!(refused(dir, &["package", "check", "none.phk"], 1).starts_with("error: none.phk: "));
    assert!(
        refused(dir, &["package", "build", ".", "--key", "none.key", "--out", "x.phk"], 1)
            .contains("hint: packhorse key new")
    );
    assert!(
        refused(dir, &["offers", "--socket", "none.sock"], 3).contains("packhorse job list --type offer")
    );
}

#[test]
fn a_package_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let made = packhorse(dir, &["key", "new", "--out", "packager.key"]);
    assert_eq!(text(&made.stdout), "packager.pub\n");
    std::fs::create_dir(dir.join("editor")).unwrap();
    std::fs::write(dir.join("editor/editor"), "#!/bin/sh\n").unwrap();
    let recipe = |kind: &str| {
        format!(
            "[package]\nname = \"editor\"\nversion = \"1.0\"\nkind = \"{kind}\"\n[install]\nto = \"/opt/editor\"\n"
        )
    };
    let build = ["package", "build", "editor", "--key", "packager.key", "--out", "editor.phk"];
    std::fs::write(dir.join("editor/packhorse.toml"), recipe("zip")).unwrap();
    let said = refused(dir, &build, 1);
    assert!(said.starts_with("error: not built: editor/packhorse.toml:4: "), "{said}");
    std::fs::write(dir.join("editor/packhorse.toml"), recipe("files")).unwrap();
    assert_eq!(text(&packhorse(dir, &build).stdout), "editor.phk\n");
    let checked = packhorse(dir, &["package", "check", "editor.phk", "--key", "packager.pub", "--json"]);
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(
        (checked["name"].as_str(), checked["signature_checked"].as_bool()),
        (Some("editor"), Some(true))
    );
    assert!(refused(dir, &["package", "add", "editor"], 2).contains("hint: --key"));
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_packhorse"))
        .args(["completions", "bash"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
