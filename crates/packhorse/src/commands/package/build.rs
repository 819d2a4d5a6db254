//! `packhorse package build` and `check`: offline, they ask nobody.

use std::path::Path;

use indicatif::ProgressBar;
use packhorse_content::phk::{self, PhkReader};
use packhorse_content::{build, limits};
use packhorse_wire::envelope::{Envelope, KeyId, PublicKey, SigningKey};

use crate::args::{BuildArgs, CheckArgs};
use crate::failure::{Failure, Outcome, Within};
use crate::render::package::FileFacts;
use crate::render::table::{self, size};
use crate::say;

use super::super::key::signing_key;
use super::super::public_keys;

/// Builds, signs, writes.
///
/// # Errors
/// What is wrong with the source, with file and line.
pub fn run(args: &BuildArgs) -> Outcome {
    let key = signing_key(&args.key)?;
    if lies_in(folder_of(&args.out), &args.source) {
        return Err(Failure::usage(format!(
            "--out {} lies in the folder that is packed",
            args.out.display()
        ))
        .hint("the next build would pack it, too: write it elsewhere"));
    }
    let stats = build_file(&args.source, &key, &args.out)?;
    say::note(&format!("{} packed to {}", size(stats.plain_bytes), size(stats.packed_bytes)));
    say::line(&args.out.display().to_string())
}

/// Builds and signs `source` and writes the package file `out`, whole or not at all.
///
/// # Errors
/// What is wrong with the source, with file and line.
pub fn build_file(source: &Path, key: &SigningKey, out: &Path) -> Outcome<build::BuildStats> {
    let folder = folder_of(out);
    let bar = if say::stderr_is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let built = build::build(source, folder, |stats| {
        bar.set_message(format!("packing: {} files, {}", stats.entries, size(stats.plain_bytes)));
        bar.tick();
    });
    bar.finish_and_clear();
    let built = built
        .within(|| "not built".into())
        .map_err(|failure| failure.or_hint("packhorse package build --help shows a packhorse.toml"))?;
    let envelope = built.sign(&[key])?.encode()?;
    phk::write(out, &built, &envelope)?;
    Ok(built.stats())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a folder is, or is within, the folder `source`.
fn lies_in(folder: &Path, source: &Path) -> bool {
    match (folder.canonicalize(), source.canonicalize()) {
        (Ok(folder), Ok(source)) => source.is_dir() && folder.starts_with(source),
        // What is not there is said by whoever opens it.
        _ => false,
    }
}

/// Checks a package file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(args: &CheckArgs) -> Outcome {
    let keys = public_keys(&args.keys)?;
    let find = |id: &KeyId| keys.iter().copied().find(|key: &PublicKey| key.id() == *id);
    let lookup: Option<phk::KeyLookup<'_>> = if keys.is_empty() { None } else { Some(&find) };
    let checked = phk::check(&args.file, lookup)?;
    let facts = FileFacts::new(
        &checked.manifest,
        checked.packed_bytes,
        signers(&args.file)?,
        checked.signature_checked,
    );
    if args.format.json { table::json(&facts) } else { say::line(&facts.text()) }
}

/// The keys that the file says signed it.
fn signers(file: &Path) -> Outcome<Vec<String>> {
    let reader = PhkReader::open(file)?;
    let envelope = Envelope::decode(reader.envelope(), limits::ENVELOPE_BYTES)
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    Ok(envelope.signatures.iter().map(|signature| signature.key_id.to_string()).collect())
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
