//! `packhorse group`

use std::io::Read;
use std::path::Path;

use packhorse_wire::admin::{GroupChanged, GroupMembers, NewGroup};

use crate::args::{Access, GroupMembersArgs, GroupVerb};
use crate::failure::{Failure, Outcome};
use crate::render::{group, table};
use crate::say;

use super::ask;

/// Largest file that is sent, in bytes.
const CSV_BYTES_MAX: u64 = 8 << 20;

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: GroupVerb) -> Outcome {
    match verb {
        GroupVerb::New { name, members, condition, access } => ask(&access, async |api| {
            let made = api.new_group(&NewGroup { name, condition, members }).await?;
            notes(&made);
            say::line(&say::clean(&made.name))
        }),
        GroupVerb::List(args) => ask(&args.access, async |api| {
            table::print(&api.groups().await?, args.format, "no groups: packhorse group new NAME HOST…")
        }),
        GroupVerb::Show(args) => ask(&args.access, async |api| {
            let detail = api.group(&args.name).await?;
            if args.format.json { table::json(&detail) } else { say::line(&group::show(&detail)) }
        }),
        GroupVerb::Add(args) => change(&args, "add", "put in", "in it already"),
        GroupVerb::Leave(args) => change(&args, "leave", "taken out", "not in it"),
        GroupVerb::Import { name, file, access } => import(&name, &file, &access),
        GroupVerb::Remove { name, anyway, access } => ask(&access, async |api| {
            let gone = api.remove_group(&name, anyway).await?;
            notes(&gone);
            say::note(&format!("group {} is gone; {} hosts were in it", gone.name, gone.changed));
            Ok(())
        }),
    }
}

fn notes(changed: &GroupChanged) {
    for note in &changed.notes {
        say::note(note);
    }
}

fn told(changed: &GroupChanged, done: &str, before: &str) {
    notes(changed);
    let rest = match changed.unchanged {
        0 => String::new(),
        rest => format!(", {rest} {before}"),
    };
    say::note(&format!("{}: {} {done}{rest}", changed.name, changed.changed));
}

fn change(args: &GroupMembersArgs, verb: &str, done: &str, before: &str) -> Outcome {
    ask(&args.access, async |api| {
        let members = GroupMembers { members: args.members.clone() };
        told(&api.change_group(&args.name, verb, &members).await?, done, before);
        Ok(())
    })
}

fn import(name: &str, file: &Path, access: &Access) -> Outcome {
    let failed = |error: std::io::Error| Failure::file(file, &error);
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(CSV_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CSV_BYTES_MAX {
        let message = format!("{}: larger than {} MiB", file.display(), CSV_BYTES_MAX >> 20);
        return Err(Failure::new(message).hint("import it in parts"));
    }
    ask(access, async |api| {
        told(&api.import_group(name, bytes).await?, "put in", "in it already");
        Ok(())
    })
}
