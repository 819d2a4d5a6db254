//! What happened, for whoever reads a failure: the last events in words, and a hash over all of them.

use std::collections::VecDeque;

use packhorse_domain::time::Time;

/// How many events a failure shows.
pub const SHOWN: usize = 100;

/// A run's trace.
#[derive(Debug, Default)]
pub struct Trace {
    last: VecDeque<String>,
    hash: u64,
}

impl Trace {
    /// Adds an event.
    pub fn add(&mut self, now: Time, what: &str) {
        let line = format!("{:>6}.{:06} {what}", now.0 / 1_000_000, now.0 % 1_000_000);
        for byte in line.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash over everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events.
    pub fn lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
