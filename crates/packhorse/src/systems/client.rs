//! The client.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use packhorse_client::{ClientError, IdentitySource, JoinOptions, RunOptions};
use packhorse_wire::local::{LocalRequest, LocalResponse};

use super::Joined;
use crate::args::ClientJoinArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::signals;

/// What stops an agent, with its hint.
pub fn failure(error: ClientError) -> Failure {
    let hint = error.hint();
    let absent = matches!(error, ClientError::NoAgent { .. });
    let mut failure = match error {
        ClientError::Enroll(error) => Failure::from(error),
        ClientError::Link(error) => Failure::from(error),
        other => Failure::from(other),
    };
    if absent {
        failure = failure.exit(Exit::Unreachable);
    }
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Makes this machine a client.
///
/// # Errors
/// Why it was not let in.
pub async fn join_client(args: &ClientJoinArgs, name: &str) -> Outcome<Joined> {
    let options = JoinOptions {
        data: args.data.clone(),
        url: args.server.clone(),
        token: args.token.clone(),
        name: name.to_owned(),
        root: args.root.clone(),
    };
    crate::patience::until_it_listens(&args.server).await;
    let joined = packhorse_client::join(&options).await.map_err(failure)?;
    Ok(Joined { name: joined.name, id: joined.id, higher: joined.higher })
}

/// Runs the client until it is asked to end.
///
/// # Errors
/// What stops it.
pub async fn run_client(data: &Path, socket: Option<&Path>) -> Outcome {
    let ended = signals::ended()?;
    let options = RunOptions {
        data: data.to_owned(),
        socket: socket.map(Path::to_owned),
        identity: IdentitySource::Own,
    };
    packhorse_client::run(options, ended).await.map_err(failure)
}

/// Asks the agent on this machine.
///
/// # Errors
/// None runs there.
pub fn ask(data: &Path, socket: Option<&Path>, request: &LocalRequest) -> Outcome<LocalResponse> {
    let socket = socket.map_or_else(|| packhorse_client::default_socket(data), Path::to_owned);
    packhorse_client::ask(&socket, request).map_err(failure)
}

/// Runs around an installer; see the client.
pub fn installer(words: impl Iterator<Item = OsString>) -> ExitCode {
    packhorse_client::run_installer_wrapper(words)
}
