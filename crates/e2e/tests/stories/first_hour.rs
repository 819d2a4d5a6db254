//! The first hour, as the design writes it: what scripts may rely on.

use std::process::{Command, Output, Stdio};

use packhorse_e2e::{binary, ports};
use serde_json::Value;

/// Word for word but for the ports, and for ending what it started.
const SCRIPT: &str = r#"
set -eu
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
mkdir office-editor
cat > office-editor/packhorse.toml <<'TOML'
[package]
name = "editor"
version = "2.1"
kind = "files"
[install]
to = "/opt/editor"
TOML
echo hello > office-editor/editor.txt

packhorse server init --data hq --listen 127.0.0.1:8440 --name localhost
packhorse server run  --data hq 2>hq.log &
export PACKHORSE_CONTEXT=hq/admin.toml
packhorse key new --out packager.key
packhorse cabinet new office --key packager.pub
packhorse package build ./office-editor --key packager.key --out editor.phk
packhorse package add editor.phk --cabinet office
packhorse relay join  --data osaka --server https://localhost:8440 --token "$(packhorse token new --relay)" --name osaka --listen 127.0.0.1:8441
packhorse relay run   --data osaka 2>osaka.log &
packhorse client join --data pc17 --server https://localhost:8441 --token "$(packhorse token new)" --name pc17 --root ./pc17-root
packhorse client run  --data pc17 2>pc17.log &
job=$(packhorse install office/editor --to pc17)
packhorse job watch "$job" >&2
echo "== results"
echo "$job"
packhorse job show "$job" --json
packhorse explain "$job" pc17
"#;

#[test]
fn the_first_hour() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    let logs = ["hq", "osaka", "pc17"].map(|name| {
        let log = folder.path().join(format!("{name}.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    });
    assert!(output.status.success(), "{printed}\n{said}\n{}", logs.join("\n"));
    let results = printed.split_once("== results\n").expect("the results").1;
    let (number, rest) = results.split_once('\n').expect("the job's number");
    assert_eq!(number, "1", "a command prints its one result and nothing else");
    let end = rest.rfind('}').expect("JSON") + 1;
    let job: Value = serde_json::from_str(&rest[..end]).expect("JSON");
    assert_eq!(job["state"], "ended");
    assert_eq!(job["counts"]["done"], 1);
    let line = &job["instructions"][0];
    assert_eq!((&line["host"], &line["state"]), (&Value::from("pc17"), &Value::from("done")));
    assert_eq!(line["package"], "office/editor@2.1:1");
    assert_eq!(line["attempt"], 1);
    assert_eq!(line["reason"], Value::Null);
    assert!(rest[end..].contains("pc17"), "explain speaks of the machine: {}", &rest[end..]);
    let installed = folder.path().join("pc17-root/opt/editor/editor.txt");
    assert_eq!(std::fs::read_to_string(installed).expect("it is installed"), "hello\n");
}

fn run(folder: &std::path::Path) -> Output {
    let script =
        SCRIPT.replace("8440", &ports::free().to_string()).replace("8441", &ports::free().to_string());
    let program = binary::path();
    let bin = program.parent().expect("its folder").display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .env("PACKHORSE_DIES_WITH_PARENT", "1")
        .env_remove("PACKHORSE_CONTEXT")
        .stdin(Stdio::null())
        .output()
        .expect("bash runs")
}
