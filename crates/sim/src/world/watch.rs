//! The checks, told of everything that becomes durable, and what is looked at from time to time.

use packhorse_domain::agent::Entry;
use packhorse_domain::instruction::{LineKey, State};
use packhorse_domain::report::Receipt;

use super::{Event, World};
use crate::checks::{
    Checked, Truth, View, all_know, control_told, every_line_has_a_reason, goes_on, host_took_notice,
    hosts_end, job_told_to_all, kept_stay, no_result_lost, relay_took_notice, within_limit,
};
use crate::client::AgentWrite;
use crate::hub::{Feed, Hub, HubWrite};
use crate::node::Writes;
use crate::says;
use crate::sites::{NodeId, SERVER_NODE};

/// Every so many sweeps look at all lines.
const FULL_SWEEP: u64 = 16;
/// So long after the faults everybody knows the newest, in seconds: all are up by then,
const CALM_SECS: i64 = 150;
/// and have asked three times, as long as that takes at the run's pace.
const ROUNDS: i64 = 75;

impl World {
    /// Something became durable.
    pub(super) fn watch(&mut self, id: NodeId, writes: Writes) {
        match writes {
            Writes::Hub(writes) => writes.iter().for_each(|write| self.watch_hub(id, write)),
            Writes::Agent(writes) => writes.iter().for_each(|write| self.watch_agent(id, write)),
        }
    }

    fn watch_hub(&mut self, id: NodeId, write: &HubWrite) {
        let Some(hub) = self.nodes[id].hub() else { return };
        let places = &hub.store.durable().places;
        let checked = self.ledger.below_only(&self.sites, id, write, |host| places.contains_key(host));
        self.check(checked);
        let life = self.nodes[id].role.life();
        match write {
            HubWrite::Job(doc, lists) => {
                if id == SERVER_NODE {
                    self.ledger.signed(&self.sites, doc.unverified(), lists);
                }
                let key = &doc.unverified().key;
                let news = self.ledger.is_news((id, life), key, doc.unverified().revision);
                let checked = self.ledger.revision_taken(id, life, doc.unverified());
                self.check(checked);
                if let Some(hub) = self.nodes[id].hub().filter(|_| news) {
                    let checked = job_told_to_all(hub, key);
                    self.check(checked);
                }
            }
            HubWrite::Control(control) => {
                let hub = self.nodes[id].hub();
                let checked = hub.map_or(Ok(()), |hub| control_told(hub, &control.unverified().relay));
                self.check(checked);
            }
            HubWrite::Cursor(cursor) => {
                let state = self.nodes[id].hub().map(|hub| hub.store.durable());
                let feed = self.honest_feed(id).zip(state);
                let checked = feed.map_or(Ok(()), |(feed, state)| relay_took_notice(state, feed, *cursor));
                self.check(checked);
            }
            HubWrite::Outbox(None, report) => {
                let checked = self.ledger.report_made(report);
                self.check(checked);
            }
            HubWrite::Mark(receipt) if id != SERVER_NODE => {
                let checked = self.ledger.receipt_taken(receipt);
                self.check(checked);
            }
            HubWrite::History(_, report) => {
                let checked = self.ledger.report_arrived(report);
                self.check(checked);
            }
            HubWrite::Line(key, _) if id == SERVER_NODE => self.watch_line(key),
            HubWrite::Chunk(..) => {
                let hub = self.nodes[id].hub();
                let checked = hub.map(|hub| within_limit(id, hub.store.durable(), hub.limit()));
                self.check(checked.unwrap_or(Ok(())));
            }
            HubWrite::Copy(package, kept) => drop(self.ledger.dated((id, life, *package), kept.date)),
            HubWrite::Gone(package, at) => {
                let date = self.ledger.date_of((id, life, *package));
                self.ledger.gone(id, life, *package, *at);
                let checked = kept_stay(id, *package, date, self.now);
                self.check(checked);
            }
            _ => {}
        }
    }

    fn watch_agent(&mut self, id: NodeId, write: &AgentWrite) {
        let Some(host) = self.sites.lower(id).map(|lower| lower.host) else { return };
        let life = self.nodes[id].role.life();
        match write {
            AgentWrite::Job(known) => {
                let checked = self.ledger.revision_taken(id, life, &known.job);
                self.check(checked);
                let checked = self.ledger.attempt_taken(&host, (id, life), known);
                self.check(checked);
            }
            AgentWrite::Journal(entry) => self.watch_journal(id, entry),
            AgentWrite::Alarm(report) => {
                let checked = self.ledger.report_made(report);
                self.check(checked);
            }
            AgentWrite::Cursor(cursor) => {
                let agent = self.nodes[id].agent().map(|(agent, _)| agent.agent());
                let feed = self.honest_feed(id).zip(agent);
                let checked = feed.map_or(Ok(()), |(feed, agent)| host_took_notice(agent, feed, *cursor));
                self.check(checked);
            }
            AgentWrite::Base(upto) => {
                let receipt = Receipt { origin: host, incarnation: life, upto: *upto };
                let checked = self.ledger.receipt_taken(&receipt);
                self.check(checked);
            }
            _ => {}
        }
    }

