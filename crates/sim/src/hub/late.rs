//! Those who come later: hosts whose place or whose facts have changed are taken into the open jobs that name them, at the
//! managing server and at a relay alike.

use packhorse_domain::facts;
use packhorse_domain::ids::{HostId, JobKey};
use packhorse_domain::job::{Intent, Job};
use packhorse_domain::place::{Place, Standing};
use packhorse_domain::planner::{Opened, opens};
use packhorse_domain::time::Time;

use super::Hub;
use crate::cx::Cx;
use crate::signed::Signed;

impl Hub {
    /// A host as jobs see it here.
    pub(super) fn standing<'a>(&'a self, place: &'a Place, now: Time) -> Standing<'a> {
        let told = self.store.now().facts.get(&place.host).map_or(&facts::NONE, |(_, facts)| facts);
        Standing { place, facts: told, now }
    }

    /// Takes hosts into the open jobs that name them now.
    pub(super) fn take_in_late(&mut self, cx: &mut Cx<'_>, hosts: &[HostId]) {
        let open = |job: &Job| {
            let goes_on = job.intent != Intent::Cancelled && job.until > cx.now;
            job.grows() && job.terms.closed.is_none() && goes_on
        };
        let jobs: Vec<JobKey> = self
            .store
            .now()
            .jobs
            .iter()
            .filter(|(_, row)| open(row.doc.unverified()))
            .map(|(key, _)| key.clone())
            .collect();
        for key in jobs {
            let Some(row) = self.store.now().jobs.get(&key) else { continue };
            let job = row.doc.unverified().clone();
            let places = hosts.iter().filter_map(|host| self.store.now().places.get(host)?.verify());
            let below = places.filter(|place| self.reached_through(&place.host).is_some());
            let named: Vec<Opened> = opens(&job, &[], &[], below.map(|place| self.standing(place, cx.now)));
            let mut news = false;
            for opened in named {
                if self.reached_through(&opened.host).is_some() {
                    news |= self.open_lines(cx, &job, opened);
                }
            }
            if news {
                cx.stats.taken_in_late += 1;
                self.distribute(cx, &key);
            }
        }
    }

    /// The host's place came, or came anew.
    pub(super) fn place_changed(&mut self, cx: &mut Cx<'_>, offered: &Signed<Place>) {
        if let Some(place) = offered.verify() {
            let host = place.host;
            self.take_in_late(cx, &[host]);
        }
    }
}
