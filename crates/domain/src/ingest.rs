//! What a system does with reports from below: a relay stores and passes them on, the managing server makes them the truth
//! and answers with receipts. One batch of one lower system at a time; what the batch needs to know is loaded before with a
//! fixed number of statements, however many hosts it speaks of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::facts::Facts;
use crate::ids::{HostId, Incarnation};
use crate::instruction::{Applied, Line, LineKey};
use crate::report::{Body, CopyReport, Receipt, Report, Traffic};
use crate::time::Time;

/// Who takes the batch in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The managing server.
    Top,
    /// A relay system.
    Relay,
}

/// What is loaded for a batch.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The lines the batch speaks of, as far as there are any.
    pub lines: HashMap<LineKey, Line>,
    /// How far each origin's reports are in without a gap.
    pub upto: HashMap<(HostId, Incarnation), u64>,
    /// Which of the batch's origins are the sender or below it.
    pub below_sender: HashSet<HostId>,
    /// At a relay: origins of which it does not know where they stand. Their reports go up unjudged: refused here they
    /// would be lost, since the sender hears that they are stored, and it may be this relay that was not told of them. Who
    /// stands above, at the latest the managing server, knows.
    pub strangers: HashSet<HostId>,
}

/// What to write, send and say about a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ingested {
    /// Lines to write.
    pub lines: BTreeMap<LineKey, Line>,
    /// Reports that are new here, for the history and, at a relay, for the outbox, in order.
    pub fresh: Vec<Report>,
    /// New marks to write; at the managing server they are the receipts to send down.
    pub receipts: Vec<Receipt>,
    /// What relays said of their copies, in order.
    pub copies: Vec<(HostId, CopyReport)>,
    /// What hosts say of themselves, the newest.
    pub facts: BTreeMap<HostId, (Time, Facts)>,
    /// The newest counters of relays.
    pub traffic: BTreeMap<HostId, Traffic>,
    /// What hosts have taken in, and in which revision.
    pub applied: Vec<(HostId, String, u64)>,
    /// Addresses relays are called by.
    pub called: BTreeMap<HostId, Vec<String>>,
    /// Reports about hosts that are not below the sender: refused and logged (rule 5).
    pub not_below: Vec<Report>,
    /// Reports the table of states refuses: kept in the history, without effect.
    pub odd: Vec<(LineKey, String)>,
}

/// Takes in a batch.
pub fn ingest(position: Position, mut known: Known, batch: Vec<Report>) -> Ingested {
    let mut out = Ingested::default();
    let mut moved = BTreeSet::new();
    for report in batch {
        if position == Position::Relay && known.strangers.contains(&report.origin) {
            out.fresh.push(report);
            continue;
        }
        if !known.below_sender.contains(&report.origin) {
            out.not_below.push(report);
            continue;
        }
        if !advance(&mut known.upto, &mut moved, &report) {
            // Durable here already. The managing server says so again, for the sender may have missed it.
            continue;
        }
        if let Body::Line(line) = &report.body {
            let key = LineKey { job: line.job.clone(), package: line.package, host: report.origin };
            apply(&mut known.lines, &mut out, key, &report);
        }
        match &report.body {
            Body::Copy(copy) => {
                out.traffic.insert(report.origin, copy.traffic);
                out.copies.push((report.origin, copy.clone()));
            }
            Body::Facts(facts) => drop(out.facts.insert(report.origin, (report.at, facts.clone()))),
            Body::Traffic(traffic) => drop(out.traffic.insert(report.origin, *traffic)),
            Body::Applied { what, revision } => out.applied.push((report.origin, what.clone(), *revision)),
            Body::Called(urls) => drop(out.called.insert(report.origin, urls.clone())),
            Body::Line(_) | Body::Job(_) | Body::Calls(_) | Body::Alarm { .. } => {}
        }
        out.fresh.push(report);
    }
    for key in moved {
        let upto = known.upto.get(&key).copied().unwrap_or(0);
        out.receipts.push(Receipt { origin: key.0, incarnation: key.1, upto });
    }
    if position == Position::Relay {
        // A relay keeps no marks of its own: only the managing server knows what is durable there.
        out.receipts.clear();
    }
    out
}

/// Moves an origin's mark over the report if nothing is missing below it; answers whether the report is new here.
fn advance(
    upto: &mut HashMap<(HostId, Incarnation), u64>,
    moved: &mut BTreeSet<(HostId, Incarnation)>,
    report: &Report,
) -> bool {
    let key = (report.origin, report.incarnation);
    let mark = upto.entry(key).or_insert(0);
    moved.insert(key);
    if report.no <= *mark {
        return false;
    }
    // Below `base` nothing is missing: it was receipted before and may be forgotten at the origin.
    if (*mark).max(report.base).checked_add(1) == Some(report.no) {
        *mark = report.no;
    }
    true
}

