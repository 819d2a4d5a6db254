//! Identity and transport over real sockets: certificates issued, presented, refused, renewed and swapped.

// Helpers of tests, which clippy.toml does not count as tests.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

mod accept;
mod common;
mod content;
mod issuing;
mod link;
mod trust;
