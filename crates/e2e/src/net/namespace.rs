//! A network of its own. It has a name only for the moment in which it is made; from then on it lives as long as somebody
//! holds it or a process is in it. So nothing of it stays behind, not even if the test itself is killed.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Names begin with this and the number of the process that made them.
const PREFIX: &str = "packhorse-e2e-";
/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// The network of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// A network namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    label: String,
    file: Arc<File>,
}

impl Namespace {
    /// A new one.
    pub fn make(label: &str) -> Namespace {
        SWEPT.call_once(sweep);
        let name = Name::new(label);
        run("ip", &["netns", "add", &name.0], "");
        let file = File::open(Path::new(NAMES).join(&name.0)).expect("the namespace");
        let made = Namespace { label: label.to_owned(), file: Arc::new(file) };
        made.ip(&["link set lo up".to_owned()]);
        made
    }

    /// By which `ip` finds it, as long as it is held.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", id(), self.file.as_raw_fd())
    }

    /// What it is for.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Does something in it. What that starts, processes and threads, stays in it; so does every socket it opens.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = File::open(OWN).expect("the thread's own network");
        go(&self.file);
        let _back = Back(before);
        work()
    }

    /// Runs a program in it that has to succeed; answers what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        self.enter(|| run(program, args, ""))
    }

    /// Many commands of `ip` at once.
    pub fn ip(&self, lines: &[String]) {
        self.enter(|| run("ip", &["-batch", "-"], &lines.join("\n")));
    }

    /// Many rules of `nft` at once.
    pub fn nft(&self, rules: &str) {
        self.enter(|| run("nft", &["-f", "-"], rules));
    }

    /// Many commands of `tc` at once.
    pub fn tc(&self, lines: &[String]) {
        self.enter(|| run("tc", &["-batch", "-"], &lines.join("\n")));
    }

    /// Sets one of its `net/…` settings.
    pub fn set(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(name);
        self.enter(|| fs::write(&path, value)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Returns to the network the thread came from, also if what it did there panicked.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        go(&self.0);
    }
}

fn go(to: &File) {
    move_into_link_name_space(to.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN)");
}

/// Runs a program that has to succeed.
fn run(program: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `./test` installs iproute2 and nftables"));
    // Small: it fits into the pipe. What is refused at once may not read it.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}\n{input}\n{said}", args.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The name of a namespace that is being made; it goes also if that fails.
struct Name(String);

impl Name {
    fn new(label: &str) -> Name {
        Name(format!("{PREFIX}{}-{}-{label}", id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        delete(&self.0);
    }
}

fn delete(name: &str) {
    // Gone already: then there is nothing to delete.
    let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
}

/// Deletes what processes left behind that were killed just when they made one.
pub fn sweep() {
    left_over().iter().for_each(|name| delete(name));
}

/// Names whose process is no more.
fn left_over() -> Vec<String> {
    let Ok(items) = fs::read_dir(NAMES) else { return Vec::new() };
    let names = items.flatten().filter_map(|item| item.file_name().into_string().ok());
    names
        .filter(|name| {
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
        .collect()
}
