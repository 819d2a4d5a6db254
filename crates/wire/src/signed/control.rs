//! What the managing server's administrator sets at a relay: suspended or not, room, limits of its line, single copies.
//! One document a relay, in revisions: whoever comes back after a long time needs only the newest.

use serde::{Deserialize, Serialize};

use super::{BadPayload, KeepDoc, limit, version};
use crate::bytes::{Id16, Id32};

/// Payload type of control orders.
pub const CONTROL_TYPE: &str = "application/vnd.packhorse.control+cbor";
/// The version of [`ControlDoc`].
pub const CONTROL_VERSION: u32 = 1;
/// Most limits of one line.
pub const LIMITS_MAX: usize = 32;
/// Most orders for single copies; the oldest go first.
pub const COPY_ORDERS_MAX: usize = 1000;
/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// What is set at a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlDoc {
    /// Version of this payload.
    pub v: u32,
    /// The relay.
    pub relay: Id16,
    /// Its name, for what is said of it at the relays below.
    #[serde(default)]
    pub name: String,
    /// A newer one counts.
    pub revision: u64,
    /// Transfers to it and through it wait.
    pub suspended: bool,
    /// What its store may take, bytes; `None`: as it was started.
    pub store_bytes: Option<u64>,
    /// Limits of its line to its higher system. Of several that hold at a time the lowest counts.
    pub down: Vec<LineLimit>,
    /// The zone of the hours, by its name in the zone database; empty: UTC.
    pub zone: String,
    /// Orders for single copies, by when they were ordered.
    pub copies: Vec<CopyOrder>,
}

/// A limit of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineLimit {
    /// Bits per second; 0: nothing passes.
    pub bits_per_sec: u64,
    /// From this minute of the day to before that one; over midnight if the second is lower. `None`: always.
    pub minutes: Option<(u16, u16)>,
}

/// An order for one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyOrder {
    /// The package.
    pub package: Id32,
    /// When it was ordered, microseconds: the last order for a copy wins.
    pub ordered: i64,
    /// How long it is kept; `None`: it is dropped.
    pub keep: Option<KeepDoc>,
}

impl ControlDoc {
    /// Nothing is set.
    pub fn new(relay: Id16) -> ControlDoc {
        ControlDoc {
            v: CONTROL_VERSION,
            relay,
            name: String::new(),
            revision: 0,
            suspended: false,
            store_bytes: None,
            down: Vec::new(),
            zone: String::new(),
            copies: Vec::new(),
        }
    }

    /// Checks what a signature does not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), BadPayload> {
        version("the control order", self.v, CONTROL_VERSION)?;
        limit("limits of a line", self.down.len(), LIMITS_MAX)?;
        limit("orders for single copies", self.copies.len(), COPY_ORDERS_MAX)?;
        limit("bytes of a zone's name", self.zone.len(), 64)?;
        limit("bytes of a relay's name", self.name.len(), 64)?;
        let late = self
            .down
            .iter()
            .filter_map(|limit| limit.minutes)
            .find(|(from, to)| *from >= DAY_MINUTES || *to > DAY_MINUTES || from == to);
        match late {
            Some((from, to)) => {
                Err(BadPayload::Word { what: "the hours of a limit", word: format!("{from}-{to}") })
            }
            None => Ok(()),
        }
    }
}
