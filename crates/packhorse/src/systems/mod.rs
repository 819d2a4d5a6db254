//! The systems themselves, as the commands start them.

mod client;
mod relay;
mod server;

pub use client::{ask, installer, join_client, run_client};
pub use relay::{join_relay, run_relay};
pub use server::{init, run_server};

/// A system that joined.
#[derive(Debug)]
pub struct Joined {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its higher system's name.
    pub higher: String,
}
