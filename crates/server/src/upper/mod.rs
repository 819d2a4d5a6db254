//! A relay's own lower side: it asks its higher system for orders and tells it what it and the hosts below it have to say.

mod access;
mod feed;
mod renew;
mod reports;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use packhorse_domain::feed::Cursor;
use packhorse_domain::outbox::Hop;
use packhorse_domain::time::pause_micros;
use packhorse_wire::enroll::{EnrollError, HostIdentity};
use packhorse_wire::messages::RETIRED_CODE;
use packhorse_wire::net::{Link, LinkError};

pub use access::{ACCESS_FILE, ask as ask_access, job_key, run as run_access};
pub use feed::run as run_feed;
pub use renew::run as run_renewal;
pub use reports::run as run_reports;

use crate::db::meta::random_incarnation;

/// First and longest pause after the higher system did not answer, in seconds.
const PAUSE_SECS: (i64, i64) = (1, 30);

/// The higher system as a relay sees it.
pub struct Upper {
    /// Random at each start: two machines under one name show by it.
    pub run: u64,
    higher: String,
    link: Link,
    identity: RwLock<Arc<HostIdentity>>,
    cursor: Mutex<Option<Cursor>>,
    hop: Mutex<Option<Hop>>,
}

impl Upper {
    /// With the relay's identity and where its reading and sending stood.
    ///
    /// # Errors
    /// The identity cannot be used.
    pub fn new(
        identity: HostIdentity,
        cursor: Option<Cursor>,
        hop: Option<Hop>,
    ) -> Result<Upper, EnrollError> {
        Ok(Upper {
            run: random_incarnation().0,
            higher: identity.higher.name.clone(),
            link: identity.link()?,
            identity: RwLock::new(Arc::new(identity)),
            cursor: Mutex::new(cursor),
            hop: Mutex::new(hop),
        })
    }

    /// The higher system's name.
    pub fn higher_name(&self) -> &str {
        &self.higher
    }

    /// The link to it.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Who this relay is to it.
    pub fn identity(&self) -> Arc<HostIdentity> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_identity(&self, identity: HostIdentity) -> Result<(), EnrollError> {
        self.link.set_identity(Some(&identity.tls()?))?;
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        Ok(())
    }

    fn cursor(&self) -> Option<Cursor> {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_cursor(&self, cursor: Cursor) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
    }

    fn hop(&self) -> Option<Hop> {
        *self.hop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_hop(&self, hop: Hop) {
        *self.hop.lock().unwrap_or_else(PoisonError::into_inner) = Some(hop);
    }
}

/// A relay that was retired calls so rarely, in seconds. That it calls at all is to hear whether it counts again; also a managing
/// server that is restored from before the retiring takes it back only with a token that replaces it.
const RETIRED_PAUSE_SECS: u64 = 1800;

/// Sleeps after the n-th failure in a row; long, if the higher system said that this relay was retired.
async fn rest(error: Option<&LinkError>, failures: u32) {
    match error.and_then(LinkError::refusal) {
        Some(refusal) if refusal.code == RETIRED_CODE => {
            let chance = random_incarnation().0 % (RETIRED_PAUSE_SECS / 2);
            tokio::time::sleep(Duration::from_secs(RETIRED_PAUSE_SECS - chance)).await;
        }
        _ => pause(failures).await,
    }
}

/// Sleeps after the n-th failure in a row.
async fn pause(failures: u32) {
    let chance = random_incarnation().0;
    let micros = pause_micros(failures, PAUSE_SECS.0, PAUSE_SECS.1, chance);
    tokio::time::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).await;
}
