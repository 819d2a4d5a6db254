//! A higher system in a few lines: it hands out what a test gives it, and keeps what it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use packhorse_content::frame::{FrameHeader, HEADER_BYTES};
use packhorse_domain::outbox::{Accept, accept};
use packhorse_wire::messages::*;
use packhorse_wire::net::{AcceptLimits, Refusal, ServerTls, cbor, serve};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Long enough never to pass by accident, short enough for a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A package as it is handed out.
#[derive(Clone)]
pub struct Goods {
    pub envelope: Vec<u8>,
    /// Header and body of each chunk.
    pub frames: Vec<Vec<u8>>,
}

impl Goods {
    pub fn of(built: &packhorse_content::build::Built, envelope: Vec<u8>) -> Goods {
        let mut all = Vec::new();
        built.copy_frames(&mut all).unwrap();
        let mut frames = Vec::new();
        let mut rest = &all[..];
        while let Some(head) = rest.first_chunk::<HEADER_BYTES>() {
            let len = HEADER_BYTES + FrameHeader::parse(head).unwrap().wire_len as usize;
            frames.push(rest[..len].to_vec());
            rest = &rest[len..];
        }
        Goods { envelope, frames }
    }
}

/// What a test answers a request with; `None`: it is refused.
type Answer<Asked, Said> = Option<Box<dyn Fn(Asked) -> Said + Send>>;

/// What it knows.
pub struct Known {
    pub orders: Vec<OrderMsg>,
    pub reports: Vec<ReportMsg>,
    pub stored: u64,
    pub server: u64,
    pub goods: HashMap<[u8; 32], Goods>,
    /// Progress told.
    pub progress: Vec<Progress>,
    /// Chunks handed out.
    pub chunks: usize,
    /// Reports are refused for now.
    pub deaf: bool,
    /// Content is refused for now.
    pub empty: bool,
    /// Feeds are refused with this word.
    pub refuse: Option<&'static str>,
    pub join: Answer<JoinRequest, JoinResponse>,
    pub renewal: Answer<RenewRequest, RenewResponse>,
}

/// The running system.
#[derive(Clone)]
pub struct Higher {
    pub known: Arc<Mutex<Known>>,
    pub news: Arc<Notify>,
    heard: Arc<Notify>,
}

impl Higher {
    pub async fn start(tls: ServerTls) -> (Higher, SocketAddr) {
        let known = Known {
            orders: Vec::new(),
            reports: Vec::new(),
            stored: 0,
            server: 1,
            goods: HashMap::new(),
            progress: Vec::new(),
            chunks: 0,
            deaf: false,
            empty: false,
            refuse: None,
            join: None,
            renewal: None,
        };
        let higher = Higher {
            known: Arc::new(Mutex::new(known)),
            news: Arc::new(Notify::new()),
            heard: Arc::new(Notify::new()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route(FEED, post(feed))
            .route(REPORTS, post(reports))
            .route(MANIFEST, post(manifest))
            .route(FRAMES, post(frames))
            .route(JOIN, post(join))
            .route(RENEW, post(renew))
            .with_state(higher.clone());
        tokio::spawn(serve(listener, tls, router, AcceptLimits::default(), std::future::pending()));
        (higher, address)
    }

    pub fn order(&self, order: &Order) {
        let (kind, body) = order.encode().unwrap();
        self.order_raw(kind, body);
    }

    pub fn order_raw(&self, kind: &str, body: Vec<u8>) {
        let mut known = self.known.lock().unwrap();
        let n = known.orders.len() as u64 + 1;
        known.orders.push(OrderMsg { n, kind: kind.into(), body: body.into() });
        self.news.notify_waiters();
    }

    /// Waits until what it was told holds what the test wants.
    pub async fn until<T>(&self, want: impl Fn(&Known) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let mut heard = std::pin::pin!(self.heard.notified());
                heard.as_mut().enable();
                if let Some(found) = want(&self.known.lock().unwrap()) {
                    return found;
                }
                heard.await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("it did not come; reports: {:#?}", self.known.lock().unwrap().reports),
        }
    }

    /// The end of a job's only package: its word, the whole outcome.
    pub async fn end(&self, number: u64) -> OutcomeMsg {
        self.until(|known| known.ends(number).pop()).await
    }
}

impl Known {
    /// All events of a job.
    pub fn events(&self, wanted: u64) -> Vec<EventMsg> {
        let of_job = |report: &ReportMsg| match &report.body {
            BodyMsg::Line { job, event, .. } if job.number == wanted => Some(event.clone()),
            _ => None,
        };
        self.reports.iter().filter_map(of_job).collect()
    }

