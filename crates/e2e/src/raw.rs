//! The protocol spoken by hand with a host's own certificate: what no agent would ever ask.

use std::path::Path;
use std::time::Duration;

use packhorse_wire::enroll::{HostIdentity, IdentityFolder};
use packhorse_wire::messages::{FEED, FeedRequest, FeedResponse, PROTOCOL};
use packhorse_wire::net::{Expect, Identity, Link, LinkError, Pinned};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);

/// A caller under a host's certificate, or under none.
pub struct Raw<'a> {
    runtime: &'a Runtime,
    link: Link,
    /// Random at each start of an agent; here whatever the test wants.
    pub run: u64,
}

impl<'a> Raw<'a> {
    /// As the host of a data folder, calling `url`.
    pub fn host(runtime: &'a Runtime, data: &Path, url: &str) -> Raw<'a> {
        let identity = identity(data);
        let tls = identity.tls().expect("its certificate");
        Raw { runtime, link: link(url, &identity, Some(tls)), run: 1 }
    }

    /// Without any certificate. The authority is taken from a host's folder.
    pub fn nobody(runtime: &'a Runtime, data: &Path, url: &str) -> Raw<'a> {
        Raw { runtime, link: link(url, &identity(data), None), run: 1 }
    }

    /// One message and its answer.
    ///
    /// # Errors
    /// The link's.
    pub fn call<Q: Serialize, A: DeserializeOwned>(&self, path: &str, message: &Q) -> Result<A, LinkError> {
        self.runtime.block_on(self.link.call(path, message, PATIENCE))
    }

    /// Asks for orders from the start, without being held.
    ///
    /// # Errors
    /// The link's.
    pub fn feed(&self) -> Result<FeedResponse, LinkError> {
        let request = FeedRequest { v: PROTOCOL, run: self.run, incarnation: 1, cursor: None, hold_secs: 0 };
        self.call(FEED, &request)
    }
}

fn link(url: &str, identity: &HostIdentity, tls: Option<Identity>) -> Link {
    let pinned = Pinned::Ca { ca: identity.ca.clone(), expect: Expect::any_higher() };
    Link::new(url, pinned, tls).expect("a link")
}

/// Who a host is.
pub fn identity(data: &Path) -> HostIdentity {
    IdentityFolder::at(data).load().expect("the host's identity")
}

/// The code of a refusal.
///
/// # Panics
/// It was no refusal.
pub fn refusal_code<T: std::fmt::Debug>(answer: Result<T, LinkError>) -> String {
    match answer {
        Err(LinkError::Refused { refusal, .. }) => refusal.code,
        other => panic!("this was to be refused: {other:?}"),
    }
}
