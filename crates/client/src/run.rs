//! An agent from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::calling::Calling;
use packhorse_domain::facts::Facts;
use packhorse_wire::enroll::private_folder;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, chance};
use crate::control::Contact;
use crate::control::calling::{self, Calls, Shared};
use crate::control::feed::Feed;
use crate::control::renew::Renewal;
use crate::control::reports::Reports;
use crate::driver::{Driver, Event, Parts};
use crate::error::file_error;
use crate::executor::{Tools, sweep};
use crate::facts::gather;
use crate::files::{Root, finish_all};
use crate::judge::Judge;
use crate::local::{Local, Users};
use crate::store::{Db, Kept};
use crate::who::Who;
use crate::{ClientError, RunOptions, default_socket};

/// How many events may wait for the driver.
const EVENTS_MAX: usize = 64;
/// Another one each time the machine starts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How often it is looked what there is to say of the host.
const FACTS_EVERY: Duration = Duration::from_secs(30);
/// How long an end waits for what is being written.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Runs the agent until `shutdown` is ready. What it was doing goes on at the next start; an installer that runs goes on by
/// itself.
///
/// # Errors
/// It is no host, another agent runs in the same data folder, its socket or its database cannot be used.
pub async fn run(options: RunOptions, shutdown: impl Future<Output = ()>) -> Result<(), ClientError> {
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        match once(&options, shutdown.as_mut()).await {
            // It begins anew with what was stored, as after any other end, and calls the other system.
            Err(ClientError::Moved) => {}
            ended => return ended,
        }
    }
}

/// An agent with one higher system.
async fn once(
    options: &RunOptions,
    shutdown: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<(), ClientError> {
    let mut who = Who::load(options)?;
    private_folder(&options.data)?;
    let data = options.data.canonicalize().map_err(file_error(&options.data))?;
    let db = Db::open(&data)?;
    let kept = db.run(Kept::load).await?;
    let judge = judge(&who, &kept)?;
    let call = who.call(judge.place(), kept.call);
    who.follow(judge.place(), call.to, None)?;
    let tools = Arc::new(Tools {
        me: who.me,
        name: who.name.clone(),
        higher: who.higher.clone(),
        higher_id: who.higher_id.clone(),
        may_move: who.renews,
        root: Root::open(&who.root).map_err(file_error(&who.root))?,
        data,
        db,
        link: who.link.clone(),
        clock: Arc::new(Clock::default()),
        gate: Arc::new(Semaphore::new(1)),
        progress: watch::Sender::new(None),
    });
    let place = Who::callable(who.renews, judge.place());
    let calling = Calling::new(who.me, calling::paces(), &place, call, tools.clock.now());
    let socket = options.socket.clone().unwrap_or_else(|| default_socket(&options.data));
    let gate = Arc::clone(&tools.gate);
    let mut tasks = Tasks::start(who, tools, kept, judge, Shared::new(calling), &socket).await?;
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        outcome = tasks.ended() => outcome,
    };
    tasks.set.shutdown().await;
    // What blocks holds the gate: a switch that has begun is ended, or else found at the next start.
    let _ = tokio::time::timeout(LAST_WRITES, gate.acquire()).await;
    outcome
}

fn judge(who: &Who, kept: &Kept) -> Result<Judge, ClientError> {
    let (first_trust, first_place) = who.first_words()?;
    let trust = kept.trust.clone().unwrap_or(first_trust);
    let place = kept.place.clone().unwrap_or(first_place);
    Judge::restore(who.me, &trust, place, &kept.delegations)
}

/// Which start of the machine this is, by its kernel; empty where that does not say.
fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

/// All that runs beside each other. They end together.
struct Tasks {
    set: JoinSet<Result<(), ClientError>>,
}

