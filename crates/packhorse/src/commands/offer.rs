//! `packhorse offer`

use jiff::Zoned;
use packhorse_wire::admin::NewJob;

use crate::args::OfferArgs;
use crate::failure::{Failure, Outcome};

use super::make;

/// Makes the offer, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn run(args: &OfferArgs) -> Outcome {
    make::ask_for(&args.ask, &new_job(args, &Zoned::now())?)
}

/// Checks everything that can be checked without asking.
fn new_job(args: &OfferArgs, now: &Zoned) -> Outcome<NewJob> {
    let to = make::destinations("--to", &args.to)?;
    let (mut job, times) = make::new_job("offer", &args.what, to, now)?;
    let required_from = make::time("--required-from", args.required_from.as_ref(), now)?;
    let outside = |why: &str| {
        let hint = "--at, then --required-from, then --until: users choose between the first two";
        Err(Failure::usage(format!("--required-from {why}")).hint(hint))
    };
    match required_from {
        Some(from) if times.at.is_some_and(|at| from <= at) => {
            return outside("is not after --at: nobody could choose before");
        }
        Some(from) if times.until.is_some_and(|until| from >= until) => {
            return outside("is not before --until: nothing would be required");
        }
        _ => {}
    }
    job.allow_downgrade = args.allow_downgrade;
    job.terms.required_from = make::written(required_from);
    job.terms.choosers.clone_from(&args.choosers);
    Ok(job)
}
