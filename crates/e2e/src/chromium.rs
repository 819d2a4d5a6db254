//! A real browser, driven by its own driver: `apt-get install chromium chromium-driver`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{ports, wait};

/// How long the driver may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A window of a browser. It closes with its guard.
pub struct Chromium {
    driver: Child,
    port: u16,
    session: String,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The driver ends the browser with the session; a failure shows as a folder that cannot be removed.
            let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Chromium {
    /// An empty window. Certificates of unknown authorities are taken.
    pub fn open(profile: &Path) -> Chromium {
        let port = ports::free();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("apt-get install chromium chromium-driver");
        let mut chromium = Chromium { driver, port, session: String::new() };
        let profile = format!("--user-data-dir={}", profile.display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true, "goog:chromeOptions": {"args": arguments}
        }}});
        let made =
            wait::until("the driver opens a window", 30, || exchange(port, "POST", "/session", &wanted));
        made["sessionId"].as_str().expect("a session").clone_into(&mut chromium.session);
        chromium
    }

    /// Goes to an address.
    pub fn go(&self, url: &str) {
        self.ask("url", &json!({ "url": url }));
    }

    /// Runs a script's function body in the page; answers what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({"script": script, "args": []}))
    }

    fn ask(&self, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{what}", self.session);
        exchange(self.port, "POST", &path, body).unwrap_or_else(|| panic!("the driver did not do: {body}"))
    }
}

/// One request to the driver; `None`: it is not there, or refused.
fn exchange(port: u16, method: &str, path: &str, body: &Value) -> Option<Value> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
    tcp.set_read_timeout(Some(PATIENCE)).ok()?;
    let body = body.to_string();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tcp.write_all(head.as_bytes()).ok()?;
    tcp.write_all(body.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // It may keep the connection open after its answer: the length it gives counts.
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if length.is_some_and(|length| rest.len() >= length) {
                let value: Value = serde_json::from_str(rest).ok()?;
                return head.starts_with("HTTP/1.1 200").then(|| value["value"].clone());
            }
        }
        match tcp.read(&mut piece).ok()? {
            0 => return None,
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
}
