//! A running managing server or relay: what its parts share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use packhorse_content::store::Store;
use packhorse_domain::ids::{HostId, Incarnation, SERVER};
use packhorse_domain::ingest::Position;
use packhorse_domain::job::HostRole;
use packhorse_domain::reason::SILENT_DAYS;
use packhorse_domain::report::Traffic;
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::signed::ControlDoc;
use packhorse_wire::trust::{Delegations, Trust};
use tokio::sync::{Notify, watch};

use crate::authority::Authority;
use crate::capability::Capabilities;
use crate::copies::Copies;
use crate::db::calling::Here;
use crate::db::hosts::{Fleet, HostRow};
use crate::db::retired::{self, Gone};
use crate::db::{Db, DbError, control, delegations};
use crate::directory::{Directory, Hosts};
use crate::error::ServerError;
use crate::folder::{Config, Folder};
use crate::pace::Pace;
use crate::presence::PresenceBook;
use crate::throttle::Throttle;
use crate::upper::Upper;

/// A host as the lower-system API needs it at every request.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its number in the database.
    pub row: HostRow,
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: HostRole,
    /// Whether it calls this system.
    pub direct: bool,
    /// The direct lower system on the way to it.
    pub via: HostRow,
    /// Oldest certificate accepted.
    pub oldest: u64,
}

/// A running system.
pub struct System {
    /// Its data folder.
    pub folder: Folder,
    /// Its set-up.
    pub config: Config,
    /// Its id.
    pub id: HostId,
    /// Where it stands.
    pub position: Position,
    /// Its state.
    pub db: Db,
    /// Its content.
    pub store: Store,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its epoch as an issuer of jobs.
    pub epoch: u64,
    /// At the managing server: the keys.
    pub authority: Option<Arc<Authority>>,
    /// At a relay: the higher system.
    pub upper: Option<Upper>,
    /// Makes and checks locators' capabilities.
    pub capabilities: Capabilities,
    /// Who is there.
    pub presence: PresenceBook,
    /// Paces what this system sends.
    pub throttle: Throttle,
    /// Paces what a relay takes in.
    pub pace: Pace,
    /// There is something new in the outbox, or to say softly.
    pub outbox_news: Notify,
    /// There may be something to take in.
    pub copies_news: Notify,
    /// At a relay: room, and what passes through.
    pub copies: Copies,
    /// Jobs came in a new revision, or something else is set at this relay: what is being taken in may have to wait.
    pub orders_news: watch::Sender<u64>,
    /// At a relay: packages a lower system asked for, with what is needed to take each in.
    pub asked_for: Mutex<Vec<packhorse_domain::ids::PackageId>>,
    /// At a relay: its key for jobs of its own.
    pub job_key: Option<Arc<SigningKey>>,
    /// Certificates changed.
    pub tls: packhorse_wire::net::ServerTls,
    trust: RwLock<Arc<Trust>>,
    delegations: RwLock<Arc<Delegations>>,
    control: RwLock<Arc<ControlDoc>>,
    suspended_above: RwLock<Option<(String, Time)>>,
    urls: RwLock<Vec<String>>,
    server_life: AtomicU64,
    /// At a relay: when all that its higher system has was last read, in this run.
    read: AtomicI64,
    ready: AtomicBool,
    directory: Directory,
    silent_days: AtomicI64,
    feeds: Mutex<HashMap<HostRow, Arc<Notify>>>,
    changes: watch::Sender<u64>,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// Bytes received and sent as they were last written down.
    counted: Mutex<Option<(u64, u64)>>,
}

