//! The one task that owns the machine: an input, its writes in one transaction, then its effects.

mod effects;
mod facts;
mod offers;
mod orders;
mod retired;
mod status;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_domain::agent::{Agent, Effect, Input, LineId, Step, Wish, Write};
use packhorse_domain::facts::Facts;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::PackageId;
use packhorse_domain::job::Place;
use packhorse_domain::outbox::Hop;
use packhorse_domain::reason::Code;
use packhorse_domain::time::Time;
use packhorse_wire::local::LocalStatus;
use packhorse_wire::messages::{CopyHint, FeedResponse};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub(crate) use offers::Listed;

use crate::ClientError;
use crate::clock::chance;
use crate::control::calling::Shared;
use crate::control::{Contact, pause};
use crate::executor::Tools;
use crate::judge::{Judge, Refused};
use crate::store::{Alarm, Commit, Kept};

/// Most alarms of one life of the state: a relay that lies cannot fill the disk.
const ALARMS_MAX: usize = 1000;
/// Longest sentence of an alarm, in bytes.
const ALARM_BYTES_MAX: usize = 1000;
/// How long at most until time is looked at again: the clock may have been corrected.
const TICK_MAX: Duration = Duration::from_secs(30);
/// How long at least after a look that changed nothing.
const TICK_MIN: Duration = Duration::from_millis(500);

/// What reaches the driver.
pub(crate) enum Event {
    /// An effect is done.
    Answer {
        /// Of which generation of its line's effects.
        generation: u64,
        /// Which line.
        line: LineId,
        /// What happened.
        input: Box<Option<Input>>,
    },
    /// How far the feed is stored.
    Cursor(oneshot::Sender<Option<Cursor>>),
    /// Where the host stands, and the envelope that says so.
    Place(oneshot::Sender<(Place, Vec<u8>)>),
    /// A system that was asked whether it takes the host knows a newer place.
    Placed(Vec<u8>),
    /// Orders from above; answered when they are stored.
    Feed {
        /// The answer of the higher system.
        response: Box<FeedResponse>,
        /// How many were new, or why none was taken.
        done: oneshot::Sender<Result<u64, String>>,
    },
    /// How far the outbox is stored above; answered when that is noted.
    Stored {
        /// So far.
        hop: Hop,
        /// Noted.
        done: oneshot::Sender<()>,
    },
    /// What the host says of itself now.
    Facts(Facts),
    /// What a user asks.
    Status(oneshot::Sender<LocalStatus>),
    /// What users may decide on.
    Offers(oneshot::Sender<Vec<Listed>>),
    /// What a user decided.
    Wish {
        /// Of which offer.
        offer: String,
        /// Who, by the socket.
        by: String,
        /// What.
        wish: Wish,
        /// How it stands then, or why it is not done.
        answer: oneshot::Sender<Result<Box<Listed>, String>>,
    },
    /// The system is about to stop; answered with how many packages were installed for that, when they are.
    Stopping(oneshot::Sender<u64>),
}

/// What an agent is made of, apart from the machine.
pub(crate) struct Parts {
    /// What effects are done with.
    pub tools: Arc<Tools>,
    /// What was found in the database.
    pub kept: Kept,
    /// Whom it trusts.
    pub judge: Judge,
    /// Which start of the machine this is.
    pub boot: String,
    /// What the host says of itself.
    pub facts: Facts,
    /// `client` or `relay`.
    pub role: &'static str,
    /// Its certificate's generation.
    pub generation: u64,
    /// How the connection is.
    pub contact: watch::Sender<Contact>,
    /// The certificate's end.
    pub until: watch::Receiver<Option<jiff::Timestamp>>,
    /// Whom it calls.
    pub calling: Shared,
    /// Wakes whoever sends reports.
    pub wake: Arc<Notify>,
    /// Where answers of effects are sent.
    pub events: mpsc::Sender<Event>,
}

/// The driver.
pub(crate) struct Driver {
    agent: Agent,
    tools: Arc<Tools>,
    judge: Judge,
    role: &'static str,
    certificate: u64,
    /// It was retired: what is said of that.
    retired: Option<String>,
    cursor: Option<Cursor>,
    hints: HashMap<PackageId, CopyHint>,
    told: BTreeSet<(String, String)>,
    told_facts: facts::Last,
    first_facts: Option<Facts>,
    running: HashMap<LineId, effects::Running>,
    generation: u64,
    tasks: JoinSet<()>,
    contact: watch::Sender<Contact>,
    until: watch::Receiver<Option<jiff::Timestamp>>,
    calling: Shared,
    /// Another system is to be called.
    moved: bool,
    wake: Arc<Notify>,
    events: mpsc::Sender<Event>,
    idle: bool,
    /// When time itself was an input last.
    ticked: Instant,
    /// Who waits for the end of what is installed before the system stops, and how much that is.
    stops: Vec<(u64, oneshot::Sender<u64>)>,
}

