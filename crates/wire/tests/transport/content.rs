//! Content over connections of its own.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::Method;
use packhorse_wire::net::{Link, LinkError};
use packhorse_wire::pki::Role;

use crate::common::{Host, PATIENCE, Server, any_higher, ca, impatient, link};

const PIECE: usize = 16 * 1024;

fn pieces(count: usize) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::iter((0..count).map(|n| Ok(Bytes::from(vec![n as u8; PIECE]))))
}

#[tokio::test]
async fn a_body_is_streamed_both_ways() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let pc17 = Host::new(&ca, Role::Client, "pc17");
    let link = link(&server, any_higher(&ca), Some(&pc17));

    let mut who = link.stream(Method::GET, "/who", "").await.unwrap();
    assert_eq!(who.status(), 200);
    let expected = pc17.identity.to_uri();
    assert_eq!(who.remaining_bytes(), Some(expected.len() as u64));
    assert_eq!(who.next().await.unwrap().unwrap(), expected.as_bytes());
    assert!(who.next().await.is_none() && who.next().await.is_none());

    for length in [None, Some(300 * PIECE as u64)] {
        let back = link.upload(Method::POST, "/echo", pieces(300), length, 300 * PIECE).await.unwrap();
        assert_eq!(back.len(), 300 * PIECE);
        assert!(back.chunks(PIECE).enumerate().all(|(n, piece)| piece.iter().all(|b| *b == n as u8)));
    }
    let cut = link.upload(Method::POST, "/echo", pieces(30), None, 29 * PIECE).await;
    assert!(matches!(cut, Err(LinkError::TooLarge { .. })), "{cut:?}");
}

#[tokio::test]
async fn refusals_and_bodies_cut_short_are_errors() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = link(&server, any_higher(&ca), None);
    let refused = link.stream(Method::POST, "/refuse", "").await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, "name_taken");
    let refused = link.upload(Method::POST, "/refuse", pieces(2), None, 1000).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, "name_taken");

    // The connection may break before or after the head of the answer is out.
    let broken: Vec<_> = match link.stream(Method::GET, "/broken", "").await {
        Ok(body) => body.collect().await,
        Err(error) => vec![Err(error)],
    };
    assert!(matches!(broken.last(), Some(Err(LinkError::Unreachable { .. }))), "{broken:?}");
    assert_eq!(broken.iter().filter(|piece| piece.is_err()).count(), 1);

    let torn = pieces(2).chain(stream::iter([Err(io::Error::other("disk lost"))]));
    let torn = link.upload(Method::POST, "/echo", torn, None, 10 * PIECE).await;
    assert!(matches!(&torn, Err(LinkError::Source { why, .. }) if why == "disk lost"), "{torn:?}");
}

/// The service answers without reading the body, while this side is still sending.
#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_arrives() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = link(&server, any_higher(&ca), None);
    for _ in 0..20 {
        let refused = link.upload(Method::POST, "/refuse", pieces(1000), None, 1000).await.unwrap_err();
        assert!(matches!(refused, LinkError::Refused { status: 409, .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn content_that_stands_still_is_a_timeout() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = Link::with_options(&server.url(), any_higher(&ca), None, impatient()).unwrap();
    let mut drip = link.stream(Method::GET, "/drip", "").await.unwrap();
    let mut got = 0;
    let end = loop {
        match drip.next().await.unwrap() {
            Ok(bytes) => got += bytes.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(got, PIECE);
    assert!(matches!(end, LinkError::Timeout { .. }), "{end:?}");
    assert!(drip.next().await.is_none());

    let never = link.stream(Method::GET, "/never", "").await;
    assert!(matches!(never, Err(LinkError::Timeout { .. })));

    let stuck = pieces(1).chain(stream::pending());
    let stuck =
        tokio::time::timeout(PATIENCE, link.upload(Method::POST, "/echo", stuck, None, 10)).await.unwrap();
    assert!(matches!(stuck, Err(LinkError::Timeout { .. })), "{stuck:?}");
}

#[tokio::test]
async fn an_endless_body_can_be_left() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Server, "hq")).await;
    let link = link(&server, any_higher(&ca), None);
    let mut endless = link.stream(Method::GET, "/endless", "").await.unwrap();
    assert_eq!(endless.remaining_bytes(), None);
    for _ in 0..20 {
        assert!(endless.next().await.unwrap().is_ok());
    }
    drop(endless);
    // Its connection is closed, or stopping would take until the limit.
    tokio::time::timeout(Duration::from_secs(4), server.stop()).await.unwrap();
}
