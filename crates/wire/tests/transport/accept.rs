//! The listener under callers that are silent, noisy or too many.

use std::net::SocketAddr;

use hyper::Method;
use packhorse_wire::net::{AcceptLimits, Link, LinkError};
use packhorse_wire::pki::{Ca, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{Host, PATIENCE, Server, any_higher, ca, link};

async fn server(ca: &Ca, limits: AcceptLimits) -> Server {
    let host = Host::new(ca, Role::Server, "hq");
    Server::start_at(ca, &host, SocketAddr::from(([127, 0, 0, 1], 0)), limits).await
}

async fn works(link: &Link) -> Result<(), LinkError> {
    link.request(Method::GET, "/who", "", 1000, PATIENCE).await.map(|_| ())
}

async fn assert_closed(mut tcp: TcpStream) {
    let mut rest = Vec::new();
    // An end or a reset: both are closed.
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("the connection should be closed");
}

#[tokio::test]
async fn silence_and_noise_are_closed_and_harm_nobody() {
    let ca = ca();
    let limits = AcceptLimits { handshake_timeout_secs: 1, ..AcceptLimits::default() };
    let server = server(&ca, limits).await;
    let silent = TcpStream::connect(server.addr).await.unwrap();
    let mut noisy = TcpStream::connect(server.addr).await.unwrap();
    noisy.write_all(&[b'x'; 10_000]).await.unwrap();
    let mut plain = TcpStream::connect(server.addr).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(works(&link(&server, any_higher(&ca), None)).await.is_ok());
    assert_closed(noisy).await;
    assert_closed(plain).await;
    assert_closed(silent).await;
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_freed_place_is_used() {
    let ca = ca();
    let server = server(&ca, AcceptLimits { max_connections: 1, ..AcceptLimits::default() }).await;
    let (first, second) = (link(&server, any_higher(&ca), None), link(&server, any_higher(&ca), None));
    works(&first).await.unwrap();
    assert!(matches!(works(&second).await, Err(LinkError::Unreachable { .. })));
    drop(first);
    // The place is free once the server has seen the other end close.
    let freed = timeout(PATIENCE, async { while works(&second).await.is_err() {} }).await;
    assert!(freed.is_ok());
}

#[tokio::test]
async fn callers_without_certificate_do_not_crowd_out_hosts() {
    let ca = ca();
    let server = server(&ca, AcceptLimits { max_anonymous_connections: 1, ..AcceptLimits::default() }).await;
    let (first, second) = (link(&server, any_higher(&ca), None), link(&server, any_higher(&ca), None));
    works(&first).await.unwrap();
    assert!(matches!(works(&second).await, Err(LinkError::Unreachable { .. })));
    let pc17 = Host::new(&ca, Role::Client, "pc17");
    works(&link(&server, any_higher(&ca), Some(&pc17))).await.unwrap();
}

#[tokio::test]
async fn a_caller_without_certificate_cannot_hold_a_request_for_ever() {
    let ca = ca();
    let server = server(&ca, AcceptLimits { anonymous_lifetime_secs: 1, ..AcceptLimits::default() }).await;
    let link = link(&server, any_higher(&ca), None);
    let held = link.request(Method::GET, "/never", "", 10, PATIENCE).await;
    assert!(matches!(held, Err(LinkError::Unreachable { .. })), "{held:?}");
    works(&link).await.unwrap();
}
