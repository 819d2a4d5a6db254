//! Messages as CBOR, whole and nothing but.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The media type of messages between systems.
pub const MEDIA_TYPE: &str = "application/cbor";

/// How deep a message may be nested.
const MAX_DEPTH: usize = 32;

/// Why a message could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("message is not usable: {0}")]
pub struct CborError(String);

/// Writes one message.
///
/// # Errors
/// When the type cannot be expressed in CBOR.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CborError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(message, &mut bytes).map_err(|error| CborError(error.to_string()))?;
    Ok(bytes)
}

/// Reads one message that fills `bytes` exactly. The caller has bounded their number.
///
/// # Errors
/// When it is malformed, nested deeper than 32 levels, of another shape, or followed by anything.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let mut rest = bytes;
    let message = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|error| CborError(error.to_string()))?;
    if rest.is_empty() { Ok(message) } else { Err(CborError("something follows its end".into())) }
}
