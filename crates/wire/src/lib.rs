//! Placeholder while the skeleton is laid.
pub mod net;
pub mod pki;
pub mod token;
