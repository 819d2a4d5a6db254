//! Serving a package to a lower system, whole or while it is still arriving.
//!
//! A reader holds one piece of about 128 KiB at a time (a frame more at most) and reads the next when the last was taken:
//! a slow line costs no memory, a fast one is never ahead of the disk by more than that.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use packhorse_domain::fetch::RangeSet;
use tokio::sync::watch;

use crate::limits;
use crate::store::Reader;

/// Streams the frames of the chunks wanted. What is here is sent at once; what has not arrived yet is waited for.
///
/// The stream ends with an error of kind `TimedOut` if nothing arrives for `patience`, `InvalidInput` if a chunk does not
/// exist, or what the disk says. Dropping the stream ends the reading. Must be polled inside a tokio runtime.
pub fn serve(reader: Reader, ranges: RangeSet, patience: Duration) -> BoxStream<'static, io::Result<Bytes>> {
    let arrivals = reader.arrivals();
    let state = Serving { reader, wanted: ranges, cursor: 0, arrivals, patience, failed: false };
    stream::unfold(state, |mut state| async move {
        if state.failed {
            return None;
        }
        let piece = state.next_piece().await.transpose()?;
        state.failed = piece.is_err();
        Some((piece, state))
    })
    .boxed()
}

struct Serving {
    reader: Reader,
    wanted: RangeSet,
    /// Where to look first for what is here; everything before was looked at and sent, or was not here.
    cursor: u32,
    arrivals: watch::Receiver<u64>,
    patience: Duration,
    failed: bool,
}

impl Serving {
    async fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.wanted.end() > self.reader.manifest().chunk_count() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the package has no chunks with these numbers",
            ));
        }
        if self.wanted.is_empty() {
            return Ok(None);
        }
        let ready = self.wait_for_ready().await?;
        ready.iter().for_each(|&index| self.wanted.remove(index..index + 1));
        self.cursor = ready.last().map_or(0, |last| last + 1);
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || read_piece(&reader, &ready));
        read.await.map_err(io::Error::other)?.map(Some)
    }

    /// Chunks that are wanted and here, at least one.
    async fn wait_for_ready(&mut self) -> io::Result<Vec<u32>> {
        loop {
            // Seen before looking: an arrival after the look wakes us.
            self.arrivals.borrow_and_update();
            let limit = limits::SERVE_PIECE_BYTES;
            let mut ready = self.reader.ready(&self.wanted, self.cursor, limit);
            if ready.is_empty() && self.cursor > 0 {
                ready = self.reader.ready(&self.wanted, 0, limit);
            }
            if !ready.is_empty() {
                return Ok(ready);
            }
            self.cursor = 0;
            if self.reader.is_closed() {
                return Err(gone());
            }
            self.wait_for_arrival().await?;
        }
    }

    async fn wait_for_arrival(&mut self) -> io::Result<()> {
        match tokio::time::timeout(self.patience, self.arrivals.changed()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the content has not arrived here yet; ask again",
            )),
        }
    }
}

/// The package stopped arriving here, for want of room: asked again, it comes another way.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the content does not arrive here any more; ask again")
}

fn read_piece(reader: &Reader, indices: &[u32]) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(limits::SERVE_PIECE_BYTES);
    for &index in indices {
        let frame = reader.frame(index)?.ok_or(io::ErrorKind::NotFound)?;
        piece.extend_from_slice(&frame.header.to_bytes());
        piece.extend_from_slice(&frame.body);
    }
    Ok(piece.freeze())
}
