//! A line between two systems, in the test's own process: counts the bytes of each direction, and cuts, stalls or refuses
//! when told to. TLS runs through it untouched.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

const BUFFER_BYTES: usize = 64 << 10;

/// What the line does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Connections stand, no byte passes.
    Stall,
    /// Every connection is closed at once.
    Refuse,
}

#[derive(Debug)]
struct Line {
    target: SocketAddr,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    /// Counted down with every byte down; at 0 everything is cut, once.
    cut_armed: AtomicBool,
    cut_at: AtomicU64,
    mode: watch::Sender<Mode>,
    /// Changed at each cut: connections end when they see it.
    cuts: watch::Sender<u64>,
    /// Connections with a lower number carry nothing upwards.
    muted: watch::Sender<u64>,
    opened: AtomicU64,
}

/// A line. It ends with its guard.
pub struct Proxy {
    /// Where the lower system calls.
    pub port: u16,
    line: Arc<Line>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A line to `target` on loopback.
    pub fn start(runtime: &Runtime, target: u16) -> Proxy {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let line = Arc::new(Line {
            target: SocketAddr::from(([127, 0, 0, 1], target)),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            cut_armed: AtomicBool::new(false),
            cut_at: AtomicU64::new(0),
            mode: watch::Sender::new(Mode::Pass),
            cuts: watch::Sender::new(0),
            muted: watch::Sender::new(0),
            opened: AtomicU64::new(0),
        });
        let task = runtime.spawn(accept(listener, line.clone()));
        Proxy { port, line, task }
    }

    /// The address for the lower system.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Bytes from the higher to the lower system so far, TLS and all.
    pub fn down_bytes(&self) -> u64 {
        self.line.down_bytes.load(Ordering::Relaxed)
    }

    /// Bytes from the lower to the higher system so far.
    pub fn up_bytes(&self) -> u64 {
        self.line.up_bytes.load(Ordering::Relaxed)
    }

    /// Cuts every connection once that many bytes more have come down.
    pub fn cut_after(&self, bytes: u64) {
        self.line.cut_at.store(self.down_bytes() + bytes, Ordering::Relaxed);
        self.line.cut_armed.store(true, Ordering::Relaxed);
    }

    /// Whether the cut asked for has happened (or none was asked for).
    pub fn has_cut(&self) -> bool {
        !self.line.cut_armed.load(Ordering::Relaxed)
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        self.line.cut();
    }

    /// From now on no byte passes, and nobody is told.
    pub fn stall(&self) {
        self.line.mode.send_replace(Mode::Stall);
    }

    /// Connections that stand now carry nothing upwards from now on; those that are opened later do. So content is still
    /// fetched, and nothing is reported.
    pub fn mute(&self) {
        self.line.muted.send_replace(self.line.opened.load(Ordering::Relaxed));
    }

    /// From now on the line is down: what stands is cut, what comes is closed.
    pub fn refuse(&self) {
        self.line.mode.send_replace(Mode::Refuse);
        self.line.cut();
    }

    /// From now on everything passes again.
    pub fn pass(&self) {
        self.line.mode.send_replace(Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.line.cut();
    }
}

impl Line {
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn count_down(&self, bytes: u64) {
        let now = self.down_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let due = now >= self.cut_at.load(Ordering::Relaxed);
        if due && self.cut_armed.swap(false, Ordering::Relaxed) {
            self.cut();
        }
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    loop {
        if let Ok((lower, _)) = listener.accept().await {
            tokio::spawn(connection(lower, line.clone()));
        }
    }
}

async fn connection(lower: TcpStream, line: Arc<Line>) {
    let mut cuts = line.cuts.subscribe();
    let number = line.opened.fetch_add(1, Ordering::Relaxed);
    if *line.mode.borrow() == Mode::Refuse {
        return;
    }
    let Ok(higher) = TcpStream::connect(line.target).await else { return };
    // Small answers are what control connections are made of.
    let _ = (lower.set_nodelay(true), higher.set_nodelay(true));
    let ((lower_read, lower_write), (higher_read, higher_write)) = (lower.into_split(), higher.into_split());
    tokio::select! {
        _ = async { tokio::join!(up(lower_read, higher_write, &line, number), down(higher_read, lower_write, &line)) } => {}
        _ = cuts.changed() => {}
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: &Line, number: u64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut mode, mut muted) = (line.mode.subscribe(), line.muted.subscribe());
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let passes = mode.wait_for(|mode| *mode != Mode::Stall).await.is_ok();
        let heard = muted.wait_for(|muted| number >= *muted).await.is_ok();
        if !passes || !heard || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        line.up_bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
    // The other direction may have more to say.
    let _ = to.shutdown().await;
}

async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: &Line) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut mode = line.mode.subscribe();
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let passes = mode.wait_for(|mode| *mode != Mode::Stall).await.is_ok();
        if !passes || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        line.count_down(length as u64);
    }
    let _ = to.shutdown().await;
}
