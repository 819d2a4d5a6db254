//! How long it takes, said only from rates that were measured in real transfers.

use packhorse_domain::time::Time;

use super::around::Around;
use super::plan::{Drafted, RelayPlan, on_choice};
use crate::db::rates::Way;

/// When everything is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Then; the last is this system, or what calls it.
    Expected(Time, String),
    /// Over these lines nothing was measured yet.
    Unmeasured(Vec<String>),
    /// Nothing has to be carried.
    Nothing,
    /// When its users choose.
    OnChoice,
}

impl End {
    /// The time, if it is known.
    pub fn at(&self) -> Option<Time> {
        match self {
            End::Expected(at, _) => Some(*at),
            _ => None,
        }
    }
}

/// Seconds that bytes take, rounded up.
pub fn secs(bytes: u64, bytes_per_sec: u64) -> u64 {
    bytes.div_ceil(bytes_per_sec.max(1))
}

/// When everything is delivered. What arrives at a relay is handed on while it arrives: the slowest line on a way counts.
pub fn end(around: &Around<'_>, draft: &Drafted, relays: &[RelayPlan]) -> End {
    if on_choice(draft) {
        return End::OnChoice;
    }
    let starts = draft.wish.at.unwrap_or(draft.wish.now);
    let mut unmeasured = Vec::new();
    let mut slowest: Option<(u64, String)> = None;
    let mut takes = |what: String, bytes: u64, rate: Option<&u64>, named: &str| match rate {
        _ if bytes == 0 => {}
        None => unmeasured.push(what),
        Some(rate) => {
            let secs = secs(bytes, *rate);
            if slowest.as_ref().is_none_or(|(known, _)| secs > *known) {
                slowest = Some((secs, named.to_owned()));
            }
        }
    };
    for plan in relays {
        let Some(relay) = around.host(plan.row) else { continue };
        let line = format!("{} → {}", around.higher(relay), relay.name);
        takes(line, plan.bytes, draft.rates.get(&(plan.row, Way::In)), &relay.name);
        let below = draft.total_bytes().saturating_mul(plan.hosts);
        let line = format!("{} → hosts", relay.name);
        takes(line, below, draft.rates.get(&(plan.row, Way::Out)), &relay.name);
    }
    let direct = draft.total_bytes().saturating_mul(draft.direct());
    takes(format!("{} → hosts", around.asked()), direct, draft.rates.get(&(0, Way::Out)), around.asked());
    match (unmeasured.is_empty(), slowest) {
        (false, _) => End::Unmeasured(unmeasured),
        (true, None) => End::Nothing,
        (true, Some((secs, last))) => {
            End::Expected(starts.plus_secs(i64::try_from(secs).unwrap_or(i64::MAX / 2_000_000)), last)
        }
    }
}

/// A rate as lines are sold: `50 Mbit/s`.
pub fn bits(bytes_per_sec: u64) -> String {
    let bits = bytes_per_sec.saturating_mul(8) as f64;
    let (value, unit) = match bits {
        bits if bits >= 999.5e6 => (bits / 1e9, "Gbit/s"),
        bits if bits >= 999.5e3 => (bits / 1e6, "Mbit/s"),
        bits => (bits / 1e3, "kbit/s"),
    };
    let digits = if value < 9.95 { 1 } else { 0 };
    format!("{value:.digits$} {unit}")
}

/// A span: `7 s`, `4 min`, `3 h 20 min`.
pub fn span(secs: u64) -> String {
    match secs {
        0..=99 => format!("{secs} s"),
        100..=5_999 => format!("{} min", secs.div_ceil(60)),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_spans_are_short() {
        assert_eq!(
            [bits(6_250_000), bits(125_000_000), bits(16_000), bits(150_000)],
            ["50 Mbit/s", "1.0 Gbit/s", "128 kbit/s", "1.2 Mbit/s"]
        );
        assert_eq!([span(7), span(240), span(12_000)], ["7 s", "4 min", "3 h 20 min"]);
        assert_eq!((secs(38_000_000, 6_250_000), secs(5, 0)), (7, 5));
    }
}
