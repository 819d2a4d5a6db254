//! `packhorse job`

use packhorse_wire::admin::JobMade;

use crate::address::job_path;
use crate::args::{Format, JobAddressArgs, JobVerb};
use crate::failure::Outcome;
use crate::render::{count, history, job as shown, table};
use crate::say;

use super::{ask, watch};

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: JobVerb) -> Outcome {
    match verb {
        JobVerb::List { job_type, args } => ask(&args.access, async |api| {
            let mut jobs = api.jobs().await?;
            jobs.retain(|job| job_type.as_ref().is_none_or(|wanted| job.job_type == *wanted));
            table::print(&jobs, args.format, "no jobs yet: packhorse install PACKAGE --to HOST")
        }),
        JobVerb::Show { job, host: None, format } => show(&job, format),
        JobVerb::Show { job, host: Some(host), format } => show_line(&job, &host, format),
        JobVerb::Watch { job, to_end } => {
            let path = job_path(&job.job)?;
            ask(&job.access, async |api| watch::follow(&api, &path, to_end).await)
        }
        JobVerb::Cancel { job } => {
            changed(&job, "cancel", ["does not begin any more", "do not begin any more"])
        }
        JobVerb::Suspend { job } => changed(&job, "suspend", ["waits", "wait"]),
        JobVerb::Resume { job } => changed(&job, "resume", ["goes on", "go on"]),
        JobVerb::Close { job } => {
            let path = job_path(&job.job)?;
            ask(&job.access, async |api| {
                let made = api.change_job(&path, "close").await?;
                say::note(&format!("{}: takes in nobody who joins from now on", say::clean(&made.id)));
                Ok(())
            })
        }
        JobVerb::Again { job } => {
            let path = job_path(&job.job)?;
            ask(&job.access, async |api| {
                let made = api.change_job(&path, "again").await?;
                say::note(&format!("{}: {}", say::clean(&made.id), count(made.lines, "line")));
                say::line(&made.number.to_string())
            })
        }
        JobVerb::Retry { job, failed } => {
            let path = job_path(&job.job)?;
            ask(&job.access, async |api| {
                told(&api.retry(&path, failed).await?, "tried again");
                Ok(())
            })
        }
    }
}

fn changed(job: &JobAddressArgs, verb: &str, [one, many]: [&str; 2]) -> Outcome {
    let path = job_path(&job.job)?;
    ask(&job.access, async |api| {
        let made = api.change_job(&path, verb).await?;
        told(&made, if made.lines == 1 { one } else { many });
        Ok(())
    })
}

fn told(made: &JobMade, what: &str) {
    say::note(&format!("{}: {} {what}", say::clean(&made.id), count(made.lines, "line")));
}

fn show(address: &JobAddressArgs, format: Format) -> Outcome {
    let path = job_path(&address.job)?;
    ask(&address.access, async |api| {
        let view = api.job(&path).await?;
        if format.json {
            table::json(&view)
        } else if format.csv {
            table::print(&view.instructions, format, "")
        } else {
            say::line(&shown::show(&view))
        }
    })
}

fn show_line(address: &JobAddressArgs, host: &str, format: Format) -> Outcome {
    let path = job_path(&address.job)?;
    ask(&address.access, async |api| {
        let line = api.line(&path, host).await?;
        if format.json {
            table::json(&line)
        } else if format.csv {
            table::print(&line.events, format, "")
        } else {
            say::line(&history::line(&line))
        }
    })
}
