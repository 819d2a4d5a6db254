//! `packhorse client`

use packhorse_wire::local::{LocalRequest, LocalResponse};

use crate::args::{AgentArgs, ClientJoinArgs, ClientRunArgs, ClientVerb};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{count, status, table};
use crate::{logs, say, signals, systems};

use super::{large_runtime, name_or_own, shell_quoted, small_runtime};

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: ClientVerb) -> Outcome {
    match verb {
        ClientVerb::Join(args) => join(&args),
        ClientVerb::Run(args) => serve(&args),
        ClientVerb::Status(args) => show_status(&args),
        ClientVerb::Sync(args) => sync(&args),
        ClientVerb::Stopping(args) => stopping(&args),
    }
}

fn join(args: &ClientJoinArgs) -> Outcome {
    logs::of_command();
    let name = name_or_own(args.name.as_ref())?;
    let joined = small_runtime()?.block_on(systems::join_client(args, &name))?;
    say::note(&format!(
        "{} has joined below {}. Next: packhorse client run --data {}",
        joined.name,
        joined.higher,
        shell_quoted(&args.data)
    ));
    say::line(&joined.id)
}

fn serve(args: &ClientRunArgs) -> Outcome {
    logs::of_system();
    signals::obey_parent();
    large_runtime()?.block_on(systems::run_client(&args.data, args.socket.as_deref()))
}

fn show_status(args: &AgentArgs) -> Outcome {
    match ask(args, &LocalRequest::Status)? {
        LocalResponse::Status(answer) if args.format.json => table::json(&answer),
        LocalResponse::Status(answer) => say::line(&status::show(&answer)),
        other => Err(not_as_asked(other)),
    }
}

fn sync(args: &AgentArgs) -> Outcome {
    match ask(args, &LocalRequest::Sync)? {
        answer @ LocalResponse::Synced { error: None, .. } if args.format.json => table::json(&answer),
        LocalResponse::Synced { orders, error: None } => {
            say::line(&format!("the higher system answered: {}", count(orders, "new order")))
        }
        LocalResponse::Synced { error: Some(error), .. } => {
            Err(Failure::new(format!("the higher system did not answer: {error}")).exit(Exit::Unreachable))
        }
        other => Err(not_as_asked(other)),
    }
}

fn stopping(args: &AgentArgs) -> Outcome {
    match ask(args, &LocalRequest::Stopping)? {
        answer @ LocalResponse::Stopped { .. } if args.format.json => table::json(&answer),
        LocalResponse::Stopped { installed: 0 } => say::line("nothing was held for the stop of the system"),
        LocalResponse::Stopped { installed } => {
            say::line(&format!("{} held for the stop of the system: done", count(installed, "package")))
        }
        other => Err(not_as_asked(other)),
    }
}

fn ask(args: &AgentArgs, request: &LocalRequest) -> Outcome<LocalResponse> {
    logs::of_command();
    systems::ask(&args.data, args.socket.as_deref(), request)
}

pub(super) fn not_as_asked(answer: LocalResponse) -> Failure {
    match answer {
        LocalResponse::Refused { message, hint } => {
            let failure = Failure::new(message).exit(Exit::Refused);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        _ => Failure::new("the agent answered something else than it was asked")
            .hint("agent and command may be of different versions"),
    }
}
