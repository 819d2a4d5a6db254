//! A managing server or a relay: the driver. A relay is a server that has a higher system.
//!
//! | file | subject |
//! |---|---|
//! | `state` | what is durable |
//! | `feeds` | orders for direct lower systems |
//! | `reports` | reports from them |
//! | `orders` | at a relay: orders from the higher system |
//! | `control` | what is set at relays |
//! | `jobs` | at the managing server: what an administrator does |
//! | `late` | who comes later |
//! | `reach` | through whom a host is reached |
//! | `copies` | at a relay: taking packages in; serving them, at both |
//! | `room` | at a relay: room, dates, and what passes through |
//! | `transfers` | at a relay: its own lines of transfers |

mod control;
mod copies;
mod feeds;
mod jobs;
mod late;
mod orders;
mod reach;
mod reports;
mod room;
mod state;
mod transfers;

use std::collections::{BTreeMap, BTreeSet};

use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{HostId, Incarnation, PackageId};
use packhorse_domain::ingest::Position;
use packhorse_domain::job::Place;
use packhorse_domain::room::Ledger;
use packhorse_domain::time::Time;
use packhorse_domain::twins::{Runs, Verdict};

pub use control::{Control, minute_of};
pub use copies::PIECE_CHUNKS;
pub use jobs::{Destination, Wanted};
pub use state::{Feed, HubState, HubWrite, Kept};

use crate::cx::{Cx, Seen};
use crate::download::Download;
use crate::evil::Evil;
use crate::msg::{Lives, Msg};
use crate::options::Plant;
use crate::sites::{Lower, NodeId};
use crate::store::Store;
use crate::uplink::Uplink;
use copies::Serving;
use feeds::Held;
use reach::Reach;

/// How often verdicts and copies are looked at, in seconds.
const ROUND_SECS: i64 = 30;

/// The driver: its store, and what a crash takes away.
#[derive(Debug)]
pub struct Hub {
    /// What is durable.
    pub store: Store<HubState>,
    /// At a relay that lies: how.
    pub evil: Option<Evil>,
    me: Option<HostId>,
    parent: Option<NodeId>,
    uplink: Uplink,
    held: BTreeMap<Lower, Held>,
    serving: BTreeMap<(NodeId, PackageId), Serving>,
    downloads: BTreeMap<PackageId, Download>,
    ledger: Ledger,
    /// Packages without room, with the chunks that are on their way through.
    passing: BTreeMap<PackageId, RangeSet>,
    /// When a byte of a package was last handed on.
    used: BTreeMap<PackageId, Time>,
    runs: BTreeMap<Lower, Runs>,
    last_seen: BTreeMap<HostId, Time>,
    next_round: Time,
    reach: Reach,
    /// Packages that a lower system asked for and that are not here.
    asked: BTreeSet<PackageId>,
}

impl Hub {
    /// A system with an empty store.
    pub fn new(me: Option<HostId>, parent: Option<NodeId>, life: Incarnation) -> Hub {
        let server = parent.is_none().then_some(life);
        Hub {
            store: Store::new(HubState::new(life, server)),
            evil: None,
            me,
            parent,
            uplink: Uplink::new(Time(0)),
            held: BTreeMap::new(),
            serving: BTreeMap::new(),
            downloads: BTreeMap::new(),
            ledger: Ledger::default(),
            passing: BTreeMap::new(),
            used: BTreeMap::new(),
            runs: BTreeMap::new(),
            last_seen: BTreeMap::new(),
            next_round: Time(0),
            reach: Reach::default(),
            asked: BTreeSet::new(),
        }
    }

