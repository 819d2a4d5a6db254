//! What a long or bad line does to a stream of bytes.

use std::time::Duration;

/// What every line does to what crosses it.
///
/// A proxy sees streams, not packets: what is lost is sent again by TCP, and the streams above see a pause. So a *loss* is a
/// pause of 200 ms before a piece, and a *reset* ends both streams of a connection. Both come by chance out of `seed`,
/// the connection's number, the direction and the piece's number: the same pieces meet the same fate. How a stream falls
/// into pieces depends on the machine's speed, so two runs are alike, not equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// How long every piece is under way, in each direction.
    pub latency: Duration,
    /// Of a million pieces, so many come late by 200 ms.
    pub lost_per_million: u32,
    /// Of a million pieces, so many end their connection.
    pub reset_per_million: u32,
    /// Where chance begins.
    pub seed: u64,
}

/// How long TCP takes to notice a loss at least (`TCP_RTO_MIN`).
pub const PAUSE: Duration = Duration::from_millis(200);

/// What happens to one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives after this.
    Arrives(Duration),
    /// It never does, and the connection ends.
    Reset,
}

impl Weather {
    /// What happens to piece `piece` of the direction `direction` of connection `connection`.
    pub fn fate(&self, connection: u64, direction: u64, piece: u64) -> Fate {
        let mixed = [connection, direction, piece].into_iter().fold(self.seed, |seed, n| mix(seed ^ mix(n)));
        let (loss, reset) = ((mixed >> 32) % 1_000_000, (mixed & u64::from(u32::MAX)) % 1_000_000);
        if reset < u64::from(self.reset_per_million) {
            Fate::Reset
        } else if loss < u64::from(self.lost_per_million) {
            Fate::Arrives(self.latency + PAUSE)
        } else {
            Fate::Arrives(self.latency)
        }
    }
}

/// SplitMix64: one step.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_fair_and_comes_from_the_seed() {
        let bad =
            Weather { lost_per_million: 20_000, reset_per_million: 5_000, seed: 7, ..Weather::default() };
        let fates = |weather: &Weather| (0..100_000).map(|n| weather.fate(n % 5, 1, n)).collect::<Vec<_>>();
        let first = fates(&bad);
        assert_eq!(first, fates(&bad));
        assert_ne!(first, fates(&Weather { seed: 8, ..bad }));
        let count = |fate| first.iter().filter(|found| **found == fate).count();
        assert!((1_700..2_300).contains(&count(Fate::Arrives(PAUSE))), "{}", count(Fate::Arrives(PAUSE)));
        assert!((400..600).contains(&count(Fate::Reset)), "{}", count(Fate::Reset));
    }

    #[test]
    fn good_weather_does_nothing() {
        let calm = Weather::default();
        assert!((0..1_000).all(|n| calm.fate(0, 0, n) == Fate::Arrives(Duration::ZERO)));
    }
}
