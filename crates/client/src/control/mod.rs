//! Talking to the higher system: orders down, reports up, a new certificate in time.

pub(crate) mod calling;
pub(crate) mod feed;
pub(crate) mod renew;
pub(crate) mod reports;

use packhorse_domain::outbox::Hop;
use packhorse_domain::time::{Time, pause_micros};
use packhorse_wire::messages::RETIRED_CODE;
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
    /// It will not get a new certificate: it was retired.
    pub retired: Option<String>,
    /// How far the outbox is stored above.
    pub hop: Option<Hop>,
}

/// The pause after so many failures in a row: 0.2 s to 30 s, less up to half of it.
pub(crate) fn pause(failures: u32) -> Duration {
    let micros = pause_micros(failures, PAUSE_UNITS, PAUSE_UNITS_MAX, chance()) / UNIT_PER_SEC;
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A host that was retired calls so rarely, in seconds. That it calls at all is to hear whether it counts again; also a managing
/// server that is restored from before the retiring takes it back only with a token that replaces it.
const RETIRED_PAUSE_SECS: u64 = 1800;

/// The pause after an error: short at first, and long if this host was retired, which does not pass by itself.
pub(crate) fn pause_after(error: &LinkError, failures: u32) -> Duration {
    match is_retired(error) {
        true => retired_pause(),
        false => pause(failures),
    }
}

/// The pause of a host that was retired.
pub(crate) fn retired_pause() -> Duration {
    Duration::from_secs(RETIRED_PAUSE_SECS - chance() % (RETIRED_PAUSE_SECS / 2))
}

/// Whether it says that this host was retired.
pub(crate) fn is_retired(error: &LinkError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.code == RETIRED_CODE)
}

/// An error as one sentence; of a refusal that does not pass by itself also what to do.
pub(crate) fn sentence(error: &LinkError) -> String {
    match error.refusal().filter(|_| is_retired(error)).and_then(|refusal| refusal.hint.as_ref()) {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
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

#[cfg(test)]
mod tests {
    use packhorse_wire::net::Refusal;

    use super::*;

    #[test]
    fn a_retired_host_calls_rarely_and_says_what_to_do() {
        let refused = |code: &str| LinkError::Refused {
            url: "https://osaka:8441".into(),
            status: 403,
            refusal: Refusal::new(code, "pc1 was retired").with_hint("packhorse token new"),
        };
        let least = Duration::from_secs(RETIRED_PAUSE_SECS / 2);
        assert!((0..20).all(|failures| pause_after(&refused(RETIRED_CODE), failures) >= least));
        assert!(pause_after(&refused("starting"), 0) < Duration::from_secs(1));
        assert!(sentence(&refused(RETIRED_CODE)).ends_with("(retired); packhorse token new"));
    }
}
