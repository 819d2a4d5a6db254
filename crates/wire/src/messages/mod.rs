//! The protocol between a lower and its higher system: CBOR over HTTP, each message with the protocol's version. Unknown
//! fields are passed over, so that the version before can still be talked to; every number and length has a limit.
//!
//! | path | from below | answer |
//! |---|---|---|
//! | [`FEED`] | [`FeedRequest`]: orders after my cursor; held until there are some | [`FeedResponse`] |
//! | [`REPORTS`] | [`ReportsRequest`]: what I have to say | [`ReportsResponse`] |
//! | [`JOIN`], [`JOIN_BELOW`] | [`JoinRequest`], [`JoinBelowRequest`]: without certificate; passed on by a relay | [`JoinResponse`] |
//! | [`RENEW`] | [`RenewRequest`]: signed by the old key, passed on as it is | [`RenewResponse`] |
//! | [`ACCESS`] | [`AccessRequest`]: signed by a relay's key, passed on as it is | [`AccessResponse`] |
//! | [`CALL`] | [`CallRequest`]: I may call you by my place, and would (or do) | [`CallResponse`] |
//! | [`MANIFEST`] | [`ManifestRequest`] | the manifest's envelope, as bytes |
//! | [`FRAMES`] | [`FramesRequest`] | frames of chunks, as they are stored |

mod call;
mod content;
mod feed;
mod join;
mod report;

pub use call::{CallRequest, CallResponse};
pub use content::{FramesRequest, ManifestRequest, RANGES_MAX};
pub use feed::{
    BelowHost, CopyHint, CursorMsg, FeedRequest, FeedResponse, HOLD_SECS_MAX, JobOrder, Order, OrderMsg,
    ProofMsg, ReceiptMsg,
};
pub use join::{
    ADDRESSES_MAX, AccessRequest, AccessResponse, JoinBelowRequest, JoinRequest, JoinResponse, RenewRequest,
    RenewResponse,
};
pub use report::{
    BadReport, BodyMsg, EventMsg, OutcomeMsg, Presence, Progress, REPORTS_MAX, ReasonMsg, ReportMsg,
    ReportsRequest, ReportsResponse, Soft, TROUBLE_MAX, TrafficMsg, TroubleMsg,
};

/// The protocol's version. A system answers requests of this version and the one before.
pub const PROTOCOL: u32 = 1;

/// The word of a refusal of a host whose certificate counts no more: it was retired or removed, or another machine took its
/// name over. It will not count again.
pub const RETIRED_CODE: &str = "retired";

/// Orders for the lower system that asks.
pub const FEED: &str = "/v1/feed";
/// Reports of the lower system that sends.
pub const REPORTS: &str = "/v1/reports";
/// Joining, without a certificate.
pub const JOIN: &str = "/v1/join";
/// A relay passes on what a lower system of it asked under [`JOIN`].
pub const JOIN_BELOW: &str = "/v1/join-below";
/// A new certificate against the old key, with or without a certificate that is still valid.
pub const RENEW: &str = "/v1/renew";
/// A relay's wish for its administrator's certificate, and its word on its job key, with or without a certificate.
pub const ACCESS: &str = "/v1/access";
/// A host that may call this system, and is below another until now.
pub const CALL: &str = "/v1/call";
/// A package's manifest.
pub const MANIFEST: &str = "/v1/content/manifest";
/// A package's chunks.
pub const FRAMES: &str = "/v1/content/frames";

/// Most bytes of a request from below, apart from content.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Most bytes of an answer from above, apart from content: a job for a million hosts carries their 16 MB of ids.
pub const RESPONSE_BYTES_MAX: usize = 64 << 20;
