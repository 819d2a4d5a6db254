//! `packhorse host`

use packhorse_wire::admin::HostMove;

use crate::args::HostVerb;
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
        HostVerb::List(args) => ask(&args.access, async |api| {
            table::print(&api.hosts().await?, args.format, "no machine has joined yet: packhorse token new")
        }),
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
