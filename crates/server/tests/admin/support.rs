//! A managing server, asked through its router; hosts that joined; a small package.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use packhorse_content::build::build;
use packhorse_domain::facts::Facts;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::ingest::Position;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{Body as ReportBody, LineEvent, LineReport, Report};
use packhorse_server::db::hosts::{self, HostRecord};
use packhorse_server::db::join::Join;
use packhorse_server::db::reports::StoreReports;
use packhorse_server::db::tokens::MakeToken;
use packhorse_server::system::{System, now};
use packhorse_server::{InitOptions, Running, admin, init, start_server};
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::net::Peer;
use packhorse_wire::pki::{CertIdentity, HostKey, Role};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub struct Top {
    pub folder: TempDir,
    pub system: Arc<System>,
    router: Router,
    _running: Running,
}

impl Top {
    pub async fn new() -> Top {
        let folder = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let data = folder.path().join("hq");
        init(&InitOptions { data, listen, name: "localhost".into(), addresses: vec![] }).unwrap();
        Top::start(folder).await
    }

    async fn start(folder: TempDir) -> Top {
        let running = start_server(&folder.path().join("hq")).await.unwrap();
        let system = running.system().clone();
        Top { router: admin::router(system.clone()), system, folder, _running: running }
    }

    pub async fn restart(self) -> Top {
        let Top { folder, _running: running, .. } = self;
        // One folder, one server: it lets go of it first.
        drop(running);
        Top::start(folder).await
    }

