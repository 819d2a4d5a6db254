//! The program under test.

use std::env;
use std::path::PathBuf;

/// Names the program, if it is not the one that was built beside the tests.
pub const VARIABLE: &str = "PACKHORSE_BIN";

/// The `packhorse` binary: `PACKHORSE_BIN`, else the one in the folder the tests were built into.
pub fn path() -> PathBuf {
    if let Some(given) = env::var_os(VARIABLE) {
        return PathBuf::from(given);
    }
    // target/debug/deps/e2e-… → target/debug/packhorse
    let tests = env::current_exe().expect("the test's own path");
    let built = tests.ancestors().nth(2).expect("the folder above deps").join("packhorse");
    assert!(
        built.exists(),
        "{} is not there: `cargo build -p packhorse`, or name another with {VARIABLE}",
        built.display()
    );
    built
}
