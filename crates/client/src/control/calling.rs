//! Whom the host calls: looks at the systems of its list, and goes to another when the machine says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_domain::calling::{Call, Calling, Paces};
use packhorse_domain::ids::HostId;
use packhorse_domain::job::Place;
use packhorse_domain::place::Above;
use packhorse_domain::time::Time;
use packhorse_wire::enroll::HostIdentity;
use packhorse_wire::messages::{CALL, CallRequest, CallResponse, PROTOCOL};
use packhorse_wire::net::{CALL_LIMIT_BYTES, Link, LinkError};
use packhorse_wire::pki::CallProof;
use serde_bytes::ByteBuf;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{call, pause};
use crate::ClientError;
use crate::driver::Event;
use crate::executor::Tools;
use crate::store::Commit;
use crate::who::{Who, addresses, higher};

/// How long a look may take, connecting included.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// The safety net: the machine is asked this often even if nothing was heard.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// The environment variable that sets how long the system that is called has to be out of reach, in milliseconds; all other
/// paces of [`Paces`] in proportion.
const VARIABLE: &str = "PACKHORSE_FALLBACK_MILLIS";

/// The paces, as [`VARIABLE`] says.
pub(crate) fn paces() -> Paces {
    let set = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).filter(|millis| *millis > 0);
    set.map_or(Paces::USUAL, Paces::scaled)
}

/// The machine, and a bell for whoever drives it.
#[derive(Clone)]
pub(crate) struct Shared {
    machine: Arc<Mutex<Calling>>,
    news: Arc<Notify>,
}

impl Shared {
    /// Shares it.
    pub fn new(machine: Calling) -> Shared {
        Shared { machine: Arc::new(Mutex::new(machine)), news: Arc::new(Notify::new()) }
    }

    /// To look at or to step it; never held over an await.
    pub fn machine(&self) -> MutexGuard<'_, Calling> {
        // A step that panicked leaves at worst a look that is not asked for.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A newer place came: whom to call from now on, if that is another.
    pub fn placed(&self, place: &Place, now: Time) -> Option<Call> {
        let mut machine = self.machine();
        let moved = machine.placed(place, now);
        self.news.notify_one();
        moved.then(|| machine.call())
    }
}

/// What drives it.
#[derive(Clone)]
pub(crate) struct Calls {
    /// The host.
    pub who: Who,
    /// The machine.
    pub calling: Shared,
    /// Clock and database.
    pub tools: Arc<Tools>,
    /// Who knows the place.
    pub driver: mpsc::Sender<Event>,
}

/// Whether an error says that a system cannot do its work now; anything else is an answer.
fn is_out(error: &LinkError) -> bool {
    match error {
        LinkError::Unreachable { .. } | LinkError::Timeout { .. } => true,
        LinkError::Refused { status, refusal, .. } => *status >= 500 && refusal.code != "unknown_host",
        _ => false,
    }
}

impl Calls {
    /// Looks and goes, until the agent begins anew with another system.
    pub async fn run(self) -> Result<(), ClientError> {
        loop {
            let (look, wake) = {
                let (mut machine, now) = (self.calling.machine(), self.tools.clock.now());
                let look = machine.look(now);
                (look, machine.wakes_at(now))
            };
            if let Some(at) = look {
                self.look(at).await?;
                continue;
            }
            let rest = wake.map_or(ASK_EVERY, |at| self.tools.clock.until(at).min(ASK_EVERY));
            let _ = tokio::time::timeout(rest, self.calling.news.notified()).await;
        }
    }

    /// The system that is called answered.
    pub fn answered(&self) {
        self.calling.machine().answered(self.tools.clock.now());
    }

    /// A request to it failed; answers whether it knows nothing of the host, and may be told (again) that it calls.
    pub fn failed(&self, error: &LinkError) -> bool {
        let (mut machine, now) = (self.calling.machine(), self.tools.clock.now());
        if is_out(error) {
            machine.unreached(now)
        } else {
            machine.answered(now)
        }
        self.calling.news.notify_one();
        machine.is_untold() && error.refusal().is_some_and(|refusal| refusal.code == "unknown_host")
    }

