//! A host that is no more, signed by the managing server: no certificate up to this generation counts anywhere.

use packhorse_domain::ids::Name;
use serde::{Deserialize, Serialize};

use super::{BadPayload, version};
use crate::bytes::Id16;

/// Payload type of words about retired hosts.
pub const RETIRED_TYPE: &str = "application/vnd.packhorse.retired+cbor";
/// The version of [`RetiredDoc`].
pub const RETIRED_VERSION: u32 = 1;

/// A host was retired. It goes to every relay, also to those the host never called, and to the host itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetiredDoc {
    /// Version of this payload.
    pub v: u32,
    /// The host.
    pub host: Id16,
    /// Its name.
    pub name: String,
    /// The newest certificate that counts no more.
    pub generation: u64,
    /// In the row of the host's places: a newer one brings it back, an older one counts no more.
    pub revision: u64,
    /// When, microseconds.
    pub at: i64,
    /// It is forgotten, and its name is free.
    pub removed: bool,
}

impl RetiredDoc {
    /// What the host itself, or its user, is told: what happened, and what to do.
    pub fn sentence(&self, role: &str) -> String {
        let (what, replace) = match self.removed {
            true => ("removed", String::new()),
            false => ("retired", format!(" --replace {}", self.name)),
        };
        let at = jiff::Timestamp::from_microsecond(self.at).unwrap_or_default();
        let at = at.strftime("%Y-%m-%d %H:%M UTC");
        let relay = if role == "relay" { " --relay" } else { "" };
        format!(
            "{} was {what} at the managing server at {at}: nobody serves it, and it installs nothing any more. If it is still \
             in use: packhorse token new{relay}{replace} there, then packhorse {role} join here with another data folder",
            self.name
        )
    }

    /// Checks what a signature does not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), BadPayload> {
        version("the word about a retired host", self.v, RETIRED_VERSION)?;
        Name::for_host(&self.name)?;
        Ok(())
    }
}
