//! The control connection to the higher system: one HTTP/2 connection, made when needed, shared by all requests.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connect::{Connected, RefusalSlot, connect, lost};
use super::request::{MAX_HEAD_BYTES, accepted, build, collect};
use super::target::Target;
use super::tls::{self, H2, HTTP1};
use super::{Identity, LinkError, Pinned, cbor};
use crate::pki::{CaCert, CertIdentity};

/// Largest answer to a [`Link::call`], in bytes: 8 MiB.
pub const CALL_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// How long things may take on a link.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Name lookup, TCP and TLS together. 10 s.
    pub connect_timeout: Duration,
    /// How often an HTTP/2 connection is probed, also when idle. 20 s.
    pub ping_interval: Duration,
    /// How long a probe may remain without an answer before the connection counts as dead. 20 s.
    pub ping_timeout: Duration,
    /// How long a content connection may pass no byte. 60 s.
    pub content_idle_timeout: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            content_idle_timeout: Duration::from_secs(60),
        }
    }
}

/// The link to a higher system. Clones share the connection.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    target: Target,
    pinned: Pinned,
    options: LinkOptions,
    configs: Mutex<Configs>,
    peer: Mutex<Option<KnownPeer>>,
    /// See [`Link::set_content_window`]; 0: the kernel's affair.
    content_window: AtomicUsize,
    /// Held while connecting, so that requests that come meanwhile share the outcome.
    live: tokio::sync::Mutex<Option<Live>>,
}

/// TLS configurations of the identity in use, and how often it was changed.
#[derive(Clone)]
struct Configs {
    control: Arc<ClientConfig>,
    content: Arc<ClientConfig>,
    version: u64,
}

struct KnownPeer {
    identity: CertIdentity,
    ca: Option<CaCert>,
}

#[derive(Clone)]
struct Live {
    sender: SendRequest<Full<Bytes>>,
    refusal: RefusalSlot,
    version: u64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("url", &self.inner.target.url).finish_non_exhaustive()
    }
}

impl Link {
    /// A link to `https://host[:port]`. Nothing is sent until the first request.
    ///
    /// # Errors
    /// [`LinkError::Address`] or [`LinkError::Tls`].
    pub fn new(url: &str, pinned: Pinned, identity: Option<Identity>) -> Result<Self, LinkError> {
        Self::with_options(url, pinned, identity, LinkOptions::default())
    }

    /// As [`Link::new`] with other times.
    ///
    /// # Errors
    /// As [`Link::new`].
    pub fn with_options(
        url: &str,
        pinned: Pinned,
        identity: Option<Identity>,
        options: LinkOptions,
    ) -> Result<Self, LinkError> {
        let target = Target::parse(url)?;
        let configs = Mutex::new(configs(&pinned, identity.as_ref(), 0)?);
        let peer = Mutex::new(None);
        let live = tokio::sync::Mutex::new(None);
        let content_window = AtomicUsize::new(0);
        Ok(Self { inner: Arc::new(Inner { target, pinned, options, configs, peer, content_window, live }) })
    }

    /// The URL as given.
    pub fn url(&self) -> &str {
        &self.inner.target.url
    }

    /// Uses another certificate from the next connection on. The control connection is made anew at the next request;
    /// requests on the old one come to their end.
    ///
    /// # Errors
    /// [`LinkError::Tls`]; the old one then remains in use.
    pub fn set_identity(&self, identity: Option<&Identity>) -> Result<(), LinkError> {
        let mut configs_now = locked(&self.inner.configs);
        *configs_now = configs(&self.inner.pinned, identity, configs_now.version + 1)?;
        Ok(())
    }

    /// How many bytes of content may have come and not been read, on connections that are made from now on; `None`: as many as
    /// the kernel likes, which is megabytes. Whoever reads slowly in order to spare a line says it here: what has come has
    /// crossed the line.
    pub fn set_content_window(&self, bytes: Option<usize>) {
        self.inner.content_window.store(bytes.unwrap_or(0), Ordering::Relaxed);
    }

    /// Makes the control connection if there is none and says who is at the other end.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`], [`LinkError::TlsRefused`], [`LinkError::Timeout`], [`LinkError::Protocol`].
    pub async fn connect(&self) -> Result<CertIdentity, LinkError> {
        self.live().await?;
        self.peer().ok_or_else(|| self.inner.target.protocol("the peer has no identity"))
    }

    /// Who was at the other end of the newest connection.
    pub fn peer(&self) -> Option<CertIdentity> {
        locked(&self.inner.peer).as_ref().map(|peer| peer.identity.clone())
    }

    /// The authority that vouched for it; what a joining host keeps and pins from then on.
    pub fn peer_ca(&self) -> Option<CaCert> {
        locked(&self.inner.peer).as_ref().and_then(|peer| peer.ca.clone())
    }

