//! Its upper side: what lower systems ask, over the same TLS and the same paths as a real relay's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use packhorse_domain::ids::HostId;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{
    FEED, FRAMES, FeedRequest, FeedResponse, FramesRequest, JOIN, JOIN_BELOW, JoinBelowRequest, JoinRequest,
    JoinResponse, MANIFEST, ManifestRequest, Order, OrderMsg, PROTOCOL, REPORTS, ReportsRequest,
    ReportsResponse,
};
use packhorse_wire::net::{Peer, cbor};
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::time::Instant;
use tower::Service;

use super::content::{self, Body};
use super::relay::Inner;
use super::{Behaviour, orders};

type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// How far ahead of the time a liar is, in microseconds: a year.
const AHEAD: i64 = 365 * 86_400_000_000;
const JOIN_PATIENCE: Duration = Duration::from_secs(30);

/// The service.
pub(super) fn service(
    inner: Arc<Inner>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<AnyBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<AnyBody>, Infallible>> + Send,
> + Clone
+ Send
+ 'static {
    tower::service_fn(move |request: Request<Incoming>| {
        let inner = inner.clone();
        async move { Ok(answer(&inner, request).await.unwrap_or_else(|error| failed(&error))) }
    })
}

async fn answer(inner: &Arc<Inner>, request: Request<Incoming>) -> Result<Response<AnyBody>> {
    let path = request.uri().path().to_owned();
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.identity.clone());
    let body = request.into_body().collect().await?.to_bytes();
    if path == JOIN {
        return message(&join(inner, cbor::decode(&body)?).await?);
    }
    let host: HostId = peer.context("a certificate is needed")?.id.parse()?;
    match path.as_str() {
        FEED => feed(inner, host, cbor::decode(&body)?).await,
        REPORTS => message(&reports(inner, cbor::decode(&body)?)),
        MANIFEST => {
            let request: ManifestRequest = cbor::decode(&body)?;
            let content = content::of(inner, request.package).await?;
            let other = other_package(inner, &request).await;
            Ok(streamed(content::manifest(inner, &content, other.as_deref(), request.offset)))
        }
        FRAMES => {
            let request: FramesRequest = cbor::decode(&body)?;
            let content = content::of(inner, request.package).await?;
            Ok(streamed(content::frames(inner, &content, &request.ranges)))
        }
        _ => bail!("not here: {path}"),
    }
}

/// Some other package that is here.
async fn other_package(inner: &Inner, request: &ManifestRequest) -> Option<Arc<content::Content>> {
    let state = inner.state();
    state.content.iter().find(|(package, _)| **package != request.package).map(|(_, other)| other.clone())
}

async fn join(inner: &Inner, request: JoinRequest) -> Result<JoinResponse> {
    let passed = JoinBelowRequest { request, higher: Fixed(inner.identity.id.0) };
    let mut response: JoinResponse = inner.link.call(JOIN_BELOW, &passed, JOIN_PATIENCE).await?;
    inner.change(|state| {
        state.learn(response.place.to_vec());
        if state.behaviour == Behaviour::InventsTrust {
            state.deeds += 1;
            response.trust = inner.forge.trust(&state.first_trust);
        }
    });
    Ok(response)
}

fn reports(inner: &Inner, request: ReportsRequest) -> ReportsResponse {
    inner.change(|state| {
        if state.behaviour.swallows_reports() {
            state.deeds += request.reports.len() as u64;
        } else {
            // Whatever comes is kept, however often it comes: the server knows repeats.
            state.outbox.extend(request.reports.into_iter().map(|(_, report)| report));
        }
        ReportsResponse { v: PROTOCOL, stored: request.through, server: state.server, higher: state.life }
    })
}

async fn feed(inner: &Inner, host: HostId, request: FeedRequest) -> Result<Response<AnyBody>> {
    inner.state().lives.insert(host, request.incarnation);
    let until = Instant::now() + Duration::from_secs(request.hold_secs.into());
    let mut news = inner.news.subscribe();
    loop {
        news.mark_unchanged();
        let behaviour = inner.state().behaviour;
        if behaviour == Behaviour::GarblesOrders {
            inner.did();
            return Ok(plain(Bytes::from_static(b"\xa1\x61not what you asked for")));
        }
        if behaviour != Behaviour::StallsOrders {
            let response = next(inner, host, &request);
            let skips = behaviour == Behaviour::SkipsOrders;
            if !response.orders.is_empty() || skips || Instant::now() >= until {
                return message(&response);
            }
        } else if inner.state().deeds == 0 {
            inner.did();
        }
        let _ = tokio::time::timeout_at(until.max(Instant::now() + STALL), news.changed()).await;
    }
}

/// A held request is looked at again this often at least.
const STALL: Duration = Duration::from_millis(200);

/// What there is for a host after what it has.
fn next(inner: &Inner, host: HostId, request: &FeedRequest) -> FeedResponse {
    let mut state = inner.state();
    let now = clock();
    let (all, lied) = orders::of_host(&state, &host, &inner.forge, now);
    let have = request.cursor.filter(|cursor| cursor.incarnation == state.feed).map_or(0, |cursor| cursor.n);
    let orders = numbered(&all, have);
    let behaviour = state.behaviour;
    let shows = match behaviour {
        Behaviour::SkipsOrders | Behaviour::LiesAboutTime | Behaviour::SendsAbsurdNumbers => true,
        Behaviour::DropsJobs => lied,
        _ => lied && !orders.is_empty(),
    };
    state.deeds += u64::from(shows);
    let honest = FeedResponse {
        v: PROTOCOL,
        now,
        server: state.server,
        higher: state.life,
        feed: state.feed,
        after: have,
        orders,
        more: false,
    };
    match behaviour {
        Behaviour::SkipsOrders => FeedResponse { after: have + 1_000, orders: Vec::new(), ..honest },
        Behaviour::LiesAboutTime => FeedResponse { now: now + AHEAD, ..honest },
        Behaviour::SendsAbsurdNumbers => absurd(honest),
        _ => honest,
    }
}

/// The last order, under the highest number there is, out of lives and times that cannot be.
fn absurd(mut honest: FeedResponse) -> FeedResponse {
    let last = honest.orders.pop().map(|order| OrderMsg { n: u64::MAX, ..order });
    let orders: Vec<OrderMsg> = last.into_iter().collect();
    FeedResponse { now: i64::MAX, server: u64::MAX, higher: u64::MAX, feed: u64::MAX, orders, ..honest }
}

/// What comes after number `have`.
fn numbered(orders: &[Order], have: u64) -> Vec<OrderMsg> {
    let numbered = orders.iter().zip(1u64..).filter(|(_, n)| *n > have);
    numbered
        .map(|(order, n)| {
            let (kind, body) = order.encode().expect("an order");
            OrderMsg { n, kind: kind.to_owned(), body: ByteBuf::from(body) }
        })
        .collect()
}

fn clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 290000")
}

fn message<T: Serialize>(answer: &T) -> Result<Response<AnyBody>> {
    Ok(plain(cbor::encode(answer)?.into()))
}

fn plain(bytes: Bytes) -> Response<AnyBody> {
    Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

fn streamed(body: Body) -> Response<AnyBody> {
    Response::new(StreamBody::new(body.map(|piece| piece.map(Frame::data))).boxed_unsync())
}

/// Whatever went wrong: asked again, it may go well.
fn failed(error: &anyhow::Error) -> Response<AnyBody> {
    let mut response = plain(Bytes::from(format!("{error:#}")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
