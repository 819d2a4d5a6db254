//! The client's user: `packhorse offers`, `choose`, `reject`, `withdraw`, `postpone`. No root, no access file: the agent of this
//! machine is asked over its local socket, and who asks is taken from the socket.

use jiff::Zoned;
use packhorse_wire::local::{LocalOffer, LocalRequest, LocalResponse};

use crate::args::{ChooseArgs, PostponeArgs, SocketArgs, WhichArgs};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{offers as shown, table};
use crate::{logs, say, systems, when};

use super::client::not_as_asked;

/// What a user decides.
enum Decision {
    Choose { at: Option<String> },
    Reject,
    Withdraw,
    Postpone { until: Option<String> },
}

impl Decision {
    fn request(self, offer: String) -> LocalRequest {
        match self {
            Decision::Choose { at } => LocalRequest::Choose { offer, at },
            Decision::Reject => LocalRequest::Reject { offer, withdraw: false },
            Decision::Withdraw => LocalRequest::Reject { offer, withdraw: true },
            Decision::Postpone { until } => LocalRequest::Postpone { offer, until },
        }
    }

    /// Installs can be put off, offers be decided on.
    fn kind(&self) -> &'static str {
        if matches!(self, Decision::Postpone { .. }) { "install" } else { "offer" }
    }
}

/// `packhorse offers`
///
/// # Errors
/// No agent answers.
pub fn offers(args: &SocketArgs) -> Outcome {
    let offers = list(args)?;
    if args.format.json { table::json(&offers) } else { say::line(&shown::list(&offers)) }
}

/// `packhorse choose`
///
/// # Errors
/// It is not there, or may not be chosen.
pub fn choose(args: &ChooseArgs) -> Outcome {
    let at = time("--at", args.at.as_ref())?;
    decide(&args.which, Decision::Choose { at })
}

/// `packhorse reject`
///
/// # Errors
/// It is not there, or may not be rejected.
pub fn reject(args: &WhichArgs) -> Outcome {
    decide(args, Decision::Reject)
}

/// `packhorse withdraw`
///
/// # Errors
/// It was not chosen, or has begun.
pub fn withdraw(args: &WhichArgs) -> Outcome {
    decide(args, Decision::Withdraw)
}

/// `packhorse postpone`
///
/// # Errors
/// It may not be put off.
pub fn postpone(args: &PostponeArgs) -> Outcome {
    let until = time("--until", args.until.as_ref())?;
    decide(&args.which, Decision::Postpone { until })
}

fn time(option: &str, text: Option<&String>) -> Outcome<Option<String>> {
    let read = text.map(|text| when::parse(option, text, &Zoned::now())).transpose()?;
    Ok(read.map(|at| at.to_string()))
}

fn ask(args: &SocketArgs, request: &LocalRequest) -> Outcome<LocalResponse> {
    logs::of_command();
    systems::ask(&args.data, args.socket.as_deref(), request).map_err(|failure| {
        if failure.code() == Exit::Unreachable {
            failure.hint("offers are seen on a client machine; at a managing server or relay: packhorse job list --type offer")
        } else {
            failure
        }
    })
}

fn list(args: &SocketArgs) -> Outcome<Vec<LocalOffer>> {
    match ask(args, &LocalRequest::Offers)? {
        LocalResponse::Offers { offers } => Ok(offers),
        other => Err(not_as_asked(other)),
    }
}

fn decide(which: &WhichArgs, decision: Decision) -> Outcome {
    let offer = pick(list(&which.socket)?, which, decision.kind())?;
    match ask(&which.socket, &decision.request(offer.id))? {
        LocalResponse::Changed(offer) if which.socket.format.json => table::json(&offer),
        LocalResponse::Changed(offer) => say::line(&shown::changed(&offer)),
        other => Err(not_as_asked(other)),
    }
}

