//! Orders from above: each is judged, and what counts is stored together with the feed's new place.

use packhorse_domain::agent::{Input, Step};
use packhorse_domain::feed::{Batch, receive};
use packhorse_domain::ids::{Incarnation, PackageId};
use packhorse_domain::job::Job;
use packhorse_domain::outbox::Hop;
use packhorse_domain::reason::Code;
use packhorse_domain::time::Time;
use packhorse_wire::messages::{CopyHint, FeedResponse, JobOrder, Order, OrderMsg};

use super::Driver;
use crate::ClientError;
use crate::clock::chance;
use crate::judge::Refused;
use crate::store::Commit;
use crate::who::Who;
use crate::zone::ahead_secs;

/// Where an order says the packages of its job are to be had. What it says of others nobody signed and nobody asks for.
pub(super) fn hints(job: &Job, order: &JobOrder) -> Vec<(PackageId, CopyHint)> {
    let asked = |package: PackageId| job.packages.iter().any(|asked| asked.id == package);
    let copies = order.copies.iter().map(|copy| (PackageId::from(copy.package), copy));
    copies.filter(|(package, _)| asked(*package)).map(|(package, copy)| (package, copy.clone())).collect()
}

impl Driver {
    /// Takes in an answer of the higher system: how many orders were new, or why it is not taken.
    pub(super) async fn feed(&mut self, response: FeedResponse) -> Result<Result<u64, String>, ClientError> {
        self.tools.clock.heard(Time(response.now));
        if let Some(why) = &self.retired {
            return Ok(Err(why.clone()));
        }
        let now = self.tools.clock.now();
        let batch = Batch {
            incarnation: Incarnation(response.feed),
            after: response.after,
            entries: response.orders.into_iter().map(|order| (order.n, order)).collect(),
        };
        let (fresh, cursor) = match receive(self.cursor, batch) {
            Ok(taken) => taken,
            Err(bad) => return Ok(Err(bad.to_string())),
        };
        let mut commit = Commit { at: now, ..Commit::default() };
        let (higher, server) = (Incarnation(response.higher), Incarnation(response.server));
        let before = self.contact.borrow().hop;
        let hop = Hop::meet(before, server, higher);
        commit.hop = Some(hop).filter(|hop| before != Some(*hop));
        commit.cursor = Some(cursor).filter(|cursor| self.cursor != Some(*cursor));
        let mut step = Step::default();
        let count = fresh.len() as u64;
        for order in fresh {
            self.order(order, &mut commit, &mut step, now);
        }
        if !response.more {
            self.step_into(&mut step, Input::Read, now);
        }
        if !self.contact.borrow().online {
            self.step_into(&mut step, Input::Cleared(Code::Network), now);
        }
        if commit.trust.is_some() || !commit.delegations.is_empty() {
            self.step_into(&mut step, Input::Cleared(Code::NotTrusted), now);
        }
        let told = !commit.alarms.is_empty();
        self.apply(step, commit).await?;
        self.cursor = Some(cursor);
        if told {
            self.wake.notify_one();
        }
        self.end_what_is_coming();
        let retired = self.retired.clone();
        self.contact.send_modify(|contact| {
            (contact.online, contact.trouble) = (retired.is_none(), retired);
            (contact.last, contact.hop) = (Some(now), Some(hop));
        });
        Ok(Ok(count))
    }

    fn order(&mut self, order: OrderMsg, commit: &mut Commit, step: &mut Step, now: Time) {
        let outcome = match Order::decode(&order.kind, &order.body) {
            // From a newer system: passed over, as the protocol says.
            Ok(None) => Ok(()),
            Ok(Some(decoded)) => self.take(decoded, order.body.into_vec(), commit, step, now),
            Err(error) => {
                let kind: String = order.kind.chars().take(32).collect();
                Err(Refused::new("bad_order", kind, format!("an order cannot be read: {error}")))
            }
        };
        if let Err(refused) = outcome {
            self.alarm(commit, refused, now);
        }
    }

    fn take(
        &mut self,
        order: Order,
        body: Vec<u8>,
        commit: &mut Commit,
        step: &mut Step,
        now: Time,
    ) -> Result<(), Refused> {
        match order {
            Order::Job(job) => self.take_job(&job, body, commit, step, now)?,
            Order::Trust(envelope) => {
                if self.judge.follow(&envelope)? {
                    commit.trust = Some(envelope.into_vec());
                    self.step_into(step, self.rights(), now);
                }
            }
            Order::Place(envelope) => {
                self.stand(envelope.into_vec(), commit, step, now)?;
            }
            Order::Delegation(envelope) => {
                if let Some(name) = self.judge.delegation(&envelope)? {
                    commit.delegations.push((name, envelope.into_vec()));
                    self.step_into(step, self.rights(), now);
                }
            }
            Order::Receipts(receipts) => {
                for receipt in receipts {
                    // The machine passes over those of others.
                    let input = Input::Receipt(receipt.into());
                    self.step_into(step, input, now);
                }
            }
            Order::Retired(words) => self.words(&words, commit)?,
            // For relays.
            Order::Below(_) | Order::Control(_) => {}
        }
        Ok(())
    }

    /// Stands where a newer place says; that may say whom to call.
    fn stand(
        &mut self,
        envelope: Vec<u8>,
        commit: &mut Commit,
        step: &mut Step,
        now: Time,
    ) -> Result<(), Refused> {
        if !self.judge.stand(&envelope)? {
            return Ok(());
        }
        commit.place = Some(envelope);
        let place = Who::callable(self.tools.may_move, self.judge.place());
        if let Some(call) = self.calling.placed(&place, now) {
            commit.call = Some(call);
            self.moved = true;
        }
        self.step_into(step, self.rights(), now);
        let more = self.reconsidered(now);
        step.writes.extend(more.writes);
        step.effects.extend(more.effects);
        Ok(())
    }

    /// Takes in a newer place that came by the way.
    pub(super) async fn placed(&mut self, envelope: Vec<u8>) -> Result<(), ClientError> {
        let now = self.tools.clock.now();
        let (mut commit, mut step) = (Commit { at: now, ..Commit::default() }, Step::default());
        if let Err(refused) = self.stand(envelope, &mut commit, &mut step, now) {
            tracing::debug!(text = refused.text, "a place that came by the way is not taken");
        }
        self.apply(step, commit).await
    }

    fn take_job(
        &mut self,
        order: &JobOrder,
        body: Vec<u8>,
        commit: &mut Commit,
        step: &mut Step,
        now: Time,
    ) -> Result<(), Refused> {
        let judged = self.judge.job(order, |key| self.agent.revision(key), now)?;
        let key = judged.job.key.clone();
        if judged.attempt.is_some() || judged.unmet.is_some() || self.agent.job(&key).is_some() {
            // Also for a revision that is known: where a package is to be had may have changed.
            self.hints.extend(hints(&judged.job, order));
            commit.bodies.insert(key, body);
        }
        let (job, attempt) = (judged.job, judged.attempt);
        let input = match judged.unmet {
            Some((attempt, why)) => Input::Unfit { job, attempt, why },
            None => Input::Order { ahead_secs: ahead_secs(&job), job, attempt },
        };
        self.step_into(step, input, now);
        Ok(())
    }

    /// By what jobs of relays are judged from now on.
    pub(super) fn rights(&self) -> Input {
        Input::Rights { rights: self.judge.rights(), place: self.judge.place().clone() }
    }

    pub(super) fn step_into(&mut self, step: &mut Step, input: Input, now: Time) {
        let more = self.agent.step(input, now, chance());
        step.writes.extend(more.writes);
        step.effects.extend(more.effects);
    }
}
