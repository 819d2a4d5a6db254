//! A managing server with a packager's key, and what is put below it: everything in one folder that goes with the test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::access::Access;
use crate::cli::{Cli, Ran};
use crate::net::namespace::Namespace;
use crate::proxy::Proxy;
use crate::source::Source;
use crate::system::{Kind, System};
use crate::{ports, wait};

/// If this variable is set, the folder of a test that fails stays.
const KEEP: &str = "PACKHORSE_E2E_KEEP";
/// How long a system may take to be there.
const ONLINE_SECS: u64 = 20;
/// An idle machine makes a world in less.
const MADE_WITHIN: Duration = Duration::from_millis(500);
/// However busy the machine is, nothing is put off further than this.
const SLOWNESS_MAX: f64 = 5.0;

/// A test's own little fleet.
pub struct World {
    /// The managing server.
    pub server: System,
    /// Commands of its administrator.
    pub cli: Cli,
    /// The packager's key, which the cabinet `main` trusts.
    pub key: PathBuf,
    /// How many times as slow as an idle machine this one is.
    slowness: f64,
    runtime: Runtime,
    folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && env::var_os(KEEP).is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder.path().display());
        }
    }
}

impl World {
    /// A managing server that runs.
    pub fn new() -> World {
        World::with(&[])
    }

    /// A managing server that runs with this environment.
    pub fn with(environment: &[(&str, &str)]) -> World {
        World::at("127.0.0.1", "localhost", ports::free(), None, environment)
    }

    /// A managing server that runs and listens there, in a network of its own if it has one.
    pub fn at(
        address: &str,
        name: &str,
        port: u16,
        inside: Option<&Namespace>,
        environment: &[(&str, &str)],
    ) -> World {
        let begun = Instant::now();
        let folder = tempfile::Builder::new().prefix("packhorse-e2e-").tempdir().expect("a folder");
        let data = folder.path().join("hq");
        let listen = format!("{address}:{port}");
        let bare = Cli::new(folder.path(), None).inside(inside);
        bare.ok(&["server", "init", "--data", "hq", "--listen", &listen, "--name", name]);
        let mut server = System::new("hq", Kind::Server, &data, folder.path(), port);
        (server.host, server.inside) = (name.to_owned(), inside.cloned());
        server.environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        server.start();
        let cli = Cli::new(folder.path(), Some(&data.join("admin.toml"))).inside(inside);
        answering(&cli);
        cli.ok(&["key", "new", "--out", "packager.key"]);
        cli.ok(&["cabinet", "trust", "main", "packager.pub"]);
        let key = folder.path().join("packager.key");
        let slowness = begun.elapsed().div_duration_f64(MADE_WITHIN).clamp(1.0, SLOWNESS_MAX);
        World { server, cli, key, slowness, runtime: runtime(), folder }
    }

    /// So many seconds from now, as commands take it; later where the machine is busy, by how long this world took to be
    /// made: so that what a test has to do before then is done by then.
    pub fn soon(&self, secs: u64) -> String {
        format!("+{}s", self.stretched(secs))
    }

    /// So many seconds, more of them where the machine is busy.
    pub fn stretched(&self, secs: u64) -> u64 {
        (secs as f64 * self.slowness).ceil() as u64
    }

