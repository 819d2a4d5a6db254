//! The evil relay, lie by lie.

mod content;
mod orders;
mod reports;
mod scene;
