//! The network: messages take time, get lost, come twice or in another order; links are cut. A stream is in order and
//! once, or it is cut: so of its messages some are lost, none comes twice, and bytes may be flipped.

use packhorse_domain::time::Time;

use crate::msg::Msg;
use crate::rng::Rng;
use crate::sites::NodeId;
use crate::stats::Stats;

/// How rough the network is now.
#[derive(Debug)]
pub struct Net {
    rough: bool,
    loss: u64,
    doubling: u64,
    flips: u64,
    slow: i64,
    /// By lower system: its link upwards is cut until then.
    cut_until: Vec<Time>,
}

impl Net {
    /// A network among `nodes` systems, as rough as the seed says.
    pub fn draw(rng: &mut Rng, nodes: usize, faults: bool) -> Net {
        let mut often = |most: u64| if faults { rng.below(most) } else { 0 };
        let (loss, doubling, flips) = (often(150), often(150), often(30));
        let slow = rng.between(20_000, 2_000_000);
        Net { rough: faults, loss, doubling, flips, slow, cut_until: vec![Time(0); nodes] }
    }

    /// Nothing goes wrong any more.
    pub fn calm(&mut self) {
        self.rough = false;
        self.cut_until.fill(Time(0));
    }

    /// Cuts a system's link upwards.
    pub fn cut(&mut self, lower: NodeId, until: Time) {
        self.cut_until[lower] = until;
    }

    /// Whether the link between two neighbours is cut.
    pub fn is_cut(&self, a: NodeId, b: NodeId, now: Time) -> bool {
        // The lower of two neighbours has the higher number.
        self.cut_until[a.max(b)] > now
    }

    /// When copies of a message arrive, and what is left of it.
    pub fn carry(&self, rng: &mut Rng, stats: &mut Stats, msg: Msg, now: Time) -> Vec<(Time, Msg)> {
        if !self.rough {
            return vec![(Time(now.0 + rng.between(5_000, 60_000)), msg)];
        }
        let lost = rng.per_mille(if msg.is_stream() { self.loss / 4 } else { self.loss });
        stats.lost += u64::from(lost);
        let twice = !msg.is_stream() && rng.per_mille(self.doubling);
        stats.doubled += u64::from(twice);
        let copies = usize::from(!lost) + usize::from(twice);
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let mut copy = msg.clone();
            self.flip(rng, stats, &mut copy);
            arrivals.push((Time(now.0 + self.delay(rng, &msg)), copy));
        }
        arrivals
    }

    fn delay(&self, rng: &mut Rng, msg: &Msg) -> i64 {
        if msg.is_stream() {
            return rng.between(5_000, 400_000);
        }
        // Now and then a message is very late and others overtake it.
        let late = if rng.per_mille(30) { 30_000_000 } else { 0 };
        rng.between(5_000, self.slow + late)
    }

    fn flip(&self, rng: &mut Rng, stats: &mut Stats, msg: &mut Msg) {
        if let Msg::Frame { chunks, .. } = msg {
            for (_, whole) in chunks {
                let flipped = rng.per_mille(self.flips);
                stats.flipped += u64::from(flipped);
                *whole &= !flipped;
            }
        }
    }
}
