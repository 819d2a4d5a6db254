//! The one binary: command line, demo, simulated fleet.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the command line as it is written |
//! | [`commands`] | what each command does |
//! | [`render`] | how it is shown |
//! | [`api`] | the administrator's API |
//! | [`fleet`], [`demo`] | many simulated clients; the whole system on one machine |
//! | [`say`], [`failure`], [`exit`] | terminal, errors, exit codes |

mod address;
mod api;
mod args;
mod commands;
mod demo;
mod exit;
mod failure;
mod fleet;
mod logs;
mod patience;
mod render;
mod say;
mod signals;
mod span;
mod systems;
mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::Exit;

/// The word under which an agent starts this same program around an installer.
const INSTALLER: &str = "__installer";

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.nth(1) == Some(OsString::from(INSTALLER)) {
        return systems::installer(words);
    }
    // clap prints help and refusals itself, and ends with 0 or 2.
    let cli = Cli::parse();
    match commands::run(cli.command) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            failure.print();
            failure.code().into()
        }
    }
}
