//! Content: large bodies, each over an HTTP/1.1 connection of its own, so that they never hold up control messages.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::http::HeaderValue;
use hyper::{Method, Request, Version};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use super::connect::{RefusalSlot, lost};
use super::request::{MAX_HEADERS, accepted, build, collect};
use super::target::Target;
use super::{Link, LinkError};

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// The body of an answer while it arrives. Ends with an error if it is cut short or stands still; the caller bounds
/// how much it takes. Dropping it closes its connection.
pub struct ContentStream {
    status: u16,
    headers: HeaderMap,
    body: Incoming,
    target: Target,
    refusal: RefusalSlot,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    ended: bool,
}

impl fmt::Debug for ContentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentStream").field("status", &self.status).finish_non_exhaustive()
    }
}

impl ContentStream {
    /// The HTTP status: a success, such as 200 or 206.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header fields of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How many bytes are still to come, if the peer said.
    pub fn remaining_bytes(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    fn end(&mut self, error: LinkError) -> Poll<Option<Result<Bytes, LinkError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }

    fn stood_still(&self) -> LinkError {
        let (url, limit) = (self.target.url.clone(), self.idle_timeout);
        LinkError::Timeout { url, what: "the next bytes", limit }
    }
}

impl Stream for ContentStream {
    type Item = Result<Bytes, LinkError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                ready!(this.idle.as_mut().poll(cx));
                let error = this.stood_still();
                return this.end(error);
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    let error = lost(&this.target, &this.refusal, &error);
                    return this.end(error);
                }
                Some(Ok(Ok(bytes))) => {
                    this.idle.as_mut().reset(Instant::now() + this.idle_timeout);
                    return Poll::Ready(Some(Ok(bytes)));
                }
                // Trailers: nothing of ours.
                Some(Ok(Err(_))) => {}
            }
        }
    }
}

impl Link {
    /// Sends a small request over a new HTTP/1.1 connection and hands the answer on as it arrives. A refusal is an
    /// error.
    ///
    /// # Errors
    /// Any [`LinkError`] but [`LinkError::TooLarge`]; while streaming also when no byte comes for
    /// [`LinkOptions::content_idle_timeout`](super::LinkOptions).
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<ContentStream, LinkError> {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        let request = build(self.target(), Version::HTTP_11, method, path, body)?;
        let (sender, refusal) = self.content_connection().await?;
        let idle_timeout = self.options().content_idle_timeout;
        let response =
            self.in_time("the answer", idle_timeout, send(self.target(), &refusal, sender, request)).await?;
        let (parts, body) = response.into_parts();
        Ok(ContentStream {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            target: self.target().clone(),
            refusal,
            idle_timeout,
            idle: Box::pin(tokio::time::sleep(idle_timeout)),
            ended: false,
        })
    }

    /// Sends a body as it is read from `source` over a new HTTP/1.1 connection; answers with the peer's answer of at
    /// most `limit_bytes`. `length_bytes` is announced if given.
    ///
    /// # Errors
    /// Any [`LinkError`]; [`LinkError::Source`] when `source` fails; [`LinkError::Timeout`] when nothing was taken from
    /// `source` for [`LinkOptions::content_idle_timeout`](super::LinkOptions).
    pub async fn upload<S>(
        &self,
        method: Method,
        path: &str,
        source: S,
        length_bytes: Option<u64>,
        limit_bytes: usize,
    ) -> Result<Bytes, LinkError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let progress = Progress::default();
        let body = progress.watch(source);
        let mut request = build(self.target(), Version::HTTP_11, method, path, body)?;
        if let Some(length_bytes) = length_bytes {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length_bytes));
        }
        let (sender, refusal) = self.content_connection().await?;
        let limit = self.options().content_idle_timeout;
        let outcome = tokio::select! {
            outcome = self.exchange(&refusal, sender, request, limit_bytes) => outcome,
            () = progress.stands_still(limit) => {
                Err(LinkError::Timeout { url: self.url().to_owned(), what: "sending the next bytes", limit })
            }
        };
        match progress.source_error() {
            Some(why) if outcome.is_err() => Err(LinkError::Source { url: self.url().to_owned(), why }),
            _ => outcome,
        }
    }

    async fn exchange(
        &self,
        refusal: &RefusalSlot,
        sender: SendRequest<AnyBody>,
        request: Request<AnyBody>,
        limit_bytes: usize,
    ) -> Result<Bytes, LinkError> {
        let response = send(self.target(), refusal, sender, request).await?;
        collect(self.target(), refusal, response.into_body(), limit_bytes).await
    }

    async fn content_connection(&self) -> Result<(SendRequest<AnyBody>, RefusalSlot), LinkError> {
        let connected = self.connect_content().await?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(connected.io))
            .await
            .map_err(|error| lost(self.target(), &connected.refusal, &error))?;
        // Ends when the answer is read or dropped; whoever waits for it sees the error.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "content connection ended");
            }
        });
        Ok((sender, connected.refusal))
    }
}

async fn send(
    target: &Target,
    refusal: &RefusalSlot,
    mut sender: SendRequest<AnyBody>,
    request: Request<AnyBody>,
) -> Result<hyper::Response<Incoming>, LinkError> {
    let response = sender.send_request(request).await.map_err(|error| lost(target, refusal, &error))?;
    accepted(target, refusal, response).await
}

/// How an upload goes: when bytes were last taken from its source, and what the source said if it failed.
#[derive(Clone)]
struct Progress {
    state: Arc<Mutex<(Instant, Option<String>)>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { state: Arc::new(Mutex::new((Instant::now(), None))) }
    }
}

impl Progress {
    fn watch(&self, source: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> AnyBody {
        let progress = self.clone();
        let frames = source.map(move |piece| {
            progress.note(piece.as_ref().err());
            piece.map(Frame::data)
        });
        StreamBody::new(frames).boxed_unsync()
    }

    fn note(&self, error: Option<&io::Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Instant::now();
        state.1 = error.map(ToString::to_string);
    }

    fn source_error(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Returns once nothing was taken for `limit`.
    async fn stands_still(&self, limit: Duration) {
        loop {
            let deadline = self.state.lock().unwrap_or_else(PoisonError::into_inner).0 + limit;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}