    /// What a system's higher system has for it, if that does not lie.
    fn honest_feed(&self, id: NodeId) -> Option<&Feed> {
        let hub = self.nodes[self.sites.all[id].parent?].hub().filter(|hub| hub.evil.is_none())?;
        hub.store.durable().feeds.get(&self.sites.lower(id)?)
    }

    fn watch_journal(&mut self, id: NodeId, entry: &Entry) {
        let Some((agent, _)) = self.nodes[id].agent() else { return };
        let (report, life) = (agent.agent().report_of(entry), agent.life());
        if let Some(report) = report {
            let checked = self.ledger.report_made(&report);
            self.check(checked);
        }
        let Some(host) = self.sites.lower(id).map(|lower| lower.host) else { return };
        let checked = self.ledger.begun(&host, (id, life), entry);
        self.check(checked);
        let Some((agent, _)) = self.nodes[id].agent() else { return };
        let journal = &agent.store.durable().journal;
        let package = self.packages.iter().find(|package| package.named.id == entry.line.package);
        let truth = Truth {
            ahead_secs: says::ahead_secs(&host, self.options.pace),
            install_at: package.and_then(|package| package.install_at),
        };
        let checked = self.ledger.in_its_window((id, life), &truth, entry, journal, self.now);
        self.check(checked);
    }

    fn watch_line(&mut self, key: &LineKey) {
        let checked = self.line_has_a_reason(key);
        self.check(checked);
    }

    fn line_has_a_reason(&self, key: &LineKey) -> Checked {
        let Some(server) = self.server() else { return Ok(()) };
        let state = server.store.durable();
        match (state.lines.get(key), state.jobs.get(&key.job)) {
            (Some(line), Some(row)) => {
                every_line_has_a_reason(server, &self.sites, (key, line), row.doc.unverified(), self.now)
            }
            _ => Ok(()),
        }
    }

    /// Looks at all lines that are open, each time, and now and then at the others, too: what has ended changes with a write
    /// only, and is looked at then. After the faults, whether all is well or the time for it is over.
    pub(super) fn sweep(&mut self) {
        self.sweeps += 1;
        let full = self.sweeps.is_multiple_of(FULL_SWEEP);
        let keys = |server: &Hub| -> Vec<LineKey> {
            let state = server.store.durable();
            if full {
                return state.lines.keys().cloned().collect();
            }
            state.open_lines().map(|(key, _)| key.clone()).collect()
        };
        let keys = self.server().map(keys).unwrap_or_default();
        keys.iter().for_each(|key| self.watch_line(key));
        if let Some(since) = self.calm_since {
            if self.now.secs_since(since) > CALM_SECS + ROUNDS * self.options.pace {
                self.check(self.all_know());
            }
            let well = self.all_is_well();
            self.finished = well.is_ok();
            if self.now.secs_since(since) > self.options.calm_secs {
                self.check(well);
            }
        }
        let at = self.now.plus_secs(self.options.sweep_secs);
        self.at(at, Event::Sweep);
    }

    /// Whether whoever has something to do knows the newest of it.
    fn all_know(&self) -> Checked {
        let Some(server) = self.server().map(|server| server.store.durable()) else { return Ok(()) };
        let relays = self
            .sites
            .relays()
            .filter_map(|id| Some((self.sites.lower(id)?.host, self.nodes[id].hub()?.store.durable())));
        all_know(server, &self.views(), relays)
    }

    fn views(&self) -> Vec<View<'_>> {
        let view = |id: NodeId| {
            let (agent, _) = self.nodes[id].agent()?;
            Some(View { host: self.sites.lower(id)?.host, agent: agent.agent() })
        };
        self.sites.agents().filter_map(view).collect()
    }

    /// Whether everything has come to its end and nothing is lost.
    pub(super) fn all_is_well(&self) -> Checked {
        let Some(server) = self.server().map(|server| server.store.durable()) else { return Ok(()) };
        let agents = self.views();
        hosts_end(server, &agents)?;
        no_result_lost(&self.ledger)?;
        goes_on(server, &agents)
    }

    /// How the lines ended, for the figures.
    pub(super) fn count_lines(&mut self) {
        let Some(server) = self.nodes[SERVER_NODE].hub() else { return };
        for line in server.store.durable().lines.values() {
            let count = match line.shown() {
                State::Done => &mut self.stats.done,
                State::AlreadyInstalled => &mut self.stats.already_installed,
                State::NotApplicable => &mut self.stats.not_applicable,
                State::Failed => &mut self.stats.failed,
                State::Cancelled => &mut self.stats.cancelled,
                State::Missed => &mut self.stats.missed,
                State::Superseded => &mut self.stats.superseded,
                State::Rejected => &mut self.stats.rejected,
                State::OfferEnded => &mut self.stats.offers_ended,
                _ => continue,
            };
            *count += 1;
        }
    }
}
