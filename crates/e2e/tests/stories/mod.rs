//! What people do, and what happens to them.

mod absent;
mod bad_input;
mod content;
mod control;
mod every_command;
mod fallback;
mod first_hour;
mod groups;
mod history;
mod identity;
mod jobs;
mod kills;
mod kinds;
mod memory;
mod moving;
mod offers;
mod page;
mod relay_admin;
mod retire;
mod room;
mod sites;
mod transfer;