impl Driver {
    /// An agent as it was left.
    pub fn restore(parts: Parts) -> Driver {
        let Parts {
            tools,
            kept,
            mut judge,
            facts,
            boot,
            role,
            generation,
            contact,
            until,
            calling,
            wake,
            events,
        } = parts;
        let retired = retired::kept(&judge, kept.retired.as_deref(), role, generation);
        let hints = kept.jobs.iter().flat_map(|job| orders::hints(&job.known.job, &job.order)).collect();
        let known = kept.jobs.into_iter().map(|job| job.known).collect();
        let mut agent =
            Agent::restore(tools.me, &tools.name, kept.incarnation, known, kept.base, &kept.entries);
        let newest_facts = kept.facts.as_ref().map_or(0, |told| told.report);
        agent.numbered(kept.newest_alarm.max(newest_facts));
        judge.set_facts(facts.clone());
        agent.booted(&boot);
        contact.send_modify(|contact| contact.hop = kept.hop);
        Driver {
            agent,
            tools,
            judge,
            role,
            certificate: generation,
            retired,
            cursor: kept.cursor,
            hints,
            told: kept.told.into_iter().collect(),
            told_facts: facts::Last::from(kept.facts),
            first_facts: Some(facts),
            running: HashMap::new(),
            generation: 0,
            tasks: JoinSet::new(),
            contact,
            until,
            calling,
            moved: false,
            wake,
            events,
            idle: false,
            ticked: Instant::now(),
            stops: Vec::new(),
        }
    }

    /// The packages that somebody waits for, or may still choose.
    pub fn wanted(&self) -> Vec<PackageId> {
        let wanted = self.agent.lines().filter(|line| !line.stage.is_end() || line.may_be_chosen());
        wanted.map(|line| line.id.package).collect()
    }

