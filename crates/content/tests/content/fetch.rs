//! Over a line: server → relay → client, broken lines, lying sources, streaming on while it arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use packhorse_content::fetch::{FetchError, Progress, obtain, receive};
use packhorse_content::frame::FrameError;
use packhorse_content::serve::serve;
use packhorse_content::store::Store;
use packhorse_content::tree::TreeIntake;
use packhorse_domain::fetch::RangeSet;

use super::util::{Packed, StoreSource, body, bytes_of, editor, listing, pack, put};

struct Site {
    _dir: tempfile::TempDir,
    store: Store,
}

fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    Site { _dir: dir, store }
}

fn source_of(site: &Site, package: &Packed) -> StoreSource {
    StoreSource::new(site.store.reader(&package.manifest.id()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_store_to_store_to_tree() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let (server, relay) = (site(), site());
    put(&server.store, &package);
    let intake = relay.store.begin(&package.envelope, &package.manifest).unwrap();
    let source = source_of(&server, &package);
    let mut wire = 0;
    obtain(&intake, &source, |event| {
        if let Progress::Received { wire_bytes, .. } = event {
            wire += wire_bytes;
        }
    })
    .await
    .unwrap();
    intake.finish().unwrap();
    assert_eq!(source.asked().len(), 1, "one request for a small package");
    assert_eq!(wire, package.built.stats().packed_bytes);
    assert_eq!(wire, intake.stats().received_wire_bytes);

    let dir = tempfile::tempdir().unwrap();
    let tree = Arc::new(TreeIntake::open(&dir.path().join("stage"), &package.manifest).unwrap());
    obtain(&tree, &source_of(&relay, &package), |_| ()).await.unwrap();
    let root = Arc::into_inner(tree).unwrap().finish().unwrap();
    assert_eq!(listing(&root), listing(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_line_goes_on_where_it_was() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let (server, relay) = (site(), site());
    put(&server.store, &package);
    let intake = relay.store.begin(&package.envelope, &package.manifest).unwrap();
    let reader = server.store.reader(&package.manifest.id()).unwrap();
    // The first answers break after 300 kB, once as an error and once as a silent end.
    let source = StoreSource::spoiled(reader, |ask, body| match ask {
        1 => body.take(3).chain(stream::iter([Err(std::io::Error::other("reset"))])).boxed(),
        2 => body.take(2).map(|piece| piece.map(|bytes| bytes.slice(..bytes.len() - 5))).boxed(),
        _ => body,
    });
    let mut waited = 0;
    let mut wire = 0;
    obtain(&intake, &source, |event| match event {
        Progress::Waiting { .. } => waited += 1,
        Progress::Received { wire_bytes, .. } => wire += wire_bytes,
    })
    .await
    .unwrap();
    intake.finish().unwrap();
    assert_eq!(waited, 2);
    assert_eq!(wire, package.built.stats().packed_bytes, "nothing whole came twice");
    let asked = source.asked();
    assert!(asked[1].len() < asked[0].len() && asked[2].len() < asked[1].len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_source_is_named_and_changes_nothing() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let (server, relay) = (site(), site());
    put(&server.store, &package);
    let intake = relay.store.begin(&package.envelope, &package.manifest).unwrap();
    let reader = server.store.reader(&package.manifest.id()).unwrap();
    let source = StoreSource::spoiled(reader, |_, body| {
        body.map(|piece| {
            piece.map(|bytes| {
                let mut bytes = bytes.to_vec();
                bytes[100] ^= 1;
                Bytes::from(bytes)
            })
        })
        .boxed()
    });
    let error = obtain(&intake, &source, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::BadSource { strikes: 3, .. }), "{error}");
    assert!(intake.finish().is_err());
    // What is right in spite of it was kept; an honest source gives the rest.
    obtain(&intake, &source_of(&server, &package), |_| ()).await.unwrap();
    intake.finish().unwrap();
    assert!(relay.store.verify(&package.manifest.id()).unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_anywhere_is_refused() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let all = bytes_of(&package.frames[..4]);
    for at in [0, 4, 6, 7, 11, 500, all.len() - 1] {
        let site = site();
        let intake = site.store.begin(&package.envelope, &package.manifest).unwrap();
        let mut bytes = all.clone();
        bytes[at] ^= 2;
        let result = receive(&intake, RangeSet::full(4), body(&bytes), |_| ()).await;
        assert!(matches!(result, Err(FetchError::Content(_))), "byte {at}: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_endless_and_unasked_bodies_are_refused() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let site = site();
    let intake = site.store.begin(&package.envelope, &package.manifest).unwrap();
    let all = bytes_of(&package.frames[..4]);
    for len in [0, 5, 11, all.len() / 2, all.len() - 1] {
        let error = receive(&intake, RangeSet::full(4), body(&all[..len]), |_| ()).await.unwrap_err();
        assert!(matches!(error, FetchError::Content(FrameError::Truncated(_))), "{len}: {error}");
    }
    let endless = body(&all).chain(stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096])))).boxed();
    let error = receive(&intake, RangeSet::full(4), endless, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Content(FrameError::Endless)), "{error}");
    let error = receive(&intake, RangeSet::full(3), body(&all), |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Content(FrameError::Endless)), "{error}");
    let asked = [0..1, 2..4].into_iter().collect();
    let error = receive(&intake, asked, body(&all), |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Content(FrameError::NotAsked(_))), "{error}");
    let twice = [bytes_of(&package.frames[..1]), all].concat();
    let error = receive(&intake, RangeSet::full(4), body(&twice), |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Content(FrameError::NotAsked(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_streams_on_what_is_still_arriving() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let relay = site();
    let intake = relay.store.begin(&package.envelope, &package.manifest).unwrap();
    let half = package.frames.len() / 2;
    package.frames[..half].iter().for_each(|frame| intake.accept(frame).unwrap());

    let dir = tempfile::tempdir().unwrap();
    let tree = Arc::new(TreeIntake::open(&dir.path().join("stage"), &package.manifest).unwrap());
    let source = source_of(&relay, &package);
    let (seen, mut arrived) = tokio::sync::watch::channel(0_usize);
    let client = {
        let tree = tree.clone();
        tokio::spawn(async move {
            obtain(&tree, &source, |event| {
                if matches!(event, Progress::Received { .. }) {
                    seen.send_modify(|count| *count += 1);
                }
            })
            .await
        })
    };
    // The client has the first half before the relay has the second.
    arrived.wait_for(|count| *count >= half).await.unwrap();
    assert_eq!(tree.missing().len(), (package.frames.len() - half) as u64);
    package.frames[half..].iter().rev().for_each(|frame| intake.accept(frame).unwrap());
    client.await.unwrap().unwrap();
    intake.finish().unwrap();
    assert_eq!(listing(&Arc::into_inner(tree).unwrap().finish().unwrap()), listing(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_is_told() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let relay = site();
    let _intake = relay.store.begin(&package.envelope, &package.manifest).unwrap();
    let reader = relay.store.reader(&package.manifest.id()).unwrap();
    let mut body = serve(reader.clone(), RangeSet::full(2), Duration::from_millis(20));
    assert_eq!(body.next().await.unwrap().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert!(body.next().await.is_none());
    let mut body = serve(reader, RangeSet::full(1_000_000), Duration::from_millis(20));
    assert_eq!(body.next().await.unwrap().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_small() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let server = site();
    put(&server.store, &package);
    let reader = server.store.reader(&package.manifest.id()).unwrap();
    let all = RangeSet::full(package.manifest.chunk_count());
    assert_eq!(reader.wire_bytes(&all), Some(package.built.stats().packed_bytes));
    let pieces: Vec<_> = serve(reader, all, Duration::from_secs(1)).collect().await;
    assert!(pieces.iter().all(|piece| piece.as_ref().unwrap().len() <= 256 * 1024 + 11));
    assert!(pieces.len() > 5);
}
