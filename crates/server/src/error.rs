//! What a person is told when a server or relay cannot do what was asked.

use std::io;
use std::path::PathBuf;

use packhorse_wire::enroll::EnrollError;
use packhorse_wire::envelope::{CborError, EnvelopeError, KeyError};
use packhorse_wire::net::{LinkError, TlsError};
use packhorse_wire::pki::PkiError;
use packhorse_wire::trust::Distrust;
use thiserror::Error;

use crate::db::DbError;

/// Why a managing server or relay does not go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The folder holds a server or relay already.
    #[error("{0} holds a server or relay already")]
    Exists(PathBuf),
    /// The folder holds none.
    #[error("{path} holds no {what}")]
    Missing {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Another one runs in the folder.
    #[error("a server or relay runs in {0} already")]
    Running(PathBuf),
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// A file that cannot be read.
    #[error("{path} cannot be read: {why}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The name.
    #[error("the name: {0}")]
    Name(#[from] packhorse_domain::ids::BadId),
    /// The address to listen on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The store.
    #[error(transparent)]
    Store(#[from] packhorse_content::store::StoreError),
    /// Joining, renewing, or the identity folder.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The higher system.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Signing keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Signing.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Encoding.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// What is signed.
    #[error(transparent)]
    Distrust(#[from] Distrust),
}

impl ServerError {
    /// What to do, where it can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            ServerError::Exists(_) => Some("choose another --data, or run what is there".to_owned()),
            ServerError::Running(_) => Some("end it first, or give another --data".to_owned()),
            ServerError::Missing { .. } => {
                Some("packhorse server init or packhorse relay join makes one".to_owned())
            }
            ServerError::Listen { .. } => {
                Some("choose another --listen, or end what listens there".to_owned())
            }
            ServerError::Db(DbError::Refused(refusal)) => refusal.hint.clone(),
            ServerError::Link(error) | ServerError::Enroll(EnrollError::Link(error)) => {
                error.refusal().and_then(|refusal| refusal.hint.clone())
            }
            _ => None,
        }
    }
}
