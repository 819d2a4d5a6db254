//! Whole outcomes at the crate's boundary: a package from a folder to a client's tree, and everything that may go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by failing")]

mod build;
mod fetch;
mod hostile;
mod memory;
mod room;
mod store;
mod through;
mod tree;
mod util;
