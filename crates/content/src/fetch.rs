//! Obtaining what is missing: from a source of frames into a store or a tree.
//!
//! `domain::fetch` decides what to ask for and how long to pause; this executes it. While one frame is being verified and
//! written on a blocking thread the next is received: two pieces are unwritten at most.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use packhorse_domain::fetch::{Fetch, FetchStep, RangeSet};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::frame::{Frame, FrameDecoder, FrameError};
use crate::limits;
use crate::manifest::Manifest;
use crate::store::Intake;
use crate::tree::TreeIntake;

/// Why a frame was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is not what the manifest says: the sender's fault.
    #[error(transparent)]
    Content(#[from] FrameError),
    /// It could not be written here.
    #[error("{}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl AcceptError {
    /// Is the disk full? Then making room helps, and nothing else.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Write { source, .. } if crate::store::is_full(source))
    }
}

/// Where content goes: a store's [`Intake`] or a client's [`TreeIntake`].
pub trait Target: Send + Sync + 'static {
    /// What is being obtained.
    fn manifest(&self) -> &Arc<Manifest>;
    /// Which chunks are missing.
    fn missing(&self) -> RangeSet;
    /// Verifies and writes one frame; blocks. Nothing is written of a frame that is refused.
    fn accept(&self, frame: &Frame) -> Result<(), AcceptError>;
}

impl Target for Intake {
    fn manifest(&self) -> &Arc<Manifest> {
        Intake::manifest(self)
    }
    fn missing(&self) -> RangeSet {
        Intake::missing(self)
    }
    fn accept(&self, frame: &Frame) -> Result<(), AcceptError> {
        Intake::accept(self, frame)
    }
}

impl Target for TreeIntake {
    fn manifest(&self) -> &Arc<Manifest> {
        TreeIntake::manifest(self)
    }
    fn missing(&self) -> RangeSet {
        TreeIntake::missing(self)
    }
    fn accept(&self, frame: &Frame) -> Result<(), AcceptError> {
        TreeIntake::accept(self, frame)
    }
}

/// Why a source gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It will not: asking again is of no use (not found, not allowed, capability expired).
    #[error("refused: {0}")]
    Refused(String),
    /// It cannot now: ask again later.
    #[error("{0}")]
    Unavailable(String),
}

/// The bytes of a body, as they come.
pub type Body = BoxStream<'static, io::Result<Bytes>>;

/// Where content comes from, usually the higher system over HTTP.
pub trait Source: Send + Sync {
    /// Asks for chunks; the answer is their frames, in any order.
    fn frames<'a>(&'a self, ranges: &'a RangeSet) -> BoxFuture<'a, Result<Body, SourceError>>;
}

/// What happened; told while it happens.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A frame was verified and written.
    Received {
        /// The chunks in it.
        chunks: std::ops::Range<u32>,
        /// Their plain bytes.
        plain_bytes: u64,
        /// The frame's length on the wire, in bytes.
        wire_bytes: u64,
    },
    /// A request failed; the next follows after a pause.
    Waiting {
        /// Why.
        error: &'a FetchError,
        /// The pause.
        pause: Duration,
    },
}

/// Why content was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source refuses, or cannot now.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source sent something else than what the manifest says.
    #[error(transparent)]
    Content(FrameError),
    /// The source did so repeatedly.
    #[error("source sent wrong content {strikes} times, last: {last}")]
    BadSource {
        /// How often.
        strikes: u32,
        /// What was wrong the last time.
        last: String,
    },
    /// The line broke.
    #[error("line broke: {0}")]
    Line(io::Error),
    /// No whole frame came in time.
    #[error("content stalled: no whole piece for {0} s")]
    Stalled(u64),
    /// It could not be written here.
    #[error(transparent)]
    Write(AcceptError),
    /// A blocking thread ended early: the program is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

impl FetchError {
    /// Is the disk here full? Then making room helps, and nothing else.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Write(error) if error.is_no_space())
    }
}

impl From<AcceptError> for FetchError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Content(error) => Self::Content(error),
            error @ AcceptError::Write { .. } => Self::Write(error),
        }
    }
}

/// What a failure means for the fetch machine.
pub(crate) enum Verdict {
    /// Ask again later.
    Retry,
    /// Ask again later, and remember who it was.
    Strike,
    /// Give up.
    End,
}

impl FetchError {
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            // A body that ends early is what a broken line looks like through HTTP.
            Self::Content(FrameError::Truncated(_)) => Verdict::Retry,
            Self::Content(_) => Verdict::Strike,
            Self::Line(_) | Self::Stalled(_) | Self::Source(SourceError::Unavailable(_)) => Verdict::Retry,
            _ => Verdict::End,
        }
    }
}

