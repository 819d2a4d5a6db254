//! A managing server or a relay, running.

use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packhorse_content::store::Store;
use packhorse_domain::time::Time;
use packhorse_wire::enroll::IdentityFolder;
use packhorse_wire::net::{AcceptLimits, Identity, ServerTls, serve};
use packhorse_wire::pki::{CaCert, CertInfo, HostKey, chain_from_pem, renew_due};
use packhorse_wire::trust::Trust;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::db::delegations::{self, StopEnded};
use crate::db::endings::WarnOfEndings;
use crate::db::history::{Fold, FoldedAway};
use crate::db::hosts::Seen;
use crate::db::meta::{NewEpoch, Start};
use crate::db::places::RenewMemberships;
use crate::db::{Command, Db, DbError, copies as copies_db, lines, orders, rates, retired};
use crate::error::ServerError;
use crate::folder::{Config, Folder};
use crate::system::{Parts, System, now};
use crate::upper::{self, Upper};
use crate::{admin, copies, init, lower, page};

/// How often it is looked for jobs whose end has come.
const DUTY: Duration = Duration::from_secs(1);
/// How often old results are looked for.
const FOLD: Duration = Duration::from_secs(6 * 3600);
/// How often it is written down when hosts were last heard.
const SEEN: Duration = Duration::from_secs(20);
/// How often the managing server looks for memberships that end before long.
const MEMBERSHIPS: Duration = Duration::from_secs(3600);
/// How often the managing server looks at its own certificate.
const CERTIFICATE: Duration = Duration::from_secs(3600);

/// The shortest time results are kept in full, in days: jobs are valid for 90, and hosts repeat their results for 90 more.
pub const HISTORY_DAYS_MIN: u32 = 181;

/// Runs a managing server until `shutdown`. `history_days`: how long results are kept in full; `silent_days`: hosts that were
/// not heard for longer are silent.
///
/// # Errors
/// It cannot be started.
pub async fn run_server(
    data: &Path,
    history_days: u32,
    silent_days: u32,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let running = start_server(data).await?.keeping_history(history_days);
    running.system.set_silent_days(i64::from(silent_days.max(1)));
    running.serve(shutdown).await
}

/// A system that listens and has yet to answer.
pub struct Running {
    system: Arc<System>,
    tls: ServerTls,
    router: axum::Router,
    tasks: JoinSet<()>,
    listener: TcpListener,
    /// As long as it runs nobody else may in the same folder.
    _lock: File,
}

/// Starts a managing server.
///
/// # Errors
/// It cannot be started.
pub async fn start_server(data: &Path) -> Result<Running, ServerError> {
    let folder = Folder::at(data);
    let config = folder.config("server")?;
    let lock = folder.lock()?;
    let authority = Authority::load(&folder)?;
    renew_own(&folder, &authority, &config)?;
    let db = Db::open(&folder.path("server.db"))?;
    let started = db.write(Start { trust: folder.read_bytes("trust.env")? }).await?;
    let tls = server_tls(&folder)?;
    let secret = authority.secret()?;
    let system = Arc::new(System::new(Parts {
        id: config.id.parse()?,
        trust: Trust::own(&started.trust)?,
        store: open_store(&folder).await?,
        incarnation: started.incarnation,
        epoch: started.epoch,
        authority: Some(authority),
        upper: None,
        job_key: None,
        secret,
        tls: tls.clone(),
        traffic: packhorse_domain::report::Traffic::default(),
        ready: true,
        store_bytes: None,
        folder,
        config,
        db,
    }));
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_certificate(system.clone()));
    tasks.spawn(watch_endings(system.clone()));
    tasks.spawn(keep_memberships(system.clone()));
    tasks.spawn(measure(system.clone()));
    let router = lower::router(system.clone())
        .merge(admin::router(system.clone()))
        .merge(page::router(system.clone()));
    Running::listen(system, tls, router, tasks, lock).await
}

/// Runs a relay until `shutdown`. (Its own agent is started beside it by whoever calls this.)
///
/// # Errors
/// It cannot be started.
pub async fn run_relay(
    data: &Path,
    store_bytes: Option<u64>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    start_relay_within(data, store_bytes).await?.serve(shutdown).await
}

