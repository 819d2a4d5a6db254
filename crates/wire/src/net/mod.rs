//! Transport: mutual TLS 1.3 between systems, the accept loop, and the link to the higher system.
//!
//! [`tls`] decides whom to believe, [`accept`] holds thousands of idle connections, [`Link`] keeps one to the higher
//! system. A caller is what its certificate says ([`Peer`]); whether it may do what it asks is decided above this
//! layer, per request.

pub mod accept;
pub mod cbor;
mod connect;
mod content;
mod error;
mod linger;
mod link;
mod peer;
mod refusal;
mod request;
mod target;
pub mod tls;

pub use accept::{AcceptLimits, serve};
pub use content::ContentStream;
pub use error::{LinkError, with_causes};
pub use link::{CALL_LIMIT_BYTES, Link, LinkOptions};
pub use peer::Peer;
pub use refusal::Refusal;
pub use target::is_address;
pub use tls::{Expect, Identity, Pinned, ServerTls, TlsError};