    /// The folder everything is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where tasks of the test itself run.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The administrator's API without the command line.
    pub fn access(&self) -> Access<'_> {
        Access::new(&self.runtime, &self.server.data.join("admin.toml"))
    }

    /// A line to `target` that can be counted and cut.
    pub fn proxy(&self, target: u16) -> Proxy {
        Proxy::start(&self.runtime, target)
    }

    /// A token's text.
    pub fn token(&self, options: &[&str]) -> String {
        let args: Vec<&str> = ["token", "new"].iter().chain(options).copied().collect();
        self.cli.ok(&args)
    }

    /// A relay that has joined the system at `url` and runs.
    pub fn relay(&self, name: &str, url: &str) -> System {
        let mut relay = self.joined_relay(name, url, &["--relay"]);
        relay.start();
        self.online(&[name]);
        relay
    }

    /// A relay that has joined with a token made with these options, and does not run yet.
    pub fn joined_relay(&self, name: &str, url: &str, token: &[&str]) -> System {
        let port = ports::free();
        let listen = format!("127.0.0.1:{port}");
        self.join(Kind::Relay, name, url, &self.token(token), &["--listen", &listen]).ok();
        System::new(name, Kind::Relay, &self.folder().join(name), &self.root_of(name), port)
    }

    /// A client that has joined the system at `url` and runs.
    pub fn client(&self, name: &str, url: &str) -> System {
        let mut client = self.joined_client(name, url);
        client.start();
        self.online(&[name]);
        client
    }

    /// A client that has joined and does not run yet.
    pub fn joined_client(&self, name: &str, url: &str) -> System {
        self.join(Kind::Client, name, url, &self.token(&[]), &[]).ok();
        System::new(name, Kind::Client, &self.folder().join(name), &self.root_of(name), 0)
    }

    /// `relay join` or `client join`, with these further options.
    pub fn join(&self, kind: Kind, name: &str, url: &str, token: &str, options: &[&str]) -> Ran {
        self.join_by(&self.cli, kind, name, url, token, options)
    }

    /// The same, typed elsewhere.
    pub fn join_by(
        &self,
        cli: &Cli,
        kind: Kind,
        name: &str,
        url: &str,
        token: &str,
        options: &[&str],
    ) -> Ran {
        let root = format!("{name}-root");
        let mut args =
            vec![kind.noun(), "join", "--data", name, "--server", url, "--token", token, "--name", name];
        args.extend(["--root", &root]);
        args.extend(options);
        cli.run(&args)
    }

    /// Where a system installs.
    pub fn root_of(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}-root"))
    }

    /// Waits until the server sees all of these as online.
    pub fn online(&self, names: &[&str]) {
        self.presence(names, true);
    }

    /// Waits until the server sees all of these as off.
    pub fn offline(&self, names: &[&str]) {
        self.presence(names, false);
    }

    fn presence(&self, names: &[&str], wanted: bool) {
        wait::until_ok(&format!("{names:?} online: {wanted}"), ONLINE_SECS, || {
            let hosts = self.cli.json(&["host", "list"]);
            let seen = |name: &str| {
                let host = array(&hosts).iter().find(|host| host["name"] == name);
                host.is_some_and(|host| host["online"] == wanted)
            };
            if names.iter().all(|name| seen(name)) { Ok(()) } else { Err(hosts.to_string()) }
        });
    }

    /// Waits until the server answers.
    pub fn answering(&self) {
        answering(&self.cli);
    }

    /// A folder to make a package of: kind files, installed to `/opt/NAME`.
    pub fn source(&self, name: &str, version: &str) -> Source {
        Source::new(&self.folder().join("sources").join(format!("{name}-{version}")), name, version)
    }

    /// Builds, signs and adds a package to the cabinet main; answers its label.
    pub fn add(&self, source: &Source) -> String {
        let key = self.key.display().to_string();
        self.cli.ok(&["package", "add", &source.path().display().to_string(), "--key", &key])
    }

    /// `packhorse install PACKAGE --to DEST… OPTION…`; answers the job's number.
    pub fn install(&self, package: &str, to: &[&str], options: &[&str]) -> String {
        let mut args = vec!["install", package, "--to"];
        args.extend(to);
        args.extend(options);
        let number = self.cli.ok(&args);
        assert!(number.parse::<u64>().is_ok(), "a job's number and nothing else: {number}");
        number
    }

    /// `job show --json`.
    pub fn job(&self, number: &str) -> Value {
        self.cli.json(&["job", "show", number])
    }

    /// Waits until the job looks as wanted; answers it.
    pub fn job_until(&self, number: &str, secs: u64, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until_ok(&format!("job {number}: {what}"), secs, || {
            let job = self.job(number);
            if wanted(&job) { Ok(job) } else { Err(job.to_string()) }
        })
    }

    /// Waits until this host's line of the job is in a state; answers the line.
    pub fn line_until(&self, number: &str, host: &str, secs: u64, state: &str) -> Value {
        let job = self.job_until(number, secs, &format!("{host} {state}"), |job| {
            line(job, host).is_some_and(|line| line["state"] == state)
        });
        line(&job, host).expect("it was there").clone()
    }

    /// Waits until all lines of the job are done.
    pub fn done(&self, number: &str, secs: u64) -> Value {
        self.job_until(number, secs, "done everywhere", |job| {
            let lines = array(&job["instructions"]);
            job["state"] == "ended" && !lines.is_empty() && lines.iter().all(|line| line["state"] == "done")
        })
    }

    /// `relay show --json`.
    pub fn relay_view(&self, name: &str) -> Value {
        self.cli.json(&["relay", "show", name])
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

fn answering(cli: &Cli) {
    wait::until_ok("the server answers", ONLINE_SECS, || {
        let ran = cli.run(&["host", "list"]);
        if ran.code == 0 { Ok(()) } else { Err(ran.stderr) }
    });
}

/// Where tasks of a test run: in the network of the thread that makes it.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime for the test's own tasks")
}

/// A JSON array.
pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A host's line of a job.
pub fn line<'a>(job: &'a Value, host: &str) -> Option<&'a Value> {
    array(&job["instructions"]).iter().find(|line| line["host"] == host)
}

/// Files in a folder, or none.
pub fn is_empty_or_missing(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut items| items.next().is_none())
}
