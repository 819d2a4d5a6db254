//! The order of versions: never our own comparison, always the scheme's library.

use std::cmp::Ordering;
use std::fmt;

/// Which scheme orders a package's versions (design section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionOrder {
    /// Semantic versions; missing parts count as 0 (`1` = `1.0.0`).
    Semver,
    /// Debian's order, where `~` sorts before everything.
    Deb,
}

/// Why a text is not a version under its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadVersion {
    /// The text.
    pub text: String,
    /// What the scheme says against it.
    pub why: String,
}

impl fmt::Display for BadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a version: {}", self.text, self.why)
    }
}

impl std::error::Error for BadVersion {}

/// Longest version text, in bytes.
pub const VERSION_BYTES_MAX: usize = 128;

/// Compares two versions under one scheme.
///
/// # Errors
/// Either text is not a version under `order`.
pub fn compare(order: VersionOrder, a: &str, b: &str) -> Result<Ordering, BadVersion> {
    Ok(match order {
        VersionOrder::Semver => semver(a)?.cmp(&semver(b)?),
        VersionOrder::Deb => deb(a)?.cmp(&deb(b)?),
    })
}

/// Whether `a` is the same or a lower version than `b` where it is not known which scheme orders them: as semantic versions
/// if both are, else in Debian's order, in which nearly every text has a place.
pub fn not_above(a: &str, b: &str) -> bool {
    let by = |order| compare(order, a, b).map(Ordering::is_le);
    a == b || by(VersionOrder::Semver).or_else(|_| by(VersionOrder::Deb)).unwrap_or(false)
}

/// Checks a version's text.
///
/// # Errors
/// It is not a version under `order`.
pub fn check(order: VersionOrder, text: &str) -> Result<(), BadVersion> {
    compare(order, text, text).map(|_| ())
}

fn semver(text: &str) -> Result<semver::Version, BadVersion> {
    bounded(text)?;
    let split = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(split);
    let missing = 3usize.saturating_sub(core.split('.').count());
    let full = format!("{core}{}{rest}", ".0".repeat(missing));
    semver::Version::parse(&full)
        .map_err(|error| BadVersion { text: text.to_owned(), why: error.to_string() })
}

fn deb(text: &str) -> Result<debversion::Version, BadVersion> {
    bounded(text)?;
    text.parse().map_err(|error| BadVersion { text: text.to_owned(), why: format!("{error}") })
}

fn bounded(text: &str) -> Result<(), BadVersion> {
    if text.is_empty() || text.len() > VERSION_BYTES_MAX {
        let why = format!("it has {} characters, 1 to {VERSION_BYTES_MAX} are allowed", text.len());
        return Err(BadVersion { text: text.chars().take(VERSION_BYTES_MAX).collect(), why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_an_unknown_scheme_are_compared_as_well_as_can_be() {
        for (a, b) in [("1", "1"), ("1.9", "1.10"), ("2", "2.0.1"), ("1:1.0-1", "1:1.0-2"), ("odd_", "odd_")]
        {
            assert!(not_above(a, b), "{a} {b}");
        }
        assert!(!not_above("2.0", "1.9") && !not_above("1:2", "2") && !not_above("a_", "b c"));
    }

    #[test]
    fn versions_are_ordered_by_their_scheme() {
        use Ordering::{Equal, Greater, Less};
        let check = |order, a, b, expect| assert_eq!(compare(order, a, b), Ok(expect), "{a} {b}");
        check(VersionOrder::Semver, "1", "1.0.0", Equal);
        check(VersionOrder::Semver, "1.10", "1.9", Greater);
        check(VersionOrder::Semver, "2.0-rc1", "2.0", Less);
        check(VersionOrder::Deb, "1.0~rc1", "1.0", Less);
        check(VersionOrder::Deb, "1:0.1", "9.0", Greater);
        assert!(compare(VersionOrder::Semver, "x", "1").is_err());
        assert!(super::check(VersionOrder::Semver, "").is_err());
    }
}