    pub async fn send(
        &self,
        role: Option<Role>,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> (StatusCode, Value) {
        let identity = role.map(|role| CertIdentity {
            role,
            id: "00".repeat(16),
            name: "somebody".into(),
            generation: 1,
        });
        let addr = "127.0.0.1:9".parse().unwrap();
        let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        request.extensions_mut().insert(Peer { identity, addr, cert_serial: None, cert_not_after: None });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        self.send(Some(Role::Admin), method, path, body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, body.to_string()).await
    }

    pub async fn done(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn refused(&self, path: &str, body: &Value, status: u16, code: &str) -> String {
        let (found, value) = self.post(path, body).await;
        assert_eq!((found.as_u16(), value["code"].as_str()), (status, Some(code)), "{path} {body}: {value}");
        assert!(value["hint"].is_string(), "{value}");
        value["message"].as_str().unwrap().to_owned()
    }

    /// A host that joined here, or at a relay.
    pub async fn join(&self, name: &str, role: HostRole, higher: Option<&HostRecord>) -> HostRecord {
        let hash = *blake3::hash(name.as_bytes()).as_bytes();
        let at = now();
        let token = MakeToken { hash, role, uses: 1, ends: at.plus_secs(60), replaces: None, now: at };
        self.system.db.write(token).await.unwrap();
        let join = Join {
            authority: self.system.authority().unwrap(),
            capabilities: self.system.capabilities.clone(),
            token: hash,
            role,
            name: name.into(),
            csr_pem: HostKey::generate().unwrap().csr_pem(name).unwrap(),
            addresses: vec![],
            higher: higher.map(|relay| (relay.id, relay.via)),
            now: at,
        };
        self.system.db.write(join).await.unwrap();
        let name = name.to_owned();
        let host = self.system.db.read(move |connection| hosts::by_name(connection, &name)).await.unwrap();
        self.system.reload_directory().await.unwrap();
        host.unwrap()
    }

    /// A host's report about a job's only package, as its direct lower system brings it.
    pub async fn report(&self, host: &HostRecord, no: u64, job: u64, attempt: u32, event: LineEvent) {
        let epoch = self.system.epoch;
        let packages = self.system.db.read(move |connection| {
            let job = packhorse_server::db::jobs::find(connection, "server", job)?.unwrap();
            packhorse_server::db::views::job_packages(connection, Some(job.row))
        });
        let package = packages.await.unwrap().into_values().next().unwrap()[0].id;
        let line =
            LineReport { job: packhorse_domain::ids::JobKey::server(epoch, job), package, attempt, event };
        self.say(host, no, ReportBody::Line(line)).await;
    }

    /// What a host says of itself.
    pub async fn says(&self, host: &HostRecord, no: u64, facts: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let facts = Facts::new(facts.iter().map(own)).unwrap();
        self.say(host, no, ReportBody::Facts(facts)).await;
    }

    /// A host's report, as its direct lower system brings it.
    pub async fn say(&self, host: &HostRecord, no: u64, body: ReportBody) {
        let via = host.via;
        let report = Report { origin: host.id, incarnation: Incarnation(7), no, base: 0, at: now(), body };
        let command = StoreReports {
            position: Position::Top,
            traffic: None,
            lower: via,
            lower_name: "lower".into(),
            // Each batch stands for a life of its own of the sender's outbox.
            incarnation: Incarnation(u64::from_be_bytes(host.id.0[..8].try_into().unwrap()) ^ no),
            server: self.system.incarnation,
            after: 0,
            through: 1,
            here: self.system.here().unwrap(),
            reports: vec![(1, report)],
            now: now(),
        };
        self.system.db.write(command).await.unwrap();
        self.system.lines_changed();
    }

    /// The newest package.
    pub async fn package(&self) -> packhorse_domain::ids::PackageId {
        let labels = self.system.db.read(packhorse_server::db::views::labels).await.unwrap();
        *labels.keys().next().unwrap()
    }

    /// The cabinet `office` with a key, and `office/editor@1.0:1` in it.
    pub async fn with_editor(&self) -> SigningKey {
        let key = SigningKey::generate().unwrap();
        let public = key.public().to_string();
        self.done("/admin/v1/cabinets", &json!({"name": "office", "keys": [public]})).await;
        let package = Package::new(self.folder.path(), "1.0", 1, &key);
        self.add(&package).await;
        key
    }

    pub async fn add(&self, package: &Package) -> Value {
        let upload = self.upload(package).await;
        let path = format!("/admin/v1/uploads/{}", upload["package"].as_str().unwrap());
        let (status, progress) =
            self.ask(Method::POST, &format!("{path}/frames"), package.frames.clone()).await;
        assert_eq!((status, &progress["missing"]), (StatusCode::OK, &json!([])), "{progress}");
        self.done(&format!("{path}/finish?cabinet=office"), &Value::Null).await
    }

    pub async fn upload(&self, package: &Package) -> Value {
        let path = "/admin/v1/uploads?cabinet=office";
        let (status, upload) = self.ask(Method::POST, path, package.envelope.clone()).await;
        assert_eq!(status, StatusCode::OK, "{upload}");
        upload
    }
}

/// Installing `office/editor` at `to`.
pub fn install(to: &[&str]) -> Value {
    json!({
        "job_type": "install", "packages": ["office/editor"], "to": to,
        "at": null, "until": null, "allow_downgrade": false,
    })
}

pub struct Package {
    pub envelope: Vec<u8>,
    pub frames: Vec<u8>,
}

impl Package {
    /// `editor` in a version, with content that follows from `seed`.
    pub fn new(folder: &Path, version: &str, seed: u32, key: &SigningKey) -> Package {
        let source = folder.join(format!("editor-{version}-{seed}"));
        std::fs::create_dir_all(source.join("bin")).unwrap();
        let recipe = format!(
            "[package]\nname = \"editor\"\nversion = \"{version}\"\nkind = \"files\"\nkeep = \"90d\"\n\
             [install]\nto = \"/opt/editor\"\n"
        );
        std::fs::write(source.join("packhorse.toml"), recipe).unwrap();
        let noise: Vec<u8> =
            (0..20_000u32).flat_map(|n| *blake3::hash(&(n ^ seed << 20).to_le_bytes()).as_bytes()).collect();
        std::fs::write(source.join("bin/editor"), noise).unwrap();
        let built = build(&source, folder, |_| {}).unwrap();
        let mut frames = Vec::new();
        built.copy_frames(&mut frames).unwrap();
        Package { envelope: built.sign(&[key]).unwrap().encode().unwrap(), frames }
    }

    /// Where the first frame ends.
    pub fn first_frame(&self) -> usize {
        let length = u32::from_le_bytes(self.frames[7..11].try_into().unwrap());
        packhorse_content::frame::HEADER_BYTES + length as usize
    }
}

/// Puts many hosts below a relay at once: joining is tested elsewhere.
pub struct Many<'a> {
    pub relay: &'a HostRecord,
    pub count: u32,
}

impl Many<'_> {
    pub async fn join(self, top: &Top) -> Vec<String> {
        let names: Vec<String> = (0..self.count).map(|n| format!("{}-{n:05}", self.relay.name)).collect();
        let rows = names.iter().map(|name| {
            (HostId(*blake3::hash(name.as_bytes()).as_bytes().first_chunk().unwrap()), name.clone())
        });
        let command = Insert { relay: self.relay.clone(), hosts: rows.collect() };
        top.system.db.write(command).await.unwrap();
        names
    }
}

struct Insert {
    relay: HostRecord,
    hosts: Vec<(HostId, String)>,
}

impl packhorse_server::db::Command for Insert {
    type Answer = ();

    fn apply(self, tx: &rusqlite::Connection) -> Result<(), packhorse_server::db::DbError> {
        let sql = "INSERT INTO hosts (id, name, role, higher, via, generation, oldest, place, place_revision, joined)
                   VALUES (?1, ?2, 'client', ?3, ?4, 1, 1, x'', 1, ?5)";
        for (id, name) in self.hosts {
            tx.execute(sql, rusqlite::params![id.0, name, self.relay.row, self.relay.via, now().0])?;
        }
        Ok(())
    }
}
