//! `packhorse transfer`

use jiff::Zoned;
use packhorse_wire::admin::NewJob;

use crate::address;
use crate::args::TransferArgs;
use crate::failure::Outcome;

use super::make;

/// Makes the job, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn run(args: &TransferArgs) -> Outcome {
    make::ask_for(&args.ask, &new_job(args, &Zoned::now())?)
}

/// Checks everything that can be checked without asking.
fn new_job(args: &TransferArgs, now: &Zoned) -> Outcome<NewJob> {
    let for_hosts = !args.for_hosts.is_empty();
    let mut to = args.to.iter().map(|text| address::relay(text)).collect::<Outcome<Vec<_>>>()?;
    if for_hosts {
        // Beside destinations whose relays are meant, relays by name are marked as what they are.
        to.iter_mut().for_each(|relay| relay.insert_str(0, "to:"));
        to.extend(make::destinations("--for", &args.for_hosts)?);
    }
    let (mut job, _) = make::new_job("transfer", &args.what, to, now)?;
    job.terms.for_hosts = for_hosts;
    Ok(job)
}
