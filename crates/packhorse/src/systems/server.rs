//! The managing server.

use std::net::SocketAddr;
use std::path::Path;

use packhorse_server::{InitOptions, Initialised, ServerError};

use crate::failure::{Failure, Outcome};
use crate::signals;

/// What stops a server or relay, with its hint.
pub fn failure(error: ServerError) -> Failure {
    let hint = error.hint();
    let failure = match error {
        ServerError::Enroll(error) => Failure::from(error),
        ServerError::Link(error) => Failure::from(error),
        other => Failure::from(other),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Makes a managing server's data folder.
///
/// # Errors
/// It is there already, or cannot be made.
pub fn init(data: &Path, listen: SocketAddr, name: &str, addresses: &[String]) -> Outcome<Initialised> {
    let options =
        InitOptions { data: data.to_owned(), listen, name: name.to_owned(), addresses: addresses.to_vec() };
    packhorse_server::init(&options).map_err(failure)
}

/// Runs the managing server until it is asked to end; results are kept in full for so many days, and hosts are silent after so many.
///
/// # Errors
/// What stops it.
pub async fn run_server(data: &Path, history_days: u32, silent_days: u32) -> Outcome {
    let ended = signals::ended()?;
    packhorse_server::run_server(data, history_days, silent_days, ended).await.map_err(failure)
}
