//! Passing a package through a system that has no room for it: what is missing here is asked for once for all who then
//! wait, and handed to them without being kept.
//!
//! Who waits is attached with the chunks it wants. A pass asks the source for what any of them wants, a few megabytes at
//! a time, from where the last request ended and round again: whoever attaches while one is going on takes part from there
//! and gets the beginning in the next round. A frame is verified, handed to everybody who wants it, and forgotten. The
//! slowest sets the pace, within a small queue; one that takes nothing for some seconds is let go and asks again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, StreamExt};
use packhorse_domain::fetch::{Fetch, FetchLimits, FetchStep, RangeSet};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::fetch::{Body, FetchError, Incoming, Source, Verdict, ask_in_time, jitter};
use crate::frame::{Frame, FrameError};
use crate::manifest::Manifest;
use crate::serve::serve;
use crate::store::Reader;

/// Frames that may wait for one reader.
const QUEUE_FRAMES: usize = 16;
/// Plain bytes of one request.
const ASK_BYTES: u64 = 16 * 1024 * 1024;
/// A pass begins so long after the first who waits: those who were told at the same time come together.
const GATHER: Duration = Duration::from_millis(500);
/// How long a reader may take nothing before the others go on without it.
const SLOW: Duration = Duration::from_secs(20);

/// A package that passes through. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Through(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: Reader,
    envelope: Bytes,
    state: Mutex<State>,
    /// Somebody has come.
    news: Notify,
}

#[derive(Debug)]
struct State {
    readers: BTreeMap<u64, Waiting>,
    last_reader: u64,
    /// Nobody has waited since.
    idle_since: Instant,
    closed: bool,
    stats: ThroughStats,
    /// Why the last request came to nothing.
    trouble: Option<String>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiting {
    wanted: RangeSet,
    frames: mpsc::Sender<Frame>,
}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThroughStats {
    /// Chunks that came from the source, plain bytes.
    pub fetched_bytes: u64,
    /// Chunks that were handed on, plain bytes, for each reader.
    pub handed_bytes: u64,
}

impl Through {
    /// A package of which `local` reads what is here. The caller has verified the envelope's signatures.
    pub fn new(local: Reader, envelope: Bytes) -> Self {
        let state = State {
            readers: BTreeMap::new(),
            last_reader: 0,
            idle_since: Instant::now(),
            closed: false,
            stats: ThroughStats::default(),
            trouble: None,
        };
        Self(Arc::new(Inner { local, envelope, state: Mutex::new(state), news: Notify::new() }))
    }

    /// The signed manifest, the bytes as received.
    pub fn envelope(&self) -> &Bytes {
        &self.0.envelope
    }

    /// The package's manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.0.local.manifest()
    }

    /// What passed so far.
    pub fn stats(&self) -> ThroughStats {
        self.state().stats
    }

    /// Why nothing comes at present, if a request just came to nothing.
    pub fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// How long nobody has waited; `None` while somebody does.
    pub fn idle(&self) -> Option<Duration> {
        let mut state = self.state();
        state.tidy();
        state.readers.is_empty().then(|| state.idle_since.elapsed())
    }

