//! At a relay: its own lines of transfers, as `domain::transfer` says.

use packhorse_domain::ids::PackageId;
use packhorse_domain::instruction::{LineKey, State};
use packhorse_domain::job::{Job, JobType};
use packhorse_domain::reason::{Code, NextTry, Reason};
use packhorse_domain::report::{Body, FailClass, LineEvent, LineReport, Outcome};
use packhorse_domain::room::NoRoom;
use packhorse_domain::transfer::{self, Facts, Step};

use super::room::day_end;
use super::{Hub, HubWrite};
use crate::cx::Cx;

impl Hub {
    /// This relay's own open lines of transfers.
    fn own_transfers(&self) -> Vec<(LineKey, Job)> {
        let Some(me) = self.me else { return Vec::new() };
        let state = self.store.now();
        let mut own = Vec::new();
        for (key, packages) in &state.open {
            let Some(job) = state.jobs.get(key).map(|row| row.doc.unverified()) else { continue };
            if job.job_type != JobType::Transfer {
                continue;
            }
            let keys = packages.keys().map(|id| LineKey { job: key.clone(), package: *id, host: me });
            let open = |key: &LineKey| state.lines.get(key).is_some_and(|line| !line.state.is_end());
            own.extend(keys.filter(open).map(|key| (key, job.clone())));
        }
        own
    }

    /// Ends what is to end now.
    pub(super) fn settle_transfers(&mut self, cx: &mut Cx<'_>) {
        for (key, job) in self.own_transfers() {
            let Some(line) = self.store.now().lines.get(&key) else { continue };
            let named = job.packages.iter().find(|package| package.id == key.package);
            let facts = Facts {
                package_until: named.map_or(cx.now, |package| package.keep_until),
                copy: self.store.now().copies.get(&key.package).map(|kept| kept.date),
                begun: line.begun,
                verdict: line.verdict.map(|(verdict, _)| verdict),
            };
            let outcome = match transfer::step(&job, &facts, cx.now, &day_end(cx.pace)) {
                Step::At(_) | Step::Suspended | Step::TakeIn => continue,
                Step::Done(date) => {
                    if facts.copy != Some(date) {
                        self.set_date(cx, key.package, date);
                    }
                    cx.stats.transferred += 1;
                    Outcome::plain(State::Transferred)
                }
                Step::Past(_) => Outcome::failed(FailClass::Refused, "copy", "past its keeping time"),
                Step::Cancelled => Outcome::plain(State::Cancelled),
                Step::Missed => Outcome::plain(State::Missed),
                Step::Judged(verdict) => Outcome::plain(verdict.end()),
            };
            self.say_of_line(cx, &key, LineEvent::Ended(outcome));
        }
    }

    /// The first piece of a package is stored.
    pub(super) fn transfer_begun(&mut self, cx: &mut Cx<'_>, package: PackageId) {
        for (key, _) in self.own_transfers().into_iter().filter(|(key, _)| key.package == package) {
            let begun =
                self.store.now().lines.get(&key).is_some_and(|line| line.begun && line.reason.is_none());
            let judged = self.store.now().lines.get(&key).is_some_and(|line| line.verdict.is_some());
            if !begun && !judged {
                self.say_of_line(cx, &key, LineEvent::Storing);
            }
        }
    }

    /// There is no room for a package.
    pub(super) fn transfer_waits(&mut self, cx: &mut Cx<'_>, package: PackageId, no_room: &NoRoom) {
        for (key, job) in self.own_transfers().into_iter().filter(|(key, _)| key.package == package) {
            let told = self.store.now().lines.get(&key);
            let told = told.is_some_and(|line| line.reason.is_some() || line.verdict.is_some());
            if told || job.starts() > cx.now {
                continue;
            }
            cx.stats.waited_for_room += 1;
            let next = no_room.next_goes.map_or(NextTry::WhenCleared, NextTry::At);
            let reason = Reason::new(Code::NoRoom, "relay", cx.now, next, "relay drop", "no room");
            self.say_of_line(cx, &key, LineEvent::Waits(reason));
        }
    }

    fn say_of_line(&mut self, cx: &mut Cx<'_>, key: &LineKey, event: LineEvent) {
        let Some(mut line) = self.store.now().lines.get(key).cloned() else { return };
        let report = LineReport { job: key.job.clone(), package: key.package, attempt: line.attempt, event };
        let (life, no) = (self.life(), self.store.now().reported + 1);
        line.apply(life, no, cx.now, &report);
        self.store.put(HubWrite::Line(key.clone(), line));
        self.say(cx, Body::Line(report));
    }
}