    /// Tells the system that is called that it is, if the host came to it by itself and the managing server does not know yet.
    pub async fn announce(&self, link: &Link) -> Result<(), LinkError> {
        let untold = {
            let machine = self.calling.machine();
            machine.is_untold().then(|| machine.call())
        };
        let (Some(told), Some((_, envelope))) = (untold, self.place().await) else { return Ok(()) };
        let proof = self.proof(told).map_err(|error| LinkError::Address {
            url: link.url().to_owned(),
            why: format!("its own word cannot be signed: {error}"),
        })?;
        let response = match self.ask(link, envelope, Some(proof)).await {
            Ok(response) => response,
            Err(error) if is_out(&error) => return Err(error),
            // A refusal, or an answer that is none of this protocol.
            Err(error) => {
                CallResponse { v: PROTOCOL, takes: false, why: Some(error.to_string()), place: None }
            }
        };
        if response.takes {
            return Ok(());
        }
        let why = response.why.unwrap_or_default();
        tracing::warn!(url = link.url(), why, "is not taken");
        self.turned_away();
        Err(LinkError::Unreachable { url: link.url().to_owned(), why })
    }

    fn turned_away(&self) {
        self.calling.machine().turned_away(self.tools.clock.now());
        self.calling.news.notify_one();
    }

    fn proof(&self, told: Call) -> Result<CallProof, ClientError> {
        let identity = self.who.folder.load()?;
        let proof =
            CallProof::new(&identity.key, &identity.chain_pem, told.to.into(), told.number, told.since.0);
        proof.map_err(|error| ClientError::Enroll(error.into()))
    }

    async fn place(&self) -> Option<(Place, Vec<u8>)> {
        let (answer, answered) = oneshot::channel();
        self.driver.send(Event::Place(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Looks at one system, and goes there if the machine says so.
    async fn look(&self, at: HostId) -> Result<(), ClientError> {
        let Some((place, envelope)) = self.place().await else { return Ok(()) };
        let above = place.above.iter().find(|above| above.id == at);
        let found = match above {
            Some(above) => self.addresses(above, &envelope).await,
            None => None,
        };
        let gone_to = {
            let mut machine = self.calling.machine();
            let goes = machine.looked(at, found.is_some(), self.tools.clock.now());
            goes.then(|| machine.call())
        };
        match gone_to {
            Some(call) => self.go(&place, call, found.as_deref()).await,
            None => Ok(()),
        }
    }

    /// The first of its addresses where a system takes the host; of the one that is called, an address it is not called by.
    async fn addresses(&self, above: &Above, envelope: &[u8]) -> Option<String> {
        let current = self.tools.link.url();
        let own = above.id.to_string() == self.tools.higher_id;
        for url in addresses(above).filter(|url| !own || *url != current) {
            let identity = HostIdentity { higher: higher(above, url), ..self.who.folder.load().ok()? };
            let Ok(link) = identity.link() else { continue };
            match self.ask(&link, envelope.to_vec(), None).await {
                Ok(response) if response.takes => return Some(url.to_owned()),
                Ok(response) => tracing::debug!(url, why = response.why, "would not take this host"),
                Err(error) => tracing::debug!(url, %error, "looked"),
            }
        }
        None
    }

    async fn ask(
        &self,
        link: &Link,
        place: Vec<u8>,
        proof: Option<CallProof>,
    ) -> Result<CallResponse, LinkError> {
        let request = CallRequest { v: PROTOCOL, place: ByteBuf::from(place), proof };
        let response: CallResponse = call(link, CALL, &request, CALL_LIMIT_BYTES, LOOK_TIMEOUT).await?;
        if let Some(place) = &response.place {
            // The driver may be gone.
            let _ = self.driver.send(Event::Placed(place.to_vec())).await;
        }
        Ok(response)
    }

    /// Writes down whom the host calls, and lets the agent begin anew with it.
    async fn go(&self, place: &Place, to: Call, url: Option<&str>) -> Result<(), ClientError> {
        let mut failures = 0;
        loop {
            let commit = Commit { call: Some(to), ..Commit::default() };
            let stored = self.tools.db.run(move |connection| commit.store(connection)).await;
            let stored = stored.and_then(|()| self.who.clone().follow(place, to.to, url));
            match stored {
                Ok(()) => return Err(ClientError::Moved),
                Err(error @ ClientError::Ended(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "whom to call could not be written down; tried again");
                    tokio::time::sleep(pause(failures + 2)).await;
                    failures += 1;
                }
            }
        }
    }
}
