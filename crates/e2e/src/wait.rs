//! Conditions with a deadline. Nothing here sleeps in the hope that it is long enough.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(60);

/// Looks until there is an answer.
///
/// # Panics
/// There is none within `secs` seconds; `what` says what was waited for.
pub fn until<T>(what: &str, secs: u64, mut look: impl FnMut() -> Option<T>) -> T {
    until_or(secs, &mut look).unwrap_or_else(|| panic!("waited {secs} s for this: {what}"))
}

/// Looks until there is an answer; says what was found last if there is none.
///
/// # Panics
/// There is none within `secs` seconds.
pub fn until_ok<T>(what: &str, secs: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let found = until_or(secs, &mut || look().map_err(|why| last = why).ok());
    found.unwrap_or_else(|| panic!("waited {secs} s for this: {what}; it was at last: {last}"))
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
    let deadline = Instant::now() + Duration::from_secs(secs);
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
