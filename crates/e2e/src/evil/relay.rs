//! Joining and running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_domain::ids::{HostId, Name};
use packhorse_domain::job::HostRole;
use packhorse_wire::enroll::{HostIdentity, join};
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::messages::ReportMsg;
use packhorse_wire::net::{AcceptLimits, Expect, Link, LinkOptions, Pinned, ServerTls, serve as accept};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::forge::Forge;
use super::state::State;
use super::{Behaviour, above, lies, serve};
use crate::ports;

/// An evil relay that runs. It ends with its guard.
pub struct EvilRelay {
    /// Where it listens.
    pub port: u16,
    inner: Arc<Inner>,
    tasks: Vec<AbortHandle>,
}

/// What its tasks share.
pub(super) struct Inner {
    pub identity: HostIdentity,
    pub link: Link,
    /// Random in the real thing.
    pub run: u64,
    pub forge: Forge,
    state: Mutex<State>,
    /// Changes whenever the state does.
    pub news: watch::Sender<u64>,
}

impl Inner {
    /// The state, for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells everybody.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.state());
        self.news.send_modify(|count| *count += 1);
        answer
    }

    /// Notes that it did what the behaviour says. Nobody waits for that in here.
    pub fn did(&self) {
        self.state().deeds += 1;
    }
}

impl EvilRelay {
    /// Joins the system at `url` and serves what is below it. `server_key` is the managing server's job key: what the
    /// server once signed for it, or for a relay it is in league with, is made with that.
    pub fn start(runtime: &Runtime, url: &str, token: &str, name: &str, server_key: SigningKey) -> EvilRelay {
        let name = Name::for_host(name).expect("a host's name");
        let addresses = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let joining = join(url, token, HostRole::Relay, &name, &addresses);
        let enrolled = runtime.block_on(joining).expect("the evil relay is let in like any other");
        let identity = enrolled.identity;
        let forge = Forge::new(&identity, server_key);
        let inner = Arc::new(Inner {
            link: link(&identity),
            run: u64::from(std::process::id()) + 7,
            forge,
            state: Mutex::new(State::new(enrolled.trust)),
            news: watch::Sender::new(0),
            identity,
        });
        let port = ports::free();
        let listening = TcpListener::bind(("127.0.0.1", port));
        let listener = runtime.block_on(listening).expect("the port is free");
        let tls = ServerTls::new(&inner.identity.ca, &inner.identity.tls().expect("its certificate"));
        let service = serve::service(inner.clone());
        let limits = AcceptLimits { shutdown_secs: 0, ..AcceptLimits::default() };
        let serving =
            accept(listener, tls.expect("its certificate"), service, limits, std::future::pending());
        let tasks = [
            runtime.spawn(serving),
            runtime.spawn(above::run_feed(inner.clone())),
            runtime.spawn(above::run_reports(inner.clone())),
        ];
        EvilRelay { port, inner, tasks: tasks.map(|task| task.abort_handle()).into() }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Its id.
    pub fn id(&self) -> HostId {
        self.inner.identity.id
    }

    /// From now on it behaves so; everybody below is given everything anew.
    pub fn behave(&self, behaviour: Behaviour) {
        self.inner.change(|state| {
            state.behaviour = behaviour;
            state.deeds = 0;
            state.feed += 1;
        });
    }

    /// From now on it is another relay, which took the name over: honest, and with a life of its own.
    pub fn replaced(&self) {
        self.inner.state().life += 1;
        self.behave(Behaviour::Honest);
    }

    /// How often it did what its behaviour says since that was set.
    pub fn deeds(&self) -> u64 {
        self.inner.state().deeds
    }

    /// Codes of the alarms that a host has reported to it.
    pub fn alarms_of(&self, host: &HostId) -> Vec<String> {
        self.inner.state().alarms_of(host)
    }

    /// How many jobs it was told of.
    pub fn jobs(&self) -> usize {
        let state = self.inner.state();
        state.orders.iter().filter(|order| matches!(order, packhorse_wire::messages::Order::Job(_))).count()
    }

    /// Reports that `host` is done with everything it was ever told of.
    pub fn claim_done(&self, host: HostId) {
        self.report(|state| lies::done(state, host));
    }

    /// The same, with every number as high as numbers go.
    pub fn claim_absurd(&self, host: HostId) {
        self.report(|state| lies::absurd(state, host));
    }

    fn report(&self, claims: impl FnOnce(&State) -> Vec<ReportMsg>) {
        self.inner.change(|state| {
            let claims = claims(state);
            state.deeds += claims.len() as u64;
            state.outbox.extend(claims);
        });
    }

    /// How many of its reports the server has not stored yet.
    pub fn unstored(&self) -> u64 {
        let state = self.inner.state();
        state.outbox.len() as u64 - state.stored
    }
}

impl Drop for EvilRelay {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// As [`HostIdentity::link`], but quick to give up: tests restart what is above.
fn link(identity: &HostIdentity) -> Link {
    let higher = &identity.higher;
    let expect = Expect { roles: vec![higher.role], id: Some(higher.id.clone()), name: None };
    let pinned = Pinned::Ca { ca: identity.ca.clone(), expect };
    let options = LinkOptions { connect_timeout: Duration::from_secs(3), ..LinkOptions::default() };
    let tls = identity.tls().expect("its certificate");
    Link::with_options(&higher.url, pinned, Some(tls), options).expect("a link")
}
