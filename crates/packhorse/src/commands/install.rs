//! `packhorse install`

use jiff::{Timestamp, Zoned};
use packhorse_wire::admin::{NewJob, NewTerms};

use crate::args::{Access, InstallArgs, JsonFlag};
use crate::failure::Outcome;
use crate::render::{count, explain, table};
use crate::{address, say, when};

use super::ask;

/// Makes the job, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn run(args: &InstallArgs) -> Outcome {
    let job = new_job(args, &Zoned::now())?;
    ask_for(&args.access, &job, args.plan, args.format)
}

/// Makes a job, or says what it would do.
///
/// # Errors
/// What is wrong with it.
pub fn ask_for(access: &Access, job: &NewJob, plan: bool, format: JsonFlag) -> Outcome {
    ask(access, async |api| {
        if plan {
            let plan = api.plan(job).await?;
            return if format.json { table::json(&plan) } else { say::line(&explain::plan(&plan)) };
        }
        let made = api.new_job(job).await?;
        if format.json {
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

/// Checks everything that can be checked without asking.
fn new_job(args: &InstallArgs, now: &Zoned) -> Outcome<NewJob> {
    let time = |option: &str, text: &Option<String>| {
        text.as_ref().map(|text| when::parse(option, text, now)).transpose()
    };
    let at = time("--at", &args.at)?;
    let until = time("--until", &args.until)?;
    let stage_at = time("--stage-at", &args.stage_at)?;
    when::check_order(at, until)?;
    let written = |at: Option<Timestamp>| at.map(|at| at.to_string());
    Ok(NewJob {
        job_type: "install".into(),
        packages: args.packages.iter().map(|text| address::package(text)).collect::<Outcome<_>>()?,
        to: args.to.iter().map(|text| address::destination("--to", text)).collect::<Outcome<_>>()?,
        at: if args.host_time { at.map(|at| when::as_shown(at, now)) } else { written(at) },
        until: written(until),
        allow_downgrade: args.allow_downgrade,
        terms: NewTerms {
            keep: args.keep.clone(),
            stage_at: written(stage_at),
            host_time: args.host_time,
            postpone: args.postpone,
            ..NewTerms::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn args(to: &[&str], at: Option<&str>, until: Option<&str>) -> InstallArgs {
        InstallArgs {
            packages: vec!["office/editor".into()],
            to: to.iter().map(|text| (*text).to_owned()).collect(),
            at: at.map(Into::into),
            until: until.map(Into::into),
            host_time: false,
            postpone: 0,
            stage_at: None,
            keep: None,
            allow_downgrade: false,
            plan: false,
            format: JsonFlag::default(),
            access: Access { context: None },
        }
    }

    #[test]
    fn a_job_is_checked_before_anybody_is_asked() {
        let now: Zoned = "2026-11-24T10:30:00+00:00[UTC]".parse().unwrap();
        let job = new_job(&args(&["pc17", "below:osaka"], Some("+1h"), None), &now).unwrap();
        assert_eq!(job.at.as_deref(), Some("2026-11-24T11:30:00Z"));
        let tokyo: Zoned = "2026-11-24T10:30:00+09:00[Asia/Tokyo]".parse().unwrap();
        let shown = InstallArgs { host_time: true, postpone: 2, ..args(&["all"], Some("12:00"), None) };
        let job = new_job(&shown, &tokyo).unwrap();
        assert_eq!(job.at.as_deref(), Some("2026-11-24T12:00:00Z"), "what the clock shows");
        assert_eq!((job.terms.host_time, job.terms.postpone), (true, 2));
        for (to, at, until, why) in [
            ("pc 17", None, None, "a name is made of"),
            ("pc17", Some("2020-01-01 00:00"), None, "in the past"),
            ("pc17", Some("+2h"), Some("+1h"), "is not after --at"),
            ("pc17", None, Some("soon"), "is not a time"),
        ] {
            let failure = new_job(&args(&[to], at, until), &now).unwrap_err();
            assert_eq!(failure.code(), Exit::Usage);
            assert!(failure.message().contains(why), "{}", failure.message());
        }
    }
}
