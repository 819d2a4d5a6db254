//! Orders from above at a relay: stored together with the cursor that acknowledges them, and put into the feeds below.

use std::collections::BTreeSet;
use std::sync::Arc;

use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::job::{Job, Place};
use packhorse_domain::outbox::Hop;
use packhorse_domain::report::{Body, Receipt};
use packhorse_domain::time::Time;
use packhorse_wire::messages::{BelowHost, Order};
use packhorse_wire::signed::{ControlDoc, DelegationDoc};
use packhorse_wire::trust::{Delegations, Trust};
use rusqlite::Connection;
use serde_bytes::ByteBuf;

use super::hosts::{self, Fleet, HostRow, Learned};
use super::jobs::{self, Incoming, Taken};
use super::late::{self, Why};
use super::retired::Word;
use super::{Command, DbError, control, delegations, feeds, keeping, meta, moving, outbox, reports, retired};
use crate::capability::Capabilities;

/// An order that was judged.
pub enum Judged {
    /// The newest trust document.
    Trust(Vec<u8>),
    /// Where this relay stands.
    OwnPlace(Place, Vec<u8>),
    /// A host below.
    Host(Learned),
    /// Hosts that were retired.
    Retired(Vec<Word>),
    /// A job.
    Job(Box<Incoming>),
    /// What is set at this relay, or at one below it.
    Control(ControlDoc, Vec<u8>),
    /// What is delegated to this relay, to one above it, or to one below it.
    Delegation(DelegationDoc, Vec<u8>),
    /// What is durable at the managing server.
    Receipts(Vec<Receipt>),
    /// Refused: said upwards.
    Refused {
        /// A word.
        code: String,
        /// A sentence.
        text: String,
    },
    /// Known already.
    Nothing,
}

/// Stores orders and the cursor.
pub struct TakeOrders {
    /// This relay.
    pub own: HostId,
    /// In order.
    pub orders: Vec<Judged>,
    /// Acknowledges them.
    pub cursor: Cursor,
    /// Whether the feed is read to its end with them.
    pub complete: bool,
    /// For locators.
    pub capabilities: Capabilities,
    /// Whom it trusts: for jobs that take in hosts that came later.
    pub trust: Arc<Trust>,
    /// Likewise.
    pub delegations: Arc<Delegations>,
    /// Now.
    pub now: Time,
}

/// What [`TakeOrders`] answers.
#[derive(Debug, Default)]
pub struct TakenOrders {
    /// Lower systems with something new in their feeds.
    pub lowers: Vec<HostRow>,
    /// Whether a job came.
    pub jobs: bool,
    /// Whether something else is set at this relay than before.
    pub control: bool,
    /// Whether there is something new in the outbox.
    pub reports: bool,
}

impl Command for TakeOrders {
    type Answer = TakenOrders;

    fn apply(self, tx: &Connection) -> Result<TakenOrders, DbError> {
        let mut taken = TakenOrders::default();
        meta::set(tx, "cursor_incarnation", self.cursor.incarnation.0 as i64)?;
        meta::set(tx, "cursor_n", self.cursor.n as i64)?;
        if self.complete {
            meta::set(tx, "ready", 1)?;
        }
        let (mut fresh_hosts, mut receipts) = (Vec::new(), Vec::new());
        for order in &self.orders {
            match order {
                Judged::Host(learned) => fresh_hosts.extend(self.learn(tx, learned, &mut taken)?),
                Judged::Receipts(more) => receipts.extend(more.iter().copied()),
                other => {
                    // A job that comes after a host may say that nothing is left to do there.
                    if matches!(other, Judged::Job(_)) {
                        self.take_in(tx, &std::mem::take(&mut fresh_hosts), &mut taken)?;
                    }
                    self.take(tx, other, &mut taken)?;
                }
            }
        }
        self.take_in(tx, &fresh_hosts, &mut taken)?;
        if !receipts.is_empty() {
            outbox::receipted(tx, &self.own, &receipts)?;
            taken.lowers.extend(reports::pass_receipts(tx, &receipts)?);
        }
        Ok(taken)
    }
}

