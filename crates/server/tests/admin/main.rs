//! The administrator's API through its real router, over a managing server in a temporary folder.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod control;
mod delegation;
mod explain;
mod groups;
mod history;
mod jobs;
mod packages;
mod page;
mod plan;
mod retire;
mod seeing;
mod support;
mod trust;
