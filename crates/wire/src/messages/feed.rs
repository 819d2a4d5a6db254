//! Orders down.

use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::job::Proof;
use packhorse_domain::merkle::Slice;
use packhorse_domain::report::Receipt;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bytes::{Fixed, Id16, Id32};
use crate::envelope::{CborError, from_cbor_limited, to_cbor};

/// Longest time a request for orders is held, in seconds.
pub const HOLD_SECS_MAX: u32 = 60;

/// A cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorMsg {
    /// The feed's life.
    pub incarnation: u64,
    /// Stored up to here.
    pub n: u64,
}

impl From<Cursor> for CursorMsg {
    fn from(cursor: Cursor) -> CursorMsg {
        CursorMsg { incarnation: cursor.incarnation.0, n: cursor.n }
    }
}

impl From<CursorMsg> for Cursor {
    fn from(msg: CursorMsg) -> Cursor {
        Cursor { incarnation: Incarnation(msg.incarnation), n: msg.n }
    }
}

/// "What is there after my cursor?" Asking after n acknowledges everything up to n.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeedRequest {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// Random at each start of the asking system: two under one name show by it.
    pub run: u64,
    /// Which life of the asking system's state: a new one (joined again, replaced) gets a feed that holds all that is open.
    pub incarnation: u64,
    /// What is stored; `None` at first.
    pub cursor: Option<CursorMsg>,
    /// Hold the request this long if there is nothing, in seconds.
    pub hold_secs: u32,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeedResponse {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The answering system's clock, microseconds.
    pub now: i64,
    /// The managing server's life.
    pub server: u64,
    /// The answering system's life.
    pub higher: u64,
    /// The feed's life.
    pub feed: u64,
    /// The orders begin after this number.
    pub after: u64,
    /// Numbered orders.
    pub orders: Vec<OrderMsg>,
    /// There are more: ask again at once.
    pub more: bool,
}

/// An order as it lies in a feed: its kind and its body's CBOR, so that a kind from a newer system can be passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderMsg {
    /// Its number in the feed.
    pub n: u64,
    /// Which kind.
    pub kind: String,
    /// The body.
    pub body: ByteBuf,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A job in a revision.
    Job(JobOrder),
    /// A newer trust document (envelope).
    Trust(ByteBuf),
    /// Where the reader itself stands (envelope).
    Place(ByteBuf),
    /// A delegation (envelope).
    Delegation(ByteBuf),
    /// To a relay: what the managing server set there (envelope).
    Control(ByteBuf),
    /// To a relay: hosts below it.
    Below(Vec<BelowHost>),
    /// Hosts that were retired (envelopes): to every relay, and to such a host itself.
    Retired(Vec<ByteBuf>),
    /// What is durable at the managing server.
    Receipts(Vec<ReceiptMsg>),
}

impl Order {
    /// Kind and body, as they lie in a feed.
    ///
    /// # Errors
    /// The encoder's.
    pub fn encode(&self) -> Result<(&'static str, Vec<u8>), CborError> {
        Ok(match self {
            Order::Job(job) => ("job", to_cbor(job)?),
            Order::Trust(envelope) => ("trust", to_cbor(envelope)?),
            Order::Place(envelope) => ("place", to_cbor(envelope)?),
            Order::Delegation(envelope) => ("delegation", to_cbor(envelope)?),
            Order::Control(envelope) => ("control", to_cbor(envelope)?),
            Order::Below(hosts) => ("below", to_cbor(hosts)?),
            Order::Retired(words) => ("retired", to_cbor(words)?),
            Order::Receipts(receipts) => ("receipts", to_cbor(receipts)?),
        })
    }

    /// The order of a kind and body; `None` for a kind from a newer system.
    ///
    /// # Errors
    /// The body is not that of its kind.
    pub fn decode(kind: &str, body: &[u8]) -> Result<Option<Order>, CborError> {
        let limit = super::RESPONSE_BYTES_MAX;
        Ok(Some(match kind {
            "job" => Order::Job(from_cbor_limited(body, limit)?),
            "trust" => Order::Trust(from_cbor_limited(body, limit)?),
            "place" => Order::Place(from_cbor_limited(body, limit)?),
            "delegation" => Order::Delegation(from_cbor_limited(body, limit)?),
            "control" => Order::Control(from_cbor_limited(body, limit)?),
            "below" => Order::Below(from_cbor_limited(body, limit)?),
            "retired" => Order::Retired(from_cbor_limited(body, limit)?),
            "receipts" => Order::Receipts(from_cbor_limited(body, limit)?),
            _ => return Ok(None),
        }))
    }
}

/// A job for the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOrder {
    /// The signed job (envelope).
    pub job: ByteBuf,
    /// Proofs for the hosts at or below the reader.
    pub proofs: Vec<ProofMsg>,
    /// Hosts at or below it that have nothing left to do.
    pub ended: Vec<Id16>,
    /// Hosts at or below it that were taken in by what is said of them.
    #[serde(default)]
    pub named: Vec<Id16>,
    /// Where the packages are to be had.
    pub copies: Vec<CopyHint>,
}

/// A locator: where a package is to be had. (For now always at the system that gave it.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyHint {
    /// The package.
    pub package: Id32,
    /// Size of its plain content, bytes.
    pub size_bytes: u64,
    /// Shown when asking for it; ends by itself.
    pub capability: ByteBuf,
}

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofMsg {
    /// The round.
    pub attempt: u32,
    /// Hosts in the list.
    pub size: u32,
    /// Where the run starts.
    pub start: u32,
    /// The run: 16 bytes a host.
    pub leaves: ByteBuf,
    /// Hashes beside it: 32 bytes each.
    pub siblings: ByteBuf,
}

impl From<&Proof> for ProofMsg {
    fn from(proof: &Proof) -> ProofMsg {
        let slice = &proof.slice;
        ProofMsg {
            attempt: proof.attempt,
            size: slice.size,
            start: slice.start,
            leaves: ByteBuf::from(slice.leaves.iter().flat_map(|id| id.0).collect::<Vec<u8>>()),
            siblings: ByteBuf::from(slice.siblings.concat()),
        }
    }
}

impl From<ProofMsg> for Proof {
    /// Bytes that do not fill a leaf or a hash are left away; the proof then holds nothing, and says so when asked.
    fn from(msg: ProofMsg) -> Proof {
        let leaves = msg.leaves.chunks_exact(16).filter_map(|id| id.try_into().ok()).map(HostId).collect();
        let siblings = msg.siblings.chunks_exact(32).filter_map(|hash| hash.try_into().ok()).collect();
        Proof { attempt: msg.attempt, slice: Slice { size: msg.size, start: msg.start, leaves, siblings } }
    }
}

/// A host below a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BelowHost {
    /// The host.
    pub host: Id16,
    /// Its signed place (envelope); empty if it is gone.
    pub place: ByteBuf,
    /// Its certificate's generation: older ones are refused.
    pub generation: u64,
}

/// A receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptMsg {
    /// Whose reports.
    pub origin: Id16,
    /// Of which life.
    pub incarnation: u64,
    /// Durable up to here.
    pub upto: u64,
}

impl From<Receipt> for ReceiptMsg {
    fn from(receipt: Receipt) -> ReceiptMsg {
        ReceiptMsg { origin: Fixed(receipt.origin.0), incarnation: receipt.incarnation.0, upto: receipt.upto }
    }
}

impl From<ReceiptMsg> for Receipt {
    fn from(msg: ReceiptMsg) -> Receipt {
        Receipt { origin: msg.origin.into(), incarnation: Incarnation(msg.incarnation), upto: msg.upto }
    }
}
