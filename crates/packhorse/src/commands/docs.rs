//! Completions and manual pages, from the same definitions as the command line.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::{Failure, Outcome};
use crate::say;

/// Prints completions for a shell.
///
/// # Errors
/// Whoever reads it has gone.
pub fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "packhorse", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}

/// Writes a page for each command into `dir`.
///
/// # Errors
/// They cannot be written.
pub fn man(dir: &Path) -> Outcome {
    let fail = |error: std::io::Error| Failure::file(dir, &error);
    std::fs::create_dir_all(dir).map_err(fail)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(fail)?;
    say::note(&format!("written; read one with: man -l {}/packhorse.1", dir.display()));
    Ok(())
}