    /// Sends a request over the control connection; the answer must be a success (2xx).
    ///
    /// `timeout` covers connecting, sending and the whole answer. It is sent twice only if the first was never put on
    /// the wire.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
        limit_bytes: usize,
        timeout: Duration,
    ) -> Result<Bytes, LinkError> {
        let target = &self.inner.target;
        let request = build(target, Version::HTTP_2, method, path, Full::new(body.into()))?;
        self.in_time("the answer", timeout, async {
            let (response, refusal) = self.send(request).await?;
            let response = accepted(target, &refusal, response).await?;
            collect(target, &refusal, response.into_body(), limit_bytes).await
        })
        .await
    }

    /// Posts a CBOR message and reads a CBOR message of at most [`CALL_LIMIT_BYTES`].
    ///
    /// # Errors
    /// Any [`LinkError`]; an answer of another shape is [`LinkError::Protocol`].
    pub async fn call<Req, Resp>(
        &self,
        path: &str,
        request: &Req,
        timeout: Duration,
    ) -> Result<Resp, LinkError>
    where
        Req: Serialize + ?Sized,
        Resp: DeserializeOwned,
    {
        self.call_up_to(CALL_LIMIT_BYTES, path, request, timeout).await
    }

    /// As [`Link::call`], for an answer of at most `limit_bytes`.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn call_up_to<Req, Resp>(
        &self,
        limit_bytes: usize,
        path: &str,
        request: &Req,
        timeout: Duration,
    ) -> Result<Resp, LinkError>
    where
        Req: Serialize + ?Sized,
        Resp: DeserializeOwned,
    {
        let target = &self.inner.target;
        let body = cbor::encode(&request).map_err(|error| target.protocol(format!("own {error}")))?;
        let answer = self.request(Method::POST, path, body, limit_bytes, timeout).await?;
        cbor::decode(&answer).map_err(|error| target.protocol(error.to_string()))
    }

    pub(super) fn target(&self) -> &Target {
        &self.inner.target
    }

    pub(super) fn options(&self) -> &LinkOptions {
        &self.inner.options
    }

    /// A new connection for content, HTTP/1.1.
    pub(super) async fn connect_content(&self) -> Result<Connected, LinkError> {
        let config = locked(&self.inner.configs).content.clone();
        self.dial(&config, HTTP1).await
    }

    /// Fails with a timeout if `work` takes longer than `limit`.
    pub(super) async fn in_time<T>(
        &self,
        what: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, LinkError> {
        match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LinkError::Timeout { url: self.url().to_owned(), what, limit }),
        }
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, RefusalSlot), LinkError> {
        let mut request = request;
        let mut again = true;
        loop {
            let mut live = self.live().await?;
            let mut error = match live.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, live.refusal)),
                Err(error) => error,
            };
            // The request comes back if the connection died before it was sent: typically the higher system was
            // restarted while this side was idle.
            match error.take_message() {
                Some(unsent) if again && live.refusal.get().is_none() => request = unsent,
                _ => return Err(lost(&self.inner.target, &live.refusal, &error.into_error())),
            }
            again = false;
        }
    }

    /// The control connection, made anew if there is none, it is closed, or the identity has changed.
    async fn live(&self) -> Result<Live, LinkError> {
        let mut live = self.inner.live.lock().await;
        let configs = locked(&self.inner.configs).clone();
        if let Some(live) =
            live.as_ref().filter(|live| !live.sender.is_closed() && live.version == configs.version)
        {
            return Ok(live.clone());
        }
        *live = None;
        let made = self.make_live(&configs).await?;
        *live = Some(made.clone());
        Ok(made)
    }

    async fn make_live(&self, configs: &Configs) -> Result<Live, LinkError> {
        let connected = self.dial(&configs.control, H2).await?;
        let options = &self.inner.options;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(options.ping_interval)
            .keep_alive_timeout(options.ping_timeout)
            .keep_alive_while_idle(true)
            .max_header_list_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(connected.io))
            .await
            .map_err(|error| lost(&self.inner.target, &connected.refusal, &error))?;
        // Ends by itself when the peer is gone or the last sender is dropped; requests see the error.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "control connection ended");
            }
        });
        Ok(Live { sender, refusal: connected.refusal, version: configs.version })
    }

    async fn dial(&self, config: &Arc<ClientConfig>, alpn: &[u8]) -> Result<Connected, LinkError> {
        let target = &self.inner.target;
        let window = match self.inner.content_window.load(Ordering::Relaxed) {
            bytes @ 1.. if alpn == HTTP1 => Some(bytes),
            _ => None,
        };
        let connected = connect(target, config, self.inner.options.connect_timeout, window).await?;
        if !connected.io.speaks(alpn) {
            let wanted = String::from_utf8_lossy(alpn);
            return Err(target.protocol(format!("the peer does not speak {wanted}")));
        }
        let known =
            KnownPeer { identity: connected.peer.identity.clone(), ca: self.authority_of(&connected) };
        *locked(&self.inner.peer) = Some(known);
        Ok(connected)
    }

    fn authority_of(&self, connected: &Connected) -> Option<CaCert> {
        match &self.inner.pinned {
            Pinned::Ca { ca, .. } => Some(ca.clone()),
            Pinned::CaFingerprint(fingerprint) => CaCert::from_chain(&connected.chain, fingerprint).ok(),
        }
    }
}

fn configs(pinned: &Pinned, identity: Option<&Identity>, version: u64) -> Result<Configs, LinkError> {
    let control = tls::client_config(pinned, identity, H2)?;
    let content = tls::client_config(pinned, identity, HTTP1)?;
    Ok(Configs { control, content, version })
}

/// What is behind these locks is replaced as a whole, so a panic elsewhere leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
