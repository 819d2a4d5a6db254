//! All simulated clients: joining with bounded concurrency, listening, ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use packhorse_domain::ids::Name;
use packhorse_domain::job::HostRole;
use packhorse_wire::admin::NewToken;
use packhorse_wire::enroll::{self, Enrolled};
use packhorse_wire::token::Token;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::host::Host;
use crate::api::Api;
use crate::args::FleetArgs;
use crate::failure::{Failure, Outcome, Within};
use crate::say;

/// How long the token of a fleet is good, in seconds.
const TOKEN_SECS: u64 = 3600;
/// How long the clients may take to come to their end.
const END: Duration = Duration::from_secs(10);

/// What all clients share.
#[derive(Debug)]
pub struct Shared {
    /// Jobs up to this number are older than the fleet.
    pub newest_job: u64,
    /// The fleet's own job, once it is made.
    pub job: watch::Receiver<Option<u64>>,
    /// `true`: come to your end.
    pub end: watch::Receiver<bool>,
    /// Whether content is obtained.
    pub fetch: bool,
    /// How many obtain content at the same time.
    pub fetching: Semaphore,
    /// Clients whose first question was answered.
    pub listening: AtomicU32,
    /// Bytes of content that came.
    pub fetched_bytes: AtomicU64,
    /// Orders that were not believed.
    pub refused: AtomicU64,
}

/// The clients.
pub struct Crew {
    names: Vec<String>,
    shared: Arc<Shared>,
    job: watch::Sender<Option<u64>>,
    end: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Crew {
    /// Joins all of them, `--at-once` at the same time, and lets them listen.
    ///
    /// # Errors
    /// One of them was not let in.
    pub async fn join(args: &FleetArgs, api: &Api, newest_job: u64) -> Outcome<Crew> {
        let names = names(args.clients)?;
        let token = NewToken { relay: false, uses: args.clients, ends_secs: TOKEN_SECS, replace: None };
        let token = api.new_token(&token).await?.token;
        Token::parse(&token)?;
        let (job, job_seen) = watch::channel(None);
        let (end, end_seen) = watch::channel(false);
        let shared = Arc::new(Shared {
            newest_job,
            job: job_seen,
            end: end_seen,
            fetch: args.fetch,
            fetching: Semaphore::new(args.at_once as usize),
            listening: AtomicU32::new(0),
            fetched_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let mut crew = Crew { names, shared, job, end, tasks: JoinSet::new() };
        crew.fill(args, &token).await?;
        Ok(crew)
    }

    async fn fill(&mut self, args: &FleetArgs, token: &str) -> Outcome {
        let bar = join_bar(args.clients);
        let joining = stream::iter(self.names.clone().into_iter().zip(args.to.iter().cycle()))
            .map(|(name, url)| tokio::spawn(join_one(url.clone(), token.to_owned(), name)));
        let mut joining = joining.buffer_unordered(args.at_once as usize);
        while let Some(joined) = joining.next().await {
            let host = Host::new(joined??, self.shared.clone())?;
            self.tasks.spawn(host.live());
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Waits until every client has had an answer to its first question.
    ///
    /// # Errors
    /// Some have none.
    pub async fn all_listening(&self, patience: Duration) -> Outcome {
        let all = self.names.len();
        let listening = || self.shared.listening.load(Ordering::Relaxed) as usize;
        let wait = async {
            while listening() < all {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, wait)
            .await
            .map_err(|_| Failure::new(format!("only {} of {all} clients get answers", listening())))
    }

    /// The clients' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Tells them which job is theirs.
    pub fn announce(&self, job: u64) {
        self.job.send_replace(Some(job));
    }

    /// Bytes of content that came.
    pub fn fetched(&self) -> u64 {
        self.shared.fetched_bytes.load(Ordering::Relaxed)
    }

    /// Orders that were not believed.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Lets them come to their end.
    pub async fn end(mut self) {
        self.end.send_replace(true);
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END, all_ended).await.is_err() {
            tracing::warn!("some clients did not come to their end");
        }
    }
}

/// `fleet-3fa9-0001` and so on: another run does not meet these names.
fn names(clients: u32) -> Outcome<Vec<String>> {
    let run = getrandom::u32().map_err(|error| Failure::new(error.to_string()))? & 0xffff;
    Ok((1..=clients).map(|n| format!("fleet-{run:04x}-{n:04}")).collect())
}

async fn join_one(url: String, token: String, name: String) -> Outcome<Enrolled> {
    let checked = Name::for_host(&name).map_err(|error| Failure::new(error.to_string()))?;
    enroll::join(&url, &token, HostRole::Client, &checked, &[]).await.within(|| format!("{name} at {url}"))
}

fn join_bar(clients: u32) -> ProgressBar {
    if !say::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("joining [{bar:30.green}] {pos}/{len} {per_sec}");
    ProgressBar::new(u64::from(clients)).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