    /// Works until nobody can reach it any more.
    ///
    /// # Errors
    /// The database's thread is gone, which never should be.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Event>) -> Result<(), ClientError> {
        let now = self.tools.clock.now();
        let rights = self.rights();
        self.input(rights).await?;
        let step = self.agent.resume(now);
        self.apply(step, Commit::default()).await?;
        if let Some(facts) = self.first_facts.take().filter(|_| self.retired.is_none()) {
            self.facts(facts).await?;
        }
        // What was reported and never sent.
        self.wake.notify_one();
        loop {
            tokio::select! {
                event = inbox.recv() => match event {
                    Some(event) => self.event(event).await?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep(self.rest()) => {
                    self.ticked = Instant::now();
                    self.input(Input::Tick).await?;
                }
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
    }

    /// How long until time itself is an input.
    fn rest(&self) -> Duration {
        // Counted from the last tick: whoever asks again and again at the user's socket puts nothing off.
        let since = self.ticked.elapsed();
        let most = TICK_MAX.saturating_sub(since);
        let rest = self.agent.wakes_at().map_or(most, |at| self.tools.clock.until(at)).min(most);
        // A line whose time has come and that waits for another one would have it look without end.
        if self.idle { rest.max(TICK_MIN.saturating_sub(since)) } else { rest }
    }

    async fn event(&mut self, event: Event) -> Result<(), ClientError> {
        match event {
            Event::Answer { generation, line, input } => {
                let current = self.running.get(&line).is_some_and(|running| running.generation == generation);
                if current {
                    self.running.remove(&line);
                }
                match *input {
                    Some(input) if current => self.input(input).await,
                    _ => Ok(()),
                }
            }
            // Whoever asked may have gone.
            Event::Cursor(answer) => {
                let _ = answer.send(self.cursor);
                Ok(())
            }
            Event::Feed { response, done } => {
                let outcome = self.feed(*response).await?;
                let _ = done.send(outcome);
                if self.moved { Err(ClientError::Moved) } else { Ok(()) }
            }
            Event::Place(answer) => {
                let _ = answer.send((self.judge.place().clone(), self.judge.place_envelope().to_vec()));
                Ok(())
            }
            Event::Placed(envelope) => {
                self.placed(envelope).await?;
                if self.moved { Err(ClientError::Moved) } else { Ok(()) }
            }
            Event::Stored { hop, done } => {
                self.commit(Commit { hop: Some(hop), ..Commit::default() }).await?;
                self.contact.send_modify(|contact| contact.hop = Some(hop));
                let _ = done.send(());
                Ok(())
            }
            // Nobody hears it any more.
            Event::Facts(_) if self.retired.is_some() => Ok(()),
            Event::Facts(facts) => self.facts(facts).await,
            Event::Offers(answer) => {
                let _ = answer.send(self.offers());
                Ok(())
            }
            Event::Wish { offer, by, wish, answer } => {
                let outcome = match &self.retired {
                    Some(why) => Err(why.clone()),
                    None => self.wish(&offer, by, wish).await?,
                };
                let _ = answer.send(outcome.map(Box::new));
                Ok(())
            }
            Event::Stopping(answer) => {
                self.input(Input::Stopping).await?;
                let held = self.agent.lines().filter(|line| line.released && !line.stage.is_end()).count();
                self.stops.push((held as u64, answer));
                self.answer_stops();
                Ok(())
            }
            Event::Status(answer) => {
                let status = self.status().await;
                let _ = answer.send(status);
                Ok(())
            }
        }
    }

    /// Whoever stops the system waits until nothing that was held for that is being installed.
    fn answer_stops(&mut self) {
        if !self.agent.is_stopping() {
            for (held, answer) in self.stops.drain(..) {
                // Whoever asked may have gone.
                let _ = answer.send(held);
            }
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), ClientError> {
        if self.retired.is_some() && !retired::still_counts(&input) {
            return Ok(());
        }
        let now = self.tools.clock.now();
        let mut commit = Commit { at: now, ..Commit::default() };
        if let Some(refused) = disbelieved(&input) {
            self.alarm(&mut commit, refused, now);
        }
        let told = !commit.alarms.is_empty();
        let step = self.agent.step(input, now, chance());
        self.apply(step, commit).await?;
        if told {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// First the writes, then the effects.
    async fn apply(&mut self, step: Step, mut commit: Commit) -> Result<(), ClientError> {
        self.idle = step.writes.is_empty() && step.effects.is_empty();
        let Step { writes, mut effects } = step;
        effects.extend(ended(&writes, &effects));
        commit.writes = writes;
        self.commit(commit).await?;
        for effect in effects {
            if self.retired.is_none() || retired::is_ending(&effect) {
                self.start(effect);
            }
        }
        self.answer_stops();
        Ok(())
    }

    /// Stores a commit, however long the disk refuses: the machine has moved on and waits for it.
    async fn commit(&mut self, commit: Commit) -> Result<(), ClientError> {
        if commit.is_empty() {
            return Ok(());
        }
        let commit = Arc::new(commit);
        let mut failures = 0;
        loop {
            let storing = Arc::clone(&commit);
            match self.tools.db.run(move |connection| storing.store(connection)).await {
                Ok(()) => return Ok(()),
                Err(error @ ClientError::Ended(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "state could not be stored; tried again");
                    tokio::time::sleep(pause(failures + 2)).await;
                    failures += 1;
                }
            }
        }
    }

    /// Takes in that something was refused: told upwards once, and logged.
    fn alarm(&mut self, commit: &mut Commit, refused: Refused, now: Time) {
        let Refused { code, what, text } = refused;
        let key = (code.to_owned(), what.clone());
        if self.told.len() >= ALARMS_MAX || !self.told.insert(key) {
            tracing::debug!(code, what, text, "refused, and told before");
            return;
        }
        tracing::warn!(code, what, text, "refused");
        let text = text.chars().take(ALARM_BYTES_MAX / 4).collect();
        commit.alarms.push(Alarm { report: self.agent.number(), at: now, code, what, text });
    }
}

/// Bytes from above that are not what they should be, or that nobody trusted has signed: the line waits and tries again, and
/// somebody should look.
fn disbelieved(input: &Input) -> Option<Refused> {
    let (line, trouble) = match input {
        Input::Probed(line, Err(trouble)) | Input::Obtained(line, Err(trouble)) => (line, trouble),
        _ => return None,
    };
    let code = match trouble.code {
        Code::Content => "bad_content",
        Code::NotTrusted => "not_trusted",
        _ => return None,
    };
    Some(Refused::new(code, line.package.to_string(), trouble.text.clone()))
}

/// What was staged for a line that ended is forgotten, whatever it was waiting for.
fn ended(writes: &[Write], effects: &[Effect]) -> Vec<Effect> {
    let ends = writes.iter().filter_map(|write| match write {
        Write::Journal(entry) if matches!(entry.kind, packhorse_domain::agent::Kind::Ended(_)) => {
            Some(Effect::Drop(entry.line.clone()))
        }
        _ => None,
    });
    ends.filter(|drop| !effects.contains(drop)).collect()
}
