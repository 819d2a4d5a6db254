//! Whole fleets of Packhorse in virtual time from a seed.
//!
//! The machines of `packhorse-domain` run as one managing server, relays in up to three levels and clients, over store
//! doubles that lose unsynced writes and a network that loses, doubles, delays and cuts. After every step the rules of the
//! design's section 5 are checked. A seed makes a run, always the same one.
//!
//! | file | what it is |
//! |---|---|
//! | [`sites`], [`options`], [`rng`], [`stats`], [`trace`] | the run's tree, size, chance, figures, record |
//! | [`store`], [`net`], [`signed`], [`msg`] | doubles of disk, network and signatures; what is said |
//! | [`hub`] | driver of the managing server and of relays |
//! | [`client`] | driver of agents, and the host under an agent |
//! | [`uplink`], [`download`] | what relays and agents do alike |
//! | [`evil`] | a relay that lies |
//! | [`checks`] | the rules |
//! | [`world`] | the loop, faults, the administrator |
//!
//! What is deliberately absent: threads, a clock, files; and jobs that relays make by a delegation, which have tests of their
//! own (`domain::delegated`, `agent::tests_rights`). Two things are simpler than in production: a stream (content) is a
//! run of pieces of which each waits for the one before to be written down, and hosts have all joined before the first job.

pub mod checks;
pub mod client;
pub mod cx;
pub mod download;
pub mod evil;
pub mod hub;
pub mod msg;
pub mod net;
pub mod node;
pub mod options;
pub mod rng;
mod says;
pub mod signed;
pub mod sites;
pub mod stats;
pub mod store;
pub mod switching;
pub mod trace;
pub mod uplink;
pub mod world;

use std::fmt;

pub use checks::{Rule, Violation};
pub use options::{Options, Plant};
pub use stats::Stats;

/// A run in which a rule did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed, which makes the same run again.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
    /// When, in seconds of virtual time.
    pub at_secs: i64,
    /// The last events before it.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "broken at {} s: {}", self.at_secs, self.violation.rule)?;
        writeln!(f, "{}", self.violation.what)?;
        write!(f, "replay: PACKHORSE_SIM_SEED={} cargo test -p packhorse-sim thousand_seeds", self.seed)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed.
///
/// # Errors
/// A rule did not hold.
pub fn run(seed: u64, options: &Options) -> Result<Stats, Box<Failure>> {
    let ending = world::World::new(seed, options).run();
    match ending.violation {
        None => Ok(ending.stats),
        Some(violation) => {
            let at_secs = ending.at.0 / 1_000_000;
            Err(Box::new(Failure { seed, violation, at_secs, trace: ending.trace }))
        }
    }
}
