//! One who waits for a package that passes through: what is here of it, and what comes by.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::mpsc;

use crate::frame::Frame;

/// One who waits, as the body of an answer.
pub(super) struct Attached {
    /// What is here; `None` when all of it was sent.
    pub(super) local: Option<BoxStream<'static, io::Result<Bytes>>>,
    pub(super) coming: mpsc::Receiver<Frame>,
    /// Chunks still to come.
    pub(super) left: u64,
    pub(super) patience: Duration,
    pub(super) failed: bool,
}

impl Attached {
    /// What comes next; `None` at the end.
    pub(super) async fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
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
