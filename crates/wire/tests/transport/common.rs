//! An authority, hosts with certificates, and a small service behind the real accept loop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, response::IntoResponse};
use futures_util::stream;
use jiff::Timestamp;
use packhorse_wire::net::{
    AcceptLimits, Expect, Identity, Link, LinkOptions, Peer, Pinned, Refusal, ServerTls, cbor, serve,
};
use packhorse_wire::pki::{Ca, CertIdentity, HOST_LIFETIME, HostKey, Role, Usage, new_id};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough never to pass by accident, short enough for a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn now() -> Timestamp {
    Timestamp::now()
}

pub fn days_ago(days: u64) -> Timestamp {
    now() - Duration::from_secs(days * 86_400)
}

pub fn ca() -> Ca {
    Ca::create("test", now()).unwrap()
}

pub struct Host {
    pub identity: CertIdentity,
    pub key: HostKey,
    pub chain_pem: String,
}

impl Host {
    pub fn new(ca: &Ca, role: Role, name: &str) -> Self {
        Self::valid_from(ca, role, name, now())
    }

    pub fn valid_from(ca: &Ca, role: Role, name: &str, not_before: Timestamp) -> Self {
        let identity = CertIdentity { role, id: new_id().unwrap(), name: name.into(), generation: 1 };
        Self::issued(ca, identity, not_before)
    }

    pub fn issued(ca: &Ca, identity: CertIdentity, not_before: Timestamp) -> Self {
        let key = HostKey::generate().unwrap();
        let csr = key.csr_pem(&identity.name).unwrap();
        let issued = ca.issue(&csr, &identity, &usage(identity.role), not_before, HOST_LIFETIME).unwrap();
        Self { identity, key, chain_pem: issued.chain_pem }
    }

    pub fn tls(&self) -> Identity {
        Identity::new(&self.chain_pem, &self.key).unwrap()
    }
}

pub fn usage(role: Role) -> Usage {
    match role.listens() {
        true => Usage::server("localhost", SocketAddr::from(([127, 0, 0, 1], 0)), &[]),
        false => Usage::Client,
    }
}

pub struct Server {
    pub addr: SocketAddr,
    pub tls: ServerTls,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(ca: &Ca, host: &Host) -> Self {
        Self::start_at(ca, host, SocketAddr::from(([127, 0, 0, 1], 0)), AcceptLimits::default()).await
    }

    pub async fn start_at(ca: &Ca, host: &Host, addr: SocketAddr, limits: AcceptLimits) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tls = ServerTls::new(ca.cert(), &host.tls()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, tls.clone(), service(), limits, async {
            let _ = stopped.await;
        });
        Self { addr, tls, stop, task: tokio::spawn(serving) }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

pub fn any_higher(ca: &Ca) -> Pinned {
    Pinned::Ca { ca: ca.cert().clone(), expect: Expect::any_higher() }
}

pub fn link(server: &Server, pinned: Pinned, host: Option<&Host>) -> Link {
    Link::new(&server.url(), pinned, host.map(Host::tls)).unwrap()
}

/// Times so short that a test which waits for one of them is quick.
pub fn impatient() -> LinkOptions {
    let short = Duration::from_millis(300);
    LinkOptions {
        connect_timeout: short,
        ping_interval: short,
        ping_timeout: short,
        content_idle_timeout: short,
    }
}

fn service() -> Router {
    Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/who", get(who).post(who))
        .route("/never", get(std::future::pending::<StatusCode>))
        .route("/refuse", post(refuse))
        .route("/endless", get(async || Body::from_stream(stream::repeat(piece()))))
        .route("/drip", get(async || Body::from_stream(stream::unfold(0, drip))))
        .route(
            "/broken",
            get(async || Body::from_stream(stream::iter([piece().map_err(never), Err(lost())]))),
        )
        .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024))
}

async fn who(Extension(peer): Extension<Peer>) -> String {
    assert_eq!(peer.identity.is_some(), peer.cert_serial.is_some());
    peer.identity.map_or_else(|| "anonymous".into(), |identity| identity.to_uri())
}

async fn refuse() -> impl IntoResponse {
    let refusal =
        Refusal::new("name_taken", "the name osaka is taken").with_hint("token new --replace osaka");
    (StatusCode::CONFLICT, cbor::encode(&refusal).unwrap())
}

fn piece() -> Result<Bytes, Infallible> {
    Ok(Bytes::from_static(&[7; 16 * 1024]))
}

fn never(never: Infallible) -> std::io::Error {
    match never {}
}

fn lost() -> std::io::Error {
    std::io::Error::other("disk lost")
}

/// One piece, and then nothing, ever.
async fn drip(sent: u32) -> Option<(Result<Bytes, Infallible>, u32)> {
    if sent > 0 {
        std::future::pending::<()>().await;
    }
    Some((piece(), sent + 1))
}
