//! Passing a package through a system that has no room for it: what is missing here is asked for once for all who then
//! wait, and handed to them without being kept.
//!
//! Who waits is attached with the chunks it wants. A pass asks the source for what any of them wants, a few megabytes at
//! a time, from where the last request ended and round again: whoever attaches while one is going on takes part from there
//! and gets the beginning in the next round. A frame is verified, handed to everybody who wants it, and forgotten. The
//! slowest sets the pace, within a small queue; but one that takes nothing for some seconds steps back, and nobody waits for
//! it any more: it gets what it finds room for, and what it missed when the others have theirs. That is remembered of it, so
//! that it holds the others up once, however often it asks again.

mod attached;

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, StreamExt};
use packhorse_domain::fetch::{Fetch, FetchLimits, FetchStep, RangeSet};
use packhorse_domain::ids::HostId;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use self::attached::Attached;
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
const STALL: Duration = Duration::from_secs(5);
/// How long one with whom nobody waits may take nothing before it is let go.
const SLOW: Duration = Duration::from_secs(20);
/// Hosts that stepped back are remembered up to so many; with more, all are forgotten.
const BACK_MAX: usize = 10_000;

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
    /// Likewise, for a wait with one that was alone until then.
    company: Notify,
}

#[derive(Debug)]
struct State {
    readers: BTreeMap<u64, Waiting>,
    last_reader: u64,
    /// How often hosts stepped back.
    back: BTreeMap<HostId, u32>,
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
    who: HostId,
    wanted: RangeSet,
    /// How often it stepped back: who did so less often is served first.
    back: u32,
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
            back: BTreeMap::new(),
            idle_since: Instant::now(),
            closed: false,
            stats: ThroughStats::default(),
            trouble: None,
        };
        Self(Arc::new(Inner {
            local,
            envelope,
            state: Mutex::new(state),
            news: Notify::new(),
            company: Notify::new(),
        }))
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

    /// Streams the frames of the chunks that `who` wants, those that are here and those that come by. Ends with an error of kind
    /// `InvalidInput` if a chunk does not exist, `TimedOut` if nothing comes for `patience` or it was let go. Must be
    /// polled inside a tokio runtime; dropping the stream ends the waiting.
    pub fn attach(
        &self,
        who: HostId,
        ranges: RangeSet,
        patience: Duration,
    ) -> BoxStream<'static, io::Result<Bytes>> {
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
                let back = state.back.get(&who).copied().unwrap_or(0);
                state.readers.insert(id, Waiting { who, wanted, back, frames });
            }
            drop(state);
            self.0.news.notify_one();
            self.0.company.notify_waiters();
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

    /// Of those who stepped back least often, for as long as there are any.
    fn wanted(&self) -> RangeSet {
        let mut state = self.state();
        state.tidy();
        let first = state.first();
        let mut all = RangeSet::new();
        let readers = state.readers.values().filter(|reader| Some(reader.back) == first);
        for range in readers.flat_map(|reader| reader.wanted.ranges()) {
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

    /// Gives a frame to everybody who wants it. Who takes nothing for too long steps back, or, where nobody else waits, is let
    /// go. For those who stepped back before nobody waits.
    async fn hand_on(&self, frame: Frame, plain_bytes: u64) {
        let index = frame.header.first;
        let takers: Vec<(u64, u32, mpsc::Sender<Frame>)> = {
            let state = self.state();
            let wants = state.readers.iter().filter(|(_, reader)| reader.wanted.contains(index));
            wants.map(|(id, reader)| (*id, reader.back, reader.frames.clone())).collect()
        };
        let first = self.state().first();
        let sends = takers.into_iter().map(|(id, back, taker)| {
            let frame = frame.clone();
            async move {
                if Some(back) == first {
                    return (id, self.give(&taker, frame, back > 0).await);
                }
                (id, if taker.try_send(frame).is_ok() { Given::Took } else { Given::Not })
            }
        });
        let given = join_all(sends).await;
        let mut state = self.state();
        state.stats.fetched_bytes += plain_bytes;
        state.trouble = None;
        for (id, given) in given {
            let Some(reader) = state.readers.get_mut(&id) else { continue };
            match given {
                Given::Took => {
                    reader.wanted.remove(index..index + 1);
                    state.stats.handed_bytes += plain_bytes;
                }
                Given::Slow => state.step_back(id),
                Given::Not => {}
            }
        }
    }
}

/// What became of a frame for one reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Took,
    /// It has no room for it now, and nobody waits.
    Not,
    /// It was waited for too long.
    Slow,
}

impl Through {
    /// Waits until a reader has taken a frame, for a while; longer as long as nobody else waits. With one that stepped back
    /// before nobody who comes waits at all.
    async fn give(&self, taker: &mpsc::Sender<Frame>, frame: Frame, stepped_back: bool) -> Given {
        let mut company = pin!(self.0.company.notified());
        company.as_mut().enable();
        // One that has gone is no slow one.
        let given = |sent: Result<(), mpsc::error::SendError<Frame>>| {
            if sent.is_ok() { Given::Took } else { Given::Not }
        };
        if !stepped_back {
            if let Ok(sent) = tokio::time::timeout(STALL, taker.send(frame.clone())).await {
                return given(sent);
            }
            if self.state().readers.len() > 1 {
                return Given::Slow;
            }
        }
        let patience = if self.state().readers.len() > 1 { STALL } else { SLOW };
        tokio::select! {
            biased;
            sent = tokio::time::timeout(patience, taker.send(frame)) => sent.map_or(Given::Slow, given),
            () = company => if stepped_back { Given::Not } else { Given::Slow },
        }
    }
}

impl State {
    /// How often those stepped back who did so least often.
    fn first(&self) -> Option<u32> {
        self.readers.values().map(|reader| reader.back).min()
    }

    /// A reader that took nothing for too long: the others go first from now on, also when it asks again. Alone it is let go.
    fn step_back(&mut self, id: u64) {
        let alone = self.readers.len() == 1;
        let Some(reader) = self.readers.get_mut(&id) else { return };
        reader.back = reader.back.saturating_add(1);
        let (who, back) = (reader.who, reader.back);
        if self.back.len() >= BACK_MAX {
            self.back.clear();
        }
        self.back.insert(who, back);
        if alone {
            self.readers.remove(&id);
        }
    }

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
