//! What an agent is started with, and what it remembers of that.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ClientError;
use crate::error::file_error;

/// The data folder of an installed agent; only it has its socket elsewhere.
const SYSTEM_DATA: &str = "/var/lib/packhorse";
/// Where that agent's socket is.
const SYSTEM_SOCKET: &str = "/run/packhorse/user.sock";
const SETTINGS: &str = "agent.json";
const SETTINGS_VERSION: u32 = 1;

/// Whose certificate the agent uses, and whom it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// The identity in the agent's own data folder: a client. It asks the system it joined.
    Own,
    /// The relay's identity: the relay's own agent. It asks the relay itself.
    Relay {
        /// The relay's identity folder.
        folder: PathBuf,
        /// The URL the relay itself listens at.
        url: String,
        /// Install below this folder instead of `/`.
        root: Option<PathBuf>,
    },
}

/// What an agent is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// Its data folder.
    pub data: PathBuf,
    /// The user's socket; `None`: see [`default_socket`].
    pub socket: Option<PathBuf>,
    /// Who it is.
    pub identity: IdentitySource,
}

/// Where the agent of a data folder listens for its user: `DATA/user.sock`, also as root; only the default data folder
/// `/var/lib/packhorse` uses `/run/packhorse/user.sock`.
pub fn default_socket(data: &Path) -> PathBuf {
    if data == Path::new(SYSTEM_DATA) { PathBuf::from(SYSTEM_SOCKET) } else { data.join("user.sock") }
}

/// What is kept of joining, apart from the identity: `agent.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    version: u32,
    /// Absolute; `None`: `/`.
    pub root: Option<PathBuf>,
}

impl Settings {
    pub fn new(root: Option<PathBuf>) -> Settings {
        Settings { version: SETTINGS_VERSION, root }
    }

    pub fn save(&self, data: &Path) -> Result<(), ClientError> {
        let path = data.join(SETTINGS);
        let bad = |why: String| ClientError::Format { path: path.clone(), why };
        let text = serde_json::to_string_pretty(self).map_err(|error| bad(error.to_string()))?;
        packhorse_wire::pki::write_private(&path, &text).map_err(|error| bad(error.to_string()))
    }

    pub fn load(data: &Path) -> Result<Settings, ClientError> {
        let path = data.join(SETTINGS);
        let text = fs::read_to_string(&path).map_err(file_error(&path))?;
        let bad = |why: String| ClientError::Format { path: path.clone(), why };
        let settings: Settings = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if settings.version != SETTINGS_VERSION {
            return Err(bad(format!("version {} is not known", settings.version)));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_installed_agent_has_its_socket_elsewhere() {
        assert_eq!(default_socket(Path::new("/var/lib/packhorse")), Path::new("/run/packhorse/user.sock"));
        assert_eq!(default_socket(Path::new("pc17")), Path::new("pc17/user.sock"));
    }
}
