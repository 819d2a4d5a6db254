//! What the evil relay was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::job::Place;
use packhorse_wire::bytes::Id32;
use packhorse_wire::messages::{BodyMsg, Order, OrderMsg, ReportMsg};
use packhorse_wire::trust::Trust;

use super::Behaviour;
use super::content::Content;

/// A host below it.
#[derive(Debug, Clone)]
pub(super) struct Lower {
    /// Its signed place, as the managing server signed it.
    pub envelope: Vec<u8>,
    /// What it says.
    pub place: Place,
}

/// Everything it knows, behind one lock.
pub(super) struct State {
    /// What it does.
    pub behaviour: Behaviour,
    /// How often it did it since the behaviour was set.
    pub deeds: u64,
    /// Life of the feeds it gives: a new one with each behaviour, so that everybody reads everything again.
    pub feed: u64,
    /// Its own life, as its lower systems know it.
    pub life: u64,
    /// Orders from above, as they came.
    pub orders: Vec<Order>,
    /// How far they are read.
    pub cursor: Option<Cursor>,
    /// The managing server's life.
    pub server: u64,
    /// Hosts below it.
    pub lowers: BTreeMap<HostId, Lower>,
    /// Life of each host's state, as it says when it asks.
    pub lives: BTreeMap<HostId, u64>,
    /// What it has to report, from the first report on.
    pub outbox: Vec<ReportMsg>,
    /// How much of it is stored above.
    pub stored: u64,
    /// Packages it has taken in.
    pub content: HashMap<Id32, Arc<Content>>,
    /// The trust document it was given at joining.
    pub first_trust: Trust,
}

impl State {
    /// As it is after joining.
    pub fn new(first_trust: Trust) -> State {
        State {
            behaviour: Behaviour::Honest,
            deeds: 0,
            feed: 1,
            life: 99,
            orders: Vec::new(),
            cursor: None,
            server: 0,
            lowers: BTreeMap::new(),
            lives: BTreeMap::new(),
            outbox: Vec::new(),
            stored: 0,
            content: HashMap::new(),
            first_trust,
        }
    }

    /// Takes in orders from above.
    pub fn take(&mut self, life: u64, orders: Vec<OrderMsg>) {
        for message in orders {
            let order = Order::decode(&message.kind, &message.body).expect("the server sends orders");
            self.cursor = Some(Cursor { incarnation: Incarnation(life), n: message.n });
            if let Some(Order::Below(hosts)) = &order {
                for host in hosts {
                    self.learn(host.place.to_vec());
                }
            }
            self.orders.extend(order);
        }
    }

    /// Takes in a host's place.
    pub fn learn(&mut self, envelope: Vec<u8>) {
        // A newer job key may have signed it; those tests do not change that key.
        if let Ok(place) = self.first_trust.place(&envelope) {
            self.lowers.insert(place.host, Lower { envelope, place });
        }
    }

    /// Where to ask for a package: the newest right to it.
    pub fn capability(&self, package: &Id32) -> Option<Vec<u8>> {
        let jobs = self.orders.iter().rev().filter_map(|order| match order {
            Order::Job(job) => Some(job),
            _ => None,
        });
        jobs.flat_map(|job| &job.copies)
            .find(|copy| copy.package == *package)
            .map(|copy| copy.capability.to_vec())
    }

    /// Alarms that a host has reported to this relay, by their codes.
    pub fn alarms_of(&self, host: &HostId) -> Vec<String> {
        let own = self.outbox.iter().filter(|report| HostId(report.origin.0) == *host);
        own.filter_map(|report| match &report.body {
            BodyMsg::Alarm { code, .. } => Some(code.clone()),
            _ => None,
        })
        .collect()
    }
}
