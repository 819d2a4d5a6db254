//! Many simulated clients in one process: the real protocol over real TLS, each with its own key, certificate and
//! connection. They install nothing. So that it is seen from the start what a fleet costs.
//!
//! | file | what |
//! |---|---|
//! | `crew` | makes the clients and ends them |
//! | `host` | one client: its feed, its outbox |
//! | `judge` | what a client makes of an order |
//! | `fetch` | takes a package's content in and throws it away |
//! | `result` | what it took: waiting for the job, percentiles, bytes |
//! | `memory` | resident memory of processes |
//! | `report` | how that is shown |

mod crew;
mod fetch;
mod host;
mod judge;
mod memory;
mod report;
mod result;

use std::time::{Duration, Instant};

use packhorse_wire::admin::{NewJob, PackageView};

use crate::api::Api;
use crate::args::FleetArgs;
use crate::commands::large_runtime;
use crate::failure::{Failure, Outcome};
use crate::render::table;
use crate::{address, logs, say, signals};

use crew::Crew;
use report::Report;

/// Runs a fleet.
///
/// # Errors
/// It could not be brought up, or not every result came.
pub fn run(args: &FleetArgs) -> Outcome {
    logs::of_command();
    let api = Api::open(args.access.context.as_ref())?;
    large_runtime()?.block_on(async {
        let ended = signals::ended()?;
        tokio::select! {
            outcome = exercise(args, &api) => outcome,
            () = ended => Err(Failure::silent(crate::exit::Exit::Interrupted)),
        }
    })
}

async fn exercise(args: &FleetArgs, api: &Api) -> Outcome {
    let package = package(api, args.package.as_deref()).await?;
    let before = result::bytes(api).await?;
    let newest_job = api.jobs().await?.iter().filter_map(|job| number(&job.id)).max().unwrap_or(0);

    let started = Instant::now();
    let crew = Crew::join(args, api, newest_job).await?;
    let joined = started.elapsed();
    crew.all_listening(Duration::from_secs(args.patience)).await?;
    say::note(&format!("{} clients joined in {:.1} s and listen", args.clients, joined.as_secs_f64()));

    let job = NewJob {
        job_type: "install".into(),
        packages: vec![package.clone()],
        to: crew.names().to_vec(),
        at: None,
        until: None,
        allow_downgrade: true,
        terms: Default::default(),
    };
    let asked = Instant::now();
    let made = api.new_job(&job).await?;
    crew.announce(made.number);
    let curve = result::wait(api, &made, asked, Duration::from_secs(args.patience)).await;

    let report = Report {
        clients: args.clients,
        systems: args.to.clone(),
        package,
        job: made.id.clone(),
        join_secs: joined.as_secs_f64(),
        curve: curve?,
        bytes: result::difference(&before, &result::settled(api).await?),
        fetched: args.fetch.then(|| crew.fetched()),
        refused: crew.refused(),
        memory: memory::of(&args.pids),
    };
    crew.end().await;
    if args.format.json {
        table::json(&report)?
    } else {
        say::line(&report.text())?
    }
    report.verdict()
}

fn number(id: &str) -> Option<u64> {
    id.strip_prefix("server/")?.parse().ok()
}

/// The package asked for, or the only one there is.
async fn package(api: &Api, asked: Option<&str>) -> Outcome<String> {
    if let Some(asked) = asked {
        return address::package(asked);
    }
    let hint = "name one with --package cabinet/name";
    match api.packages(None).await?.as_slice() {
        [] => Err(Failure::new("there is no package to install").hint("packhorse package add")),
        all => {
            let first = name_of(&all[0]);
            if all.iter().any(|other| name_of(other) != first) {
                return Err(Failure::usage("there are several packages to choose from").hint(hint));
            }
            Ok(first)
        }
    }
}

fn name_of(package: &PackageView) -> String {
    format!("{}/{}", package.cabinet, package.name)
}
