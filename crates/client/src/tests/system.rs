//! A managing server's keys, a higher system, and a client of it in a temporary folder.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use packhorse_content::build::build;
use packhorse_domain::ids::{HostId, JobKey, PackageLabel};
use packhorse_domain::job::{Clause, HostRole, Intent, Job, JobPackage, JobType, Place, Proof, Round};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};
use packhorse_wire::local::{LocalRequest, LocalResponse, LocalStatus};
use packhorse_wire::messages::{CopyHint, JobOrder, JoinResponse, Order, PROTOCOL};
use packhorse_wire::net::{Identity, ServerTls};
use packhorse_wire::pki::{Ca, CertIdentity, HOST_LIFETIME, HostKey, Role, Usage, new_id};
use packhorse_wire::signed::*;
use packhorse_wire::token::Token;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::higher::{Goods, Higher, PATIENCE};
use crate::{ClientError, IdentitySource, JoinOptions, Joined, RunOptions, ask, join, run};

pub struct System {
    pub ca: Arc<Ca>,
    pub root: SigningKey,
    pub jobs: SigningKey,
    pub packager: SigningKey,
    pub higher: Higher,
    pub url: String,
    pub me: HostId,
    pub relay: HostId,
    pub folder: TempDir,
    trust: Mutex<(TrustDoc, Vec<u8>)>,
}

pub fn sign<T: serde::Serialize>(kind: &str, doc: &T, keys: &[&SigningKey]) -> Vec<u8> {
    Envelope::sign(kind, Bytes::from(to_cbor(doc).unwrap()), keys).unwrap().encode().unwrap()
}

impl System {
    pub async fn start() -> System {
        let keys: [SigningKey; 3] = std::array::from_fn(|_| SigningKey::generate().unwrap());
        let [root, jobs, packager] = keys;
        let root_keys = KeySet::one(root.public());
        let pin = HostId(root_pin(&root_keys)).to_string();
        let ca = Arc::new(Ca::create(&pin, Timestamp::now()).unwrap());
        let server =
            CertIdentity { role: Role::Relay, id: new_id().unwrap(), name: "osaka".into(), generation: 1 };
        let key = HostKey::generate().unwrap();
        let usage = Usage::server("localhost", ([127, 0, 0, 1], 0).into(), &[]);
        let csr = key.csr_pem("osaka").unwrap();
        let chain = ca.issue(&csr, &server, &usage, Timestamp::now(), HOST_LIFETIME).unwrap().chain_pem;
        let tls = ServerTls::new(ca.cert(), &Identity::new(&chain, &key).unwrap()).unwrap();
        let (higher, address) = Higher::start(tls).await;
        let me: HostId = new_id().unwrap().parse().unwrap();
        let doc = TrustDoc {
            v: TRUST_VERSION,
            version: 1,
            issued: 0,
            expires: i64::MAX,
            previous: None,
            root: root_keys,
            jobs: KeySet::one(jobs.public()),
            cabinets: [("main".to_owned(), KeySet::one(packager.public()))].into(),
            revoked: Vec::new(),
        };
        let envelope = sign(TRUST_TYPE, &doc, &[&root]);
        let system = System {
            relay: server.id.parse().unwrap(),
            ca,
            root,
            jobs,
            packager,
            higher,
            url: format!("https://127.0.0.1:{}", address.port()),
            me,
            folder: tempfile::tempdir().unwrap(),
            trust: Mutex::new((doc, envelope)),
        };
        system.let_in();
        system
    }

    /// A joining host called pc1 will be let in.
    pub fn let_in(&self) {
        let (ca, me) = (Arc::clone(&self.ca), self.me);
        let (place, trust) = (self.place(me, 1), self.trust.lock().unwrap().1.clone());
        self.higher.known.lock().unwrap().join = Some(Box::new(move |request| {
            let who =
                CertIdentity { role: Role::Client, id: me.to_string(), name: "pc1".into(), generation: 1 };
            let issued =
                ca.issue(&request.csr_pem, &who, &Usage::Client, Timestamp::now(), HOST_LIFETIME).unwrap();
            JoinResponse {
                v: PROTOCOL,
                host: me.into(),
                chain_pem: issued.chain_pem,
                generation: 1,
                place: place.clone().into(),
                trust: trust.clone().into(),
            }
        }));
    }

    pub fn place(&self, host: HostId, revision: u64) -> Vec<u8> {
        let place = Place { route: vec![self.relay], revision, ..Place::new(host, "pc1", HostRole::Client) };
        sign(PLACE_TYPE, &PlaceDoc::from(&place), &[&self.jobs])
    }