fn apply(lines: &mut HashMap<LineKey, Line>, out: &mut Ingested, key: LineKey, report: &Report) {
    let Body::Line(said) = &report.body else { return };
    // A line that is not known here yet (a late joiner that a relay took in, a restored server) begins with the report.
    let line = lines.entry(key.clone()).or_insert_with(|| Line::new(said.attempt, report.at));
    match line.apply(report.incarnation, report.no, report.at, said) {
        Applied::Changed => drop(out.lines.insert(key, line.clone())),
        Applied::Repeat | Applied::Old => {}
        Applied::Refused(refused) => out.odd.push((key, refused.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobKey, PackageId};
    use crate::instruction::State;
    use crate::report::{LineEvent, LineReport, Outcome};

    const RUN: Incarnation = Incarnation(1);

    fn report(host: u8, no: u64, base: u64, event: LineEvent) -> Report {
        let said = LineReport { job: JobKey::server(1, 1), package: PackageId([1; 32]), attempt: 1, event };
        Report {
            origin: HostId([host; 16]),
            incarnation: RUN,
            no,
            base,
            at: Time(no as i64),
            body: Body::Line(said),
        }
    }

    fn done() -> LineEvent {
        LineEvent::Ended(Outcome::plain(State::Done))
    }

    fn known(hosts: &[u8]) -> Known {
        Known { below_sender: hosts.iter().map(|n| HostId([*n; 16])).collect(), ..Known::default() }
    }

    fn upto(out: &Ingested) -> Vec<u64> {
        out.receipts.iter().map(|r| r.upto).collect()
    }

    #[test]
    fn results_become_the_truth_and_are_receipted() {
        let batch = vec![
            report(5, 1, 0, LineEvent::Delivered),
            report(5, 2, 0, LineEvent::Begun),
            report(5, 3, 0, done()),
        ];
        let out = ingest(Position::Top, known(&[5]), batch.clone());
        assert_eq!((out.fresh.len(), upto(&out)), (3, vec![3]));
        let line = out.lines.values().next().unwrap();
        assert_eq!(line.shown(), State::Done);

        let mut again = known(&[5]);
        again.upto.insert((HostId([5; 16]), RUN), 3);
        let out = ingest(Position::Top, again, batch.clone());
        assert_eq!((out.fresh.len(), out.lines.len(), upto(&out)), (0, 0, vec![3]));

        let out = ingest(Position::Relay, known(&[5]), batch);
        assert_eq!((out.fresh.len(), out.receipts.len()), (3, 0));
    }

    #[test]
    fn a_gap_is_applied_but_not_receipted() {
        let out = ingest(Position::Top, known(&[5]), vec![report(5, 4, 0, done())]);
        assert_eq!((out.lines.len(), upto(&out)), (1, vec![0]));
        let out = ingest(Position::Top, known(&[5]), vec![report(5, 4, 3, done())]);
        assert_eq!(upto(&out), vec![4]);
        // A host may write any number.
        let out = ingest(Position::Top, known(&[5]), vec![report(5, 4, u64::MAX, done())]);
        assert_eq!(upto(&out), vec![0]);
    }

    #[test]
    fn the_highest_number_is_a_number() {
        let out = ingest(Position::Top, known(&[5]), vec![report(5, u64::MAX, u64::MAX, done())]);
        assert_eq!(upto(&out), vec![0]);
    }

    #[test]
    fn what_is_not_below_the_sender_is_refused() {
        let out = ingest(Position::Top, known(&[5]), vec![report(6, 1, 0, done())]);
        assert_eq!((out.not_below.len(), out.fresh.len(), out.receipts.len()), (1, 0, 0));
    }

    #[test]
    fn a_relay_passes_strangers_up_unjudged_and_the_managing_server_does_not() {
        let mut with = known(&[5]);
        with.strangers = [HostId([6; 16])].into();
        let out = ingest(Position::Relay, with.clone(), vec![report(6, 1, 0, done())]);
        assert_eq!((out.fresh.len(), out.lines.len(), out.not_below.len()), (1, 0, 0));
        let out = ingest(Position::Top, with, vec![report(6, 1, 0, done())]);
        assert_eq!((out.fresh.len(), out.not_below.len()), (0, 1));
    }

    #[test]
    fn after_the_end_nothing_more_happens() {
        let out = ingest(
            Position::Top,
            known(&[5]),
            vec![report(5, 1, 0, done()), report(5, 2, 0, LineEvent::Begun)],
        );
        assert_eq!((out.odd.len(), upto(&out)), (1, vec![2]));
    }
}
