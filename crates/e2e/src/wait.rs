//! Conditions with a deadline. Nothing here sleeps in the hope that it is long enough.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many times as long as an idle machine needs is waited: patience costs nothing where all is well.
const PATIENCE: u64 = 3;
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(60);

/// Looks until there is an answer: on an idle machine within `secs` seconds.
///
/// # Panics
/// There is none, also with patience; `what` says what was waited for.
pub fn until<T>(what: &str, secs: u64, mut look: impl FnMut() -> Option<T>) -> T {
    until_or(secs, &mut look).unwrap_or_else(|| panic!("waited {} s for this: {what}", secs * PATIENCE))
}

/// Looks until there is an answer; says what was found last if there is none.
///
/// # Panics
/// As [`until`].
pub fn until_ok<T>(what: &str, secs: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let found = until_or(secs, &mut || look().map_err(|why| last = why).ok());
    found.unwrap_or_else(|| panic!("waited {} s for this: {what}; it was at last: {last}", secs * PATIENCE))
}

/// Holds for `secs` seconds, at every look.
///
/// # Panics
/// It did not.
pub fn always(what: &str, secs: u64, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < end {
        assert!(look(), "this was to hold: {what}");
        sleep(LOOK);
    }
}

fn until_or<T>(secs: u64, look: &mut impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(secs * PATIENCE);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(LOOK);
    }
}
