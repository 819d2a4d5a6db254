//! Logs, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged: `PACKHORSE_LOG=debug`, or by module as in `packhorse_server=debug,info`.
const VARIABLE: &str = "PACKHORSE_LOG";

/// Logs of a system that runs: what it does.
pub fn of_system() {
    start("info");
}

/// Logs of a command: only what goes wrong.
pub fn of_command() {
    start("warn");
}

fn start(default: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    // A second start, in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
