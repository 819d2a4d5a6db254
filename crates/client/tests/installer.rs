//! A real installer in its real wrapper: the agent is a process of its own, killed while dpkg runs. This program is all
//! three: the test, the agent, and the wrapper that the agent starts by the agent's own program.

// Without a harness it is not taken for a test, in which unwrapping is allowed.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

// Used by the crate's own tests too, and not all of it here.
#[allow(dead_code, reason = "shared with the unit tests, which use all of it")]
#[path = "../src/tests/higher.rs"]
mod higher;
#[allow(dead_code, reason = "shared with the unit tests, which use all of it")]
#[path = "../src/tests/system.rs"]
mod system;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use packhorse_client::{ClientError, IdentitySource, JoinOptions, Joined, RunOptions, ask, join, run};
use packhorse_domain::job::JobPackage;
use packhorse_wire::messages::EventMsg;
use system::{System, until};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().and_then(|word| word.into_string().ok()).unwrap_or_default();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match first.as_str() {
        "__installer" => packhorse_client::run_installer_wrapper(args),
        "agent" => {
            let data = args.next().unwrap().into();
            let options = RunOptions { data, socket: None, identity: IdentitySource::Own };
            runtime().block_on(run(options, std::future::pending())).unwrap();
            ExitCode::SUCCESS
        }
        // As the test harness is asked for the names of its tests.
        "--list" => ExitCode::SUCCESS,
        _ => {
            a_start_that_is_not_noted_starts_nothing();
            runtime().block_on(killed_while_dpkg_runs());
            ExitCode::SUCCESS
        }
    }
}

/// The gate of which the wrapper was killed before it gave the word.
fn a_start_that_is_not_noted_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let gate = |word: &str| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["__installer", "--gate"])
            .arg(folder.path())
            .args(["--", "/usr/bin/touch"])
            .arg(&mark)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(word.as_bytes()).unwrap();
        child.wait().unwrap().code()
    };
    assert_eq!((gate(""), mark.exists()), (Some(1), false), "without the word nothing is started");
    assert_eq!((gate("\n"), mark.exists()), (Some(0), true));
    println!("an installer that was not noted does not start");
}

async fn killed_while_dpkg_runs() {
    assert!(rustix::process::geteuid().is_root(), "dpkg installs as root only");
    let system = System::start().await;
    system.join().await;
    let (bin, log) = (system.folder.path().join("bin"), system.folder.path().join("log"));
    slow_dpkg(&bin, &log);
    let starts = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    let agent = || {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Command::new(std::env::current_exe().unwrap())
            .arg("agent")
            .arg(system.data())
            .env("PATH", path)
            .spawn()
            .unwrap()
    };
    let mut first = agent();
    system.order(&system.job(1, &deb(&system)));
    until(async || starts() == 1).await;
    first.kill().unwrap();
    first.wait().unwrap();
    let waits = system.higher.known.lock().unwrap().events(1);
    assert!(waits.iter().any(|event| matches!(event, EventMsg::Waits(reason) if reason.code == "lock")));
    let version = system.root_folder().join("usr/share/ph-test/version");
    assert!(!version.exists(), "it was killed while dpkg ran");
    let mut second = agent();
    let end = system.higher.end(1).await;
    assert_eq!((end.end.as_str(), end.exit_code), ("done", Some(0)), "{end:?}");
    assert_eq!((fs::read_to_string(version).unwrap().as_str(), starts()), ("1.0", 1), "started once");
    assert!(end.tail.contains("ph-test"), "{end:?}");
    second.kill().unwrap();
    second.wait().unwrap();
    println!("killed while dpkg ran: started once, its end was found, reported once");
}

/// A dpkg that finds its database held the first time, and then notes that it was started to install and takes its time.
fn slow_dpkg(bin: &Path, log: &Path) {
    fs::create_dir(bin).unwrap();
    let held = "echo 'dpkg: error: dpkg frontend lock was locked by another process with pid 1'; exit 2";
    let log = log.display();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *' -i '*)\n  if [ ! -e '{log}' ]; then : > '{log}'; {held}; fi\n  \
         echo start >> '{log}'; sleep 2;;\nesac\nexec /usr/bin/dpkg \"$@\"\n"
    );
    fs::write(bin.join("dpkg"), script).unwrap();
    fs::set_permissions(bin.join("dpkg"), fs::Permissions::from_mode(0o755)).unwrap();
}

fn deb(system: &System) -> JobPackage {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control =
        "Package: ph-test\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::create_dir_all(tree.join("usr/share/ph-test")).unwrap();
    fs::write(tree.join("usr/share/ph-test/version"), "1.0").unwrap();
    let file = folder.path().join("ph-test.deb");
    let built = Command::new("dpkg-deb").arg("-b").args([&tree, &file]).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    system.package_of(&file, &system.packager)
}
