//! The control connection: shared, bounded, timed, and made anew when it is gone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::Method;
use packhorse_wire::net::{AcceptLimits, Link, LinkError, Refusal};
use packhorse_wire::pki::Role;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::common::{Host, PATIENCE, Server, any_higher, ca, impatient, link};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    text: String,
    number: u64,
}

#[tokio::test]
async fn calls_share_one_connection() {
    let ca = ca();
    // With room for one connection only, a second would be closed.
    let limits = AcceptLimits { max_connections: 1, ..AcceptLimits::default() };
    let host = Host::new(&ca, Role::Server, "hq");
    let server = Server::start_at(&ca, &host, SocketAddr::from(([127, 0, 0, 1], 0)), limits).await;
    let link = link(&server, any_higher(&ca), None);
    let calls = (0..50).map(|number| {
        let link = link.clone();
        async move {
            let sent = Message { text: "x".repeat(1000), number };
            let back: Message = link.call("/echo", &sent, PATIENCE).await.unwrap();
            assert_eq!(back, sent);
        }
    });
    futures_util::future::join_all(calls).await;
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_in_full() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = link(&server, any_higher(&ca), None);
    let refused = link.call::<_, Message>("/refuse", "x", PATIENCE).await.unwrap_err();
    let expected =
        Refusal::new("name_taken", "the name osaka is taken").with_hint("token new --replace osaka");
    assert_eq!(refused.refusal(), Some(&expected));
    assert!(matches!(refused, LinkError::Refused { status: 409, .. }));
    assert!(!refused.is_passing());
    let missing = link.call::<_, Message>("/nowhere", "x", PATIENCE).await.unwrap_err();
    assert!(matches!(missing, LinkError::Refused { status: 404, .. }), "{missing:?}");
    let other_shape = link.call::<_, Message>("/echo", "x", PATIENCE).await.unwrap_err();
    assert!(matches!(other_shape, LinkError::Protocol { .. }), "{other_shape:?}");
    let no_path = link.request(Method::GET, "no path", "", 10, PATIENCE).await.unwrap_err();
    assert!(matches!(no_path, LinkError::Address { .. }), "{no_path:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_the_limit() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = link(&server, any_higher(&ca), None);
    let cut = link.request(Method::GET, "/endless", "", 100_000, PATIENCE).await;
    assert!(matches!(cut, Err(LinkError::TooLarge { limit_bytes: 100_000, .. })), "{cut:?}");
    let echo = |limit| link.request(Method::POST, "/echo", vec![1; 1000], limit, PATIENCE);
    assert!(matches!(echo(999).await, Err(LinkError::TooLarge { .. })));
    assert_eq!(echo(1000).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = link(&server, any_higher(&ca), None);
    let late = link.request(Method::GET, "/never", "", 10, Duration::from_millis(200)).await;
    assert!(matches!(late, Err(LinkError::Timeout { .. })), "{late:?}");
    // The connection is still good.
    assert!(link.request(Method::GET, "/who", "", 100, PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_a_timeout() {
    let ca = ca();
    // The kernel accepts for it; nobody ever reads.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let link = Link::with_options(&url, any_higher(&ca), None, impatient()).unwrap();
    let started = Instant::now();
    let late = link.connect().await;
    assert!(matches!(late, Err(LinkError::Timeout { what: "connecting", .. })), "{late:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_closed_port_names_address_and_reason() {
    let ca = ca();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let link = Link::new(&format!("https://{addr}"), any_higher(&ca), None).unwrap();
    let error = link.connect().await.unwrap_err();
    assert!(error.is_passing());
    let text = error.to_string();
    assert!(text.contains(&addr.to_string()) && text.contains("refused"), "{text}");
}

/// `localhost` is `::1` first on many machines; the server listens on 127.0.0.1 only.
#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let url = format!("https://localhost:{}", server.addr.port());
    let link = Link::new(&url, any_higher(&ca), None).unwrap();
    assert_eq!(link.connect().await.unwrap().name, "hq");
}

#[tokio::test]
async fn the_link_comes_back_after_a_restart() {
    let ca = ca();
    let host = Host::new(&ca, Role::Server, "hq");
    let server = Server::start(&ca, &host).await;
    let (addr, link) = (server.addr, link(&server, any_higher(&ca), None));
    for _ in 0..3 {
        assert!(link.request(Method::GET, "/who", "", 100, PATIENCE).await.is_ok());
    }
    server.stop().await;
    let down = link.request(Method::GET, "/who", "", 100, PATIENCE).await.unwrap_err();
    assert!(matches!(down, LinkError::Unreachable { .. }), "{down:?}");
    let server = Server::start_at(&ca, &host, addr, AcceptLimits::default()).await;
    assert!(link.request(Method::GET, "/who", "", 100, PATIENCE).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_going_on_end_with_the_server() {
    let ca = ca();
    let host = Host::new(&ca, Role::Server, "hq");
    let limits = AcceptLimits { shutdown_secs: 0, ..AcceptLimits::default() };
    let server = Server::start_at(&ca, &host, SocketAddr::from(([127, 0, 0, 1], 0)), limits).await;
    let link = link(&server, any_higher(&ca), None);
    link.connect().await.unwrap();
    let held = link.request(Method::GET, "/never", "", 10, PATIENCE);
    let (held, ()) = tokio::join!(held, async {
        // The held request is on its way once a later one has been answered.
        link.request(Method::GET, "/who", "", 100, PATIENCE).await.unwrap();
        server.stop().await;
    });
    assert!(matches!(held, Err(LinkError::Unreachable { .. })), "{held:?}");
}

/// A line that goes dead without a word: the held request fails by the missing ping, and the next one reconnects.
#[tokio::test]
async fn a_dead_line_is_noticed() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let (cut, line) = line(server.addr).await;
    let link = Link::with_options(&format!("https://{line}"), any_higher(&ca), None, impatient()).unwrap();
    link.connect().await.unwrap();
    let held = link.request(Method::GET, "/never", "", 10, PATIENCE);
    let (held, ()) = tokio::join!(held, async {
        link.request(Method::GET, "/who", "", 100, PATIENCE).await.unwrap();
        cut.send_replace(());
    });
    assert!(matches!(held, Err(LinkError::Unreachable { .. })), "{held:?}");
    assert!(link.request(Method::GET, "/who", "", 100, PATIENCE).await.is_ok());
}

/// A TCP line to `server`. When told to, it stops passing bytes of the connections it has, without closing them.
async fn line(server: SocketAddr) -> (watch::Sender<()>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (cut, cuts) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => std::future::pending().await,
                }
            });
        }
    });
    (cut, addr)
}
