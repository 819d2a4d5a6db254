//! Talking to the higher system: orders down, reports up, a new certificate in time.

pub(crate) mod calling;
pub(crate) mod feed;
pub(crate) mod renew;
pub(crate) mod reports;

use packhorse_domain::outbox::Hop;
use packhorse_domain::time::{Time, pause_micros};
use packhorse_wire::net::{Link, LinkError, cbor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

use crate::clock::chance;

/// The shortest pause after a failure, in fifths of a second: pauses count in whole units.
const PAUSE_UNITS: i64 = 1;
/// The longest, 30 s, in the same unit.
const PAUSE_UNITS_MAX: i64 = 150;
/// The unit.
const UNIT_PER_SEC: i64 = 5;

/// What is known of the connection to the higher system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contact {
    /// The last answer.
    pub last: Option<Time>,
    /// Whether it answered last time.
    pub online: bool,
    /// Why not.
    pub trouble: Option<String>,
    /// How far the outbox is stored above.
    pub hop: Option<Hop>,
}

/// The pause after so many failures in a row: 0.2 s to 30 s, less up to half of it.
pub(crate) fn pause(failures: u32) -> Duration {
    let micros = pause_micros(failures, PAUSE_UNITS, PAUSE_UNITS_MAX, chance()) / UNIT_PER_SEC;
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Posts a message; the answer has at most `limit_bytes`.
pub(crate) async fn call<Req: Serialize, Resp: DeserializeOwned>(
    link: &Link,
    path: &str,
    request: &Req,
    limit_bytes: usize,
    timeout: Duration,
) -> Result<Resp, LinkError> {
    let protocol =
        |error: cbor::CborError| LinkError::Protocol { url: link.url().to_owned(), why: error.to_string() };
    let body = cbor::encode(request).map_err(protocol)?;
    let answer = link.request(hyper::Method::POST, path, body, limit_bytes, timeout).await?;
    cbor::decode(&answer).map_err(protocol)
}
