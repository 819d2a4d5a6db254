//! Names and ids. A text from outside becomes one of these types once, at the edge, or is refused there.

use std::fmt;
use std::str::FromStr;

/// Longest name of a host, cabinet or group, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Words that are destinations or addresses and can therefore not be names of hosts.
pub const RESERVED_NAMES: [&str; 4] = ["all", "all-relays", "all+relays", "server"];

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadId {
    /// Empty, or longer than [`NAME_BYTES_MAX`].
    Length(usize),
    /// A character that names do not have.
    Character(char),
    /// One of [`RESERVED_NAMES`].
    Reserved(String),
    /// Not hexadecimal of the right length (expected digits).
    Hex(usize),
    /// Not `issuer/number` or a number.
    JobNumber(String),
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadId::Length(n) => write!(f, "a name has 1 to {NAME_BYTES_MAX} characters, this one {n}"),
            BadId::Character(c) => {
                write!(
                    f,
                    "a name is made of letters, digits, '.', '_' and '-' and begins with a letter or digit, not {c:?}"
                )
            }
            BadId::Reserved(word) => write!(f, "'{word}' is a destination and cannot be a name"),
            BadId::Hex(digits) => write!(f, "expected {digits} hexadecimal digits"),
            BadId::JobNumber(text) => write!(f, "'{text}' is not a job: write its number, or ISSUER/NUMBER"),
        }
    }
}

impl std::error::Error for BadId {}

/// A host's, cabinet's or group's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, safe in paths, URLs and terminals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks `text` against the rules of names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Name, BadId> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(BadId::Length(text.len()));
        }
        let fits =
            |(i, c): (usize, char)| c.is_ascii_alphanumeric() || (i > 0 && matches!(c, '.' | '_' | '-'));
        if let Some((_, c)) = text.char_indices().find(|&pair| !fits(pair)) {
            return Err(BadId::Character(c));
        }
        Ok(Name(text.to_owned()))
    }

    /// As [`Name::new`], and refuses [`RESERVED_NAMES`]: for hosts.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn for_host(text: &str) -> Result<Name, BadId> {
        if RESERVED_NAMES.contains(&text) {
            return Err(BadId::Reserved(text.to_owned()));
        }
        Name::new(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Name, BadId> {
        Name::new(text)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<$name, BadId> {
                let mut bytes = [0; $bytes];
                unhex(text, &mut bytes)?;
                Ok($name(bytes))
            }
        }
    };
}

hex_id!(
    /// A system's id: random, given at joining, kept by its name through `token new --replace`.
    HostId,
    16
);
hex_id!(
    /// A group's id: random, given when it is made, so that a name that is used again is another group.
    GroupId,
    16
);
hex_id!(
    /// A package's identity: BLAKE3 of its whole manifest (the signed payload's bytes).
    PackageId,
    32
);

fn unhex(text: &str, out: &mut [u8]) -> Result<(), BadId> {
    let bad = BadId::Hex(out.len() * 2);
    if text.len() != out.len() * 2 || !text.is_ascii() {
        return Err(bad);
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err(bad);
        };
        *byte = (high * 16 + low) as u8;
    }
    Ok(())
}

/// Names one life of a system's state: random, made at joining and at restore. A cursor is worth something only together
/// with the incarnation it was given for (design section 6, "Feeds and outboxes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A job's identity: who issued it, in which epoch of the issuer (raised at restore, so that numbers never mean two
/// jobs), and its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// `server` for the managing server, else the relay's name.
    pub issuer: String,
    /// The issuer's epoch, from 1.
    pub epoch: u64,
    /// From 1.
    pub number: u64,
}

/// The managing server as an issuer.
pub const SERVER: &str = "server";

impl JobKey {
    /// A job of the managing server.
    pub fn server(epoch: u64, number: u64) -> JobKey {
        JobKey { issuer: SERVER.to_owned(), epoch, number }
    }
}

impl fmt::Display for JobKey {
    /// `server/3`, as it is addressed and as `id` in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer, self.number)
    }
}

