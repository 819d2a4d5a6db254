//! The page's parts as they are now. However many browsers look, they are made anew at most once a second; each browser is
//! sent only the parts that changed, together, at most once a second.

use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::response::sse::Event;
use futures_util::Stream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::access::{Doors, Key};
use super::head::Head;
use super::look::{Counted, look};
use super::{busy, jobs, tree, why};
use crate::admin::around::Around;
use crate::db::DbError;
use crate::system::{System, now};

/// Parts are made anew, and a browser is told, at most this often.
const PACE: Duration = Duration::from_secs(1);
/// Making the parts takes at most this part of the time: of a fleet of a million machines too.
const REST_FACTOR: u32 = 5;
/// Browsers that are told at a time. The page itself is served to all who may look.
const STREAMS_MAX: usize = 64;

/// The page's parts of one moment.
pub struct Shown {
    /// Each with its name.
    pub parts: [Part; 4],
}

/// A part that is swapped as a whole.
pub struct Part {
    /// The element it stands in.
    pub name: &'static str,
    /// What stands in it.
    pub html: String,
    mark: u64,
}

impl Part {
    fn new(name: &'static str, template: &impl Template) -> Result<Part, DbError> {
        let html = template.render().map_err(DbError::internal)?;
        let mut hasher = DefaultHasher::new();
        html.hash(&mut hasher);
        Ok(Part { name, mark: hasher.finish(), html })
    }
}

/// Makes the parts.
pub struct Live {
    system: Arc<System>,
    newest: Mutex<Option<Newest>>,
    counted: Arc<StdMutex<Counted>>,
    streams: Arc<Semaphore>,
}

struct Newest {
    shown: Arc<Shown>,
    made: Instant,
    took: Duration,
}

impl Live {
    /// Those of a system.
    pub fn new(system: Arc<System>) -> Live {
        Live {
            system,
            newest: Mutex::default(),
            counted: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// The parts as they are now, or were a moment ago.
    ///
    /// # Errors
    /// The database's.
    pub async fn shown(&self) -> Result<Arc<Shown>, DbError> {
        // Whoever comes while they are made waits for the same ones.
        let mut newest = self.newest.lock().await;
        if let Some(known) =
            newest.as_ref().filter(|known| known.made.elapsed() < PACE.max(known.took * REST_FACTOR))
        {
            return Ok(known.shown.clone());
        }
        let made = Instant::now();
        let shown = Arc::new(self.make().await?);
        *newest = Some(Newest { shown: shown.clone(), made, took: made.elapsed() });
        Ok(shown)
    }

    async fn make(&self) -> Result<Shown, DbError> {
        let (system, counted) = (self.system.clone(), self.counted.clone());
        let at = now();
        // What is made of it is made on the same thread: it is work for a processor, not for the runtime.
        let shown = self.system.db.read(move |connection| {
            let look = look(connection, &mut counted.lock().unwrap_or_else(PoisonError::into_inner), at)?;
            let around = Around::new(&system, &look.scene, at);
            let busy = busy::busy(&around, &look);
            Ok(Shown {
                parts: [
                    Part::new("head", &Head::of(&around, &look))?,
                    Part::new("tree", &tree::tree(&system, &around, &look, &busy))?,
                    Part::new("jobs", &jobs::jobs(&system, &around, &look, &busy))?,
                    Part::new("why", &why::why(&system, &around, &look, &busy))?,
                ],
            })
        });
        shown.await
    }

    /// A place among those who are told; `None`: all are taken.
    pub fn seat(&self) -> Option<OwnedSemaphorePermit> {
        self.streams.clone().try_acquire_owned().ok()
    }
}

/// What one browser is told, until it may look no more.
struct Told {
    live: Arc<Live>,
    doors: Arc<Doors>,
    key: Key,
    /// Marks of the parts it has.
    has: [u64; 4],
    next: Instant,
    over: bool,
    _seat: OwnedSemaphorePermit,
}

/// Tells a browser what changed: first everything, then one event with all parts that are new, at most one a second.
pub fn tell(
    live: Arc<Live>,
    doors: Arc<Doors>,
    key: Key,
    seat: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let told = Told { live, doors, key, has: [0; 4], next: Instant::now(), over: false, _seat: seat };
    futures_util::stream::unfold(told, |mut told| async move {
        if told.over {
            return None;
        }
        let event = told.news().await;
        Some((Ok(event), told))
    })
}

impl Told {
    async fn news(&mut self) -> Event {
        loop {
            tokio::time::sleep_until(self.next).await;
            self.next = Instant::now() + PACE;
            match self.doors.still(&self.key).await {
                Ok(true) => {}
                Ok(false) => {
                    self.over = true;
                    return Event::default().event("over").data("");
                }
                // Tried again, as the parts are.
                Err(error) => tracing::error!(%error, "who may look cannot be read"),
            }
            match self.live.shown().await {
                Ok(shown) => {
                    if let Some(event) = self.changed(&shown) {
                        return event;
                    }
                }
                Err(error) => tracing::error!(%error, "the page's parts cannot be made"),
            }
        }
    }

    fn changed(&mut self, shown: &Shown) -> Option<Event> {
        let new: serde_json::Map<String, serde_json::Value> = shown
            .parts
            .iter()
            .zip(&mut self.has)
            .filter(|(part, has)| part.mark != **has)
            .map(|(part, has)| {
                *has = part.mark;
                (part.name.to_owned(), part.html.clone().into())
            })
            .collect();
        if new.is_empty() {
            return None;
        }
        // JSON of strings has no line breaks in it, and cannot fail to be written.
        Some(Event::default().event("parts").data(serde_json::Value::Object(new).to_string()))
    }
}