/// What [`System::new`] is made of.
pub struct Parts {
    /// Its data folder.
    pub folder: Folder,
    /// Its set-up.
    pub config: Config,
    /// Its id.
    pub id: HostId,
    /// Its state.
    pub db: Db,
    /// Its content.
    pub store: Store,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its epoch.
    pub epoch: u64,
    /// Whom it trusts.
    pub trust: Trust,
    /// At the managing server: the keys.
    pub authority: Option<Authority>,
    /// At a relay: the higher system.
    pub upper: Option<Upper>,
    /// At a relay: its key for jobs of its own.
    pub job_key: Option<SigningKey>,
    /// What capabilities are derived from.
    pub secret: Vec<u8>,
    /// TLS of the listener.
    pub tls: packhorse_wire::net::ServerTls,
    /// Counters as last written down.
    pub traffic: Traffic,
    /// Whether it may answer lower systems: see [`System::is_ready`].
    pub ready: bool,
    /// At a relay: what its store may take, bytes; `None`: what leaves a tenth of the disk free.
    pub store_bytes: Option<u64>,
}

impl System {
    /// Puts a system together.
    pub fn new(parts: Parts) -> System {
        let position = if parts.authority.is_some() { Position::Top } else { Position::Relay };
        // The managing server's life is its own; a relay hears it from above.
        let life = if position == Position::Top { parts.incarnation.0 } else { 0 };
        System {
            folder: parts.folder,
            config: parts.config,
            id: parts.id,
            position,
            db: parts.db,
            store: parts.store,
            incarnation: parts.incarnation,
            epoch: parts.epoch,
            authority: parts.authority.map(Arc::new),
            upper: parts.upper,
            job_key: parts.job_key.map(Arc::new),
            capabilities: Capabilities::new(&parts.secret),
            presence: PresenceBook::new(position == Position::Relay),
            throttle: Throttle::from_environment(),
            pace: Pace::new(),
            outbox_news: Notify::new(),
            copies_news: Notify::new(),
            copies: Copies::new(parts.store_bytes),
            orders_news: watch::Sender::new(0),
            asked_for: Mutex::new(Vec::new()),
            tls: parts.tls,
            trust: RwLock::new(Arc::new(parts.trust)),
            delegations: RwLock::new(Arc::new(Delegations::default())),
            control: RwLock::new(Arc::new(ControlDoc::new(Fixed(parts.id.0)))),
            suspended_above: RwLock::default(),
            urls: RwLock::default(),
            server_life: AtomicU64::new(life),
            read: AtomicI64::new(0),
            ready: AtomicBool::new(parts.ready),
            directory: Directory::default(),
            silent_days: AtomicI64::new(SILENT_DAYS),
            feeds: Mutex::new(HashMap::new()),
            changes: watch::Sender::new(0),
            received_bytes: AtomicU64::new(parts.traffic.received_bytes),
            sent_bytes: AtomicU64::new(parts.traffic.sent_bytes),
            counted: Mutex::new(None),
        }
    }

    /// The name lower systems and people know it by: `server` is the managing server's as an issuer.
    pub fn issuer(&self) -> &str {
        if self.position == Position::Top { SERVER } else { &self.config.name }
    }

    /// This system's id, if it has something to say upwards.
    pub fn relay_id(&self) -> Option<HostId> {
        (self.position == Position::Relay).then_some(self.id)
    }

    /// Whom it trusts now.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Trusts a newer document. An older one than is known changes nothing: two that were written one after the other may
    /// come here in turn.
    pub fn set_trust(&self, trust: Trust) {
        let mut slot = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        if trust.doc().version > slot.doc().version {
            *slot = Arc::new(trust);
        }
    }

