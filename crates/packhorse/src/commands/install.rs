//! `packhorse install`

use jiff::Zoned;
use packhorse_wire::admin::NewJob;

use crate::args::InstallArgs;
use crate::failure::Outcome;
use crate::when;

use super::make;

/// Makes the job, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn run(args: &InstallArgs) -> Outcome {
    make::ask_for(&args.ask, &new_job(args, &Zoned::now())?)
}

/// Checks everything that can be checked without asking.
fn new_job(args: &InstallArgs, now: &Zoned) -> Outcome<NewJob> {
    let to = make::destinations("--to", &args.to)?;
    let (mut job, times) = make::new_job("install", &args.what, to, now)?;
    if args.host_time {
        job.at = times.at.map(|at| when::as_shown(at, now));
    }
    job.allow_downgrade = args.allow_downgrade;
    job.terms.stage_at = make::written(make::time("--stage-at", args.stage_at.as_ref(), now)?);
    job.terms.host_time = args.host_time;
    job.terms.postpone = args.postpone;
    Ok(job)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::exit::Exit;

    fn args(to: &str, options: &[&str]) -> InstallArgs {
        let all = ["packhorse", "install", "office/editor", "--to"].into_iter().chain(to.split(' '));
        match Cli::try_parse_from(all.chain(options.iter().copied())).unwrap().command {
            Command::Install(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_is_checked_before_anybody_is_asked() {
        let now: Zoned = "2026-11-24T10:30:00+00:00[UTC]".parse().unwrap();
        let job = new_job(&args("pc17 below:osaka", &["--at", "+1h"]), &now).unwrap();
        assert_eq!(job.at.as_deref(), Some("2026-11-24T11:30:00Z"));
        let tokyo: Zoned = "2026-11-24T10:30:00+09:00[Asia/Tokyo]".parse().unwrap();
        let shown = ["--host-time", "--postpone", "2", "--at", "12:00"];
        let job = new_job(&args("all", &shown), &tokyo).unwrap();
        assert_eq!(job.at.as_deref(), Some("2026-11-24T12:00:00Z"), "what the clock shows");
        assert_eq!((job.terms.host_time, job.terms.postpone), (true, 2));
        for (to, options, why) in [
            ("pc/17", &[][..], "a name is made of"),
            ("pc17", &["--at", "2020-01-01 00:00"], "in the past"),
            ("pc17", &["--at", "+2h", "--until", "+1h"], "is not after --at"),
            ("pc17", &["--until", "soon"], "is not a time"),
        ] {
            let failure = new_job(&args(to, options), &now).unwrap_err();
            assert_eq!(failure.code(), Exit::Usage);
            assert!(failure.message().contains(why), "{}", failure.message());
        }
    }
}
