//! What a job took: when how many results were durable at the server, and the bytes of every relay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use packhorse_wire::admin::JobMade;
use serde::Serialize;

use crate::api::Api;
use crate::failure::{Failure, Outcome};
use crate::render::job::{Tally, counts_text};

/// How often the server is asked how far it is.
const POLL: Duration = Duration::from_millis(50);
/// Counters that have not moved for this long stand still.
const SETTLE: Duration = Duration::from_millis(2500);
/// How often it is looked at most.
const SETTLE_MAX: u32 = 12;

/// When how many results were durable at the server, in seconds after the install was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// Lines of the job.
    pub lines: u64,
    /// Lines that ended well.
    pub well: u64,
    /// Half of the results.
    pub p50_secs: f64,
    /// Nine of ten.
    pub p90_secs: f64,
    /// All but one of a hundred.
    pub p99_secs: f64,
    /// The last one.
    pub last_secs: f64,
}

/// Waits until every line has ended.
///
/// # Errors
/// Not in time.
pub async fn wait(api: &Api, job: &JobMade, asked: Instant, patience: Duration) -> Outcome<Curve> {
    let mut points: Vec<(f64, u64)> = Vec::new();
    loop {
        let jobs = api.jobs().await?;
        let counts =
            jobs.into_iter().find(|other| other.id == job.id).map(|job| job.counts).unwrap_or_default();
        let tally = Tally::of(&counts);
        let secs = asked.elapsed().as_secs_f64();
        points.push((secs, tally.ended));
        if tally.all > 0 && tally.is_over() {
            return Ok(curve(&points, tally));
        }
        if asked.elapsed() > patience {
            let so_far = counts_text(&counts);
            return Err(Failure::new(format!(
                "not all results came within {} s: {so_far}",
                patience.as_secs()
            ))
            .hint(format!("packhorse explain {}", job.number)));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn curve(points: &[(f64, u64)], tally: Tally) -> Curve {
    let after = |share: f64| {
        let wanted = (tally.all as f64 * share).ceil() as u64;
        points.iter().find(|(_, ended)| *ended >= wanted).map_or(0.0, |(secs, _)| *secs)
    };
    Curve {
        lines: tally.all,
        well: tally.well,
        p50_secs: after(0.5),
        p90_secs: after(0.9),
        p99_secs: after(0.99),
        last_secs: after(1.0),
    }
}

/// A relay's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// From its higher system.
    pub received_bytes: u64,
    /// To its lower systems.
    pub sent_bytes: u64,
}

/// The counters of all relays, by name.
///
/// # Errors
/// The server does not answer.
pub async fn bytes(api: &Api) -> Outcome<BTreeMap<String, Bytes>> {
    let mut all = BTreeMap::new();
    for relay in api.relays().await? {
        let view = api.relay(&relay.name).await?;
        all.insert(relay.name, Bytes { received_bytes: view.received_bytes, sent_bytes: view.sent_bytes });
    }
    Ok(all)
}

/// The counters once they stand still: they follow what is sent within a second or so, and a relay may still be taking in
/// its copy when clients that obtain nothing have long reported.
///
/// # Errors
/// The server does not answer.
pub async fn settled(api: &Api) -> Outcome<BTreeMap<String, Bytes>> {
    let mut last = bytes(api).await?;
    for _ in 0..SETTLE_MAX {
        tokio::time::sleep(SETTLE).await;
        let next = bytes(api).await?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

/// What came since.
pub fn difference(
    before: &BTreeMap<String, Bytes>,
    after: &BTreeMap<String, Bytes>,
) -> BTreeMap<String, Bytes> {
    let since = |name: &String, after: &Bytes| {
        let before = before.get(name).copied().unwrap_or_default();
        Bytes {
            received_bytes: after.received_bytes.saturating_sub(before.received_bytes),
            sent_bytes: after.sent_bytes.saturating_sub(before.sent_bytes),
        }
    };
    after.iter().map(|(name, bytes)| (name.clone(), since(name, bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_from_the_curve() {
        let points = [(0.1, 0), (0.2, 49), (0.3, 50), (0.4, 90), (0.5, 98), (0.6, 100)];
        let curve = curve(&points, Tally { all: 100, ended: 100, well: 99 });
        assert_eq!((curve.p50_secs, curve.p90_secs, curve.p99_secs, curve.last_secs), (0.3, 0.4, 0.6, 0.6));
        assert_eq!(curve.well, 99);
    }
}
