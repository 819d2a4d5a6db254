//! Through which direct lower system a host is reached: worked out when a place comes, and looked up from then on.

use std::collections::BTreeMap;

use packhorse_domain::ids::HostId;
use packhorse_domain::job::Place;

use super::{Hub, HubWrite};
use crate::signed::Signed;
use crate::sites::Lower;

/// Both ways round.
#[derive(Debug, Default)]
pub struct Reach {
    of: BTreeMap<HostId, Lower>,
    hosts: BTreeMap<Lower, Vec<HostId>>,
}

impl Hub {
    /// Writes down where a host stands.
    pub(super) fn put_place(&mut self, place: Signed<Place>) {
        self.store.put(HubWrite::Place(place));
        self.reach_anew();
    }

    /// Works it out from the places as they are.
    pub(super) fn reach_anew(&mut self) {
        let mut reach = Reach::default();
        for place in self.store.now().places.values().filter_map(Signed::verify) {
            if let Some(lower) = self.direct(place) {
                reach.of.insert(place.host, lower);
                reach.hosts.entry(lower).or_default().push(place.host);
            }
        }
        self.reach = reach;
    }

    /// The direct lower system through which a host is reached that is known here; `None` if it is not below.
    pub(super) fn reached_through(&self, host: &HostId) -> Option<Lower> {
        self.reach.of.get(host).copied()
    }

    /// The hosts at or below a direct lower system.
    pub(super) fn covered(&self, lower: Lower) -> impl Iterator<Item = &Place> {
        let hosts = self.reach.hosts.get(&lower).into_iter().flatten();
        hosts.filter_map(|host| self.store.now().places.get(host)?.verify())
    }

    /// The hosts at or below this system.
    pub(super) fn hosts_below(&self) -> impl Iterator<Item = &Place> {
        self.reach.of.keys().filter_map(|host| self.store.now().places.get(host)?.verify())
    }

    /// A system that joined through this one is known; a relay just replaced knows nobody until its feed came.
    pub(super) fn knows(&self, lower: Lower) -> bool {
        self.reach.hosts.contains_key(&lower)
    }
}
