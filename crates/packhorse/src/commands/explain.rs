//! `packhorse explain`

use crate::args::ExplainArgs;
use crate::failure::Outcome;
use crate::render::{explain, table};
use crate::{address, say};

use super::ask;

/// Explains a job, a machine or a relay.
///
/// # Errors
/// What was asked about does not exist.
pub fn run(args: &ExplainArgs) -> Outcome {
    let about = about(args)?;
    ask(&args.access, async |api| {
        let about: Vec<(&str, &str)> = about.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = api.explain(&about).await?;
        if args.format.json { table::json(&answer) } else { say::line(&explain::explained(&answer)) }
    })
}

fn about(args: &ExplainArgs) -> Outcome<Vec<(&'static str, String)>> {
    let mut about = Vec::new();
    if let Some(job) = &args.job {
        about.push(("job", address::job_path(job)?));
    }
    if let Some(host) = args.job_host.as_ref().or(args.host.as_ref()) {
        about.push(("host", host.clone()));
    }
    if let Some(relay) = args.relay.first() {
        about.push(("relay", relay.clone()));
    }
    if let Some(package) = args.relay.get(1) {
        about.push(("package", address::package(package)?));
    }
    Ok(about)
}
