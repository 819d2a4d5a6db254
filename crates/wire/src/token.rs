//! Join tokens: the one line an administrator carries to a new machine.
//!
//! `phj1.` and then the base64url of a CBOR map: a secret of 32 bytes, the role the new host will have, the fingerprint
//! of the certificate authority, and optionally the address to call. Uses and end are known at the server only.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::pki::{PkiError, Role};

/// What every token of this version begins with.
const PREFIX: &str = "phj1.";

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 2048;

/// Longest server hint, in bytes.
const MAX_SERVER_BYTES: usize = 512;

/// Separates the stored hash of a secret from every other hash in the system.
const HASH_CONTEXT: &str = "packhorse 2026 join token secret v1";

/// Why text is not a usable join token. Never repeats the text: it may hold a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// It does not begin like a token.
    #[error("not a join token: it must begin with {PREFIX}; make one with `packhorse token new`")]
    NotAToken,
    /// A token of a newer or older version.
    #[error("join token of another version: make one with the server this host will join")]
    OtherVersion,
    /// Cut short or altered when it was copied.
    #[error("join token is damaged, copy it again in full: {0}")]
    Damaged(&'static str),
    /// A role that no host can join with.
    #[error("a host cannot join as {0}")]
    Role(&'static str),
    /// The address given for the server is too long.
    #[error("server address in a join token is longer than {MAX_SERVER_BYTES} bytes")]
    ServerTooLong,
}

/// A join token. Its `Debug` shows everything but the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: [u8; 32],
    role: Role,
    ca_fingerprint: [u8; 32],
    server: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(with = "serde_bytes")]
    secret: [u8; 32],
    role: Role,
    #[serde(with = "serde_bytes")]
    ca: [u8; 32],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("role", &self.role)
            .field("ca_fingerprint", &self.ca_fingerprint())
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// Makes a token with a new secret for a relay or client to join with.
    ///
    /// `ca_fingerprint` is 64 hex digits as [`crate::pki::CaCert::fingerprint`] gives them; `server` is the URL to call,
    /// if it should be carried along.
    ///
    /// # Errors
    /// [`TokenError`] for another role, fingerprint or an overlong server; [`PkiError::Crypto`] without randomness.
    pub fn new(role: Role, ca_fingerprint: &str, server: Option<String>) -> Result<Self, NewTokenError> {
        check_role(role)?;
        if server.as_ref().is_some_and(|server| server.len() > MAX_SERVER_BYTES) {
            return Err(TokenError::ServerTooLong.into());
        }
        let ca_fingerprint =
            from_hex(ca_fingerprint).ok_or(TokenError::Damaged("the fingerprint is not SHA-256"))?;
        Ok(Self { secret: crate::pki::random()?, role, ca_fingerprint, server })
    }

    /// Reads a token; white space around it is ignored.
    ///
    /// # Errors
    /// [`TokenError`], which says what to do.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(body) = text.strip_prefix(PREFIX) else {
            return Err(not_ours(text));
        };
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Damaged("it is too long"));
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TokenError::Damaged("characters are missing or wrong"))?;
        Self::from_cbor(&bytes)
    }

    /// The text to hand out. It is a secret until it is used up or ends.
    pub fn to_secret_text(&self) -> String {
        let fields = Fields {
            secret: self.secret,
            role: self.role,
            ca: self.ca_fingerprint,
            server: self.server.clone(),
        };
        let mut bytes = Vec::new();
        // Writing plain fields into memory cannot fail; were it to, the empty token is refused when read.
        if ciborium::into_writer(&fields, &mut bytes).is_err() {
            bytes.clear();
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The role a host gets by this token.
    pub fn role(&self) -> Role {
        self.role
    }

    /// SHA-256 of the authority's certificate as 64 hex digits.
    pub fn ca_fingerprint(&self) -> String {
        crate::pki::hex(&self.ca_fingerprint)
    }

    /// The URL to call, if the token carries one.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The secret to send when joining.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// What the server stores instead of the secret: BLAKE3, keyed to this use.
    pub fn secret_hash(&self) -> [u8; 32] {
        hash_secret(&self.secret)
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, TokenError> {
        let mut rest = bytes;
        let fields: Fields = ciborium::from_reader(&mut rest)
            .map_err(|_| TokenError::Damaged("its content cannot be read"))?;
        if !rest.is_empty() {
            return Err(TokenError::Damaged("something follows its end"));
        }
        check_role(fields.role)?;
        if fields.server.as_ref().is_some_and(|server| server.len() > MAX_SERVER_BYTES) {
            return Err(TokenError::ServerTooLong);
        }
        Ok(Self {
            secret: fields.secret,
            role: fields.role,
            ca_fingerprint: fields.ca,
            server: fields.server,
        })
    }
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NewTokenError {
    /// What it should hold is not acceptable.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No randomness.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// The stored form of a secret as it arrives in a join request; equals [`Token::secret_hash`] of the same token.
pub fn hash_secret(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key(HASH_CONTEXT, secret)
}

fn check_role(role: Role) -> Result<(), TokenError> {
    match role {
        Role::Relay | Role::Client => Ok(()),
        Role::Server | Role::Admin | Role::RelayAdmin => Err(TokenError::Role(role.as_str())),
    }
}

fn not_ours(text: &str) -> TokenError {
    let versioned = text.strip_prefix("phj").and_then(|rest| rest.split_once('.'));
    match versioned {
        Some((version, _)) if !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => {
            TokenError::OtherVersion
        }
        _ => TokenError::NotAToken,
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() != 64 {
        return None;
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Token {
        Token::new(Role::Relay, &"ab".repeat(32), Some("https://hq:8440".into())).unwrap()
    }

    #[test]
    fn text_is_read_back() {
        let token = sample();
        let read = Token::parse(&format!("  {}\n", token.to_secret_text())).unwrap();
        assert_eq!(read, token);
        assert_eq!(read.role(), Role::Relay);
        assert_eq!(read.ca_fingerprint(), "ab".repeat(32));
        assert_eq!(read.server(), Some("https://hq:8440"));
        assert_eq!(read.secret_hash(), hash_secret(token.secret()));
    }

    #[test]
    fn bad_text_gets_a_clear_refusal() {
        let text = sample().to_secret_text();
        assert_eq!(Token::parse("").unwrap_err(), TokenError::NotAToken);
        assert_eq!(Token::parse("hello").unwrap_err(), TokenError::NotAToken);
        assert_eq!(Token::parse("phj2.AAAA").unwrap_err(), TokenError::OtherVersion);
        for cut in [PREFIX.len(), text.len() / 2, text.len() - 1] {
            assert!(matches!(Token::parse(&text[..cut]), Err(TokenError::Damaged(_))), "cut at {cut}");
        }
        assert!(matches!(Token::parse(&format!("{text}AAAA")), Err(TokenError::Damaged(_))));
        assert!(matches!(
            Token::parse(&format!("{PREFIX}{}", "A".repeat(4000))),
            Err(TokenError::Damaged(_))
        ));
        assert!(matches!(Token::parse(&format!("{PREFIX}ü")), Err(TokenError::Damaged(_))));
    }

    #[test]
    fn nobody_joins_as_server_or_administrator() {
        for role in [Role::Server, Role::Admin, Role::RelayAdmin] {
            assert!(Token::new(role, &"ab".repeat(32), None).is_err());
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let token = sample();
        let shown = format!("{token:?}");
        assert!(!shown.contains("secret") && !shown.contains(&crate::pki::hex(token.secret())), "{shown}");
        assert!(!shown.contains(&format!("{:?}", token.secret())), "{shown}");
    }
}
