//! What the three ways of making a job share.

use jiff::{Timestamp, Zoned};
use packhorse_wire::admin::NewJob;

use crate::args::{AskArgs, WhatArgs};
use crate::failure::Outcome;
use crate::render::{count, explain, table};
use crate::{address, say, when};

use super::ask;

/// The times of a job.
pub struct Times {
    /// Not before.
    pub at: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
}

/// Reads a time that may be left out.
///
/// # Errors
/// It is none, or has passed.
pub fn time(option: &str, text: Option<&String>, now: &Zoned) -> Outcome<Option<Timestamp>> {
    text.map(|text| when::parse(option, text, now)).transpose()
}

/// As the server reads it.
pub fn written(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// Destinations as an option names them.
///
/// # Errors
/// One of them names nothing.
pub fn destinations(option: &str, texts: &[String]) -> Outcome<Vec<String>> {
    texts.iter().map(|text| address::destination(option, text)).collect()
}

/// Checks what can be checked of any job without asking; its terms but for `keep` are those of its type.
///
/// # Errors
/// What is wrong with it.
pub fn new_job(job_type: &str, what: &WhatArgs, to: Vec<String>, now: &Zoned) -> Outcome<(NewJob, Times)> {
    let times =
        Times { at: time("--at", what.at.as_ref(), now)?, until: time("--until", what.until.as_ref(), now)? };
    when::check_order(times.at, times.until)?;
    let mut job = NewJob {
        job_type: job_type.into(),
        packages: what.packages.iter().map(|text| address::package(text)).collect::<Outcome<_>>()?,
        to,
        at: written(times.at),
        until: written(times.until),
        ..NewJob::default()
    };
    job.terms.keep = what.keep.clone();
    Ok((job, times))
}

/// Makes a job, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn ask_for(args: &AskArgs, job: &NewJob) -> Outcome {
    ask(&args.access, async |api| {
        if args.plan {
            let plan = api.plan(job).await?;
            return if args.format.json { table::json(&plan) } else { say::line(&explain::plan(&plan)) };
        }
        let made = api.new_job(job).await?;
        if args.format.json {
            return table::json(&made);
        }
        if let Some(transfer) = made.transfer {
            // On stderr, by itself: scripts read the install's number from stdout.
            say::note(&transfer.to_string());
        }
        if say::is_terminal() {
            say::note(&format!(
                "job for {}; follow it: packhorse job watch {}",
                count(made.lines, "line"),
                made.number
            ));
        }
        say::line(&made.number.to_string())
    })
}
