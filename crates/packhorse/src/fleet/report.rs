//! What a fleet took, for people and scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::memory::Memory;
use super::result::{Bytes, Curve};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::table::size;
use crate::render::{count, facts};
use crate::say;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many clients.
    pub clients: u32,
    /// The systems they joined through.
    pub systems: Vec<String>,
    /// What was installed.
    pub package: String,
    /// The job.
    pub job: String,
    /// How long joining took.
    pub join_secs: f64,
    /// When how many results were durable at the server.
    pub curve: Curve,
    /// What came and went at each relay.
    pub bytes: BTreeMap<String, Bytes>,
    /// Bytes the clients obtained; `None`: they obtained nothing.
    pub fetched: Option<u64>,
    /// Orders that were not believed, and content that was not obtained.
    pub refused: u64,
    /// Memory of this process and of those named.
    pub memory: Vec<Memory>,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let curve = &self.curve;
        let mut pairs = vec![
            (
                "fleet",
                format!("{} clients through {}", self.clients, count(self.systems.len() as u64, "system")),
            ),
            ("joined", format!("in {:.1} s: {:.0} a second", self.join_secs, self.join_rate())),
            ("install", format!("{} {} to {}", self.job, self.package, count(curve.lines, "host"))),
            (
                "results",
                format!(
                    "durable at the server: 50 % after {:.2} s, 90 % {:.2} s, 99 % {:.2} s, the last {:.2} s; {} ended well",
                    curve.p50_secs, curve.p90_secs, curve.p99_secs, curve.last_secs, curve.well
                ),
            ),
        ];
        let relays: Vec<String> = self
            .bytes
            .iter()
            .map(|(name, bytes)| {
                format!("{name} received {}, sent {}", size(bytes.received_bytes), size(bytes.sent_bytes))
            })
            .collect();
        if !relays.is_empty() {
            pairs.push(("relays", relays.join(" · ")));
        }
        if let Some(fetched) = self.fetched {
            pairs.push(("content", format!("{} obtained, verified and thrown away", size(fetched))));
        }
        if self.refused > 0 {
            pairs.push(("refused", count(self.refused, "order")));
        }
        pairs.push(("memory", self.memory_text()));
        say::clean_lines(&facts(&pairs))
    }

    fn join_rate(&self) -> f64 {
        f64::from(self.clients) / self.join_secs.max(0.001)
    }

    fn memory_text(&self) -> String {
        let one = |memory: &Memory| match (memory.resident_bytes, memory.peak_bytes) {
            (Some(now), Some(peak)) => format!("{} {} (peak {})", memory.name, size(now), size(peak)),
            _ => format!("{} is gone", memory.name),
        };
        let all: Vec<String> = self.memory.iter().map(one).collect();
        all.join(" · ")
    }

    /// Whether everything went as it should.
    ///
    /// # Errors
    /// Not every line ended well, or something was refused.
    pub fn verdict(&self) -> Outcome {
        if self.curve.well == self.curve.lines
            && self.curve.lines == u64::from(self.clients)
            && self.refused == 0
        {
            return Ok(());
        }
        Err(Failure::silent(Exit::Failed))
    }
}
