//! Rule 1: no chunk that the receiver holds verified is asked for again; a relay that keeps a package receives none of its
//! bytes, and what it let go does not come again for nobody. Where there is no room a package passes through, once for all
//! who wait.

use packhorse_domain::ids::{Incarnation, PackageId};
use packhorse_domain::job::JobType;
use packhorse_domain::time::Time;

use super::{Checked, Ledger, Life, Rule, require};
use crate::cx::Seen;
use crate::hub::PIECE_CHUNKS;
use crate::sites::{NodeId, Package};

impl Ledger {
    /// Judges what a relay asked for or received.
    ///
    /// # Errors
    /// It was not needed, or more came than one copy and a piece for each crash.
    pub fn one_copy(&mut self, (node, life): Life, seen: &Seen, all: &[Package], now: Time) -> Checked {
        match seen {
            Seen::Asked { package, held, passing } => {
                require(Rule::OneCopy, *held == 0, || {
                    format!("node {node} asks for {held} chunks of {package} that it holds")
                })?;
                let passed = self.passed.get(&(node, life, *package)).zip(passing.as_ref());
                let again = passed.map_or(0, |(passed, asked)| passed.intersect(asked).len());
                require(Rule::OneCopy, again == 0, || {
                    format!("{again} chunks of {package} pass through node {node} again, for nobody else")
                })?;
                self.for_somebody(node, life, package, now)
            }
            Seen::AskedBelow(package, chunks) => {
                self.let_go.remove(&(node, life, *package));
                if let Some(passed) = self.passed.get_mut(&(node, life, *package)) {
                    chunks.ranges().for_each(|range| passed.remove(range));
                }
                Ok(())
            }
            Seen::Passed(package, chunks) => {
                let passed = self.passed.entry((node, life, *package)).or_default();
                chunks.iter().for_each(|chunk| passed.insert(*chunk..chunk + 1));
                Ok(())
            }
            Seen::Again(_) | Seen::Held(_) => Ok(()),
            Seen::Received { package, chunks, had_copy } => {
                require(Rule::OneCopy, !had_copy, || {
                    format!("node {node} keeps {package} and receives {chunks} chunks of it")
                })?;
                let received = self.received.entry((node, life, *package)).or_insert(0);
                *received += chunks;
                let whole = all.iter().find(|one| one.named.id == *package).map_or(0, |one| one.chunks);
                let crashes = self.crashes.get(&(node, life)).copied().unwrap_or(0);
                let most = u64::from(whole) + crashes * PIECE_CHUNKS as u64;
                require(Rule::OneCopy, *received <= most, || {
                    format!(
                        "node {node} received {received} chunks of {package}: {whole} and {crashes} crashes"
                    )
                })
            }
        }
    }

    /// What a relay let go it asks for again if somebody below asked for it since then, or a job started since then that
    /// somebody signed.
    fn for_somebody(&self, node: NodeId, life: Incarnation, package: &PackageId, now: Time) -> Checked {
        let Some(gone) = self.let_go.get(&(node, life, *package)) else { return Ok(()) };
        let newer = self.signed.values().any(|job| {
            let names = job.packages.iter().any(|named| named.id == *package);
            let started = *gone < job.starts() && job.starts() <= now;
            names && (started || job.job_type == JobType::Transfer)
        });
        require(Rule::OneCopy, newer, || {
            format!("node {node} let {package} go at {gone:?} and asks for it again, for nobody")
        })
    }
}