/// The one that is meant; of several the user says which.
fn pick(offers: Vec<LocalOffer>, which: &WhichArgs, kind: &str) -> Outcome<LocalOffer> {
    let job = which.job.as_deref();
    let is_job = |offer: &LocalOffer| job.is_none_or(|job| offer.job == job || number(offer) == job);
    let named = offers.into_iter().filter(|offer| is_named(offer, &which.package) && is_job(offer));
    let (mut fitting, others): (Vec<LocalOffer>, Vec<LocalOffer>) =
        named.partition(|offer| offer.kind == kind);
    let package = say::clean(&which.package);
    match (fitting.len(), others.is_empty()) {
        (1, _) => Ok(fitting.remove(0)),
        (0, false) if kind == "offer" => {
            Err(Failure::new(format!("{package} is not an offer: everybody gets it"))
                .exit(Exit::Refused)
                .hint("packhorse postpone puts it off, if its job allows that"))
        }
        (0, false) => Err(Failure::new(format!("{package} is an offer: it waits until you choose it"))
            .exit(Exit::Refused)
            .hint("packhorse choose, or packhorse reject")),
        (0, true) => Err(Failure::new(format!("nothing called {package} is offered here"))
            .exit(Exit::Refused)
            .hint("packhorse offers lists what there is")),
        _ => {
            let several: Vec<String> =
                fitting.iter().map(|offer| format!("{} (job {})", offer.package, number(offer))).collect();
            Err(Failure::usage(format!("which {package}? {}", several.join(", ")))
                .hint("say it with --job JOB, or with the version: NAME@VERSION"))
        }
    }
}

/// A job of the managing server goes by its number alone.
fn number(offer: &LocalOffer) -> &str {
    offer.job.strip_prefix("server/").unwrap_or(&offer.job)
}

/// `name`, `cabinet/name`, either with `@version` or `@version:generation`.
fn is_named(offer: &LocalOffer, text: &str) -> bool {
    let full = offer.package.as_str();
    let short = full.split_once('/').map_or(full, |(_, rest)| rest);
    [full, short].into_iter().any(|label| {
        let name = label.split('@').next().unwrap_or(label);
        let version = label.rsplit_once(':').map_or(label, |(version, _)| version);
        text == label || text == version || text == name
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::args::JsonFlag;

    fn offer(job: &str, kind: &str, package: &str) -> LocalOffer {
        LocalOffer {
            id: format!("{job} {package}"),
            job: job.into(),
            kind: kind.into(),
            package: package.into(),
            ..LocalOffer::default()
        }
    }

    fn which(package: &str, job: Option<&str>) -> WhichArgs {
        let socket = SocketArgs { data: PathBuf::new(), socket: None, format: JsonFlag::default() };
        WhichArgs { package: package.into(), job: job.map(Into::into), socket }
    }

    #[test]
    fn the_one_that_is_meant_is_found_and_several_are_asked_about() {
        let offers = || {
            vec![
                offer("server/3", "offer", "office/editor@2.1:1"),
                offer("server/5", "offer", "office/editor@3:1"),
                offer("osaka/1", "offer", "main/viewer@1:1"),
                offer("server/6", "install", "main/base@1:1"),
            ]
        };
        for (package, job, found) in [
            ("viewer", None, "osaka/1 main/viewer@1:1"),
            ("editor@2.1", None, "server/3 office/editor@2.1:1"),
            ("office/editor@3:1", None, "server/5 office/editor@3:1"),
            ("editor", Some("5"), "server/5 office/editor@3:1"),
            ("viewer", Some("osaka/1"), "osaka/1 main/viewer@1:1"),
        ] {
            assert_eq!(pick(offers(), &which(package, job), "offer").unwrap().id, found);
        }
        for (package, job, kind, why) in [
            ("editor", None, "offer", "which editor? office/editor@2.1:1 (job 3), office/editor@3:1 (job 5)"),
            ("nothing", None, "offer", "nothing called nothing"),
            ("editor", Some("9"), "offer", "nothing called editor"),
            ("base", None, "offer", "is not an offer"),
            ("viewer", None, "install", "is an offer"),
        ] {
            let failure = pick(offers(), &which(package, job), kind).unwrap_err();
            assert!(failure.message().contains(why), "{}", failure.message());
        }
    }
}
