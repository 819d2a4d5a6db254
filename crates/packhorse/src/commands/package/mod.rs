//! `packhorse package`

mod add;
mod build;

use crate::args::{PackageNameArgs, PackageVerb};
use crate::failure::Outcome;
use crate::render::{package as shown, table};
use crate::{address, say};

use super::ask;

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: PackageVerb) -> Outcome {
    match verb {
        PackageVerb::Build(args) => build::run(&args),
        PackageVerb::Check(args) => build::check(&args),
        PackageVerb::Add(args) => add::run(&args),
        PackageVerb::List { cabinet, access, format } => ask(&access, async |api| {
            table::print(
                &api.packages(cabinet.as_deref()).await?,
                format,
                "no packages yet: packhorse package add",
            )
        }),
        PackageVerb::Show(args) => show(&args),
        PackageVerb::Remove(args) => remove(&args),
    }
}

fn show(args: &PackageNameArgs) -> Outcome {
    let package = address::package(&args.package)?;
    ask(&args.access, async |api| {
        let detail = api.package(&package).await?;
        if args.format.json { table::json(&detail) } else { say::line(&shown::show(&detail)) }
    })
}

fn remove(args: &PackageNameArgs) -> Outcome {
    let package = address::package(&args.package)?;
    ask(&args.access, async |api| {
        let removed = api.remove_package(&package).await?;
        if args.format.json {
            return table::json(&removed);
        }
        let label =
            format!("{}/{}@{}:{}", removed.cabinet, removed.name, removed.version, removed.generation);
        say::note(&format!("{} is removed", say::clean(&label)));
        Ok(())
    })
}
