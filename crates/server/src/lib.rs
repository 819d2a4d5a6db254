//! Managing server and relay system: a relay is a server that has a higher system.
//!
//! | module | what |
//! |---|---|
//! | [`mod@init`], [`run`] | making one, running one |
//! | [`system`] | what the parts of a running one share |
//! | [`db`] | its state: typed commands to one writer, reads beside it |
//! | [`lower`] | what lower systems may ask |
//! | [`upper`] | a relay's own lower side |
//! | [`copies`], `days` | a relay takes in packages, keeps them until their dates, within its room |
//! | [`admin`] | what administrators may ask |
//! | [`page`] | the live page that people look at |
//! | [`presence`] | who is there |
//! | [`authority`] | keys of the managing server |

pub mod admin;
pub mod authority;
pub mod capability;
pub mod copies;
mod days;
pub mod db;
mod directory;
pub mod error;
pub mod folder;
mod granting;
mod hold;
pub mod init;
pub mod lower;
mod pace;
pub mod page;
pub mod presence;
pub mod run;
mod signer;
pub mod system;
pub mod throttle;
pub mod upper;

pub use error::ServerError;
pub use init::{InitOptions, Initialised, RelayJoinOptions, RelayJoined, init, relay_join};
pub use run::{
    HISTORY_DAYS_MIN, Running, relay_url, run_relay, run_server, start_relay, start_relay_within,
    start_server,
};