    /// The delegations it knows.
    pub fn delegations(&self) -> Arc<Delegations> {
        self.delegations.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in a delegation.
    pub fn add_delegation(&self, doc: packhorse_wire::signed::DelegationDoc) {
        let mut slot = self.delegations.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = (**slot).clone();
        all.take(doc);
        *slot = Arc::new(all);
    }

    /// Loads what is delegated to relays: at a start, and after something else was delegated.
    ///
    /// # Errors
    /// The database's.
    pub async fn reload_delegations(&self) -> Result<(), DbError> {
        let trust = self.trust();
        for envelope in self.db.read(delegations::all).await? {
            match trust.delegation(&envelope) {
                Ok(doc) => self.add_delegation(doc),
                // Verified when it came: it counts no more if its key was revoked since.
                Err(error) => tracing::warn!(%error, "a delegation does not count any more"),
            }
        }
        Ok(())
    }

    /// The relay above this one that is suspended, by its name, and since when: this one is by that.
    pub fn suspended_above(&self) -> Option<(String, Time)> {
        self.suspended_above.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the managing server set at this relay; suspended also if a relay above it is.
    pub fn control(&self) -> Arc<ControlDoc> {
        self.control.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads what is set at this relay: at its start, and after something else was set.
    ///
    /// # Errors
    /// The database's.
    pub async fn reload_control(&self) -> Result<(), DbError> {
        let own = self.id;
        let read = move |connection: &rusqlite::Connection| {
            Ok((control::own(connection)?, control::suspended_above(connection, &own)?))
        };
        let (envelope, above) = self.db.read(read).await?;
        let is_above = above.is_some();
        *self.suspended_above.write().unwrap_or_else(PoisonError::into_inner) = above;
        let own = match envelope {
            Some(envelope) => self.trust().control(&envelope),
            None if self.position == Position::Relay => Ok(ControlDoc::new(Fixed(own.0))),
            None => return Ok(()),
        };
        let own = own.map(|doc| ControlDoc { suspended: doc.suspended || is_above, ..doc });
        match own {
            Ok(doc) => *self.control.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(doc),
            // Verified when it came: a key that was revoked since leaves what is set as it is.
            Err(error) => tracing::warn!(%error, "what is set at this relay cannot be read"),
        }
        Ok(())
    }

    /// At a relay: the newest certificate it has; 0 at the managing server, or if that cannot be read.
    pub fn certificate_generation(&self) -> u64 {
        let info = self.upper.as_ref().map(|upper| upper.identity().info());
        info.and_then(Result::ok).map_or(0, |info| info.identity.generation)
    }

    /// The addresses it is called by; none before it listens.
    pub fn urls(&self) -> Vec<String> {
        self.urls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It listens, and is called by these addresses.
    pub fn set_urls(&self, urls: Vec<String>) {
        *self.urls.write().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    /// The managing server's life as known here; 0: not heard yet.
    pub fn server_life(&self) -> Incarnation {
        Incarnation(self.server_life.load(Ordering::Relaxed))
    }

    /// The managing server's life was heard from above.
    pub fn set_server_life(&self, life: Incarnation) {
        self.server_life.store(life.0, Ordering::Relaxed);
    }

    /// Whether this system knows all that is below it. A relay that has not yet read its higher system's feed to the end
    /// once would refuse good reports and make feeds in which things are missing: it answers nobody until then.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Until when this system knows what is delegated: a relay that heard nothing since may not have heard of a renewal.
    pub fn knows_until(&self) -> Time {
        match self.position {
            Position::Top => now(),
            Position::Relay => now().min(Time(self.read.load(Ordering::Acquire))),
        }
    }

    /// All that the higher system has was read at a time.
    pub fn set_read(&self, at: Time) {
        self.read.fetch_max(at.0, Ordering::AcqRel);
    }

    /// The feed was read to its end.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// A host by its id.
    pub fn listed(&self, id: &HostId) -> Option<Listed> {
        self.directory.hosts().listed.get(id).cloned()
    }

    /// What is known of a host that was retired, and asks with a certificate of this generation.
    pub fn retired(&self, id: &HostId, generation: u64) -> Option<Gone> {
        self.directory.hosts().retired.get(id).filter(|gone| generation <= gone.generation).cloned()
    }

    /// Whether this relay was retired itself: it serves nobody any more.
    pub fn is_retired_itself(&self) -> bool {
        self.directory.hosts().retired_itself
    }

    /// Not heard for longer than this, in days, a host is silent.
    pub fn silent_days(&self) -> i64 {
        self.silent_days.load(Ordering::Relaxed)
    }

    /// Sets after how many days a host is silent.
    pub fn set_silent_days(&self, days: i64) {
        self.silent_days.store(days, Ordering::Relaxed);
    }

    /// Loads the hosts again: after one joined, moved or went.
    ///
    /// # Errors
    /// The database's.
    pub async fn reload_directory(&self) -> Result<(), DbError> {
        let ticket = self.directory.ticket();
        let read = self.db.read(|connection| Ok((Fleet::load(connection)?, retired::all(connection)?)));
        let (fleet, gone) = read.await?;
        let listed = fleet.hosts().iter().map(|host| {
            let listed = Listed {
                row: host.row,
                id: host.id,
                name: host.name.clone(),
                role: host.role,
                direct: host.via == host.row,
                via: host.via,
                oldest: host.oldest,
            };
            (host.id, listed)
        });
        let listed = listed.collect();
        // One that joined anew has a newer certificate than the word speaks of.
        let own = self.relay_id().and_then(|own| gone.get(&own));
        let retired_itself = own.is_some_and(|word| self.certificate_generation() <= word.generation);
        self.directory.put(ticket, Hosts { listed, retired: gone, retired_itself });
        Ok(())
    }

    /// What a lower system's held request waits on.
    pub fn feed_news(&self, lower: HostRow) -> Arc<Notify> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.entry(lower).or_insert_with(|| Arc::new(Notify::new())).clone()
    }

    /// There is something new in these lower systems' feeds.
    pub fn wake(&self, lowers: &[HostRow]) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        for lower in lowers {
            if let Some(news) = feeds.get(lower) {
                news.notify_waiters();
            }
        }
    }

    /// Lines changed: whoever watches jobs looks again.
    pub fn lines_changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Tells when lines change.
    pub fn watch_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Content bodies that came from above.
    pub fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Content bodies that went below.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All content bodies that went below.
    pub fn sent_so_far(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// The counters and the room, now: a relay's as far as its limit allows, the managing server's as far as its disk goes.
    pub fn traffic(&self) -> Traffic {
        let free = match self.position {
            Position::Top => self.store.disk().map(|disk| disk.free_bytes),
            Position::Relay => self.copies.room.free_bytes(self),
        };
        Traffic {
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            used_bytes: self.store.used_bytes().unwrap_or(0),
            free_bytes: free.unwrap_or(0),
        }
    }

    /// The counters, if bytes were counted since they were last written down. Nothing was written yet when a system
    /// begins: a relay tells its room before the first byte flows, so that plans know it.
    pub fn counted_anew(&self) -> Option<Traffic> {
        let now = (self.received_bytes.load(Ordering::Relaxed), self.sent_bytes.load(Ordering::Relaxed));
        let written = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        (written != Some(now)).then(|| Traffic { received_bytes: now.0, sent_bytes: now.1, ..self.traffic() })
    }

    /// Counters were written down.
    pub fn counted(&self, traffic: &Traffic) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((traffic.received_bytes, traffic.sent_bytes));
    }

    /// With what calls of hosts are judged here.
    ///
    /// # Errors
    /// It is neither a managing server nor has it a higher system.
    pub fn here(&self) -> Result<Here, ServerError> {
        let ca = match (&self.authority, &self.upper) {
            (Some(authority), _) => authority.ca().cert().clone(),
            (None, Some(upper)) => upper.identity().ca.clone(),
            (None, None) => return Err(self.no_authority()),
        };
        Ok(Here {
            own: self.id,
            authority: self.authority.clone(),
            ca,
            capabilities: self.capabilities.clone(),
            now: now(),
        })
    }

    fn no_authority(&self) -> ServerError {
        ServerError::Missing { path: self.folder.root().to_owned(), what: "managing server" }
    }

    /// The managing server's keys.
    ///
    /// # Errors
    /// This is a relay.
    pub fn authority(&self) -> Result<Arc<Authority>, ServerError> {
        self.authority.clone().ok_or_else(|| self.no_authority())
    }
}

/// The time by this machine's clock.
pub fn now() -> Time {
    Time(jiff::Timestamp::now().as_microsecond())
}
