//! Closing so that the last words arrive: a socket closed with unread bytes resets the connection, and the reset
//! overtakes the refusal that was just written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

/// How long what the other side still sends is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes thrown away after a failed handshake: far more than one needs.
const HANDSHAKE_BYTES: usize = 64 * 1024;

/// Closes a connection whose TLS handshake failed.
pub(super) async fn part(mut tcp: TcpStream) {
    let drained = async {
        tcp.shutdown().await?;
        let mut unread = [0u8; 1024];
        for _ in 0..HANDSHAKE_BYTES / unread.len() {
            if tcp.read(&mut unread).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whether it works changes nothing: the connection is over.
    let _ = timeout(LINGER, drained).await;
}

/// A stream whose shutdown waits a moment for the other side to stop sending.
pub(super) struct Lingering<S> {
    stream: S,
    /// Set once this side has said its last.
    draining: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, draining: None }
    }

    /// Ready when the other side has ended, failed or used up its time.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.draining.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut unread = [0u8; 4096];
        loop {
            if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buf = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.draining.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        self.poll_drained(cx).map(Ok)
    }
}