    /// Starts after a crash: what was only in memory is gone.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        self.uplink = Uplink::new(cx.now);
        self.held.clear();
        self.serving.clear();
        self.downloads.clear();
        self.ledger = Ledger::default();
        self.passing.clear();
        self.runs.clear();
        self.next_round = cx.now;
        self.asked.clear();
        self.reach_anew();
        self.wake(cx);
    }

    /// Which life of its state this is.
    pub fn life(&self) -> Incarnation {
        self.store.now().life
    }

    /// Whether this is the managing server.
    pub fn is_top(&self) -> bool {
        self.parent.is_none()
    }

    fn position(&self) -> Position {
        if self.is_top() { Position::Top } else { Position::Relay }
    }

    /// When a host or relay was last heard of here.
    pub fn last_seen(&self, host: &HostId) -> Option<Time> {
        self.last_seen.get(host).copied()
    }

    /// Since when two machines answer under a name, if they do.
    pub fn twins_since(&self, host: &HostId) -> Option<Time> {
        self.runs.iter().filter(|(lower, _)| lower.host == *host).find_map(|(_, runs)| runs.twins_since)
    }

    /// Which lives answer here; `None` as long as nobody should. A relay that has not yet read its higher system's feed to
    /// the end does not know all that is below it: it would refuse good reports as not below and they would be lost, and
    /// make feeds in which things are missing.
    fn lives(&self) -> Option<Lives> {
        let state = self.store.now();
        if !state.ready {
            return None;
        }
        Some(Lives { server: state.server?, higher: state.life })
    }

    /// The direct lower system through which a host is reached; `None` if it is not below.
    fn direct(&self, place: &Place) -> Option<Lower> {
        let mine: &[HostId] = match &self.me {
            Some(me) => &self.store.now().places.get(me)?.verify()?.route,
            None => &[],
        };
        if !place.route.starts_with(mine) {
            return None;
        }
        Some(match place.route.get(mine.len()) {
            Some(relay) => Lower { host: *relay, agent: false },
            None => Lower { host: place.host, agent: true },
        })
    }

    /// Takes in a message. `run` names the start of the sender if its connection stands.
    pub fn message(&mut self, cx: &mut Cx<'_>, from: NodeId, run: Option<u64>, msg: Msg) {
        if Some(from) == self.parent {
            return self.higher_says(cx, msg);
        }
        let Some(lower) = cx.sites.lower(from).filter(|lower| self.knows(*lower)) else {
            return;
        };
        if let Some(run) = run
            && self.runs.entry(lower).or_default().came(run, cx.now) == Verdict::Held
        {
            cx.seen.push(Seen::Held(lower));
            return;
        }
        self.last_seen.insert(lower.host, cx.now);
        match msg {
            Msg::FeedAsk(cursor) => self.feed_asked(cx, from, lower, cursor),
            Msg::Reports(batch) => self.reports_came(cx, from, lower, batch),
            Msg::ContentAsk { request, package, chunks } => {
                self.content_asked(cx, (from, package), request, chunks);
            }
            Msg::FrameStored { request, package } => self.frame_stored(cx, (from, package), request),
            Msg::Feed { .. } | Msg::Stored { .. } | Msg::Frame { .. } => {}
        }
    }

    fn higher_says(&mut self, cx: &mut Cx<'_>, msg: Msg) {
        match msg {
            Msg::Feed { lives, batch, all } => self.orders_came(cx, lives, batch, all),
            Msg::Stored { lives, life, stored } if life == self.life() => {
                self.stored_above(cx, lives, stored);
            }
            Msg::Frame { request, package, chunks } => self.frame_came(cx, request, package, &chunks),
            _ => {}
        }
    }

    /// Does what its time has come for.
    pub fn wake(&mut self, cx: &mut Cx<'_>) {
        if self.next_round <= cx.now {
            self.next_round = cx.in_secs(ROUND_SECS * cx.pace);
            self.judge_missed(cx);
            self.let_go(cx);
        }
        if let Some(parent) = self.parent {
            if self.uplink.asks(cx) {
                let cursor = self.store.now().cursor;
                cx.send(parent, Msg::FeedAsk(cursor));
            }
            self.send_reports(cx);
            self.settle_transfers(cx);
            self.take_in_copies(cx, parent);
        }
    }

    /// When [`Hub::wake`] is next of use.
    pub fn wakes_at(&self, now: Time) -> Time {
        let mut at = self.next_round;
        if self.parent.is_some() {
            at = at.min(self.uplink.wakes_at());
            at = self.downloads.values().filter_map(|download| download.wakes_at(now)).fold(at, Time::min);
        }
        at
    }

    /// Puts the end of every step right: held requests are answered, streams go on.
    pub fn finish(&mut self, cx: &mut Cx<'_>) {
        self.answer_held(cx);
        self.go_on_serving(cx);
    }

    /// Test-only: what a relay that forgets its outbox does when it restarts.
    pub fn forget_outbox(&mut self, cx: &Cx<'_>) {
        if cx.planted(Plant::ForgetOutbox) && !self.is_top() {
            let kept: Vec<_> = self.store.now().outbox.values().cloned().collect();
            for report in kept {
                let (origin, incarnation, upto) = (report.origin, report.incarnation, report.no);
                let receipt = packhorse_domain::report::Receipt { origin, incarnation, upto };
                self.store.put(HubWrite::Mark(receipt));
            }
        }
    }
}