impl TakeOrders {
    fn take(&self, tx: &Connection, order: &Judged, taken: &mut TakenOrders) -> Result<(), DbError> {
        match order {
            Judged::Trust(envelope) => {
                if meta::bytes(tx, "trust")?.as_ref() == Some(envelope) {
                    return Ok(());
                }
                meta::set(tx, "trust", envelope)?;
                let order = Order::Trust(ByteBuf::from(envelope.clone()));
                taken.lowers.extend(for_everybody(tx, &order)?);
            }
            Judged::OwnPlace(place, envelope) => {
                hosts::set_own_route(tx, place)?;
                meta::set(tx, "place", envelope)?;
            }
            Judged::Job(incoming) => match jobs::take(tx, incoming, &self.capabilities, self.now)? {
                Taken::Stored { lowers, .. } => {
                    // Dates may have moved, and transfers ended.
                    (taken.jobs, taken.reports) = (true, true);
                    taken.lowers.extend(lowers);
                    // A revision of a relay's job that only stops is taken whatever is delegated; nothing else comes of it.
                    let issuer = &incoming.job.key.issuer;
                    if let Some(doc) = self.delegations.of(issuer) {
                        delegations::stop_lapsed(tx, issuer, &doc.delegation(), self.now)?;
                    }
                }
                Taken::Known => {}
                Taken::Older => {
                    let text = format!("job {} came in an older revision", incoming.job.key);
                    self.refuse(tx, "older_revision", &text, taken)?;
                }
            },
            Judged::Control(doc, envelope) => match control::take(tx, &self.own, doc, envelope, self.now)? {
                control::Came::Own(lowers) => {
                    taken.lowers.extend(lowers);
                    keeping::control_came(tx, &self.own, doc, self.now)?;
                    (taken.control, taken.reports) = (true, true);
                }
                control::Came::Above(lowers) => {
                    taken.lowers.extend(lowers);
                    taken.control = true;
                }
                control::Came::PassedOn(lower) => taken.lowers.push(lower),
                control::Came::Nothing => taken.reports = true,
            },
            Judged::Delegation(doc, envelope) => self.delegation(tx, doc, envelope, taken)?,
            Judged::Refused { code, text } => self.refuse(tx, code, text, taken)?,
            Judged::Retired(words) => {
                let (lowers, fresh) = retired::take(tx, &self.own, words, self.now)?;
                taken.jobs |= fresh;
                taken.lowers.extend(lowers);
            }
            Judged::Host(_) | Judged::Receipts(_) | Judged::Nothing => {}
        }
        Ok(())
    }

    fn delegation(
        &self,
        tx: &Connection,
        doc: &DelegationDoc,
        envelope: &[u8],
        taken: &mut TakenOrders,
    ) -> Result<(), DbError> {
        match delegations::take(tx, doc, envelope, self.now)? {
            delegations::Came::Taken { lowers, resumed } => {
                // Jobs may have been stopped.
                taken.jobs = true;
                taken.lowers.extend(lowers);
                // A feed that was made anew meanwhile does not have them.
                for job in resumed {
                    taken.lowers.extend(jobs::dispatch(tx, job, None, &self.capabilities)?);
                }
            }
            delegations::Came::Known => {}
            delegations::Came::Older => {
                let text = format!("the delegation of {} came in an older revision", doc.name);
                self.refuse(tx, "older_delegation", &text, taken)?;
            }
        }
        if doc.relay.0 == self.own.0 {
            taken.reports = true;
            delegations::acknowledge(tx, &self.own, doc, self.now)?;
        }
        Ok(())
    }

    fn refuse(
        &self,
        tx: &Connection,
        code: &str,
        text: &str,
        taken: &mut TakenOrders,
    ) -> Result<(), DbError> {
        taken.reports = true;
        outbox::say(tx, &self.own, Body::Alarm { code: code.to_owned(), text: text.to_owned() }, self.now)
    }

