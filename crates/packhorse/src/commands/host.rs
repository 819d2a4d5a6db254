//! `packhorse host`

use packhorse_wire::admin::HostMove;

use crate::args::{HostNamesArgs, HostVerb};
use crate::failure::Outcome;
use crate::render::{host, table};
use crate::say;

use super::ask;

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: HostVerb) -> Outcome {
    match verb {
        HostVerb::List(args) => {
            ask(&args.access, async |api| host::list(&api.hosts(args.all).await?, args.format))
        }
        HostVerb::Show(args) => ask(&args.access, async |api| {
            let detail = api.host(&args.name).await?;
            if args.format.json { table::json(&detail) } else { say::line(&host::show(&detail)) }
        }),
        HostVerb::Move(args) => ask(&args.access, async |api| {
            let moved = api.move_host(&args.name, &HostMove { to: args.to, then: args.then }).await?;
            if args.format.json {
                return table::json(&moved);
            }
            let host = say::clean(&moved.host);
            let (first, then) =
                moved.above.split_first().map_or(("", &[][..]), |(one, more)| (one.as_str(), more));
            let first = say::clean(first);
            say::note(&match moved.changed {
                true => format!("{host} calls {first} as soon as it hears of it"),
                false => format!("{host} calls {first}"),
            });
            if !then.is_empty() {
                let then = say::clean(&then.join(", then "));
                say::note(&format!("when that cannot be reached, it calls by itself: {then}"));
            }
            Ok(())
        }),
        HostVerb::Retire(args) => leave(args, "retire"),
        HostVerb::Remove(args) => leave(args, "remove"),
        HostVerb::Tree { access, format } => ask(&access, async |api| {
            let tree = api.tree().await?;
            if format.json {
                table::json(&tree)
            } else if format.csv {
                table::print(&host::tree_rows(&tree), format, "")
            } else {
                say::line(&host::tree(&tree))
            }
        }),
    }
}

fn leave(args: HostNamesArgs, verb: &str) -> Outcome {
    ask(&args.access, async |api| {
        let left = api.leave_hosts(args.names, verb).await?;
        if args.format.json || args.format.csv {
            return table::print(&left, args.format, "");
        }
        for host in &left {
            say::note(&host::left(host));
        }
        Ok(())
    })
}