/// Starts a relay.
///
/// # Errors
/// It cannot be started.
pub async fn start_relay(data: &Path) -> Result<Running, ServerError> {
    start_relay_within(data, None).await
}

/// Starts a relay whose store may take so many bytes; `None`: what leaves a tenth of its disk free. What the managing server
/// sets counts more.
///
/// # Errors
/// It cannot be started.
pub async fn start_relay_within(data: &Path, store_bytes: Option<u64>) -> Result<Running, ServerError> {
    let folder = Folder::at(data);
    let config = folder.config("relay")?;
    let lock = folder.lock()?;
    let identity_folder = IdentityFolder::at(data);
    let identity = identity_folder.load()?;
    let (first_trust, first_place) = identity_folder.first_words()?;
    let db = Db::open(&folder.path("server.db"))?;
    let started = db.write(Start { trust: first_trust }).await?;
    let trust = Trust::own(&started.trust)?;
    let (cursor, hop, traffic, ready) = db
        .read(|connection| {
            Ok((
                orders::cursor(connection)?,
                orders::hop(connection)?,
                copies_db::own_traffic(connection)?,
                orders::ready(connection)?,
            ))
        })
        .await?;
    // The relay itself is a host below it: its own agent calls it like any other.
    let own = crate::db::hosts::verified(&trust, first_place, identity.info()?.identity.generation)?;
    let own = crate::db::join::Remember { own: identity.id, learned: own, capabilities: None, now: now() };
    db.write(own).await?;
    let tls = ServerTls::new(&identity.ca, &identity.tls()?)?;
    let secret = identity.key.to_secret_pem().into_bytes();
    let system = Arc::new(System::new(Parts {
        id: identity.id,
        store: open_store(&folder).await?,
        incarnation: started.incarnation,
        // A database that was put back has forgotten numbers that were given; they are given again in another epoch only.
        epoch: db.write(NewEpoch(now())).await?,
        authority: None,
        upper: Some(Upper::new(identity, cursor, hop)?),
        job_key: Some(upper::job_key(&folder)?),
        trust,
        secret: capability_secret(&folder, &secret)?,
        tls: tls.clone(),
        traffic,
        ready,
        store_bytes,
        folder,
        config,
        db,
    }));
    if let Some(hop) = hop {
        system.set_server_life(hop.server);
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(upper::run_feed(system.clone()));
    tasks.spawn(upper::run_reports(system.clone()));
    tasks.spawn(upper::run_renewal(system.clone()));
    tasks.spawn(upper::run_access(system.clone()));
    tasks.spawn(copies::run(system.clone()));
    tasks.spawn(copies::run_counters(system.clone()));
    let router = lower::router(system.clone())
        .merge(admin::router(system.clone()))
        .merge(page::router(system.clone()));
    Running::listen(system, tls, router, tasks, lock).await
}

/// A relay's address, for its own agent.
///
/// # Errors
/// There is no relay in the folder.
pub fn relay_url(data: &Path) -> Result<String, ServerError> {
    Ok(Folder::at(data).config("relay")?.url())
}

/// What a relay's capabilities are derived from outlasts its certificates' keys.
fn capability_secret(folder: &Folder, first: &[u8]) -> Result<Vec<u8>, ServerError> {
    let path = folder.path("capability.key");
    if !path.exists() {
        let secret = blake3::derive_key("packhorse 2026-11 relay secret", first);
        let text = packhorse_wire::bytes::Fixed(secret).to_string();
        packhorse_wire::pki::write_private(&path, &text)?;
    }
    Ok(folder.read("capability.key")?.into_bytes())
}

async fn open_store(folder: &Folder) -> Result<Store, ServerError> {
    let path = folder.path("store");
    let opened = tokio::task::spawn_blocking(move || Store::open(&path)).await.map_err(DbError::internal)?;
    Ok(opened?)
}

fn server_tls(folder: &Folder) -> Result<ServerTls, ServerError> {
    let ca = CaCert::from_pem(&folder.read("ca.pem")?)?;
    let identity = Identity::new(&folder.read("host.pem")?, &HostKey::load(&folder.path("host.key"))?)?;
    Ok(ServerTls::new(&ca, &identity)?)
}

impl Running {
    async fn listen(
        system: Arc<System>,
        tls: ServerTls,
        router: axum::Router,
        tasks: JoinSet<()>,
        lock: File,
    ) -> Result<Running, ServerError> {
        let address = system.config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|error| ServerError::Listen { address, error })?;
        system.reload_directory().await?;
        system.reload_control().await?;
        system.reload_delegations().await?;
        let port = listener.local_addr().map_err(|error| ServerError::Listen { address, error })?.port();
        let urls = system.config.urls(port);
        if let Some(own) = system.relay_id() {
            // Hosts that are moved here are told.
            let body = packhorse_domain::report::Body::Called(urls.clone());
            system.db.write(crate::db::outbox::Say { own, body, now: now() }).await?;
            system.outbox_news.notify_one();
        }
        system.set_urls(urls);
        Ok(Running { system, tls, router, tasks, listener, _lock: lock })
    }

    /// Results are kept in full for so many days, and then as numbers.
    #[must_use]
    pub fn keeping_history(mut self, days: u32) -> Running {
        self.tasks.spawn(fold(self.system.clone(), i64::from(days.max(HISTORY_DAYS_MIN))));
        self
    }

    /// What its parts share.
    pub fn system(&self) -> &Arc<System> {
        &self.system
    }

    /// Where it listens: the port that was given to it if 0 was asked for.
    ///
    /// # Errors
    /// The listener's.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        let address = self.system.config.listen;
        self.listener.local_addr().map_err(|error| ServerError::Listen { address, error })
    }

    /// Answers until `shutdown`.
    ///
    /// # Errors
    /// None at present; a system that listens goes on.
    pub async fn serve(
        mut self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let system = self.system;
        self.tasks.spawn(duties(system.clone()));
        self.tasks.spawn(write_seen(system.clone()));
        self.tasks.spawn(forget_the_gone(system.clone()));
        tracing::info!(name = %system.config.name, address = %system.config.listen, "listening");
        serve(self.listener, self.tls, self.router, AcceptLimits::default(), shutdown).await;
        self.tasks.shutdown().await;
        // What was heard last is written down; a failure here loses nothing that matters.
        let _ = system.db.write(Seen(system.presence.take_unwritten())).await;
        Ok(())
    }
}

