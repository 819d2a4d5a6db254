//! What can go wrong between this system and its higher system.

use std::time::Duration;

use super::{Refusal, TlsError};

/// Why a request got no good answer. Each variant calls for something else: waiting, a look at the certificates,
/// reading what the peer said, or a bug report.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The URL or path is not usable; nothing was sent.
    #[error("address {url:?} is not usable: {why}")]
    Address {
        /// As given.
        url: String,
        /// The rule it breaks.
        why: String,
    },
    /// No connection, or it was lost before the answer was complete. Worth trying again later.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The URL of the higher system.
        url: String,
        /// Each address tried and what happened there.
        why: String,
    },
    /// Reached, but one side does not accept the other's certificate. Trying again will not help by itself.
    #[error("{url} is not trusted or does not trust this host: {why}")]
    TlsRefused {
        /// The URL of the higher system.
        url: String,
        /// Which address, which rule.
        why: String,
    },
    /// The peer understood and refused.
    #[error("refused by {url}: {refusal}")]
    Refused {
        /// The URL of the higher system.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the peer said.
        refusal: Refusal,
    },
    /// The peer answered something that is not the protocol.
    #[error("{url} does not keep to the protocol: {why}")]
    Protocol {
        /// The URL of the higher system.
        url: String,
        /// What was wrong.
        why: String,
    },
    /// No answer, or no further byte of it, in time.
    #[error("{url}: {what} took longer than {} s", limit.as_secs_f32())]
    Timeout {
        /// The URL of the higher system.
        url: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// The answer is larger than asked for.
    #[error("{url}: answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The URL of the higher system.
        url: String,
        /// The limit it passed.
        limit_bytes: usize,
    },
    /// The source of an upload failed.
    #[error("reading what was to be sent to {url} failed: {why}")]
    Source {
        /// The URL of the higher system.
        url: String,
        /// What the source said.
        why: String,
    },
    /// This side's certificate, key or authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl LinkError {
    /// Whether the same request may well succeed later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What the peer said, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

/// An error with all its causes, in one line; a cause that the text before repeats is left out.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = match error.to_string() {
        text if text.is_empty() => "something went wrong".to_owned(),
        text => text,
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
