//! The data folder of a managing server or relay.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use packhorse_wire::pki::write_private;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::ServerError;

/// Version of [`Config`].
const CONFIG_VERSION: u32 = 1;
/// How often a folder that is in use is tried.
const LOCK_TRIES: u32 = 20;
/// Pause between the tries.
const LOCK_STEP: Duration = Duration::from_millis(50);

/// What a server or relay keeps of its set-up, in `system.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this file.
    pub version: u32,
    /// `server` or `relay`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its id, hexadecimal.
    pub id: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Further names and addresses it is called by.
    pub addresses: Vec<String>,
}

impl Config {
    /// A fresh one.
    pub fn new(role: &str, name: &str, id: &str, listen: SocketAddr, addresses: &[String]) -> Config {
        Config {
            version: CONFIG_VERSION,
            role: role.to_owned(),
            name: name.to_owned(),
            id: id.to_owned(),
            listen,
            addresses: addresses.to_vec(),
        }
    }

    /// The addresses other machines may call it by, when it listens at this port: those that were given for it first.
    pub fn urls(&self, port: u16) -> Vec<String> {
        let own = match self.listen.ip() {
            ip if ip.is_loopback() => "localhost".to_owned(),
            ip if ip.is_unspecified() => self.name.clone(),
            ip => ip.to_string(),
        };
        let mut hosts: Vec<&String> = self.addresses.iter().collect();
        hosts.push(&own);
        hosts.dedup();
        let url = |host: &&String| match host.contains(':') {
            true => format!("https://[{host}]:{port}"),
            false => format!("https://{host}:{port}"),
        };
        hosts.iter().map(url).collect()
    }

    /// The address people and lower systems on this machine call it by.
    pub fn url(&self) -> String {
        let port = self.listen.port();
        let host = match self.listen.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        format!("https://{host}:{port}")
    }
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`.
    pub fn at(path: &Path) -> Folder {
        Folder(path.to_owned())
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Whether a server or relay is set up in it.
    pub fn is_set_up(&self) -> bool {
        self.path("system.json").exists()
    }

    /// Takes the folder for one running system; held as long as the file is. The port alone does not guard it: another
    /// `listen` in a copied or edited `system.json`, and two writers would share one database.
    ///
    /// # Errors
    /// Another system runs in it.
    pub fn lock(&self) -> Result<File, ServerError> {
        let path = self.path("system.lock");
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| ServerError::File { path, error })?;
        // A system that is just ending gets a moment: whoever restarts it need not wait by hand.
        for _ in 0..LOCK_TRIES {
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(file);
            }
            std::thread::sleep(LOCK_STEP);
        }
        Err(ServerError::Running(self.0.clone()))
    }

    /// Reads `system.json`.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is of the other role.
    pub fn config(&self, role: &'static str) -> Result<Config, ServerError> {
        let path = self.path("system.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = if role == "server" { "managing server" } else { "relay system" };
                return Err(ServerError::Missing { path: self.0.clone(), what });
            }
            Err(error) => return Err(ServerError::File { path, error }),
        };
        let bad = |why: String| ServerError::Format { path: path.clone(), why };
        let config: Config = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if config.version != CONFIG_VERSION {
            return Err(bad(format!("version {} is not known", config.version)));
        }
        if config.role != role {
            return Err(bad(format!("this is a {}, not a {role}", config.role)));
        }
        Ok(config)
    }

    /// Writes `system.json`, last of all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), ServerError> {
        let path = self.path("system.json");
        let text = serde_json::to_string_pretty(config)
            .map_err(|error| ServerError::Format { path: path.clone(), why: error.to_string() })?;
        Ok(write_private(&path, &text)?)
    }

    /// Reads a text file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, name: &str) -> Result<String, ServerError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|error| ServerError::File { path, error })
    }

    /// Reads a binary file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, ServerError> {
        let path = self.path(name);
        fs::read(&path).map_err(|error| ServerError::File { path, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_one_running_system() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        let first = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(ServerError::Running(_))));
        drop(first);
        assert!(folder.lock().is_ok());
    }
}
