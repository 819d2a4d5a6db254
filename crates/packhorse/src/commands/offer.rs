//! `packhorse offer`

use jiff::Zoned;
use packhorse_wire::admin::{NewJob, NewTerms};

use crate::args::OfferArgs;
use crate::failure::{Failure, Outcome};
use crate::{address, when};

use super::install::ask_for;

/// Makes the offer, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn run(args: &OfferArgs) -> Outcome {
    ask_for(&args.access, &new_job(args, &Zoned::now())?, args.plan, args.format)
}

/// Checks everything that can be checked without asking.
fn new_job(args: &OfferArgs, now: &Zoned) -> Outcome<NewJob> {
    let time = |option: &str, text: &Option<String>| {
        text.as_ref().map(|text| when::parse(option, text, now)).transpose()
    };
    let at = time("--at", &args.at)?;
    let until = time("--until", &args.until)?;
    let required_from = time("--required-from", &args.required_from)?;
    when::check_order(at, until)?;
    let outside = |why: &str| Err(Failure::usage(format!("--required-from {why}")));
    match required_from {
        Some(from) if at.is_some_and(|at| from <= at) => {
            return outside("is not after --at: nobody could choose before");
        }
        Some(from) if until.is_some_and(|until| from >= until) => {
            return outside("is not before --until: nothing would be required");
        }
        _ => {}
    }
    let written = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string());
    Ok(NewJob {
        job_type: "offer".into(),
        packages: args.packages.iter().map(|text| address::package(text)).collect::<Outcome<_>>()?,
        to: args.to.iter().map(|text| address::destination("--to", text)).collect::<Outcome<_>>()?,
        at: written(at),
        until: written(until),
        allow_downgrade: args.allow_downgrade,
        terms: NewTerms {
            keep: args.keep.clone(),
            required_from: written(required_from),
            choosers: args.choosers.clone(),
            ..NewTerms::default()
        },
    })
}
