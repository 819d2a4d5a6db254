//! Rule 6: nothing is installed that no validly signed job asks of this host, and no older revision is accepted.

use packhorse_domain::agent::{Entry, Kind, KnownJob};
use packhorse_domain::ids::{HostId, Incarnation, JobKey};
use packhorse_domain::job::{Intent, Job};

use super::{Checked, Ledger, Life, Rule, require};
use crate::sites::NodeId;

const RULE: Rule = Rule::TwoSignatures;

impl Ledger {
    /// A system made a revision durable.
    ///
    /// # Errors
    /// Nobody signed it, or it is older than what the system had.
    pub fn revision_taken(&mut self, node: NodeId, life: Incarnation, job: &Job) -> Checked {
        let signed = self.signed.get(&(job.key.clone(), job.revision));
        require(RULE, signed == Some(job), || {
            format!("node {node} took {} revision {}, which nobody signed", job.key, job.revision)
        })?;
        let newest = self.revisions.entry((node, life, job.key.clone())).or_insert(0);
        let before = std::mem::replace(newest, job.revision);
        require(RULE, job.revision >= before, || {
            format!("node {node} took {} revision {} after {before}", job.key, job.revision)
        })
    }

    /// A host made durable in which attempt of a job it is.
    ///
    /// # Errors
    /// The job does not name it so.
    pub fn attempt_taken(&mut self, host: &HostId, who: Life, known: &KnownJob) -> Checked {
        self.known.insert((who, known.job.key.clone()), known.clone());
        let Some(attempt) = known.attempt else { return Ok(()) };
        require(RULE, self.names(host, &known.job.key, attempt), || {
            format!("{host} takes part in {} attempt {attempt}, which does not name it", known.job.key)
        })
    }

    /// A host made an entry of its journal durable.
    ///
    /// # Errors
    /// It is an INTENT that the newest revision durable there does not ask for, or that comes after a cancel though it is
    /// the attempt's first.
    pub fn begun(&mut self, host: &HostId, who: Life, entry: &Entry) -> Checked {
        let begun = self.begun.entry((who, entry.line.clone(), entry.attempt)).or_insert(0);
        match entry.kind {
            Kind::Intent => *begun += 1,
            Kind::NotStarted => {
                *begun -= 1;
                return Ok(());
            }
            _ => return Ok(()),
        }
        let first = *begun == 1;
        let known = self.known.get(&(who, entry.line.job.clone()));
        let asked = known.filter(|known| known.job.packages.iter().any(|one| one.id == entry.line.package));
        let Some(known) = asked else {
            return require(RULE, false, || {
                format!("{host} begins {:?}, which nobody asked for", entry.line)
            });
        };
        require(RULE, self.names(host, &known.job.key, entry.attempt), || {
            format!("{host} begins {:?}, which does not name it", entry.line)
        })?;
        require(RULE, !first || known.job.intent != Intent::Cancelled, || {
            format!("{host} begins {:?}, which it knows to be cancelled", entry.line)
        })
    }

    fn names(&self, host: &HostId, job: &JobKey, attempt: u32) -> bool {
        self.named.get(&(job.clone(), attempt)).is_some_and(|hosts| hosts.contains(host))
    }
}