/// How a user addresses a job: `3` (issued by the system asked) or `osaka/3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAddress {
    /// The issuer, if it was named.
    pub issuer: Option<String>,
    /// The number.
    pub number: u64,
}

impl FromStr for JobAddress {
    type Err = BadId;
    fn from_str(text: &str) -> Result<JobAddress, BadId> {
        let bad = || BadId::JobNumber(text.to_owned());
        let (issuer, number) = match text.split_once('/') {
            Some((issuer, number)) => (Some(Name::new(issuer)?.0), number),
            None => (None, text),
        };
        Ok(JobAddress { issuer, number: number.parse().map_err(|_| bad())? })
    }
}

/// A package as people write it: `cabinet/name@version:generation`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageLabel {
    /// The cabinet.
    pub cabinet: String,
    /// The package's name.
    pub name: String,
    /// The version's text, unescaped.
    pub version: String,
    /// From 1; every other manifest under the same name and version is a new generation.
    pub generation: u32,
}

impl fmt::Display for PackageLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.replace(':', "%3A");
        write!(f, "{}/{}@{version}:{}", self.cabinet, self.name, self.generation)
    }
}

/// A package as asked for: left out, cabinet means `main`, version and generation the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageQuery {
    /// The cabinet, `main` if it was left out.
    pub cabinet: String,
    /// The package's name.
    pub name: String,
    /// The version's text, if given.
    pub version: Option<String>,
    /// The generation, if given.
    pub generation: Option<u32>,
}

impl FromStr for PackageQuery {
    type Err = BadId;
    fn from_str(text: &str) -> Result<PackageQuery, BadId> {
        let (cabinet, rest) = text.split_once('/').unwrap_or(("main", text));
        let (name, tail) = match rest.split_once('@') {
            Some((name, tail)) => (name, Some(tail)),
            None => (rest, None),
        };
        let (version, generation) = match tail {
            None => (None, None),
            Some(tail) => match tail.rsplit_once(':') {
                None => (Some(tail), None),
                Some((version, digits)) => {
                    let generation = digits.parse().map_err(|_| BadId::Character(':'))?;
                    (Some(version), Some(generation))
                }
            },
        };
        // A package's name may hold '+' beside what names of hosts hold; everything else is the same rule.
        let plain = name.replace('+', "-");
        Name::new(&plain)?;
        Ok(PackageQuery {
            cabinet: Name::new(cabinet)?.0,
            name: name.to_owned(),
            version: version.map(|v| v.replace("%3A", ":").replace("%3a", ":")),
            generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["pc17", "a", "Osaka-2", "x.y_z"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "../x", "ü", &"a".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Name::for_host("all"), Err(BadId::Reserved("all".into())));
    }

    #[test]
    fn packages_are_addressed_as_people_write_them() {
        let q: PackageQuery = "office/editor@2%3A1.0:3".parse().unwrap();
        assert_eq!((q.cabinet.as_str(), q.name.as_str()), ("office", "editor"));
        assert_eq!((q.version.as_deref(), q.generation), (Some("2:1.0"), Some(3)));
        let q: PackageQuery = "editor".parse().unwrap();
        assert_eq!((q.cabinet.as_str(), q.version, q.generation), ("main", None, None));
        assert!("a/b/c".parse::<PackageQuery>().is_err());
        assert!("a/b@1:x".parse::<PackageQuery>().is_err());
        let label =
            PackageLabel { cabinet: "c".into(), name: "n".into(), version: "1:2".into(), generation: 1 };
        assert_eq!(label.to_string(), "c/n@1%3A2:1");
    }

    #[test]
    fn ids_read_what_they_print() {
        let id = HostId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("zz".parse::<HostId>().is_err());
        assert_eq!("osaka/3".parse(), Ok(JobAddress { issuer: Some("osaka".into()), number: 3 }));
        assert!("x".parse::<JobAddress>().is_err());
    }
}
