//! What travels between systems, and how: envelopes around everything that is signed, versioned messages, the identities of
//! systems, and the connections between them. Everything is parsed into `domain`'s types here, at the edge, or refused here.
//!
//! | module | what |
//! |---|---|
//! | [`envelope`] | one envelope for all that is signed: verify, then parse, keep the bytes received |
//! | [`signed`] | the signed payloads: jobs, places, delegations, the trust document |
//! | [`trust`] | whom a host trusts for what |
//! | [`messages`] | the protocol between a lower and its higher system |
//! | [`admin`] | the administrator's API (JSON) |
//! | [`pki`], [`token`] | certificates, host keys, join tokens |
//! | [`net`] | TLS, accepting and calling |
//! | [`enroll`] | joining, renewing, and the folder that holds who a host is |
//! | [`local`] | the protocol over the agent's local socket |

pub mod admin;
pub mod bytes;
pub mod enroll;
pub mod envelope;
pub mod local;
pub mod messages;
pub mod net;
pub mod pki;
pub mod signed;
pub mod token;
pub mod trust;
