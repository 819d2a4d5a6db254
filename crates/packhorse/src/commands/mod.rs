//! What each command does: read the arguments, ask, show. One file for each noun.

mod cabinet;
mod choose;
mod client;
mod docs;
mod explain;
mod grant;
mod group;
mod host;
mod install;
mod job;
mod key;
mod make;
mod offer;
mod package;
mod page;
mod relay;
mod server;
mod token;
mod transfer;
mod watch;

use std::future::Future;
use std::path::{Path, PathBuf};

use tokio::runtime::{Builder, Runtime};

use crate::api::Api;
use crate::args::{Access, Command};
use crate::failure::{Failure, Outcome};
use crate::patience;
use crate::{demo, fleet};

/// Does what the command line says.
///
/// # Errors
/// What went wrong, with the exit code.
pub fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Server(verb) => server::run(verb),
        Command::Relay(verb) => relay::run(verb),
        Command::Client(verb) => client::run(verb),
        Command::Key(verb) => key::run(verb),
        Command::Token(verb) => token::run(verb),
        Command::Host(verb) => host::run(verb),
        Command::Group(verb) => group::run(verb),
        Command::Cabinet(verb) => cabinet::run(verb),
        Command::Package(verb) => package::run(verb),
        Command::Install(args) => install::run(&args),
        Command::Offer(args) => offer::run(&args),
        Command::Offers(args) => choose::offers(&args),
        Command::Choose(args) => choose::choose(&args),
        Command::Reject(args) => choose::reject(&args),
        Command::Withdraw(args) => choose::withdraw(&args),
        Command::Postpone(args) => choose::postpone(&args),
        Command::Transfer(args) => transfer::run(&args),
        Command::Job(verb) => job::run(verb),
        Command::Explain(args) => explain::run(&args),
        Command::Page(args) => page::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Completions { shell } => docs::completions(shell),
        Command::Man { dir } => docs::man(&dir),
    }
}

/// Asks a system: opens the access file and runs `question` to its end.
///
/// # Errors
/// The access file's, or the question's.
pub fn ask<F: Future<Output = Outcome>>(access: &Access, question: impl FnOnce(Api) -> F) -> Outcome {
    crate::logs::of_command();
    let api = Api::open(access.context.as_ref())?;
    small_runtime()?.block_on(async {
        patience::until_it_listens(api.url()).await;
        question(api).await
    })
}

/// A runtime for a few requests.
///
/// # Errors
/// The system's.
pub fn small_runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// A runtime for a system that runs.
///
/// # Errors
/// The system's.
pub fn large_runtime() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// A path as a shell takes it.
pub fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':'));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The name that was given, or this machine's.
///
/// # Errors
/// This machine has none.
fn name_or_own(given: Option<&String>) -> Outcome<String> {
    if let Some(name) = given {
        let fits = packhorse_domain::ids::Name::new(name);
        return fits.map(|name| name.to_string()).map_err(|error| {
            Failure::usage(format!("--name: {error}"))
                .hint("a name like this machine's own: pc17, hq.example")
        });
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match own.trim() {
        "" => Err(Failure::usage("this machine has no name").hint("give one with --name")),
        own => Ok(own.to_owned()),
    }
}

/// A packager's public key from its file.
///
/// # Errors
/// There is none in it.
fn public_key(path: &Path) -> Outcome<packhorse_wire::envelope::PublicKey> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    text.trim().parse().map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()))
            .hint("`packhorse key new --out K.key` writes the public half into K.pub")
    })
}

/// Several of them.
fn public_keys(paths: &[PathBuf]) -> Outcome<Vec<packhorse_wire::envelope::PublicKey>> {
    paths.iter().map(|path| public_key(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(shell_quoted(Path::new("hq/admin.toml")), "hq/admin.toml");
        assert_eq!(shell_quoted(Path::new("my hq/it's")), "'my hq/it'\\''s'");
    }
}
