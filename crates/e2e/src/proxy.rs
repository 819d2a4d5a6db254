//! A line between two systems, in the test's own process: counts the bytes of each direction, delays and loses what it is
//! told to, and cuts, stalls or refuses. TLS runs through it untouched.

mod pump;
mod weather;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::net::sockopt::{ip_original_dst, set_socket_send_buffer_size};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub use weather::Weather;

/// What a line holds of one direction of a connection, on each side.
const BUFFERED_BYTES: usize = 64 << 10;

/// What the line does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Connections stand, no byte passes.
    Stall,
    /// Every connection is closed at once.
    Refuse,
}

/// Where a connection is led.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// There.
    Fixed(SocketAddr),
    /// Where it wanted to go when the network turned it here.
    Original,
}

#[derive(Debug)]
struct Line {
    target: Target,
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
    resets: AtomicU64,
    weather: watch::Sender<Weather>,
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
        let listener = StdListener::bind(("127.0.0.1", 0)).expect("a port");
        Proxy::at(runtime, listener, Target::Fixed(SocketAddr::from(([127, 0, 0, 1], target))))
    }

    /// A line from a listener to `target`. It calls onwards out of the network in which the runtime was made.
    pub fn at(runtime: &Runtime, listener: StdListener, target: Target) -> Proxy {
        let port = listener.local_addr().expect("its address").port();
        listener.set_nonblocking(true).expect("a listener that does not block");
        let line = Arc::new(Line {
            target,
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            cut_armed: AtomicBool::new(false),
            cut_at: AtomicU64::new(0),
            mode: watch::Sender::new(Mode::Pass),
            cuts: watch::Sender::new(0),
            muted: watch::Sender::new(0),
            opened: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            weather: watch::Sender::new(Weather::default()),
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

    /// Connections that the weather has ended so far.
    pub fn resets(&self) -> u64 {
        self.line.resets.load(Ordering::Relaxed)
    }

    /// From now on the line is like this, for connections that stand, too.
    pub fn weather(&self, weather: Weather) {
        self.line.weather.send_replace(weather);
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

    fn count(&self, is_up: bool, bytes: u64) {
        if is_up {
            self.up_bytes.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.count_down(bytes);
        }
    }

    fn count_down(&self, bytes: u64) {
        let now = self.down_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let due = now >= self.cut_at.load(Ordering::Relaxed);
        if due && self.cut_armed.swap(false, Ordering::Relaxed) {
            self.cut();
        }
    }
}

impl Target {
    fn of(self, lower: &TcpStream) -> io::Result<SocketAddr> {
        match self {
            Target::Fixed(address) => Ok(address),
            Target::Original => Ok(SocketAddr::V4(ip_original_dst(lower)?)),
        }
    }
}

async fn accept(listener: StdListener, line: Arc<Line>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        if let Ok((lower, _)) = listener.accept().await {
            tokio::spawn(connection(lower, line.clone()));
        }
    }
}

async fn call(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(BUFFERED_BYTES as u32)?;
    socket.connect(target).await
}

async fn connection(lower: TcpStream, line: Arc<Line>) {
    let mut cuts = line.cuts.subscribe();
    let number = line.opened.fetch_add(1, Ordering::Relaxed);
    if *line.mode.borrow() == Mode::Refuse {
        return;
    }
    let Ok(target) = line.target.of(&lower) else { return };
    let Ok(higher) = call(target).await else { return };
    // Small answers are what control connections are made of. And what the lower system does not read is not to pile up
    // here: it would have crossed the line although nobody took it.
    let _ = (lower.set_nodelay(true), higher.set_nodelay(true));
    let _ = set_socket_send_buffer_size(&lower, BUFFERED_BYTES);
    tokio::select! {
        () = pump::both(lower, higher, &line, number) => {}
        _ = cuts.changed() => {}
    }
}
