//! Rule 1: no chunk that the receiver holds verified is asked for again; a relay that keeps a package receives none of its
//! bytes.

use packhorse_domain::ids::Incarnation;

use super::{Checked, Ledger, Rule, require};
use crate::cx::Seen;
use crate::hub::PIECE_CHUNKS;
use crate::sites::{NodeId, Package};

impl Ledger {
    /// Judges what a relay asked for or received.
    ///
    /// # Errors
    /// It was not needed, or more came than one copy and a piece for each crash.
    pub fn one_copy(&mut self, node: NodeId, life: Incarnation, seen: &Seen, all: &[Package]) -> Checked {
        match seen {
            Seen::Asked { package, held } => require(Rule::OneCopy, *held == 0, || {
                format!("node {node} asks for {held} chunks of {package} that it holds")
            }),
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
}
