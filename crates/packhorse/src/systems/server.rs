//! The managing server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// A data folder that was made.
#[derive(Debug)]
pub struct Initialised {
    /// The server's address.
    pub url: String,
    /// The administrator's access file.
    pub access_file: PathBuf,
    /// The certificate authority's fingerprint.
    pub fingerprint: String,
}

/// Makes a managing server's data folder.
///
/// # Errors
/// It is there already, or cannot be made.
pub fn init(_data: &Path, _listen: SocketAddr, _name: &str, _addresses: &[String]) -> Outcome<Initialised> {
    Err(Failure::new("this build has no server"))
}

/// Runs the managing server until it is asked to end.
///
/// # Errors
/// What stops it.
pub async fn run_server(_data: &Path) -> Outcome {
    Err(Failure::new("this build has no server"))
}
