//! Identity and transport over real sockets: certificates issued, presented, refused, renewed and swapped.

mod common;
mod content;
mod issuing;
mod link;
mod trust;