impl Tasks {
    async fn start(
        who: Who,
        tools: Arc<Tools>,
        kept: Kept,
        judge: Judge,
        calling: Shared,
        socket: &std::path::Path,
    ) -> Result<Tasks, ClientError> {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let (syncs, asked) = mpsc::channel(EVENTS_MAX);
        let contact = watch::Sender::new(Contact::default());
        let (until, ends) = watch::channel(None);
        let (renewed, was_renewed) = watch::channel(0);
        let wake = Arc::new(Notify::new());
        let (run, incarnation) = (chance(), kept.incarnation);
        let (link, role, generation) = (who.link.clone(), who.role.as_str(), who.generation);
        let calls = Calls {
            who: who.clone(),
            calling: calling.clone(),
            tools: Arc::clone(&tools),
            driver: events.clone(),
        };
        let mut renewal =
            Renewal { who, clock: Arc::clone(&tools.clock), renewed, until, contact: contact.clone() };
        let users = Users::below(std::path::Path::new("/"));
        let local = Local::bind(socket, events.clone(), Arc::clone(&tools), users, syncs, Arc::clone(&wake))?;
        let looking = Arc::clone(&tools);
        let driver = Driver::restore(Parts {
            tools: Arc::clone(&tools),
            kept,
            judge,
            boot: boot_id(),
            facts: facts(&tools).await?,
            role,
            generation,
            contact: contact.clone(),
            until: ends,
            calling: calling.clone(),
            wake: Arc::clone(&wake),
            events: events.clone(),
        });
        tidy_up(&tools, driver.wanted()).await?;
        let telling = events.clone();
        let reports = Reports {
            progress: tools.progress.subscribe(),
            progress_at: tokio::time::Instant::now(),
            tools,
            run,
            incarnation,
            wake,
            contact: contact.subscribe(),
            driver: events.clone(),
        };
        let feed = Feed {
            link,
            run,
            incarnation,
            driver: events,
            contact,
            syncs: asked,
            renewed: was_renewed,
            calls: calls.clone(),
            announced: false,
        };
        let mut set = JoinSet::new();
        set.spawn(driver.run(inbox));
        set.spawn(keep_facts(looking, telling));
        set.spawn(calls.run());
        set.spawn(async move {
            local.run().await;
            Ok(())
        });
        set.spawn(async move {
            reports.run().await;
            Ok(())
        });
        set.spawn(async move {
            renewal.before_start().await;
            tokio::join!(feed.run(), renewal.run());
            Ok(())
        });
        Ok(Tasks { set })
    }

    /// None of them ever ends; one that does ends the agent.
    async fn ended(&mut self) -> Result<(), ClientError> {
        match self.set.join_next().await {
            Some(Ok(Err(error))) => Err(error),
            Some(Ok(Ok(()))) | None => Err(ClientError::Ended("one of its tasks ended".to_owned())),
            Some(Err(error)) => Err(ClientError::Ended(error.to_string())),
        }
    }
}

async fn facts(tools: &Arc<Tools>) -> Result<Facts, ClientError> {
    let tools = Arc::clone(tools);
    let gathering = tokio::task::spawn_blocking(move || gather(tools.root.path(), &tools.data));
    gathering.await.map_err(|error| ClientError::Ended(error.to_string()))
}

/// Looks again and again what there is to say of the host.
async fn keep_facts(tools: Arc<Tools>, events: mpsc::Sender<Event>) -> Result<(), ClientError> {
    loop {
        tokio::time::sleep(FACTS_EVERY).await;
        if events.send(Event::Facts(facts(&tools).await?)).await.is_err() {
            return Ok(());
        }
    }
}

/// Finishes what was cut off, and removes what nobody waits for.
async fn tidy_up(
    tools: &Arc<Tools>,
    wanted: Vec<packhorse_domain::ids::PackageId>,
) -> Result<(), ClientError> {
    let tools = Arc::clone(tools);
    let tidying = tokio::task::spawn_blocking(move || {
        finish_all(&tools.db, &tools.root, tools.clock.now())?;
        sweep(&tools, &wanted);
        Ok(())
    });
    tidying.await.map_err(|error| ClientError::Ended(error.to_string()))?
}
