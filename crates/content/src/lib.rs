//! placeholder
pub mod build;
pub mod deb;
pub mod frame;
pub mod limits;
pub mod manifest;
pub mod path;
pub mod phk;
pub mod recipe;