/// Lines whose job's end has come, and have not begun as far as is known here, are missed.
struct Miss;

impl Command for Miss {
    type Answer = u64;

    fn apply(self, tx: &rusqlite::Connection) -> Result<u64, DbError> {
        lines::miss(tx, now())
    }
}

async fn duties(system: Arc<System>) {
    loop {
        tokio::time::sleep(DUTY).await;
        let known = system.knows_until();
        match system.db.read(move |connection| delegations::any_ended(connection, known)).await {
            Ok(true) => match system.db.write(StopEnded(known)).await {
                Ok(()) => {
                    system.orders_news.send_modify(|n| *n += 1);
                    system.lines_changed();
                }
                Err(error) => tracing::error!(%error, "delegations whose end has come"),
            },
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "delegations whose end has come"),
        }
        let ending = system.db.read(|connection| {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM jobs j JOIN lines l ON l.job = j.row WHERE j.until <= ?1
                   AND l.verdict IS NULL AND NOT l.begun AND l.state IN ({}))",
                lines::unbegun_words()
            );
            Ok(connection.prepare_cached(&sql)?.query_row([now().0], |row| row.get::<_, bool>(0))?)
        });
        match ending.await {
            Ok(true) => match system.db.write(Miss).await {
                Ok(_) => system.lines_changed(),
                Err(error) => tracing::error!(%error, "lines whose end has come"),
            },
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "lines whose end has come"),
        }
    }
}

/// How often hosts that went long ago are forgotten.
const FORGET: Duration = Duration::from_secs(6 * 3600);
/// How often it is looked for what ends by itself.
const ENDINGS: Duration = Duration::from_secs(3600);

