//! What systems say to each other.

use packhorse_domain::feed::{Batch, Cursor};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{Incarnation, PackageId};
use packhorse_domain::job::{Job, Place};
use packhorse_domain::planner::OrderPart;
use packhorse_domain::report::{Receipt, Report};

use crate::hub::Control;
use crate::signed::Signed;

/// An entry of a feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Where a host stands.
    Place(Signed<Place>),
    /// A job in its newest revision, and what this lower system needs beside it.
    Job(Signed<Job>, OrderPart),
    /// What is set at a relay.
    Control(Signed<Control>),
    /// What is durable at the managing server.
    Receipts(Vec<Receipt>),
}

/// A run of a sender's outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportBatch {
    /// Which life of the sender.
    pub life: Incarnation,
    /// Which life of the managing server the sender knows.
    pub server: Incarnation,
    /// It covers the numbers after this one,
    pub after: u64,
    /// up to this one.
    pub through: u64,
    /// What is kept of them.
    pub items: Vec<(u64, Report)>,
}

/// Which lives answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    /// The managing server's.
    pub server: Incarnation,
    /// The higher system's.
    pub higher: Incarnation,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    /// "What comes after my cursor?", which is also the acknowledgement.
    FeedAsk(Option<Cursor>),
    /// The answer.
    Feed {
        /// Who answers.
        lives: Lives,
        /// Entries.
        batch: Batch<Order>,
        /// Whether that is all there is now.
        all: bool,
    },
    /// Reports.
    Reports(ReportBatch),
    /// How far a sender's outbox is stored.
    Stored {
        /// By whom.
        lives: Lives,
        /// Of which life of the sender.
        life: Incarnation,
        /// Up to this number.
        stored: u64,
    },
    /// Chunks are wanted. Opens a stream of its own.
    ContentAsk {
        /// Names the stream.
        request: u64,
        /// Of which package.
        package: PackageId,
        /// Which.
        chunks: RangeSet,
    },
    /// A piece of a stream; a chunk is whole or it is not.
    Frame {
        /// Which stream.
        request: u64,
        /// Of which package.
        package: PackageId,
        /// Chunk and whether its bytes are what was sent.
        chunks: Vec<(u32, bool)>,
    },
    /// The piece is written down: the next one may come.
    FrameStored {
        /// Which stream.
        request: u64,
        /// Of which package.
        package: PackageId,
    },
}

impl Msg {
    /// Whether it travels in a stream: in order and once, or the stream is cut.
    pub fn is_stream(&self) -> bool {
        matches!(self, Msg::ContentAsk { .. } | Msg::Frame { .. } | Msg::FrameStored { .. })
    }

    /// For traces.
    pub fn brief(&self) -> String {
        match self {
            Msg::FeedAsk(cursor) => format!("feed? {}", cursor.map_or(0, |cursor| cursor.n)),
            Msg::Feed { batch, .. } => {
                let kinds: Vec<String> = batch.entries.iter().map(|(_, order)| brief(order)).collect();
                format!("feed {:04x} after {}: {}", batch.incarnation.0 >> 48, batch.after, kinds.join(" "))
            }
            Msg::Reports(batch) => {
                format!("reports {}..={} ({})", batch.after + 1, batch.through, batch.items.len())
            }
            Msg::Stored { stored, .. } => format!("stored {stored}"),
            Msg::ContentAsk { package, chunks, .. } => format!("want {:02x} {chunks}", package.0[0]),
            Msg::Frame { package, chunks, .. } => format!("frame {:02x} {chunks:?}", package.0[0]),
            Msg::FrameStored { package, .. } => format!("next {:02x}", package.0[0]),
        }
    }
}

fn brief(order: &Order) -> String {
    match order {
        Order::Place(place) => format!("place:{}", place.unverified().name),
        Order::Job(doc, part) => {
            let job = doc.unverified();
            format!("job:{}r{}({} ended)", job.key.number, job.revision, part.ended.len())
        }
        Order::Control(control) => format!("control:r{}", control.unverified().revision),
        Order::Receipts(list) => format!("receipts:{}", list.len()),
    }
}