    /// The next trust document, with a change.
    pub fn next_trust(&self, change: impl FnOnce(&mut TrustDoc)) -> Vec<u8> {
        let mut trust = self.trust.lock().unwrap();
        trust.0.previous = Some(Fixed(*blake3::hash(&trust.1).as_bytes()));
        trust.0.version += 1;
        change(&mut trust.0);
        trust.1 = sign(TRUST_TYPE, &trust.0, &[&self.root]);
        trust.1.clone()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn root_folder(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn join_options(&self) -> JoinOptions {
        let token = Token::new(Role::Client, &self.ca.fingerprint(), None).unwrap().to_secret_text();
        JoinOptions {
            data: self.data(),
            url: self.url.clone(),
            token,
            name: "pc1".into(),
            root: Some(self.root_folder()),
        }
    }

    pub async fn join(&self) -> Joined {
        join(&self.join_options()).await.unwrap()
    }

    /// A package of kind files, signed, and to be had at the higher system.
    pub fn package(&self, version: &str, files: &[(&str, &[u8])]) -> JobPackage {
        let recipe = format!(
            "[package]\nname = \"editor\"\nversion = \"{version}\"\nkind = \"files\"\n\n[install]\nto = \"/opt/editor\"\n"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("packhorse.toml"), recipe).unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.package_of(folder.path(), &self.packager)
    }

    pub fn package_of(&self, source: &Path, key: &SigningKey) -> JobPackage {
        let spool = tempfile::tempdir().unwrap();
        let built = build(source, spool.path(), |_| {}).unwrap();
        let envelope = built.sign(&[key]).unwrap().encode().unwrap();
        let manifest = built.manifest();
        let goods = Goods::of(&built, envelope);
        self.higher.known.lock().unwrap().goods.insert(manifest.id().0, goods);
        let label = PackageLabel {
            cabinet: "main".into(),
            name: manifest.name().into(),
            version: manifest.version().into(),
            generation: 1,
        };
        JobPackage { id: manifest.id(), label, keep_until: Time::MAX }
    }

    pub fn job(&self, number: u64, package: &JobPackage) -> Job {
        let created = Time(Timestamp::now().as_microsecond() - 1_000_000);
        Job {
            key: JobKey::server(1, number),
            revision: 1,
            job_type: JobType::Install,
            created,
            packages: vec![package.clone()],
            rounds: vec![Round {
                attempt: 1,
                ordered: Time(created.0 + number as i64),
                to: vec![Clause::All { relays: false }],
            }],
            at: None,
            until: created.plus_days(90),
            allow_downgrade: false,
            intent: Intent::Open,
            terms: packhorse_domain::job::Terms::default(),
        }
    }

    pub fn order(&self, job: &Job) {
        self.order_by(job, &self.jobs, &[]);
    }

    pub fn order_by(&self, job: &Job, key: &SigningKey, proofs: &[Proof]) {
        let copy = |package: &JobPackage| CopyHint {
            package: package.id.into(),
            size_bytes: 0,
            capability: b"capability".to_vec().into(),
        };
        self.higher.order(&Order::Job(JobOrder {
            job: sign(JOB_TYPE, &JobDoc::from(job), &[key]).into(),
            proofs: proofs.iter().map(Into::into).collect(),
            named: Vec::new(),
            ended: Vec::new(),
            copies: job.packages.iter().map(copy).collect(),
        }));
    }

    pub fn agent(&self) -> Running {
        let (stop, stopped) = oneshot::channel();
        let options = RunOptions { data: self.data(), socket: None, identity: IdentitySource::Own };
        let task = tokio::spawn(run(options, async {
            let _ = stopped.await;
        }));
        Running { stop, task, socket: self.data().join("user.sock") }
    }

    pub fn installed(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root_folder().join("opt/editor").join(path)).ok()
    }

    /// Left over: staging folders beside the destination.
    pub fn left_over(&self) -> Vec<String> {
        let Ok(found) = fs::read_dir(self.root_folder().join("opt")) else { return Vec::new() };
        let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).collect()
    }
}

pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ClientError>>,
    socket: PathBuf,
}

impl Running {
    pub async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Its own end.
    pub async fn outcome(self) -> Result<(), ClientError> {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }

    /// Ends it as a kill would: nothing of it goes on.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }

    pub async fn ask(&self, request: LocalRequest) -> LocalResponse {
        // It listens as soon as it is there at all.
        for _ in 0..1000 {
            let (socket, request) = (self.socket.clone(), request.clone());
            let asked = tokio::task::spawn_blocking(move || ask(&socket, &request)).await.unwrap();
            match asked {
                Err(ClientError::NoAgent { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                other => return other.unwrap(),
            }
        }
        panic!("nobody listens at {}", self.socket.display());
    }

    pub async fn status(&self) -> LocalStatus {
        match self.ask(LocalRequest::Status).await {
            LocalResponse::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until something holds that nobody tells of.
pub async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}
