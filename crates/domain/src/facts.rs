//! What a host says of itself: names and values, all texts, typed only where a condition compares them.

use std::collections::BTreeMap;
use std::fmt;

/// Most facts of one host.
pub const FACTS_MAX: usize = 64;
/// Longest name of a fact, in bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// Longest value of a fact, in bytes.
pub const VALUE_BYTES_MAX: usize = 256;

/// What every agent tells, as far as its system says it. Sizes are in bytes.
pub const STANDARD: [(&str, &str); 13] = [
    ("os", "the operating system: linux"),
    ("os_id", "the distribution: debian, rhel, …"),
    ("os_version", "the distribution's version"),
    ("arch", "the processor's architecture: x86_64, aarch64, …"),
    ("kernel", "the kernel's version"),
    ("hostname", "the machine's own name"),
    ("cpus", "processors"),
    ("memory", "memory in bytes"),
    ("disk_size", "size of the disk below the root, in bytes"),
    ("disk_free", "what is free of it, in bytes"),
    ("zone", "the machine's time zone: Asia/Tokyo"),
    ("virtual", "yes or no: a virtual machine, as far as it shows"),
    ("packhorse_version", "the agent's version"),
];

/// Facts that follow from where the managing server says a host stands; no host says them of itself.
pub const PLACED: [(&str, &str); 2] = [("name", "the host's name here"), ("role", "client or relay")];

/// Whether every agent tells this fact, or a place says it.
pub fn is_known(name: &str) -> bool {
    STANDARD.iter().chain(&PLACED).any(|(known, _)| *known == name)
}

/// Why a fact is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadFact {
    /// The name is none.
    Name(String),
    /// The managing server says it, not the host.
    Placed(String),
    /// The value is too long, or holds what cannot be shown.
    Value(String),
    /// More than [`FACTS_MAX`].
    Count(usize),
}

impl fmt::Display for BadFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFact::Name(name) => write!(
                f,
                "{name:?} is not the name of a fact: up to {NAME_BYTES_MAX} of a-z, 0-9 and '_', beginning with a letter"
            ),
            BadFact::Placed(name) => {
                write!(f, "'{name}' follows from the host's place and is not said by it")
            }
            BadFact::Value(name) => {
                write!(f, "the value of '{name}' is not up to {VALUE_BYTES_MAX} bytes that can be shown")
            }
            BadFact::Count(count) => write!(f, "{count} facts, at most {FACTS_MAX} are possible"),
        }
    }
}

impl std::error::Error for BadFact {}

/// Whether a text is the name of a fact.
pub fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(letters)
}

/// The facts of one host, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts(BTreeMap<String, String>);

/// No facts: nothing is known of the host.
pub static NONE: Facts = Facts(BTreeMap::new());

impl Facts {
    /// Checks what a host says. A name that comes twice counts as it came last.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new(said: impl IntoIterator<Item = (String, String)>) -> Result<Facts, BadFact> {
        let mut facts = Facts::default();
        for (name, value) in said {
            facts.set(&name, &value)?;
        }
        Ok(facts)
    }

    /// Sets one.
    ///
    /// # Errors
    /// It is not one, or one too many.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadFact> {
        let short = || name.chars().take(NAME_BYTES_MAX).collect::<String>();
        if !is_name(name) {
            return Err(BadFact::Name(short()));
        }
        if PLACED.iter().any(|(placed, _)| *placed == name) {
            return Err(BadFact::Placed(short()));
        }
        if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(BadFact::Value(short()));
        }
        if !self.0.contains_key(name) && self.0.len() >= FACTS_MAX {
            return Err(BadFact::Count(self.0.len() + 1));
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything but the free disk is different.
    pub fn differ(&self, other: &Facts) -> bool {
        let rest = |facts: &Facts| {
            facts.iter().filter(|(name, _)| *name != "disk_free").map(own).collect::<Vec<_>>()
        };
        rest(self) != rest(other)
    }

    /// Whether the first two digits of the free disk are. So a threshold that is written with two digits is never missed, and
    /// a disk that is being filled does not fill the line.
    pub fn disk_moved(&self, other: &Facts) -> bool {
        coarse(self.get("disk_free")) != coarse(other.get("disk_free"))
    }
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// How many digits, and the first two of them.
fn coarse(value: Option<&str>) -> Option<(usize, &str)> {
    value.map(|value| (value.len(), value.get(..2).unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(said: &[(&str, &str)]) -> Result<Facts, BadFact> {
        Facts::new(said.iter().copied().map(own))
    }

    #[test]
    fn what_is_no_fact_is_refused() {
        assert_eq!(facts(&[("Os", "linux")]), Err(BadFact::Name("Os".into())));
        assert_eq!(facts(&[("role", "relay")]), Err(BadFact::Placed("role".into())));
        assert_eq!(facts(&[("os", "a\u{1b}[2J")]), Err(BadFact::Value("os".into())));
        assert_eq!(facts(&[("os", &"x".repeat(257))]), Err(BadFact::Value("os".into())));
        let many = (0..65).map(|n| (format!("x{n}"), String::new()));
        assert_eq!(Facts::new(many), Err(BadFact::Count(65)));
        assert_eq!(facts(&[("os", "a"), ("os", "b")]).unwrap().get("os"), Some("b"));
    }

    #[test]
    fn a_disk_that_fills_is_told_now_and_then() {
        let with = |free: &str| facts(&[("os", "linux"), ("disk_free", free)]).unwrap();
        assert!(!with("20400000000").disk_moved(&with("20100000000")));
        assert!(with("20400000000").disk_moved(&with("19999999999")));
        assert!(with("2040000000").disk_moved(&with("20400000000")));
        let without = facts(&[("os", "linux")]).unwrap();
        assert!(without.disk_moved(&with("20400000000")) && !without.differ(&with("20400000000")));
        assert!(facts(&[("os", "bsd"), ("disk_free", "1")]).unwrap().differ(&with("1")));
    }

    #[test]
    fn standard_facts_are_facts() {
        for (name, _) in STANDARD {
            assert!(is_name(name) && is_known(name), "{name}");
            assert!(Facts::default().set(name, "x").is_ok(), "{name}");
        }
    }
}
