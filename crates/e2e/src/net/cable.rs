//! A line between two systems or sites: as wide as told in both directions, counted by the kernel, pulled and put back.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::namespace::Namespace;

/// What a cable lets pass at once after a pause.
const BURST_BYTES: u64 = 32 << 10;

/// One end of a cable.
#[derive(Debug, Clone)]
struct End {
    at: Namespace,
    device: String,
}

/// A cable between a higher and a lower place.
#[derive(Debug, Clone)]
pub struct Cable {
    upper: End,
    lower: End,
    /// The lower place's way out, which goes with its device.
    gateway: String,
    mbit_per_sec: Arc<AtomicU32>,
}

/// Bytes over a cable so far, frames and all, as its upper end counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Towards the lower place.
    pub down: u64,
    /// Towards the higher place.
    pub up: u64,
}

impl Counted {
    /// What came since then. A cable that was laid anew meanwhile has counted from nothing.
    pub fn since(self, before: Counted) -> Counted {
        let less = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Counted { down: less(self.down, before.down), up: less(self.up, before.up) }
    }
}

impl Cable {
    /// The cable between two devices that exist.
    pub(super) fn new(upper: (&Namespace, &str), lower: (&Namespace, &str), gateway: &str) -> Cable {
        let end = |(at, device): (&Namespace, &str)| End { at: at.clone(), device: device.to_owned() };
        Cable {
            upper: end(upper),
            lower: end(lower),
            gateway: gateway.to_owned(),
            mbit_per_sec: Arc::default(),
        }
    }

    /// Makes it that wide in both directions. What does not fit waits in a queue and is dropped when that is full, as on
    /// any line; dropped bytes did not cross it and are not counted.
    pub fn width(&self, mbit_per_sec: u32) {
        self.mbit_per_sec.store(mbit_per_sec, Ordering::Relaxed);
        for end in [&self.upper, &self.lower] {
            let device = &end.device;
            end.at.tc(&[format!(
                "qdisc replace dev {device} root tbf rate {mbit_per_sec}mbit burst {BURST_BYTES} latency 200ms"
            )]);
        }
    }

    /// What may cross it in that time, if it has a width: what did is no more.
    pub fn most_bytes(&self, time: Duration) -> u64 {
        let bytes_per_sec = f64::from(self.mbit_per_sec.load(Ordering::Relaxed)) * 1e6 / 8.0;
        (bytes_per_sec * time.as_secs_f64()) as u64 + BURST_BYTES
    }

    /// What has crossed it.
    pub fn counted(&self) -> Counted {
        let End { at, device } = &self.upper;
        // The file system below /sys shows the network it was mounted in, this one that of the reader.
        let text = at.enter(|| fs::read_to_string("/proc/thread-self/net/dev")).expect("the counters");
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'));
        let line = line.unwrap_or_else(|| panic!("{device} is not at {}", at.label()));
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        Counted { up: numbers[0], down: numbers[8] }
    }

    /// Pulls it: what is under way is lost, and nobody is told.
    pub fn pull(&self) {
        self.lower.at.ip(&[format!("link set {} down", self.lower.device)]);
    }

    /// Takes it away for good, with the addresses at its ends.
    pub(super) fn remove(&self) {
        self.upper.at.ip(&[format!("link delete {}", self.upper.device)]);
    }

    /// Puts it back.
    pub fn put_back(&self) {
        let device = &self.lower.device;
        self.lower
            .at
            .ip(&[format!("link set {device} up"), format!("route replace default via {}", self.gateway)]);
    }
}
