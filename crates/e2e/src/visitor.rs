//! Somebody with a browser: HTTPS as browsers speak it, with the system's authority among those it knows and no certificate
//! of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_wire::pki::CaCert;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser that knows one authority, and keeps the cookie it was given.
pub struct Visitor {
    config: Arc<ClientConfig>,
    port: u16,
    /// `NAME=VALUE`.
    pub cookie: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

/// One event of the page's stream.
#[derive(Debug)]
pub struct Event {
    /// When it came.
    pub at: Instant,
    /// What it is called.
    pub name: String,
    /// What it says.
    pub data: Value,
}

type Wire = BufReader<StreamOwned<ClientConnection, TcpStream>>;

impl Visitor {
    /// Of the system that listens at `port` of this machine; `ca` is its authority's certificate.
    pub fn new(ca: &Path, port: u16) -> Visitor {
        let ca =
            CaCert::from_pem(&std::fs::read_to_string(ca).expect("the authority")).expect("the authority");
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).expect("the authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Visitor { config: Arc::new(config), port, cookie: None }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    /// One request. No redirect is followed.
    pub fn ask(&self, method: &str, path: &str) -> Answer {
        let mut wire = self.send(method, path);
        let (status, headers) = head(&mut wire);
        let mut body = Vec::new();
        // How a connection is closed is of no interest once everything came.
        let _ = wire.read_to_end(&mut body);
        Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// The page's stream.
    pub fn events(&self) -> Events {
        let mut wire = self.send("GET", "/page/events");
        let (status, headers) = head(&mut wire);
        assert_eq!(status, 200, "{headers:?}");
        assert!(headers.iter().any(|(name, value)| name == "content-type" && value == "text/event-stream"));
        Events { wire }
    }

    fn send(&self, method: &str, path: &str) -> Wire {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).expect("the system listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(self.config.clone(), name).expect("TLS");
        let mut stream = StreamOwned::new(tls, tcp);
        let cookie = self.cookie.as_ref().map_or(String::new(), |cookie| format!("Cookie: {cookie}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: 0\r\n{cookie}\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("a request");
        BufReader::new(stream)
    }
}

fn head(wire: &mut Wire) -> (u16, Vec<(String, String)>) {
    let first = line(wire);
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let mut headers = Vec::new();
    loop {
        let line = line(wire);
        let Some((name, value)) = line.split_once(':') else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(wire: &mut Wire) -> String {
    let mut line = String::new();
    wire.read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}

/// A stream of events.
pub struct Events {
    wire: Wire,
}

impl Events {
    /// The next event that comes; comments are passed over.
    ///
    /// # Panics
    /// None comes in time.
    pub fn next_event(&mut self) -> Event {
        loop {
            let text = self.chunk();
            let part = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let Some(name) = part("event:") else { continue };
            let data = part("data:").filter(|data| !data.is_empty());
            let data = data.map_or(Value::Null, |data| serde_json::from_str(data).expect("JSON"));
            return Event { at: Instant::now(), name: name.to_owned(), data };
        }
    }

    /// Each event is a chunk of its own.
    fn chunk(&mut self) -> String {
        let size = line(&mut self.wire);
        let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
        let mut bytes = vec![0; size + 2];
        self.wire.read_exact(&mut bytes).expect("a chunk");
        String::from_utf8_lossy(&bytes[..size]).into_owned()
    }
}