    /// Learns of a host, and passes the word on to the relay it is below, and to the one it was below.
    fn learn(
        &self,
        tx: &Connection,
        learned: &Learned,
        taken: &mut TakenOrders,
    ) -> Result<Option<HostRow>, DbError> {
        let known = hosts::by_id(tx, &learned.place.host)?;
        let before_via = known.as_ref().map(|host| host.via);
        let direct = known.as_ref().filter(|host| host.via == host.row).map(|host| host.row);
        // One that went there by itself: the relay before still has to hear of it.
        let left = match known.as_ref().filter(|host| host.guest.is_some()) {
            Some(host) => moving::before(tx, host.row)?,
            None => None,
        };
        let before = known.filter(|host| host.via != host.row);
        let below = BelowHost {
            host: learned.place.host.into(),
            place: ByteBuf::from(learned.envelope.clone()),
            generation: learned.oldest,
        };
        let found = hosts::learn(tx, &self.own, learned, self.now)?;
        let (via, stays): (Option<HostRow>, bool) = match found {
            Some(row) => {
                let sql = "SELECT via, guest_route IS NOT NULL FROM hosts WHERE row = ?1";
                tx.prepare_cached(sql)?.query_row([row], |found| Ok((Some(found.get(0)?), found.get(1)?)))?
            }
            None => (None, false),
        };
        let mut orders = Vec::new();
        if let (Some(row), Some(via)) = (found, via) {
            tracing::debug!(host = %learned.place.name, direct = via == row, "learned");
            orders.push(match via == row {
                true => (via, Order::Place(below.place.clone())),
                false => (via, Order::Below(vec![below.clone()])),
            });
        }
        let old = before.map(|host| host.via).filter(|old| Some(*old) != via);
        let left = left.filter(|left| !stays && Some(*left) != via);
        let olds: BTreeSet<HostRow> = old.into_iter().chain(left).collect();
        orders.extend(olds.into_iter().map(|old| (old, Order::Below(vec![below.clone()]))));
        feeds::append(tx, &orders)?;
        taken.lowers.extend(orders.iter().map(|(lower, _)| *lower));
        if let (Some(row), Some(via), true) = (found, via, before_via.is_some() && before_via != via) {
            let handed = moving::hand_over(tx, row, via, &self.capabilities, self.now)?;
            taken.lowers.extend(handed);
        }
        // One that called this relay and does so no more hears where it went.
        taken.lowers.extend(direct.filter(|row| via != Some(*row)));
        Ok(found)
    }

    fn take_in(&self, tx: &Connection, fresh: &[HostRow], taken: &mut TakenOrders) -> Result<(), DbError> {
        if fresh.is_empty() {
            return Ok(());
        }
        let fleet = Fleet::load(tx)?;
        let read = |envelope: &[u8]| -> Option<Job> {
            self.trust.job(envelope, &self.delegations, None, self.now).ok()
        };
        let lowers = late::take_in(tx, &fleet, fresh, Why::Place, &self.capabilities, read, self.now)?;
        taken.jobs |= !lowers.is_empty();
        taken.lowers.extend(lowers);
        Ok(())
    }
}

/// Puts one order into the feeds of all direct lower systems.
///
/// # Errors
/// The database's or the encoder's.
pub fn for_everybody(tx: &Connection, order: &Order) -> Result<Vec<HostRow>, DbError> {
    let mut statement = tx.prepare_cached("SELECT lower FROM feeds")?;
    let lowers = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<HostRow>, _>>()?;
    let orders: Vec<(HostRow, Order)> = lowers.iter().map(|lower| (*lower, order.clone())).collect();
    feeds::append(tx, &orders)?;
    Ok(lowers)
}

/// Where the reading of the higher system's feed stands.
///
/// # Errors
/// The database's.
pub fn cursor(connection: &Connection) -> Result<Option<Cursor>, DbError> {
    let (life, n) = (meta::number(connection, "cursor_incarnation")?, meta::number(connection, "cursor_n")?);
    Ok(life.zip(n).map(|(life, n)| Cursor { incarnation: Incarnation(life as u64), n: n as u64 }))
}

/// Whether the higher system's feed was read to its end once.
///
/// # Errors
/// The database's.
pub fn ready(connection: &Connection) -> Result<bool, DbError> {
    Ok(meta::number(connection, "ready")?.is_some())
}

/// How far the outbox is stored at the higher system.
///
/// # Errors
/// The database's.
pub fn hop(connection: &Connection) -> Result<Option<Hop>, DbError> {
    let number = |key| meta::number(connection, key);
    let (server, higher, stored) = (number("hop_server")?, number("hop_higher")?, number("hop_stored")?);
    Ok(match (server, higher, stored) {
        (Some(server), Some(higher), Some(stored)) => Some(Hop {
            server: Incarnation(server as u64),
            higher: Incarnation(higher as u64),
            stored: stored as u64,
        }),
        _ => None,
    })
}

/// Writes how far the outbox is stored at the higher system.
pub struct StoreHop(pub Hop);

impl Command for StoreHop {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        meta::set(tx, "hop_server", self.0.server.0 as i64)?;
        meta::set(tx, "hop_higher", self.0.higher.0 as i64)?;
        meta::set(tx, "hop_stored", self.0.stored as i64)
    }
}
