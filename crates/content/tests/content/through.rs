//! Passing through a system without room: once for all who wait, bounded, and the slow hold nobody for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use packhorse_content::fetch::{Body, Source, SourceError, obtain, receive};
use packhorse_content::store::Store;
use packhorse_content::through::Through;
use packhorse_content::tree::TreeIntake;
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::HostId;

use super::util::{Packed, StoreSource, editor, listing, noise, pack, put, write};

const PATIENCE: Duration = Duration::from_secs(10);

fn host(n: u8) -> HostId {
    HostId([n; 16])
}

/// Another one each time.
fn who() -> HostId {
    static NEXT: AtomicU8 = AtomicU8::new(100);
    host(NEXT.fetch_add(1, Ordering::Relaxed))
}

struct Scene {
    _server: tempfile::TempDir,
    relay: tempfile::TempDir,
    store: Store,
    package: Packed,
    folder: tempfile::TempDir,
    source: Arc<StoreSource>,
}

/// A server that has a package and a relay that has no room for it.
fn scene() -> Scene {
    let folder = editor("2.0");
    write(folder.path(), "lib/large", &noise(3_000_000, 5), 0o644);
    let package = pack(folder.path());
    let (server, relay) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let origin = Store::open(server.path()).unwrap();
    put(&origin, &package);
    let source = Arc::new(StoreSource::new(origin.reader(&package.manifest.id()).unwrap()));
    let store = Store::open(relay.path()).unwrap();
    Scene { _server: server, relay, store, package, folder, source }
}

impl Scene {
    fn through(&self) -> Through {
        let local = self.store.reader_of_parts(&self.package.manifest).unwrap();
        let through = Through::new(local, Bytes::from(self.package.envelope.clone()));
        let (running, source) = (through.clone(), self.source.clone());
        tokio::spawn(async move { running.run(source.as_ref()).await });
        through
    }
}