    pub fn ends(&self, number: u64) -> Vec<OutcomeMsg> {
        let end = |event| if let EventMsg::Ended(outcome) = event { Some(outcome) } else { None };
        self.events(number).into_iter().filter_map(end).collect()
    }

    pub fn alarms(&self) -> Vec<String> {
        let alarm = |report: &ReportMsg| match &report.body {
            BodyMsg::Alarm { code, .. } => Some(code.clone()),
            _ => None,
        };
        self.reports.iter().filter_map(alarm).collect()
    }
}

fn answer<T: serde::Serialize>(message: &T) -> Response {
    cbor::encode(message).unwrap().into_response()
}

fn refusal(status: StatusCode, code: &str) -> Response {
    (status, cbor::encode(&Refusal::new(code, format!("refused: {code}"))).unwrap()).into_response()
}

async fn feed(State(higher): State<Higher>, body: Bytes) -> Response {
    let request: FeedRequest = cbor::decode(&body).unwrap();
    let after = request.cursor.map_or(0, |cursor| cursor.n);
    let hold = tokio::time::sleep(Duration::from_secs(request.hold_secs.into()));
    let mut hold = std::pin::pin!(hold);
    loop {
        let mut news = std::pin::pin!(higher.news.notified());
        news.as_mut().enable();
        {
            let known = higher.known.lock().unwrap();
            if let Some(code) = known.refuse {
                return refusal(StatusCode::CONFLICT, code);
            }
            let orders: Vec<OrderMsg> =
                known.orders.iter().filter(|order| order.n > after).cloned().collect();
            if !orders.is_empty() || hold.is_elapsed() || request.hold_secs == 0 {
                let now = jiff::Timestamp::now().as_microsecond();
                let (server, higher) = (known.server, 2);
                return answer(&FeedResponse {
                    v: PROTOCOL,
                    now,
                    server,
                    higher,
                    feed: 3,
                    after,
                    orders,
                    more: false,
                });
            }
        }
        tokio::select! { () = &mut news => {}, () = &mut hold => {} }
    }
}

async fn reports(State(higher): State<Higher>, body: Bytes) -> Response {
    let request: ReportsRequest = cbor::decode(&body).unwrap();
    let mut known = higher.known.lock().unwrap();
    if known.deaf {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "deaf");
    }
    known.progress.extend(request.soft.progress.clone());
    known.stored = match accept(known.stored, request.after, request.through) {
        Accept::Rewind { stored } => stored,
        Accept::Store { from, through } => {
            known.reports.extend(request.reports.into_iter().filter(|(n, _)| *n > from).map(|(_, r)| r));
            through
        }
    };
    let response = ReportsResponse { v: PROTOCOL, stored: known.stored, server: known.server, higher: 2 };
    drop(known);
    higher.heard.notify_waiters();
    answer(&response)
}

async fn manifest(State(higher): State<Higher>, body: Bytes) -> Response {
    let request: ManifestRequest = cbor::decode(&body).unwrap();
    let known = higher.known.lock().unwrap();
    let goods = known.goods.get(&request.package.0).filter(|_| !known.empty);
    match goods {
        Some(goods) => goods.envelope[request.offset as usize..].to_vec().into_response(),
        None => refusal(StatusCode::NOT_FOUND, "no_copy"),
    }
}

async fn frames(State(higher): State<Higher>, body: Bytes) -> Response {
    let request: FramesRequest = cbor::decode(&body).unwrap();
    let mut known = higher.known.lock().unwrap();
    let Some(goods) = known.goods.get(&request.package.0).filter(|_| !known.empty).cloned() else {
        return refusal(StatusCode::NOT_FOUND, "no_copy");
    };
    let wanted = request.ranges.iter().flat_map(|(start, end)| *start..*end);
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        wanted.map(|index| Ok(Bytes::from(goods.frames[index as usize].clone()))).collect();
    known.chunks += pieces.len();
    Body::from_stream(futures_util::stream::iter(pieces)).into_response()
}

async fn join(State(higher): State<Higher>, body: Bytes) -> Response {
    let request: JoinRequest = cbor::decode(&body).unwrap();
    let known = higher.known.lock().unwrap();
    match &known.join {
        Some(joined) => answer(&joined(request)),
        None => refusal(StatusCode::FORBIDDEN, "token_used"),
    }
}

async fn renew(State(higher): State<Higher>, body: Bytes) -> Response {
    let request: RenewRequest = cbor::decode(&body).unwrap();
    let known = higher.known.lock().unwrap();
    match &known.renewal {
        Some(renewal) => answer(&renewal(request)),
        None => refusal(StatusCode::FORBIDDEN, "no"),
    }
}