/// Obtains everything that is missing; failures of line and source are retried with growing pauses for ever, told through
/// `progress`: drop the future to give up. Errors: the source refuses or lied three times, or the disk.
/// What was obtained until then is kept by the target.
pub async fn obtain<T: Target>(
    target: &Arc<T>,
    source: &dyn Source,
    mut progress: impl FnMut(Progress<'_>) + Send,
) -> Result<(), FetchError> {
    let started = Instant::now();
    let now = || i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
    let mut fetch = Fetch::new(target.missing(), target.manifest().chunk_lengths());
    let mut last = String::new();
    loop {
        match fetch.next(now()) {
            FetchStep::Done => return Ok(()),
            FetchStep::BadSource { strikes } => return Err(FetchError::BadSource { strikes, last }),
            FetchStep::Wait { until_micros } => tokio::time::sleep(micros(until_micros - now())).await,
            FetchStep::Ask(ask) => {
                let Err(error) = ask_once(target, source, ask.ranges, &mut fetch, &mut progress).await else {
                    continue;
                };
                match error.verdict() {
                    Verdict::End => return Err(error),
                    Verdict::Retry => fetch.failed(now(), jitter()),
                    Verdict::Strike => fetch.bad_content(now(), jitter()),
                }
                last = error.to_string();
                if let FetchStep::Wait { until_micros } = fetch.next(now()) {
                    progress(Progress::Waiting { error: &error, pause: micros(until_micros - now()) });
                }
            }
        }
    }
}

async fn ask_once<T: Target>(
    target: &Arc<T>,
    source: &dyn Source,
    ranges: RangeSet,
    fetch: &mut Fetch,
    progress: &mut (impl FnMut(Progress<'_>) + Send),
) -> Result<(), FetchError> {
    let body = ask_in_time(source, &ranges).await?;
    receive(target, ranges, body, |event| {
        if let Progress::Received { chunks, .. } = &event {
            fetch.got(chunks.clone());
        }
        progress(event);
    })
    .await
}

/// Asks a source that may be silent.
pub(crate) async fn ask_in_time(source: &dyn Source, ranges: &RangeSet) -> Result<Body, FetchError> {
    let asking = tokio::time::timeout(stall(0), source.frames(ranges));
    Ok(asking.await.map_err(|_| FetchError::Stalled(limits::STALL_SECS))??)
}

/// Takes one body of frames into a target: exactly the chunks asked for, each once, then the end. For uploads too.
///
/// Errors: truncated, endless, stalled, anything not asked for, anything that does not hash; or the disk. Every frame
/// before the error was taken.
pub async fn receive<T: Target>(
    target: &Arc<T>,
    asked: RangeSet,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    mut progress: impl FnMut(Progress<'_>) + Send,
) -> Result<(), FetchError> {
    let mut incoming = Incoming::new(body, asked);
    let mut writing: Option<Writing> = None;
    loop {
        let next = match writing.as_mut() {
            None => incoming.next_frame().await,
            // Told as soon as it is written, even if the line is silent then.
            Some(current) => tokio::select! {
                result = &mut current.task => {
                    if let Some(written) = writing.take() {
                        written.told(result, &mut progress)?;
                    }
                    continue;
                }
                next = incoming.next_frame() => next,
            },
        };
        // Whatever comes next, what was received before it is written and told first.
        if let Some(mut current) = writing.take() {
            let result = (&mut current.task).await;
            current.told(result, &mut progress)?;
        }
        match next? {
            Some(frame) => writing = Some(Writing::start(target.clone(), frame)),
            None => return Ok(()),
        }
    }
}

/// A frame on its way to the disk.
struct Writing {
    chunks: std::ops::Range<u32>,
    plain_bytes: u64,
    wire_bytes: u64,
    task: JoinHandle<Result<(), AcceptError>>,
}

impl Writing {
    fn start<T: Target>(target: Arc<T>, frame: Frame) -> Self {
        let chunks = frame.header.chunks();
        let plain_bytes = target.manifest().bytes_of(&std::iter::once(chunks.clone()).collect());
        let wire_bytes = frame.total_len() as u64;
        let task = tokio::task::spawn_blocking(move || target.accept(&frame));
        Self { chunks, plain_bytes, wire_bytes, task }
    }

    fn told(
        self,
        result: Result<Result<(), AcceptError>, JoinError>,
        progress: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), FetchError> {
        result.map_err(|_| FetchError::ShuttingDown)??;
        let Self { chunks, plain_bytes, wire_bytes, .. } = self;
        progress(Progress::Received { chunks, plain_bytes, wire_bytes });
        Ok(())
    }
}

/// A body being cut into frames.
pub(crate) struct Incoming {
    body: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    decoder: FrameDecoder,
    frame_began: Instant,
}

impl Incoming {
    /// A body that is to hold the frames of the chunks asked for.
    pub(crate) fn new(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static, asked: RangeSet) -> Self {
        Self { body: Box::pin(body), decoder: FrameDecoder::new(asked), frame_began: Instant::now() }
    }

    /// The last frame was worked off: the time of the next one begins now.
    pub(crate) fn taken(&mut self) {
        self.frame_began = Instant::now();
    }

    /// The next frame, or `None` when everything asked for has come and the body has ended. May be dropped and called
    /// again: nothing is lost, and the time a frame has goes on.
    pub(crate) async fn next_frame(&mut self) -> Result<Option<Frame>, FetchError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(FetchError::Content)? {
                self.frame_began = Instant::now();
                return Ok(Some(frame));
            }
            let patience = stall(self.decoder.pending_wire_len().unwrap_or(0));
            let piece = tokio::time::timeout_at(self.frame_began + patience, self.body.next()).await;
            match piece.map_err(|_| FetchError::Stalled(patience.as_secs()))? {
                Some(piece) => self.decoder.push(&piece.map_err(FetchError::Line)?),
                None => return self.decoder.finish().map(|()| None).map_err(FetchError::Content),
            }
        }
    }
}

/// How long a frame of this length may take: a stalled line is given up, a thin one is not.
fn stall(wire_len: u32) -> Duration {
    Duration::from_secs(limits::STALL_SECS + u64::from(wire_len) / limits::SLOWEST_BYTES_PER_SEC)
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Any number that differs between hosts and moments; it spreads those who failed together.
pub(crate) fn jitter() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
