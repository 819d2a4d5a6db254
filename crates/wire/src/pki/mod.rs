//! Who is who: the certificate authority of one Packhorse system, the identity its certificates carry, the keys of
//! hosts, and how a certificate is renewed.
//!
//! There is one authority, at the managing server. Every certificate it issues names exactly one [`CertIdentity`];
//! nothing else in a certificate is believed. Keys are ECDSA P-256 and are made where they are used: the authority
//! sees certificate requests only.

mod access;
mod ca;
mod call;
mod cert;
mod error;
mod files;
mod host_key;
mod identity;
mod renew;

pub use access::{AccessProof, verify_access_proof};
pub use ca::{Ca, HOST_LIFETIME, Issued, Usage};
pub use call::{CallProof, verify_call_proof};
pub use cert::{CaCert, CertInfo, chain_from_pem};
pub use error::PkiError;
pub use files::{write_private, write_public};
pub use host_key::HostKey;
pub use identity::{CertIdentity, Role, check_name, new_id};
pub(crate) use identity::{hex, random, shortened};
pub use renew::{RenewProof, renew_due, verify_renew_proof};
