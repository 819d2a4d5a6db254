//! What stops an agent, as opposed to what makes it wait.

use std::io;
use std::path::{Path, PathBuf};

use packhorse_wire::enroll::EnrollError;
use packhorse_wire::net::LinkError;
use packhorse_wire::trust::Distrust;
use thiserror::Error;

/// Why an agent cannot join, run or be asked. The texts fit after "failed to …: ".
#[derive(Debug, Error)]
pub enum ClientError {
    /// The host calls another system from now on: the agent begins anew with it.
    #[error("the host was moved")]
    Moved,
    /// Joining, renewing, or the identity folder.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The address of the higher system, or the certificate to call it with.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The first words of the identity folder.
    #[error("what was kept at joining is not trusted: {0}")]
    Distrust(#[from] Distrust),
    /// A name that no host can have.
    #[error("{0}")]
    Name(#[from] packhorse_domain::ids::BadId),
    /// A file or folder.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file of ours that cannot be understood.
    #[error("{path} cannot be read: {why}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The database.
    #[error("{path}: {error}")]
    Database {
        /// Which.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
    /// The database is of a later version of this program.
    #[error(
        "{path} was written by a later version (schema {found}, this one knows {known}); update packhorse"
    )]
    Schema {
        /// Which.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// Another agent runs in the same data folder.
    #[error("another agent runs in {0}")]
    Running(PathBuf),
    /// No agent answers at the socket.
    #[error("no agent answers at {path}: {error}")]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The agent's answer cannot be understood.
    #[error("the agent at {path} answered something else: {why}")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The agent's own work ended, which it never should.
    #[error("the agent ended: {0}")]
    Ended(String),
}

impl ClientError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::NoAgent { .. } => {
                Some("packhorse client run, or the right socket with --socket or PACKHORSE_SOCKET".to_owned())
            }
            ClientError::Running(_) => Some("stop it first, or give another --data".to_owned()),
            ClientError::File { error, .. } | ClientError::Enroll(EnrollError::File { error, .. })
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("run it as root, or give folders of your own with --data DIR and --root DIR".to_owned())
            }
            ClientError::Enroll(EnrollError::Exists(_)) => {
                Some("packhorse client run goes on with it; another host needs another --data".to_owned())
            }
            ClientError::Enroll(EnrollError::File { error, .. })
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Some("packhorse client join makes a client of this machine".to_owned())
            }
            ClientError::Enroll(EnrollError::Link(error)) | ClientError::Link(error) => {
                error.refusal().and_then(|refusal| refusal.hint.clone())
            }
            _ => None,
        }
    }
}

/// Names the file an error is about.
pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ClientError + '_ {
    move |error| ClientError::File { path: path.to_owned(), error }
}
