//! Asking for a package's bytes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bytes::Id32;

/// Most ranges of one request.
pub const RANGES_MAX: usize = 1024;

/// "The manifest, please", answered with its envelope as bytes from `offset` on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManifestRequest {
    /// The package.
    pub package: Id32,
    /// From the locator.
    pub capability: ByteBuf,
    /// Bytes that are there already.
    pub offset: u64,
}

/// "These chunks, please", answered with frames: whatever of them is there at once, the rest as it arrives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FramesRequest {
    /// The package.
    pub package: Id32,
    /// From the locator.
    pub capability: ByteBuf,
    /// Half-open ranges of places in the manifest's list of chunks, rising; at most [`RANGES_MAX`].
    pub ranges: Vec<(u32, u32)>,
}
