//! Offers, as the user who asks sees them, and what that user decides.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use packhorse_content::manifest::{Kind, Manifest};
use packhorse_domain::agent::Wish;
use packhorse_domain::time::Time;
use packhorse_wire::local::{LocalOffer, LocalRequest, LocalResponse};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::serve::{Asked, refused, refused_with};
use super::users::Peer;
use crate::driver::{Event, Listed};
use crate::executor::{Task, Tools};
use crate::store::{Installed, rate};

/// Longest summary that is told, in characters.
const SUMMARY_CHARS_MAX: usize = 200;
/// How long a stop of the system waits for what is to be installed then.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(3600);

impl Asked {
    /// What this user may decide on.
    pub(super) async fn offers(&self, peer: Peer) -> LocalResponse {
        match self.listed().await {
            Some(listed) => LocalResponse::Offers { offers: self.told(peer, listed).await },
            None => refused("the agent is shutting down"),
        }
    }

    async fn listed(&self) -> Option<Vec<Listed>> {
        let (answer, answered) = oneshot::channel();
        self.driver.send(Event::Offers(answer)).await.ok()?;
        answered.await.ok()
    }

    /// With what the manifests say and whether this user may decide: read from files, so on a blocking thread.
    async fn told(&self, peer: Peer, listed: Vec<Listed>) -> Vec<LocalOffer> {
        let (tools, users) = (Arc::clone(&self.tools), self.users.clone());
        // Never closed.
        let Ok(_one) = self.telling.acquire().await else { return Vec::new() };
        let telling = tokio::task::spawn_blocking(move || {
            let rate = tools.db.run_blocking(|connection| rate(connection)).unwrap_or_default();
            let here = chunks_here(&tools);
            listed
                .into_iter()
                .map(|one| {
                    let mut offer = one.offer;
                    if let Err(why) = users.may_choose(peer, &one.choosers) {
                        offer.reason = Some(why);
                    } else {
                        offer.may_choose = true;
                    }
                    if let Some(manifest) = tools.kept(&one.task) {
                        describe(&mut offer, &manifest, &here, rate);
                    }
                    offer
                })
                .collect()
        });
        telling.await.unwrap_or_default()
    }

    /// Does what a user decided.
    pub(super) async fn decide(&self, peer: Peer, request: LocalRequest) -> LocalResponse {
        let (offer, wish) = match wish(request) {
            Ok(read) => read,
            Err(why) => return refused(&why),
        };
        let Some(listed) = self.listed().await else { return refused("the agent is shutting down") };
        let Some(meant) = listed.into_iter().find(|one| one.offer.id == offer) else {
            return refused_with("there is no such offer", "packhorse offers lists them");
        };
        let (users, choosers) = (self.users.clone(), meant.choosers);
        let looking =
            tokio::task::spawn_blocking(move || users.may_choose(peer, &choosers).map(|()| users.name(peer)));
        let by = match looking.await {
            Ok(Ok(by)) => by,
            Ok(Err(why)) => return refused_with(&why, "ask the administrator"),
            Err(_) => return refused("the agent is shutting down"),
        };
        let (answer, answered) = oneshot::channel();
        let event = Event::Wish { offer, by, wish, answer };
        if self.driver.send(event).await.is_err() {
            return refused("the agent is shutting down");
        }
        match answered.await {
            Ok(Ok(listed)) => match self.told(peer, vec![*listed]).await.pop() {
                Some(offer) => LocalResponse::Changed(Box::new(offer)),
                None => refused("the agent is shutting down"),
            },
            Ok(Err(why)) => refused_with(&why, "packhorse offers shows how it stands"),
            Err(_) => refused("the agent is shutting down"),
        }
    }

    /// The system is about to stop: what is to be installed then is, and this answers when it is done.
    pub(super) async fn stopping(&self, peer: Peer) -> LocalResponse {
        if peer.uid != 0 && peer.uid != rustix::process::geteuid().as_raw() {
            return refused("only root says that the system stops");
        }
        let (answer, answered) = oneshot::channel();
        if self.driver.send(Event::Stopping(answer)).await.is_err() {
            return refused("the agent is shutting down");
        }
        match timeout(STOPPING_TIMEOUT, answered).await {
            Ok(Ok(installed)) => LocalResponse::Stopped { installed },
            Ok(Err(_)) => refused("the agent is shutting down"),
            Err(_) => refused("what is to be installed at the stop takes too long"),
        }
    }
}

/// What is wanted of which offer.
fn wish(request: LocalRequest) -> Result<(String, Wish), String> {
    let time = |text: Option<String>| {
        let read =
            |text: String| text.parse::<jiff::Timestamp>().map_err(|_| format!("{text:?} is not a time"));
        text.map(read).transpose().map(|at| at.map(|at| Time(at.as_microsecond())))
    };
    Ok(match request {
        LocalRequest::Choose { offer, at } => (offer, Wish::Choose { at: time(at)? }),
        LocalRequest::Reject { offer, withdraw: false } => (offer, Wish::Reject),
        LocalRequest::Reject { offer, withdraw: true } => (offer, Wish::Withdraw),
        LocalRequest::Postpone { offer, until } => (offer, Wish::Postpone { until: time(until)? }),
        _ => return Err("that is no decision".to_owned()),
    })
}

/// The chunks of what is installed as files: they need not come.
fn chunks_here(tools: &Tools) -> HashSet<[u8; 32]> {
    let manifests = tools.db.run_blocking(|connection| Installed::manifests(connection)).unwrap_or_default();
    let parsed = manifests.iter().filter_map(|envelope| Manifest::from_stored_envelope(envelope).ok());
    let files = parsed.filter(|manifest| manifest.kind() == Kind::Files);
    files.flat_map(|manifest| manifest.chunks().map(|chunk| chunk.hash).collect::<Vec<_>>()).collect()
}

fn describe(offer: &mut LocalOffer, manifest: &Manifest, here: &HashSet<[u8; 32]>, rate: Option<u64>) {
    offer.summary = manifest.summary().chars().take(SUMMARY_CHARS_MAX).collect();
    offer.size_bytes = manifest.unique_bytes();
    let missing = manifest.chunks().filter(|chunk| !here.contains(&chunk.hash));
    let missing: u64 = missing.map(|chunk| u64::from(chunk.len)).sum();
    offer.missing_bytes = Some(missing);
    offer.takes_secs = rate.filter(|rate| *rate > 0).map(|rate| missing.div_ceil(rate));
}

impl Tools {
    /// The manifest of a line's package, if it is kept and counts; without the line. Blocks.
    fn kept(&self, task: &Task) -> Option<Arc<Manifest>> {
        self.look_at_manifest(task).map(|signed| signed.manifest)
    }
}
