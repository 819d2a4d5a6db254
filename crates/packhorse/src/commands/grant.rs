//! `packhorse relay grant`, `packhorse relay revoke`

use packhorse_wire::admin::{Grant, GrantView, NewGrantedCabinet};
use packhorse_wire::envelope::PublicKey;

use crate::args::{GrantArgs, NameArgs};
use crate::failure::{Failure, Outcome};
use crate::render::{relay as shown, table};
use crate::say;

use super::{ask, public_keys};

/// Lets a relay's administrator do something.
///
/// # Errors
/// The server's.
pub fn grant(args: &GrantArgs) -> Outcome {
    let keys: Vec<String> = public_keys(&args.keys)?.iter().map(PublicKey::to_string).collect();
    if args.cabinets.is_empty() && !keys.is_empty() {
        return Err(Failure::usage("--key says whose packages a cabinet takes: name it with --cabinet"));
    }
    let cabinet = |name: &String| NewGrantedCabinet { name: name.clone(), keys: keys.clone() };
    let wanted = Grant {
        install: args.install,
        offer: args.offer,
        cabinets: args.cabinets.iter().map(cabinet).collect(),
        days: args.days,
    };
    ask(&args.access, async |api| told(&api.grant(&args.name, &wanted).await?, args.format.json))
}

/// Takes it all back.
///
/// # Errors
/// The server's.
pub fn revoke(args: &NameArgs) -> Outcome {
    ask(&args.access, async |api| told(&api.revoke(&args.name).await?, args.format.json))
}

fn told(view: &GrantView, json: bool) -> Outcome {
    if json {
        return table::json(view);
    }
    say::note(&format!("{}: {}", say::clean(&view.relay), shown::granted(view)));
    if !view.acknowledged {
        say::note(&format!(
            "it is still on its way: {} has not said yet that it has it",
            say::clean(&view.relay)
        ));
    }
    Ok(())
}
