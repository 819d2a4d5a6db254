//! The identity a certificate carries, and its one textual form.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::PkiError;

/// Scheme of the URI by which a certificate names its identity.
const SCHEME: &str = "packhorse://";

/// Longest host name, in bytes: that of a DNS label, so that every name can also be one.
const MAX_NAME_BYTES: usize = 63;

/// What the holder of a certificate is within the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The managing server.
    Server,
    /// A relay system; it is a server to what is below it and a client to what is above.
    Relay,
    /// A host that only receives.
    Client,
    /// A person or script that administers the whole fleet.
    Admin,
    /// A person or script that administers one relay.
    RelayAdmin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Server, Role::Relay, Role::Client, Role::Admin, Role::RelayAdmin];

    /// The word used in certificates, tokens and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Relay => "relay",
            Role::Client => "client",
            Role::Admin => "admin",
            Role::RelayAdmin => "relay-admin",
        }
    }

    /// The role named by exactly this word.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether lower systems connect to a holder of this role.
    pub fn listens(self) -> bool {
        matches!(self, Role::Server | Role::Relay)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who the holder of a certificate is: `packhorse://<role>/<id>/<name>?gen=<generation>` in its subject alternative
/// names.
///
/// The id is what lasts; the name may pass to another machine (`token new --replace`), which then has a new id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CertIdentity {
    /// What the holder is.
    pub role: Role,
    /// 16 random bytes as 32 lower-case hex digits, see [`new_id`].
    pub id: String,
    /// The host's name: 1 to 63 of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
    pub name: String,
    /// Counts the certificates issued to this id; the issuer decides which are still good.
    pub generation: u64,
}

impl CertIdentity {
    /// The identity as the URI that goes into a certificate.
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}?gen={}", self.role, self.id, self.name, self.generation)
    }

    /// Reads the URI form back; only the exact form that [`CertIdentity::to_uri`] writes is accepted.
    ///
    /// # Errors
    /// [`PkiError::Identity`] with the part that is wrong.
    pub fn parse_uri(uri: &str) -> Result<Self, PkiError> {
        let identity = split_uri(uri).ok_or_else(|| {
            PkiError::Identity(format!("{:?} is not packhorse://ROLE/ID/NAME?gen=N", shortened(uri)))
        })?;
        identity.check()?;
        // One spelling each: `gen=01` or a stray separator would otherwise be a second name for the same host.
        if identity.to_uri() != uri {
            return Err(PkiError::Identity(format!("{:?} is not in canonical form", shortened(uri))));
        }
        Ok(identity)
    }

    /// Checks id and name.
    ///
    /// # Errors
    /// [`PkiError::Identity`] or [`PkiError::Name`].
    pub fn check(&self) -> Result<(), PkiError> {
        if !is_id(&self.id) {
            let id = shortened(&self.id);
            return Err(PkiError::Identity(format!("id {id:?} is not 32 lower-case hex digits")));
        }
        check_name(&self.name)
    }
}

impl fmt::Display for CertIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.role, self.name, self.id)
    }
}

fn split_uri(uri: &str) -> Option<CertIdentity> {
    let (path, generation) = uri.strip_prefix(SCHEME)?.split_once("?gen=")?;
    let mut parts = path.splitn(3, '/');
    let role = Role::from_word(parts.next()?)?;
    let id = parts.next()?.to_owned();
    let name = parts.next()?.to_owned();
    Some(CertIdentity { role, id, name, generation: generation.parse().ok()? })
}

fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks that a host name fits into a certificate: 1 to 63 of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
///
/// # Errors
/// [`PkiError::Name`] with the rule it breaks.
pub fn check_name(name: &str) -> Result<(), PkiError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it is longer than 63 characters"
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "it must begin with a letter or digit"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        "only letters, digits, '.', '_' and '-' are allowed"
    } else {
        return Ok(());
    };
    Err(PkiError::Name { name: shortened(name), why })
}

/// A new random id: 16 bytes from the operating system as 32 lower-case hex digits.
///
/// # Errors
/// [`PkiError::Crypto`] when the operating system has no randomness to give.
pub fn new_id() -> Result<String, PkiError> {
    Ok(hex(&random::<16>()?))
}

/// `N` random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|error| PkiError::Crypto(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// At most 80 characters of text from outside, for an error message.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CertIdentity {
        CertIdentity {
            role: Role::RelayAdmin,
            id: "0123456789abcdef".repeat(2),
            name: "osaka".into(),
            generation: 7,
        }
    }

    #[test]
    fn uri_is_read_back() {
        let uri = sample().to_uri();
        assert_eq!(uri, "packhorse://relay-admin/0123456789abcdef0123456789abcdef/osaka?gen=7");
        assert_eq!(CertIdentity::parse_uri(&uri).unwrap(), sample());
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = "0123456789abcdef".repeat(2);
        for uri in [
            String::new(),
            format!("http://relay/{id}/osaka?gen=7"),
            format!("packhorse://root/{id}/osaka?gen=7"),
            format!("packhorse://relay/{}/osaka?gen=7", id.to_uppercase()),
            format!("packhorse://relay/{}/osaka?gen=7", &id[1..]),
            format!("packhorse://relay/{id}/osaka?gen=07"),
            format!("packhorse://relay/{id}/osaka?gen=+7"),
            format!("packhorse://relay/{id}/osaka?gen=7&x=1"),
            format!("packhorse://relay/{id}/osaka"),
            format!("packhorse://relay/{id}/a/b?gen=7"),
            format!("packhorse://relay/{id}/?gen=7"),
            format!("packhorse://relay/{id}/..?gen=7"),
            format!("packhorse://relay/{id}/{}?gen=7", "a".repeat(64)),
        ] {
            assert!(CertIdentity::parse_uri(&uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn ids_are_valid_and_differ() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert!(is_id(&one) && is_id(&two) && one != two);
    }
}
