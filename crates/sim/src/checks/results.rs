//! Rule 3: no result lost or doubled, whatever dies or is replaced, in whatever order messages arrive.

use packhorse_domain::report::{Body, LineEvent, Outcome, Receipt, Report};

use super::{Checked, Ledger, Rule, Violation, require};
use crate::cx::Seen;

const RULE: Rule = Rule::NoResultLostOrDoubled;

impl Ledger {
    /// A report became durable where it was made.
    ///
    /// # Errors
    /// Its number is taken, or its attempt has ended before.
    pub fn report_made(&mut self, report: &Report) -> Checked {
        let name = (report.origin, report.incarnation, report.no);
        let before = self.made.insert(name, report.clone());
        require(RULE, before.is_none(), || format!("{name:?} was made twice"))?;
        let Body::Line(said) = &report.body else { return Ok(()) };
        // What was rejected may be chosen after all, and ends once more; that a job does not name the host is no end of an
        // attempt it took part in.
        let is_end = |outcome: &Outcome| !outcome.end.may_come_back() && !outcome.is_unfit();
        if !matches!(&said.event, LineEvent::Ended(outcome) if is_end(outcome)) {
            return Ok(());
        }
        let end = (report.origin, report.incarnation, said.job.clone(), said.package, said.attempt);
        let before = self.ends.insert(end, report.no);
        require(RULE, before.is_none(), || format!("{said:?} ended twice at {}", report.origin))
    }

    /// A receipt became durable at a host or relay: from now on it may let go of what the receipt covers.
    ///
    /// # Errors
    /// The managing server does not have all of it.
    pub fn receipt_taken(&mut self, receipt: &Receipt) -> Checked {
        let name = |no| (receipt.origin, receipt.incarnation, no);
        // Numbers only rise: what was found there once need not be looked for again.
        let seen = self.covered.entry((receipt.origin, receipt.incarnation)).or_insert(0);
        let first = (*seen + 1).min(receipt.upto + 1);
        let mut covered = self.made.range(name(first)..name(receipt.upto + 1));
        let missing = covered.find(|(name, _)| !self.arrived.contains(*name));
        if missing.is_none() {
            *seen = (*seen).max(receipt.upto);
        }
        require(RULE, missing.is_none(), || format!("{receipt:?} covers {missing:?}, which is not there"))
    }

    /// A report became durable at the managing server.
    ///
    /// # Errors
    /// It was there, or is not what its origin made.
    pub fn report_arrived(&mut self, report: &Report) -> Checked {
        let name = (report.origin, report.incarnation, report.no);
        require(RULE, self.arrived.insert(name), || format!("{name:?} came into the history twice"))?;
        let made = self.made.get(&name);
        let same = made.is_some_and(|made| made.at == report.at && made.body == report.body);
        require(RULE, same, || format!("{report:?} is not what was made: {made:?}"))
    }
}

/// The managing server took a report for new that it had. That is so only after a gap, which only a liar makes.
///
/// # Errors
/// Nobody lied.
pub fn not_taken_twice(seen: &Seen, liars: u64) -> Checked {
    match seen {
        Seen::Again(name) => require(RULE, liars > 0, || format!("{name:?} came into the history twice")),
        _ => Ok(()),
    }
}

/// At the end: every report of a life that goes on is in the managing server's history.
///
/// # Errors
/// One is not.
pub fn no_result_lost(ledger: &Ledger) -> Checked {
    let lost = ledger
        .made
        .iter()
        .find(|(name, _)| !ledger.dead.contains(&name.1) && !ledger.arrived.contains(*name));
    match lost {
        Some((name, report)) => {
            Err(Violation { rule: RULE, what: format!("lost: {name:?}: {:?}", report.body) })
        }
        None => Ok(()),
    }
}
