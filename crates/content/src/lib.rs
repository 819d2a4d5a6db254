//! The bytes of Packhorse: what a package is, and how it gets from one disk to another unchanged.
//!
//! Follow the bytes:
//!
//! | step | file |
//! |---|---|
//! | a packager writes `packhorse.toml` | [`recipe`] |
//! | files are cut into chunks, hashed, packed | [`build`], [`deb`] for what a `.deb` says of itself |
//! | what they are is written down and signed | [`manifest`], [`path`] for names that cannot leave the package, [`timing`] for when it is installed |
//! | all of it in one file | [`phk`] |
//! | chunks on the wire and on disk | [`frame`] |
//! | into a server's or relay's store, each chunk once | [`store`] |
//! | out of it, also while it still arrives | [`serve`] |
//! | over a line that breaks | [`fetch`], which executes what `packhorse_domain::fetch` decides |
//! | into a client's new tree, reusing what is installed | [`tree`] |
//!
//! What always holds: a chunk is written only after it hashed to what the manifest says, under the length the manifest
//! says; nothing is allocated for a size that was only claimed ([`limits`]); memory does not grow with a package's bytes;
//! nothing that was whole is touched until what replaces it is whole and durable. There is no network in this crate and no
//! decision about when to fetch: callers bring both.

pub mod build;
pub mod deb;
pub mod fetch;
pub mod frame;
pub mod limits;
pub mod manifest;
pub mod path;
pub mod phk;
pub mod recipe;
pub mod serve;
pub mod store;
pub mod through;
pub mod timing;
pub mod tree;
