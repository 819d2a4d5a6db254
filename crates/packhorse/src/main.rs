//! The packhorse binary.
fn main() {}
