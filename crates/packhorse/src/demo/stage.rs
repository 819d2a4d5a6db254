//! The demo's folder, ports and processes, and the command line as the demo itself uses it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::cast::{self, Client, Relay};
use super::narrator::Narrator;
use super::processes::Processes;
use crate::api::Api;
use crate::failure::{Failure, Outcome};
use crate::say;

/// What a relay's store may take: on a machine whose disk is nearly full a relay would keep nothing, as it should.
const STORE: &str = "1GB";

/// How long one thing may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something that cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Slows the content a relay sends, so that a copy lasts long enough to be cut in the middle.
const THROTTLE: &str = "PACKHORSE_SEND_BYTES_PER_SEC";

/// Where the demo plays.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    ports: Vec<(&'static str, SocketAddr)>,
    processes: Processes,
    /// Bytes a second that osaka sends at most.
    pub osaka_bytes_per_sec: u64,
}

impl Stage {
    /// A stage in an empty folder.
    ///
    /// # Errors
    /// No free ports.
    pub fn new(folder: PathBuf) -> Outcome<Stage> {
        let names = std::iter::once(cast::SERVER).chain(cast::RELAYS.iter().map(|relay| relay.name));
        // All are held at once, so that no two are the same; each is free again when its system takes it.
        let held: Vec<(&str, TcpListener)> = names
            .map(|name| Ok((name, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)))
            .collect::<Outcome<_>>()?;
        let ports =
            held.iter().map(|(name, held)| Ok((*name, held.local_addr()?))).collect::<Outcome<_>>()?;
        Ok(Stage { folder, ports, processes: Processes::default(), osaka_bytes_per_sec: u64::MAX })
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A path in the folder, as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The folder below which a client installs.
    pub fn root(&self, client: Client) -> PathBuf {
        self.path(&format!("{}-root", client.name))
    }

    /// Where a system listens.
    pub fn listen(&self, name: &str) -> String {
        self.address(name).to_string()
    }

    fn address(&self, name: &str) -> SocketAddr {
        let found = self.ports.iter().find(|(system, _)| *system == name);
        found.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |(_, address)| *address)
    }

    /// A system's URL.
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}", self.address(name).port())
    }

    /// The administrator's access file.
    pub fn access(&self) -> PathBuf {
        self.path(cast::SERVER).join("admin.toml")
    }

    /// The administrator's API.
    ///
    /// # Errors
    /// There is no access file yet.
    pub fn api(&self) -> Outcome<Api> {
        Api::of_file(&self.access())
    }

    /// Runs a command of this same program to its end; answers what it printed.
    ///
    /// # Errors
    /// It failed; what it said.
    pub async fn command(&self, args: &[&str]) -> Outcome<String> {
        let output = tokio::process::Command::new(std::env::current_exe()?)
            .args(args)
            .env("PACKHORSE_CONTEXT", self.access())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let words: Vec<&str> = args.iter().copied().take(2).collect();
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', ", ");
        Err(Failure::new(format!("packhorse {}: {said}", words.join(" "))))
    }

    /// Starts the server.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_server(&mut self) -> Outcome {
        let data = self.arg(cast::SERVER);
        self.start(cast::SERVER, &["server", "run", "--data", &data], &[])
    }

    /// Starts a relay.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_relay(&mut self, relay: Relay) -> Outcome {
        let data = self.arg(relay.name);
        let slow = [(THROTTLE, self.osaka_bytes_per_sec.to_string())];
        let env: &[(&str, String)] = if relay == cast::OSAKA { &slow } else { &[] };
        self.start(relay.name, &["relay", "run", "--data", &data, "--store", STORE], env)
    }

    /// Starts a client.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_client(&mut self, client: Client) -> Outcome {
        let data = self.arg(client.name);
        self.start(client.name, &["client", "run", "--data", &data], &[])
    }

    fn start(&mut self, name: &str, args: &[&str], env: &[(&str, String)]) -> Outcome {
        let log = self.path(&format!("{name}.log"));
        self.processes.start(name, args, &log, env)
    }

    /// kill -9
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, name: &str) -> Outcome {
        self.processes.kill(name)
    }

    /// Looks again and again until `look` finds what is waited for. Meanwhile `look` may tell how it goes.
    ///
    /// # Errors
    /// It did not come, or a process ended by itself.
    pub async fn until<T>(
        &mut self,
        what: &str,
        narrator: &Narrator,
        mut look: impl AsyncFnMut(&Stage) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let started = Instant::now();
        narrator.progress(what);
        let mut last = None;
        while started.elapsed() < PATIENCE {
            self.processes.check()?;
            match look(self).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // A system that starts cannot be reached yet.
                Err(failure) => last = Some(failure),
            }
            tokio::time::sleep(LOOK).await;
        }
        let last = last.map_or(String::new(), |failure| format!(": {}", failure.message()));
        Err(Failure::new(format!("{what}: not within {} s{last}", PATIENCE.as_secs())))
    }

    /// Says what went wrong.
    pub fn explain_failure(&mut self, failure: &Failure) {
        if let Err(ended) = self.processes.check()
            && ended.message() != failure.message()
        {
            say::error(ended.message());
        }
    }

    /// Ends all processes.
    pub async fn end(&mut self) {
        self.processes.end().await;
    }
}

/// Bytes of all files in a folder; what vanishes meanwhile counts nothing.
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(one).sum()
}
