//! The agent: the same on a client and on a relay. It asks its higher system for orders, judges each, takes packages in,
//! installs them, checks them and reports; the machine of `domain::agent` decides, this crate only does what it says.
//!
//! | module | what |
//! |---|---|
//! | `options` | what an agent is started with |
//! | `join`, `who` | becoming a host; who the agent is, and a new certificate in time |
//! | `store` | `client.db`: jobs, journal, alarms, cursors, what is installed |
//! | `judge` | whether an order counts: signatures, revisions, whom it names |
//! | `driver` | the one task that owns the machine: input → writes → effects |
//! | `control` | the feed of orders, the outbox of reports |
//! | `facts` | what the host says of itself |
//! | `executor` | effects: probe, obtain (manifest and content, verified, into a staged tree), install, check, recover |
//! | `files` | kind files: below the root only, switched in by rename |
//! | `deb` | kind deb: dpkg |
//! | `installer` | a process that outlives the agent and leaves its end behind |
//! | `local` | the user's socket |
//!
//! Deliberately absent: a listening port, decisions about when to do what, and any path that is not resolved below the root.

mod clock;
mod control;
mod deb;
mod driver;
mod error;
mod executor;
mod facts;
mod files;
mod installer;
mod join;
mod judge;
mod local;
mod options;
mod run;
mod store;
#[cfg(test)]
mod tests;
mod who;
mod zone;

pub use error::ClientError;
pub use installer::run_installer_wrapper;
pub use join::{JoinOptions, Joined, join};
pub use local::ask;
pub use options::{IdentitySource, RunOptions, default_socket};
pub use run::run;
