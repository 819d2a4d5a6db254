//! The protocol over the agent's local socket: one request and one answer, each a line of JSON of at most
//! [`LINE_BYTES_MAX`] bytes. Who asks is taken from the socket, never from the request.

use serde::{Deserialize, Serialize};

/// Longest line in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// What a user on the host may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum LocalRequest {
    /// Who am I, what waits and why.
    Status,
    /// Ask the higher system now.
    Sync,
}

/// The agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum LocalResponse {
    /// To `Status`.
    Status(Box<LocalStatus>),
    /// To `Sync`: the higher system has answered (or not: why).
    Synced {
        /// Orders that came.
        orders: u64,
        /// Why not, if it did not answer.
        error: Option<String>,
    },
    /// Not done.
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// The agent in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStatus {
    /// Its name.
    pub name: String,
    /// Its id, hexadecimal.
    pub id: String,
    /// `client` or `relay`.
    pub role: String,
    /// Name of its higher system.
    pub higher: String,
    /// Where that is.
    pub url: String,
    /// Connected now.
    pub online: bool,
    /// Last answer, RFC 3339; `None`: never.
    pub last_contact: Option<String>,
    /// Why the higher system does not serve it, as one sentence: not reached, refused, held as one of two machines.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The certificate's end, RFC 3339.
    pub certificate_until: String,
    /// Reports that the managing server has not receipted.
    pub unreceipted: u64,
    /// What waits or is being worked on.
    pub lines: Vec<LocalLine>,
    /// What is installed by Packhorse: `cabinet/name@version:generation`.
    pub installed: Vec<String>,
}

/// A line at the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalLine {
    /// `server/3`.
    pub job: String,
    /// `cabinet/name@version:generation`.
    pub package: String,
    /// The attempt.
    pub attempt: u32,
    /// The state's word.
    pub state: String,
    /// Why it waits, as one sentence.
    pub reason: Option<String>,
    /// How much of the package is there.
    pub percent: Option<u8>,
}