/// A client takes a package in through a relay that passes it on; answers whether its tree is as packed.
async fn client(through: Through, package: &Packed, folder: &std::path::Path) -> bool {
    struct Passing(Through, HostId);
    impl Source for Passing {
        fn frames<'a>(
            &'a self,
            ranges: &'a RangeSet,
        ) -> futures_util::future::BoxFuture<'a, Result<Body, SourceError>> {
            let body = self.0.attach(self.1, ranges.clone(), PATIENCE);
            Box::pin(async { Ok(body) })
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = Arc::new(TreeIntake::open(&dir.path().join("stage"), &package.manifest).unwrap());
    obtain(&tree, &Passing(through, who()), |_| ()).await.unwrap();
    let root = Arc::into_inner(tree).unwrap().finish().unwrap();
    listing(&root) == listing(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn once_for_all_who_wait_and_nothing_is_kept() {
    let scene = scene();
    let through = scene.through();
    let clients = (0..5).map(|_| client(through.clone(), &scene.package, scene.folder.path()));
    assert!(futures_util::future::join_all(clients).await.into_iter().all(|good| good));
    let stats = through.stats();
    assert_eq!(stats.fetched_bytes, scene.package.manifest.unique_bytes(), "once for all five");
    assert_eq!(stats.handed_bytes, 5 * stats.fetched_bytes);
    assert!(through.idle().is_some());
    assert!(std::fs::read_dir(scene.relay.path().join("staging")).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_takes_part_from_there_and_gets_the_beginning_in_the_next_round() {
    let scene = scene();
    let through = scene.through();
    let all = RangeSet::full(scene.package.manifest.chunk_count());
    let mut first = through.attach(host(1), all.clone(), PATIENCE);
    first.next().await.unwrap().unwrap();
    let late = client(through.clone(), &scene.package, scene.folder.path());
    let rest = async { while first.next().await.transpose().unwrap().is_some() {} };
    let (good, ()) = tokio::join!(late, rest);
    assert!(good);
    let (fetched, whole) = (through.stats().fetched_bytes, scene.package.manifest.unique_bytes());
    // What had come by is asked for again, for the late one: no more than waits for one reader and one frame.
    assert!(fetched > whole && fetched < whole * 2, "{fetched} of {whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_packages_brought_is_not_asked_for() {
    let scene = scene();
    let older = editor("1.0");
    put(&scene.store, &pack(older.path()));
    let through = scene.through();
    assert!(client(through.clone(), &scene.package, scene.folder.path()).await);
    let fetched = through.stats().fetched_bytes;
    assert!(fetched > 3_000_000 && fetched < 3_200_000, "{fetched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leaves_holds_up_nobody_and_the_rest_is_not_asked_for() {
    let scene = scene();
    let through = scene.through();
    let all = RangeSet::full(scene.package.manifest.chunk_count());
    let mut leaving = through.attach(host(1), all.clone(), PATIENCE);
    leaving.next().await.unwrap().unwrap();
    drop(leaving);
    assert!(client(through.clone(), &scene.package, scene.folder.path()).await);
    let mut alone = through.attach(host(1), all, PATIENCE);
    alone.next().await.unwrap().unwrap();
    drop(alone);
    let settled = async {
        while through.idle().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_lies_is_noticed_here_and_those_who_wait_are_let_go() {
    let scene = scene();
    let bad = |_: usize, body: Body| {
        body.map(|piece| piece.map(|bytes| bytes.iter().map(|b| b ^ 1).collect())).boxed()
    };
    let lying = StoreSource::spoiled(scene.source.reader.clone(), bad);
    let local = scene.store.reader_of_parts(&scene.package.manifest).unwrap();
    let through = Through::new(local, Bytes::from(scene.package.envelope.clone()));
    let all = RangeSet::full(scene.package.manifest.chunk_count());
    let waiting = through.attach(host(1), all.clone(), Duration::from_secs(30));
    let dir = tempfile::tempdir().unwrap();
    let tree = Arc::new(TreeIntake::open(&dir.path().join("stage"), &scene.package.manifest).unwrap());
    let (outcome, taken) = tokio::join!(through.run(&lying), receive(&tree, all, waiting, |_| ()));
    assert!(outcome.unwrap_err().to_string().contains("wrong content 3 times"));
    assert!(taken.is_err(), "it asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_up_for_want_of_room_it_passes_through_and_what_had_come_is_used() {
    let scene = scene();
    let intake = scene.store.begin(&scene.package.envelope, &scene.package.manifest).unwrap();
    let half = scene.package.frames.len() / 2;
    scene.package.frames[..half].iter().for_each(|frame| intake.accept(frame).unwrap());
    // One who waits for the rest is told at once.
    let reader = scene.store.reader(&scene.package.manifest.id()).unwrap();
    let rest = intake.missing();
    let mut waiting = packhorse_content::serve::serve(reader, rest.clone(), Duration::from_secs(60));
    let (told, ()) = tokio::join!(waiting.next(), async { intake.give_up() });
    assert!(told.unwrap().is_err());
    assert!(scene.store.reader(&scene.package.manifest.id()).is_err(), "it does not arrive any more");
    let through = Through::new(intake.reader(), Bytes::from(scene.package.envelope.clone()));
    let (running, source) = (through.clone(), scene.source.clone());
    tokio::spawn(async move { running.run(source.as_ref()).await });
    assert!(client(through.clone(), &scene.package, scene.folder.path()).await);
    assert_eq!(through.stats().fetched_bytes, scene.package.manifest.bytes_of(&rest));
}

/// One that asks and reads nothing holds the others up once, for some seconds; when it asks again, nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_nothing_holds_the_others_up_once() {
    let scene = scene();
    let through = scene.through();
    let all = RangeSet::full(scene.package.manifest.chunk_count());
    // The queue of one that reads nothing is full long before the package has passed.
    assert!(all.len() > 32, "{} chunks", all.len());
    let silent = through.attach(host(1), all.clone(), PATIENCE);
    let begun = Instant::now();
    assert!(client(through.clone(), &scene.package, scene.folder.path()).await);
    let once = begun.elapsed();
    assert!(once < Duration::from_secs(15), "held up for one stall: {once:?}");
    // It asks again and again, and reads nothing.
    let again: Vec<_> = (0..3).map(|_| through.attach(host(1), all.clone(), PATIENCE)).collect();
    let begun = Instant::now();
    assert!(client(through.clone(), &scene.package, scene.folder.path()).await);
    let later = begun.elapsed();
    assert!(later < Duration::from_secs(4), "nobody waits for it any more: {later:?}");
    drop(again);
    // When it reads after all it gets everything, what it missed included.
    let reads = async {
        let dir = tempfile::tempdir().unwrap();
        let tree = Arc::new(TreeIntake::open(&dir.path().join("stage"), &scene.package.manifest).unwrap());
        receive(&tree, all, silent, |_| ()).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(30), reads).await.unwrap();
}
