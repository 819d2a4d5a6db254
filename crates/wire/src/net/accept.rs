//! The accept loop: TLS handshakes off the accept path, HTTP/2 and HTTP/1.1 on one port, everything bounded.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::{Service, ServiceExt};

use super::connect::tune;
use super::linger::{Lingering, part};
use super::{Peer, ServerTls};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Limits of one listener.
#[derive(Debug, Clone)]
pub struct AcceptLimits {
    /// How long a TLS handshake may take. 10 s.
    pub handshake_timeout_secs: u64,
    /// How long the head of an HTTP/1.1 request may take, from the end of the one before. 30 s.
    pub header_timeout_secs: u64,
    /// Most connections at a time; further ones are closed at once. 19,500: below what a process may usually open.
    pub max_connections: usize,
    /// Most of these by callers without a certificate. 1,000.
    pub max_anonymous_connections: usize,
    /// How long a caller without a certificate may keep one connection; twice that if a request is going on. 600 s.
    pub anonymous_lifetime_secs: u64,
    /// Most header bytes of one request. 16 KiB.
    pub max_header_bytes: u32,
    /// Most requests at a time on one HTTP/2 connection. 64.
    pub max_streams: u32,
    /// How long requests may go on after shutdown was asked for. 5 s.
    pub shutdown_secs: u64,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            handshake_timeout_secs: 10,
            header_timeout_secs: 30,
            max_connections: 19_500,
            max_anonymous_connections: 1_000,
            anonymous_lifetime_secs: 600,
            max_header_bytes: 16 * 1024,
            max_streams: 64,
            shutdown_secs: 5,
        }
    }
}

/// Accepts connections and passes their requests to clones of `service`, an `axum::Router` for example, until
/// `shutdown` is ready; then lets requests that are going on finish, for a limited time. Every request carries a
/// [`Peer`] in its extensions.
///
/// Errors of single connections are logged and end only those.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: ServerTls,
    service: S,
    limits: AcceptLimits,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (stop, stopped) = watch::channel(());
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let shared = Shared {
        acceptor: TlsAcceptor::from(tls.config()),
        http: Arc::new(http(&limits)),
        anonymous: Arc::new(Semaphore::new(limits.max_anonymous_connections)),
        limits: Arc::new(limits),
        stopped,
    };
    tokio::select! {
        () = accept_all(&listener, &slots, &shared, service) => {}
        () = shutdown => {}
    }
    drop(listener);
    drop(stop);
    all_ended(&slots, &shared.limits).await;
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    acceptor: TlsAcceptor,
    http: Arc<Builder<TokioExecutor>>,
    anonymous: Arc<Semaphore>,
    limits: Arc<AcceptLimits>,
    /// Its sender is dropped at shutdown.
    stopped: watch::Receiver<()>,
}

/// Modest windows and buffers: this side sends small answers to many, and large ones over HTTP/1.1.
fn http(limits: &AcceptLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_timeout_secs))
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024);
    builder
}

async fn accept_all<S, B>(listener: &TcpListener, slots: &Arc<Semaphore>, shared: &Shared, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut pause = Pause::default();
    loop {
        let (tcp, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause.after(&error).await;
                continue;
            }
        };
        pause = Pause::default();
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            tracing::warn!(%addr, limit = shared.limits.max_connections, "too many connections, closing this one");
            continue;
        };
        tokio::spawn(connection(tcp, addr, slot, shared.clone(), service.clone()));
    }
}

/// How long to wait after a failed accept. Out of descriptors, the listener stays ready: without a pause it would spin.
#[derive(Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    async fn after(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        let millis = 50u64 << self.failures.min(4);
        self.failures += 1;
        tracing::warn!(%error, pause_millis = millis, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

async fn connection<S, B>(
    tcp: TcpStream,
    addr: SocketAddr,
    slot: OwnedSemaphorePermit,
    shared: Shared,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    tune(&tcp);
    let Some(stream) = handshake(tcp, addr, &shared).await else {
        return;
    };
    let peer = Peer::of(stream.get_ref().1, addr);
    let anonymous = match peer.identity {
        Some(_) => None,
        None => match Arc::clone(&shared.anonymous).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                tracing::warn!(%addr, "too many connections without a certificate, closing this one");
                return;
            }
        },
    };
    requests(stream, peer, shared, service).await;
    drop((slot, anonymous));
}

/// The TLS handshake; `None` if it failed, which has then been logged.
async fn handshake(tcp: TcpStream, addr: SocketAddr, shared: &Shared) -> Option<TlsStream<TcpStream>> {
    let limit = Duration::from_secs(shared.limits.handshake_timeout_secs);
    let mut stopped = shared.stopped.clone();
    let handshake = timeout(limit, shared.acceptor.accept(tcp).into_fallible());
    let outcome = tokio::select! {
        outcome = handshake => outcome,
        _ = stopped.changed() => return None,
    };
    match outcome {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err((error, tcp))) => {
            tracing::debug!(%addr, %error, "tls handshake failed");
            part(tcp).await;
            None
        }
        Err(_) => {
            tracing::debug!(%addr, "tls handshake took too long");
            None
        }
    }
}

/// Serves one connection to its end.
async fn requests<S, B>(stream: TlsStream<TcpStream>, peer: Peer, mut shared: Shared, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (addr, named) = (peer.addr, peer.identity.is_some());
    let with_peer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        service.clone().oneshot(request)
    });
    let mut connection =
        std::pin::pin!(shared.http.serve_connection(TokioIo::new(Lingering::new(stream)), with_peer));
    let lifetime = Duration::from_secs(shared.limits.anonymous_lifetime_secs);
    let ended = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        _ = shared.stopped.changed() => None,
        () = tokio::time::sleep(lifetime), if !named => None,
    };
    let outcome = match ended {
        Some(outcome) => outcome,
        None => {
            connection.as_mut().graceful_shutdown();
            let last_secs = Duration::from_secs(shared.limits.shutdown_secs);
            tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = stopped_for(&mut shared.stopped, last_secs) => Ok(()),
                () = tokio::time::sleep(lifetime), if !named => Ok(()),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%addr, error, "connection ended");
    }
}

/// Ready once shutdown was asked for and `last` has passed since.
async fn stopped_for(stopped: &mut watch::Receiver<()>, last: Duration) {
    // Nothing is ever sent: it changes only by its sender being dropped, which is an error and says "stop".
    let _ = stopped.changed().await;
    tokio::time::sleep(last).await;
}

/// Waits until every connection has given its slot back. Each ends by itself in time; a little more is allowed for.
async fn all_ended(slots: &Arc<Semaphore>, limits: &AcceptLimits) {
    let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
    let last = Duration::from_secs(limits.shutdown_secs.saturating_add(2));
    if timeout(last, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were still open at the end of shutdown");
    }
}
