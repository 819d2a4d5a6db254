//! A relay system, which is also a client of itself.

use std::path::Path;

use super::Joined;
use crate::args::RelayJoinArgs;
use crate::failure::{Failure, Outcome};

/// Makes this machine a relay.
///
/// # Errors
/// Why it was not let in.
pub async fn join_relay(_args: &RelayJoinArgs, _name: &str) -> Outcome<Joined> {
    Err(Failure::new("this build has no relay"))
}

/// Runs the relay and its own agent until they are asked to end.
///
/// # Errors
/// What stops them.
pub async fn run_relay(_data: &Path) -> Outcome {
    Err(Failure::new("this build has no relay"))
}
