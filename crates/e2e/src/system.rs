//! One system of a test: a managing server, a relay or a client, with its folder and, while it runs, its process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::{Cli, Ran, within};
use crate::net::namespace::Namespace;
use crate::process::Process;

/// What a relay's store may take, where a test does not say.
const STORE: &str = "10GB";

/// What a system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The managing server.
    Server,
    /// A relay system.
    Relay,
    /// A client.
    Client,
}

impl Kind {
    /// The noun on the command line.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Server => "server",
            Kind::Relay => "relay",
            Kind::Client => "client",
        }
    }
}

/// A system that has been set up.
#[derive(Debug)]
pub struct System {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its data folder.
    pub data: PathBuf,
    /// The folder below which it installs.
    pub root: PathBuf,
    /// Where it listens; 0 for a client.
    pub port: u16,
    /// By what name or address it is called.
    pub host: String,
    /// The network it runs in, if it has one of its own.
    pub inside: Option<Namespace>,
    /// Environment it is started with.
    pub environment: Vec<(String, String)>,
    /// Further options it is started with.
    pub options: Vec<String>,
    process: Option<Process>,
}

impl System {
    /// A system whose folder was made; it does not run yet.
    pub fn new(name: &str, kind: Kind, data: &Path, root: &Path, port: u16) -> System {
        System {
            name: name.to_owned(),
            kind,
            data: data.to_owned(),
            root: root.to_owned(),
            port,
            host: "localhost".to_owned(),
            inside: None,
            environment: Vec::new(),
            options: Vec::new(),
            process: None,
        }
    }

    /// Its address, for what is below it.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }

    /// Starts it.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let data = self.data.display().to_string();
        let mut args = vec![self.kind.noun(), "run", "--data", &data];
        args.extend(self.options.iter().map(String::as_str));
        // On a machine whose disk is nearly full a relay would keep nothing, as it should.
        if self.kind == Kind::Relay && !self.options.iter().any(|option| option == "--store") {
            args.extend(["--store", STORE]);
        }
        let start = || Process::start(&args, &self.environment, &self.log());
        self.process = Some(within(self.inside.as_ref(), start));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&mut self) {
        self.process.take().expect("it runs").end();
    }

    /// kill -9, and started again at once.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Its running process.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Its log.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// `client status --json`, if the agent answers.
    pub fn status(&self) -> Option<Value> {
        let ran = self.ask(&["client", "status", "--json"]);
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).expect("status is JSON"))
    }

    /// `client sync`: whatever the higher system has for it has been taken in when this answers.
    pub fn sync(&self) -> Ran {
        self.ask(&["client", "sync"])
    }

    /// A command of a user at this machine.
    pub fn user(&self, words: &[&str]) -> Ran {
        let socket = self.data.join("user.sock").display().to_string();
        let args: Vec<&str> = words.iter().copied().chain(["--socket", &socket]).collect();
        Cli::new(Path::new("/"), None).run(&args)
    }

    fn ask(&self, words: &[&str]) -> Ran {
        let data = self.data.display().to_string();
        let args: Vec<&str> = words.iter().copied().chain(["--data", &data]).collect();
        Cli::new(Path::new("/"), None).run(&args)
    }

    /// A path below its root: `/opt/x` as the system installs it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// Permission bits of a file or folder.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}
