//! Making a connection: every address of a name, TCP and TLS, within one limit of time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::with_causes;
use super::target::Target;
use super::{LinkError, tls};
use crate::pki::CertInfo;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// How long one address may keep silent before the next is tried beside it.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// A connection whose TLS handshake is done.
pub(super) struct Connected {
    pub io: Watched,
    pub peer: CertInfo,
    pub chain: Vec<CertificateDer<'static>>,
    pub refusal: RefusalSlot,
}

/// Connects to the first address that completes the handshake. `window`: the bytes that may have come and not been read.
pub(super) async fn connect(
    target: &Target,
    config: &Arc<ClientConfig>,
    limit: Duration,
    window: Option<usize>,
) -> Result<Connected, LinkError> {
    match tokio::time::timeout(limit, any_address(target, config, window)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LinkError::Timeout { url: target.url.clone(), what: "connecting", limit }),
    }
}

async fn any_address(
    target: &Target,
    config: &Arc<ClientConfig>,
    window: Option<usize>,
) -> Result<Connected, LinkError> {
    let found = tokio::net::lookup_host((target.host.as_str(), target.port))
        .await
        .map_err(|error| target.unreachable(format!("its name has no address: {error}")))?;
    let mut waiting = found.take(MAX_ADDRESSES);
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            running.push(one_address(target, config, address, window));
        }
        tokio::select! {
            outcome = running.next() => match outcome {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(failure)) => failures.push(failure),
                None => return Err(all_failed(target, failures)),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER) => {}
        }
    }
}

/// Why one address would not do.
struct Failure {
    address: SocketAddr,
    why: String,
    tls: bool,
}

fn all_failed(target: &Target, failures: Vec<Failure>) -> LinkError {
    // One address that answered with the wrong certificate says more than three that did not answer.
    let tls = failures.iter().any(|failure| failure.tls);
    let told: Vec<_> = failures
        .iter()
        .filter(|failure| failure.tls == tls)
        .map(|failure| format!("{}: {}", failure.address, failure.why))
        .collect();
    let why = if told.is_empty() { "its name has no address".to_owned() } else { told.join("; ") };
    if tls { LinkError::TlsRefused { url: target.url.clone(), why } } else { target.unreachable(why) }
}

async fn one_address(
    target: &Target,
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    window: Option<usize>,
) -> Result<Connected, Failure> {
    let plain = |why: String| Failure { address, why, tls: false };
    let tcp = dialled(address, window).await.map_err(|error| plain(error.to_string()))?;
    tune(&tcp);
    let connector = TlsConnector::from(Arc::clone(config));
    let stream =
        connector.connect(target.server_name.clone(), tcp).await.map_err(|error| {
            match tls_reason(&error) {
                Some(why) => Failure { address, why, tls: true },
                None => plain(format!("tls handshake: {error}")),
            }
        })?;
    let chain: Vec<_> = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let leaf = chain.first().ok_or_else(|| plain("it presented no certificate".into()))?;
    // The verifier has read the same certificate before.
    let peer = CertInfo::from_der(leaf).map_err(|error| plain(error.to_string()))?;
    let refusal = RefusalSlot::default();
    Ok(Connected { io: Watched { stream, refusal: refusal.clone() }, peer, chain, refusal })
}

/// Without a window the kernel opens its own up to megabytes as long as bytes come faster than they are read.
async fn dialled(address: SocketAddr, window: Option<usize>) -> io::Result<TcpStream> {
    let Some(window) = window else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // It counts only if it is set before the handshake tells the peer.
    socket.set_recv_buffer_size(u32::try_from(window).unwrap_or(u32::MAX))?;
    socket.connect(address).await
}

/// Lets the kernel notice a peer that is gone: probes after a minute of silence, and no more than 90 s for bytes sent
/// and not acknowledged. Failing to set these is no reason to refuse a connection.
pub(super) fn tune(tcp: &TcpStream) {
    use rustix::net::sockopt;
    let _ = tcp.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(tcp, true);
    let _ = sockopt::set_tcp_keepidle(tcp, Duration::from_secs(60));
    let _ = sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(10));
    let _ = sockopt::set_tcp_keepcnt(tcp, 3);
    let _ = sockopt::set_tcp_user_timeout(tcp, 90_000);
}

/// The TLS error inside an IO error, in words.
fn tls_reason(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(tls::explain)
}

/// Where a TLS refusal is kept that arrives after the handshake. In TLS 1.3 a caller whose certificate is refused
/// learns so only when it first reads, and the HTTP library passes the reason on as text at best.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusalSlot(Arc<Mutex<Option<String>>>);

impl RefusalSlot {
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: &io::Error) {
        if let Some(why) = tls_reason(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }
}

/// What an error of the HTTP library on this connection means.
pub(super) fn lost(target: &Target, refusal: &RefusalSlot, error: &hyper::Error) -> LinkError {
    if let Some(why) = refusal.get() {
        return LinkError::TlsRefused { url: target.url.clone(), why };
    }
    if error.is_parse() || error.is_parse_status() || error.is_user() {
        return target.protocol(with_causes(error));
    }
    target.unreachable(format!("connection lost: {}", with_causes(error)))
}

/// A TLS stream that remembers why TLS ended it.
pub(super) struct Watched {
    stream: TlsStream<TcpStream>,
    refusal: RefusalSlot,
}

impl Watched {
    /// Whether the peer agreed to this protocol.
    pub fn speaks(&self, alpn: &[u8]) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(alpn)
    }

    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            self.refusal.note(error);
        }
        outcome
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.noted(outcome)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.noted(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.noted(outcome)
    }
}