/// Tells in time what somebody has to renew.
async fn watch_endings(system: Arc<System>) {
    loop {
        let command = WarnOfEndings { own: system.config.name.clone(), now: now() };
        if let Err(error) = system.db.write(command).await {
            tracing::error!(%error, "what ends soon");
        }
        tokio::time::sleep(ENDINGS).await;
    }
}

/// Forgets what nobody asks any more about hosts that went.
async fn forget_the_gone(system: Arc<System>) {
    loop {
        match system.db.write(retired::Prune(now())).await {
            Ok(0) => {}
            Ok(_) => {
                if let Err(error) = system.reload_directory().await {
                    tracing::error!(%error, "hosts that went");
                }
            }
            Err(error) => tracing::error!(%error, "hosts that went"),
        }
        tokio::time::sleep(FORGET).await;
    }
}

/// Measures what the managing server sends while bytes flow; relays report theirs.
async fn measure(system: Arc<System>) {
    let mut measured = system.sent_so_far();
    loop {
        tokio::time::sleep(DUTY).await;
        let sent = system.sent_so_far();
        if std::mem::replace(&mut measured, sent) == sent {
            continue;
        }
        if let Err(error) = system.db.write(rates::Own { sent_bytes: sent, now: now() }).await {
            tracing::error!(%error, "what was sent cannot be written down");
        }
    }
}

/// Folds what is older than `days` into numbers, at the start and then every few hours.
async fn fold(system: Arc<System>, days: i64) {
    loop {
        let before = Time(now().0.saturating_sub(Time(0).plus_days(days).0));
        match system.db.write(Fold { before }).await {
            Ok(folded) if folded != FoldedAway::default() => {
                tracing::info!(?folded, "results of long ago are numbers now");
                // There may be more of them; others get their turn in between.
                tokio::time::sleep(DUTY).await;
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "old results cannot be folded"),
        }
        tokio::time::sleep(FOLD).await;
    }
}

async fn write_seen(system: Arc<System>) {
    loop {
        tokio::time::sleep(SEEN).await;
        let seen = system.presence.take_unwritten();
        if !seen.is_empty()
            && let Err(error) = system.db.write(Seen(seen)).await
        {
            tracing::error!(%error, "when hosts were last heard cannot be written down");
        }
    }
}

/// Memberships end by themselves: those that end before long are signed anew.
async fn keep_memberships(system: Arc<System>) {
    loop {
        let more = match renew_memberships(&system).await {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(%error, "memberships were not signed anew; tried again");
                false
            }
        };
        tokio::time::sleep(if more { DUTY } else { MEMBERSHIPS }).await;
    }
}

async fn renew_memberships(system: &System) -> Result<bool, ServerError> {
    let (authority, capabilities) = (system.authority()?, system.capabilities.clone());
    let command = RenewMemberships { authority, capabilities, now: now() };
    let (lowers, more) = system.db.write(command).await?;
    system.wake(&lowers);
    Ok(more)
}

/// The managing server's own certificate: made anew at two thirds of its life.
fn renew_own(folder: &Folder, authority: &Authority, config: &Config) -> Result<bool, ServerError> {
    let chain = chain_from_pem(&folder.read("host.pem")?)?;
    let due = match chain.first().map(|leaf| CertInfo::from_der(leaf)).transpose()? {
        Some(info) => renew_due(info.not_before, info.not_after, jiff::Timestamp::now()),
        None => true,
    };
    if due {
        init::certify_server(folder, authority, config, now())?;
    }
    Ok(due)
}

async fn keep_certificate(system: Arc<System>) {
    loop {
        tokio::time::sleep(CERTIFICATE).await;
        if let Err(error) = replace_certificate(&system) {
            tracing::error!(%error, "the server's own certificate was not renewed; tried again");
        }
    }
}

fn replace_certificate(system: &System) -> Result<(), ServerError> {
    let authority = system.authority()?;
    if renew_own(&system.folder, &authority, &system.config)? {
        let key = HostKey::load(&system.folder.path("host.key"))?;
        system.tls.replace(&Identity::new(&system.folder.read("host.pem")?, &key)?);
    }
    Ok(())
}
