//! `packhorse transfer`

use jiff::{Timestamp, Zoned};
use packhorse_wire::admin::{NewJob, NewTerms};

use crate::args::TransferArgs;
use crate::failure::Outcome;
use crate::{address, when};

/// Makes the job, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn run(args: &TransferArgs) -> Outcome {
    let job = new_job(args, &Zoned::now())?;
    super::install::ask_for(&args.access, &job, args.plan, args.format)
}

/// Checks everything that can be checked without asking.
fn new_job(args: &TransferArgs, now: &Zoned) -> Outcome<NewJob> {
    let time = |option: &str, text: &Option<String>| {
        text.as_ref().map(|text| when::parse(option, text, now)).transpose()
    };
    let at = time("--at", &args.at)?;
    let until = time("--until", &args.until)?;
    when::check_order(at, until)?;
    let written = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let for_hosts = !args.for_hosts.is_empty();
    let mut to = args.to.iter().map(|text| address::relay(text)).collect::<Outcome<Vec<_>>>()?;
    if for_hosts {
        // Beside destinations whose relays are meant, relays by name are marked as what they are.
        to.iter_mut().for_each(|relay| relay.insert_str(0, "to:"));
        let hosts = args.for_hosts.iter().map(|text| address::destination("--for", text));
        to.extend(hosts.collect::<Outcome<Vec<_>>>()?);
    }
    Ok(NewJob {
        job_type: "transfer".into(),
        packages: args.packages.iter().map(|text| address::package(text)).collect::<Outcome<_>>()?,
        to,
        at: written(at),
        until: written(until),
        allow_downgrade: false,
        terms: NewTerms { keep: args.keep.clone(), for_hosts, ..NewTerms::default() },
    })
}