    /// Lets everybody go who waits: they ask again.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.readers.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the readers as valid as they were.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams the frames of the chunks wanted, those that are here and those that come by. Ends with an error of kind
    /// `InvalidInput` if a chunk does not exist, `TimedOut` if nothing comes for `patience` or it was let go. Must be
    /// polled inside a tokio runtime; dropping the stream ends the waiting.
    pub fn attach(&self, ranges: RangeSet, patience: Duration) -> BoxStream<'static, io::Result<Bytes>> {
        if ranges.end() > self.manifest().chunk_count() {
            let error =
                io::Error::new(io::ErrorKind::InvalidInput, "the package has no chunks with these numbers");
            return stream::once(async { Err(error) }).boxed();
        }
        let wanted = ranges.intersect(&self.0.local.missing());
        let local = serve(self.0.local.clone(), ranges.subtract(&wanted), patience);
        let (frames, coming) = mpsc::channel(QUEUE_FRAMES);
        let left = wanted.len();
        if left > 0 {
            let mut state = self.state();
            if !state.closed {
                state.last_reader += 1;
                let id = state.last_reader;
                state.readers.insert(id, Waiting { wanted, frames });
            }
            drop(state);
            self.0.news.notify_one();
        }
        let attached = Attached { local: Some(local), coming, left, patience, failed: false };
        stream::unfold(attached, |mut attached| async move {
            let piece = attached.next_piece().await.transpose()?;
            Some((piece, attached))
        })
        .boxed()
    }

    /// Passes on for ever; drop the future to end it. Errors: the source refuses or lied three times. Whoever waits then
    /// was let go.
    pub async fn run(&self, source: &dyn Source) -> Result<(), FetchError> {
        let outcome = self.pass_on(source).await;
        self.close();
        outcome
    }

    async fn pass_on(&self, source: &dyn Source) -> Result<(), FetchError> {
        let started = Instant::now();
        let now = || i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let lengths = self.manifest().chunk_lengths();
        let limits = FetchLimits { plain_bytes: ASK_BYTES, ..FetchLimits::default() };
        let mut fetch = Fetch::with_limits(RangeSet::new(), lengths, limits);
        let (mut from, mut gathered, mut last) = (0, false, String::new());
        loop {
            let wanted = self.wait_for_readers(&mut gathered).await;
            // From where the last request ended, and round again.
            let mut ahead = wanted.clone();
            ahead.remove(0..from);
            fetch.want(if ahead.is_empty() { wanted } else { ahead });
            match fetch.next(now()) {
                FetchStep::Done => from = 0,
                FetchStep::BadSource { strikes } => return Err(FetchError::BadSource { strikes, last }),
                FetchStep::Wait { until_micros } => {
                    let micros = u64::try_from(until_micros - now()).unwrap_or(0);
                    tokio::time::sleep(Duration::from_micros(micros)).await;
                }
                FetchStep::Ask(ask) => {
                    from = ask.ranges.end();
                    let Err(error) = self.pass(source, ask.ranges, &mut fetch).await else { continue };
                    match error.verdict() {
                        Verdict::End => return Err(error),
                        Verdict::Retry => fetch.failed(now(), jitter()),
                        Verdict::Strike => fetch.bad_content(now(), jitter()),
                    }
                    last = error.to_string();
                    self.state().trouble = Some(last.clone());
                    tracing::info!(package = %self.manifest().id(), error = last, "passing through stopped; tried again");
                }
            }
        }
    }

    /// What anybody wants. Waits until somebody does, and then, after an empty house, a moment for those who come at the
    /// same time.
    async fn wait_for_readers(&self, gathered: &mut bool) -> RangeSet {
        loop {
            let wanted = self.wanted();
            if wanted.is_empty() {
                *gathered = false;
                self.0.news.notified().await;
            } else if *gathered {
                return wanted;
            } else {
                *gathered = true;
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn wanted(&self) -> RangeSet {
        let mut state = self.state();
        state.tidy();
        let mut all = RangeSet::new();
        for range in state.readers.values().flat_map(|reader| reader.wanted.ranges()) {
            all.insert(range);
        }
        all
    }

    /// One request: every frame that comes is handed on before the next is read. Ends early when nobody wants the rest.
    async fn pass(&self, source: &dyn Source, asked: RangeSet, fetch: &mut Fetch) -> Result<(), FetchError> {
        let body: Body = ask_in_time(source, &asked).await?;
        let mut incoming = Incoming::new(body, asked.clone());
        let mut rest = asked;
        while let Some(frame) = incoming.next_frame().await? {
            rest.remove(frame.header.chunks());
            let manifest = self.manifest().clone();
            let verified = tokio::task::spawn_blocking(move || single_frames(&frame, &manifest)).await;
            for (frame, plain_bytes) in verified.map_err(|_| FetchError::ShuttingDown)?? {
                fetch.got(frame.header.chunks());
                self.hand_on(frame, plain_bytes).await;
            }
            incoming.taken();
            if !rest.is_empty() && rest.intersect(&self.wanted()).is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives a frame to everybody who wants it. Who takes nothing for too long is let go.
    async fn hand_on(&self, frame: Frame, plain_bytes: u64) {
        let index = frame.header.first;
        let takers: Vec<(u64, mpsc::Sender<Frame>)> = {
            let state = self.state();
            let wants = state.readers.iter().filter(|(_, reader)| reader.wanted.contains(index));
            wants.map(|(id, reader)| (*id, reader.frames.clone())).collect()
        };
        let sends = takers.into_iter().map(|(id, taker)| {
            let frame = frame.clone();
            async move { (id, matches!(tokio::time::timeout(SLOW, taker.send(frame)).await, Ok(Ok(())))) }
        });
        let taken = join_all(sends).await;
        let mut state = self.state();
        state.stats.fetched_bytes += plain_bytes;
        state.trouble = None;
        for (id, took) in taken {
            let Some(reader) = state.readers.get_mut(&id) else { continue };
            reader.wanted.remove(index..index + 1);
            if took {
                state.stats.handed_bytes += plain_bytes;
            } else {
                state.readers.remove(&id);
            }
        }
    }
}

impl State {
    /// Those who have gone, or have everything, wait no more.
    fn tidy(&mut self) {
        let before = self.readers.len();
        self.readers.retain(|_, reader| !reader.frames.is_closed() && !reader.wanted.is_empty());
        if before > 0 && self.readers.is_empty() {
            self.idle_since = Instant::now();
        }
    }
}

/// A frame's chunks, verified, each as a frame of its own, with its plain length: readers want some and not others.
fn single_frames(frame: &Frame, manifest: &Manifest) -> Result<Vec<(Frame, u64)>, FetchError> {
    let verified = frame.verify(manifest).map_err(FetchError::Content)?;
    let unpacked = |_| FetchError::Content(FrameError::Header("its chunks cannot be packed apart"));
    let pack = |(index, plain): (u32, Bytes)| {
        let single = if frame.header.count == 1 {
            frame.clone()
        } else {
            Frame::pack(index, &plain).map_err(unpacked)?
        };
        Ok((single, plain.len() as u64))
    };
    verified.chunks().map(pack).collect()
}

/// One who waits, as the body of an answer.
struct Attached {
    /// What is here; `None` when all of it was sent.
    local: Option<BoxStream<'static, io::Result<Bytes>>>,
    coming: mpsc::Receiver<Frame>,
    /// Chunks still to come.
    left: u64,
    patience: Duration,
    failed: bool,
}

impl Attached {
    async fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.failed {
            return Ok(None);
        }
        let piece = self.either().await;
        self.failed = piece.is_err();
        piece
    }

    /// What comes by goes first: the others wait for it to be taken.
    async fn either(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(local) = self.local.as_mut() else { return self.next_coming().await };
            if self.left == 0 {
                return local.next().await.transpose();
            }
            tokio::select! {
                biased;
                frame = self.coming.recv() => return self.frame(frame).map(Some),
                piece = local.next() => match piece {
                    Some(piece) => return piece.map(Some),
                    None => self.local = None,
                },
            }
        }
    }

    async fn next_coming(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let frame = tokio::time::timeout(self.patience, self.coming.recv()).await;
        self.frame(frame.ok().flatten()).map(Some)
    }

    fn frame(&mut self, frame: Option<Frame>) -> io::Result<Bytes> {
        let again = "the content passes through here and did not come; ask again";
        let frame = frame.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, again))?;
        self.left -= 1;
        let mut bytes = BytesMut::with_capacity(frame.total_len());
        bytes.extend_from_slice(&frame.header.to_bytes());
        bytes.extend_from_slice(&frame.body);
        Ok(bytes.freeze())
    }
}
