//! The systems themselves, as the commands start them.
// Until server and client are here, their commands say so.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use packhorse_wire::local::{LocalRequest, LocalResponse};

use crate::failure::{Failure, Outcome};

/// A data folder that was made.
pub struct Initialised {
    pub url: String,
    pub access_file: PathBuf,
    pub fingerprint: String,
}

/// A system that joined.
pub struct Joined {
    pub name: String,
    pub id: String,
    pub higher: String,
}

fn absent<T>() -> Outcome<T> {
    Err(Failure::new("this build has no server and no client"))
}

pub fn init(_data: &Path, _listen: SocketAddr, _name: &str, _addresses: &[String]) -> Outcome<Initialised> {
    absent()
}
pub async fn run_server(_data: &Path) -> Outcome {
    absent()
}
pub async fn join_relay(_args: &crate::args::RelayJoinArgs, _name: &str) -> Outcome<Joined> {
    absent()
}
pub async fn run_relay(_data: &Path) -> Outcome {
    absent()
}
pub async fn join_client(_args: &crate::args::ClientJoinArgs, _name: &str) -> Outcome<Joined> {
    absent()
}
pub async fn run_client(_data: &Path, _socket: Option<&Path>) -> Outcome {
    absent()
}
pub fn ask(_data: &Path, _socket: Option<&Path>, _request: &LocalRequest) -> Outcome<LocalResponse> {
    absent()
}
pub fn installer(_words: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
