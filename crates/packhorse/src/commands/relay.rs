//! `packhorse relay`

use packhorse_wire::admin::{ControlMade, CopyOrdered, DropCopy, KeepCopy, NewLimits};

use crate::args::{JsonFlag, LimitArgs, RelayDropArgs, RelayJoinArgs, RelayRunArgs, RelayVerb};
use crate::failure::{Failure, Outcome};
use crate::render::{count, relay as shown, table};
use crate::{address, logs, say, signals, systems};

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
        RelayVerb::Suspend(args) => ask(&args.access, async |api| {
            was_set(&api.set_relay(&args.name, "suspend").await?, "takes nothing in", args.format)
        }),
        RelayVerb::Resume(args) => ask(&args.access, async |api| {
            was_set(&api.set_relay(&args.name, "resume").await?, "takes in again", args.format)
        }),
        RelayVerb::Limit(args) => limit(args),
        RelayVerb::Keep(args) => ask(&args.access, async |api| {
            let order = KeepCopy { package: address::package(&args.package)?, keep: args.keep.clone() };
            told(&[api.keep_copy(&args.relay, &order).await?], args.format, "is told to keep")
        }),
        RelayVerb::Drop(args) => drop_copies(&args),
    }
}

fn limit(args: LimitArgs) -> Outcome {
    let limits = NewLimits { down: args.down, hours: args.hours, store: args.store, none: args.none };
    if limits == NewLimits::default() {
        return Err(Failure::usage("nothing is to be set").hint("--down 20Mbit, --store 40GB, or --none"));
    }
    ask(&args.access, async |api| {
        was_set(&api.limit_relay(&args.name, &limits).await?, "has its limits", args.format)
    })
}

fn was_set(made: &ControlMade, what: &str, format: JsonFlag) -> Outcome {
    if format.json {
        return table::json(made);
    }
    let relay = say::clean(&made.relay);
    say::note(&match (made.applied, made.changed) {
        (true, _) => format!("{relay} {what}"),
        (false, true) => format!("on its way to {relay}: it counts there as soon as it is connected"),
        (false, false) => format!("that is set at {relay} already, and still on its way there"),
    });
    Ok(())
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

fn drop_copies(args: &RelayDropArgs) -> Outcome {
    let Some((package, relays)) = args.words.split_last() else { return Ok(()) };
    let order = DropCopy { package: address::package(package)?, force: args.force };
    ask(&args.access, async |api| {
        // Nothing is ordered at one if another is not there.
        for relay in relays {
            api.relay(relay).await?;
        }
        let mut ordered = Vec::new();
        for relay in relays {
            ordered.push(api.drop_copy(relay, &order).await?);
        }
        told(&ordered, args.format, "is told to drop")
    })
}

/// Says what became of orders for copies.
fn told(ordered: &[CopyOrdered], format: JsonFlag, what: &str) -> Outcome {
    if format.json {
        return table::json(&ordered);
    }
    for copy in ordered {
        let way = if copy.applied { "" } else { "; the order is still on its way" };
        let cost = format!("fetching it again would cost up to {}", table::size(copy.size_bytes));
        let needed = match copy.needed_by {
            0 => "nobody waits for it".to_owned(),
            lines => format!("{} need it", count(lines, "line")),
        };
        say::note(&format!("{} {what} {}: {needed}; {cost}{way}", copy.relay, copy.package));
    }
    Ok(())
}

fn serve(args: &RelayRunArgs) -> Outcome {
    logs::of_system();
    signals::obey_parent();
    large_runtime()?.block_on(systems::run_relay(&args.data, args.store.map(|store| store.as_u64())))
}
