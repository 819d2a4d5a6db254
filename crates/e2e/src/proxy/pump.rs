//! The bytes of one connection, both ways.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::weather::Fate;
use super::{Line, Mode};

const BUFFER_BYTES: usize = 64 << 10;
/// Pieces under way at once on a line with latency: with it, a line of 100 Mbit/s and 200 ms is full.
const PIECES: usize = 64;

/// One direction of one connection.
#[derive(Clone, Copy)]
struct Way {
    connection: u64,
    is_up: bool,
}

/// A piece, and when it arrives.
type Piece = (Instant, Bytes);

/// Carries until both directions have ended, or one of them was reset.
pub(super) async fn both(lower: TcpStream, higher: TcpStream, line: &Line, connection: u64) {
    let ((lower_read, lower_write), (higher_read, higher_write)) = (lower.into_split(), higher.into_split());
    let up = carry(lower_read, higher_write, line, Way { connection, is_up: true });
    let down = carry(higher_read, lower_write, line, Way { connection, is_up: false });
    // A direction that ended may leave the other more to say; one that was reset does not.
    let _ = tokio::try_join!(up, down);
}

/// The connection is at its end.
struct Reset;

async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, line: &Line, way: Way) -> Result<(), Reset> {
    // On a short line nothing is under way: what the reader has not taken yet stays with the sender.
    let is_short = line.weather.borrow().latency.is_zero();
    let (send, receive) = mpsc::channel(if is_short { 1 } else { PIECES });
    tokio::try_join!(take(from, send, line, way), give(to, receive, line, way)).map(|_| ())
}

/// Reads, and decides when what was read arrives.
async fn take(mut from: OwnedReadHalf, to: mpsc::Sender<Piece>, line: &Line, way: Way) -> Result<(), Reset> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut number, mut last) = (0, Instant::now());
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let weather = *line.weather.borrow();
        let Fate::Arrives(after) = weather.fate(way.connection, way.is_up.into(), number) else {
            line.resets.fetch_add(1, Ordering::Relaxed);
            return Err(Reset);
        };
        number += 1;
        // Nothing overtakes anything in a stream.
        last = last.max(Instant::now() + after);
        if to.send((last, Bytes::copy_from_slice(&buffer[..length]))).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes what has arrived, if the line lets it pass.
async fn give(
    mut to: OwnedWriteHalf,
    mut from: mpsc::Receiver<Piece>,
    line: &Line,
    way: Way,
) -> Result<(), Reset> {
    let (mut mode, mut muted) = (line.mode.subscribe(), line.muted.subscribe());
    while let Some((at, piece)) = from.recv().await {
        if at.saturating_duration_since(Instant::now()) > Duration::ZERO {
            sleep_until(at).await;
        }
        let passes = mode.wait_for(|mode| *mode != Mode::Stall).await.is_ok();
        let heard = !way.is_up || muted.wait_for(|muted| way.connection >= *muted).await.is_ok();
        if !passes || !heard || to.write_all(&piece).await.is_err() {
            return Ok(());
        }
        line.count(way.is_up, piece.len() as u64);
    }
    // The other direction may have more to say.
    let _ = to.shutdown().await;
    Ok(())
}
