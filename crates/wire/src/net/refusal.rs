//! What a peer says when it refuses a request.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::cbor;

/// Longest refusal that is read, in bytes.
pub(super) const MAX_REFUSAL_BYTES: usize = 16 * 1024;

/// Most characters of each of its texts that are kept.
const MAX_TEXT_CHARS: usize = 2000;

/// The body of every answer that is not a success: `application/cbor` (from the administrator's API JSON), at most 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs: lower case, words joined by `_`; never changes its meaning.
    pub code: String,
    /// For people: what was refused and why.
    pub message: String,
    /// For people: what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None }
    }

    /// The same refusal with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Reads the body of an answer. Whatever it is, the outcome can be shown on a terminal.
    pub(super) fn from_body(status: StatusCode, body: &[u8]) -> Self {
        // Between systems it is CBOR; the administrator's API answers the same fields as JSON.
        let read = cbor::decode::<Refusal>(body).ok().or_else(|| serde_json::from_slice(body).ok());
        let refusal = read.unwrap_or_else(|| {
            let reason = status.canonical_reason().unwrap_or("no reason given");
            Refusal::new(format!("http_{}", status.as_u16()), reason.to_lowercase())
        });
        Refusal {
            code: printable(&refusal.code),
            message: printable(&refusal.message),
            hint: refusal.hint.as_deref().map(printable),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Text from outside without control characters, which could steer a terminal or forge a line in a log.
fn printable(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_body_becomes_a_refusal_fit_for_a_terminal() {
        let sent = Refusal::new("name_taken", "a\u{1b}[2Jb").with_hint("try\nagain");
        let read = Refusal::from_body(StatusCode::CONFLICT, &cbor::encode(&sent).unwrap());
        assert_eq!(read, Refusal::new("name_taken", "a [2Jb").with_hint("try again"));
        let json =
            Refusal::from_body(StatusCode::CONFLICT, br#"{"code":"in_use","message":"m","hint":null}"#);
        assert_eq!(json, Refusal::new("in_use", "m"));
        let plain = Refusal::from_body(StatusCode::NOT_FOUND, b"<html>no</html>");
        assert_eq!(plain, Refusal::new("http_404", "not found"));
    }
}
