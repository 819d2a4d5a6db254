//! `packhorse relay`

use crate::args::{RelayJoinArgs, RelayVerb, RunArgs};
use crate::failure::Outcome;
use crate::render::{relay as shown, table};
use crate::{logs, say, signals, systems};

use super::{ask, grant, large_runtime, name_or_own, shell_quoted, small_runtime};

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: RelayVerb) -> Outcome {
    match verb {
        RelayVerb::Join(args) => join(&args),
        RelayVerb::Run(args) => serve(&args),
        RelayVerb::Grant(args) => grant::grant(&args),
        RelayVerb::Revoke(args) => grant::revoke(&args),
        RelayVerb::List(args) => ask(&args.access, async |api| {
            table::print(&api.relays().await?, args.format, "no relay has joined yet")
        }),
        RelayVerb::Show(args) => ask(&args.access, async |api| {
            let relay = api.relay(&args.name).await?;
            if args.format.json { table::json(&relay) } else { say::line(&shown::show(&relay)) }
        }),
    }
}

fn join(args: &RelayJoinArgs) -> Outcome {
    logs::of_command();
    let name = name_or_own(args.name.as_ref())?;
    let joined = small_runtime()?.block_on(systems::join_relay(args, &name))?;
    say::note(&format!(
        "{} has joined below {}. Next: packhorse relay run --data {}",
        joined.name,
        joined.higher,
        shell_quoted(&args.data)
    ));
    say::note(&format!(
        "its administrator's access: export PACKHORSE_CONTEXT={}",
        shell_quoted(&args.data.join("admin.toml"))
    ));
    say::line(&joined.id)
}

fn serve(args: &RunArgs) -> Outcome {
    logs::of_system();
    signals::obey_parent();
    large_runtime()?.block_on(systems::run_relay(&args.data))
}
