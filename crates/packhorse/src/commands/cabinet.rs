//! `packhorse cabinet`

use std::path::{Path, PathBuf};

use packhorse_wire::admin::{CabinetView, NewCabinet};
use packhorse_wire::envelope::PublicKey;

use crate::args::{Access, CabinetKeyArgs, CabinetVerb, NameArgs};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{facts, table};
use crate::say;

use super::{ask, public_key, public_keys};

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: CabinetVerb) -> Outcome {
    match verb {
        CabinetVerb::New { name, keys, access } => new(name, &keys, &access),
        CabinetVerb::List(args) => {
            ask(&args.access, async |api| table::print(&api.cabinets().await?, args.format, "no cabinets"))
        }
        CabinetVerb::Show(args) => show(&args),
        CabinetVerb::Trust(args) => trust(&args, true),
        CabinetVerb::Distrust(args) => trust(&args, false),
    }
}

fn new(name: String, keys: &[PathBuf], access: &Access) -> Outcome {
    let keys: Vec<String> = public_keys(keys)?.iter().map(PublicKey::to_string).collect();
    ask(access, async |api| {
        let unsigned = keys.is_empty();
        let made = api.new_cabinet(&NewCabinet { name, keys }).await?;
        if unsigned {
            say::note(&format!(
                "it takes no packages yet: packhorse cabinet trust {} PACKAGER.pub",
                made.name
            ));
        }
        say::line(&say::clean(&made.name))
    })
}

fn show(args: &NameArgs) -> Outcome {
    ask(&args.access, async |api| {
        let all = api.cabinets().await?;
        let found = all.into_iter().find(|cabinet| cabinet.name == args.name).ok_or_else(|| {
            Failure::new(format!("no cabinet is named {}", args.name))
                .hint("packhorse cabinet list")
                .exit(Exit::Refused)
        })?;
        if args.format.json { table::json(&found) } else { say::line(&text(&found)) }
    })
}

fn text(cabinet: &CabinetView) -> String {
    let keys =
        if cabinet.keys.is_empty() { "none: it takes no packages".into() } else { cabinet.keys.join(" ") };
    say::clean_lines(&facts(&[
        ("cabinet", cabinet.name.clone()),
        ("packages", cabinet.packages.to_string()),
        ("trusts keys", keys),
    ]))
}

fn trust(args: &CabinetKeyArgs, trusted: bool) -> Outcome {
    let key = match args.key.parse::<PublicKey>() {
        Ok(key) => key,
        Err(_) => public_key(Path::new(&args.key))?,
    };
    ask(&args.access, async |api| {
        api.trust(&args.cabinet, key.to_string(), trusted).await?;
        let what = if trusted { "trusts" } else { "does not trust" };
        say::note(&format!("{} {what} key {} now", args.cabinet, key.id()));
        Ok(())
    })
}
