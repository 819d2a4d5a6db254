//! The one envelope for everything that is signed: manifests, jobs, memberships, delegations, the trust document.
//!
//! It follows DSSE: a type, the exact payload bytes, signatures over both. The order of work for a reader is fixed:
//! [`Envelope::decode`] (size limit) → [`Envelope::verify`] (who signed) → [`from_cbor_limited`] (what it says).
//! Nothing is parsed before it is verified, and the bytes that were received are what is kept and passed on.
//!
//! An envelope is a CBOR map with the fields `payload_type` (text), `payload` (bytes), `signatures` (array of maps
//! with `key_id` (16 bytes) and `sig` (64 bytes)).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

/// What an envelope or a key may measure at most. Whatever is larger is refused before it is looked at.
pub struct Limits;

impl Limits {
    /// Signatures in one envelope.
    pub const SIGNATURES: usize = 16;
    /// Length of the payload type, in bytes.
    pub const PAYLOAD_TYPE_BYTES: usize = 128;
    /// Length of a key file or a key's text form, in bytes.
    pub const KEY_TEXT_BYTES: usize = 4096;
    /// What an envelope may add to its payload, in bytes: type, signatures, field names.
    pub const ENVELOPE_EXTRA_BYTES: usize = 8 * 1024;
}

const KEY_FILE_VERSION: &str = "packhorse-signing-key v1";
const PUBLIC_KEY_PREFIX: &str = "packhorse-key:ed25519:";
const SIGNATURE_BYTES: usize = 64;

/// What can be wrong with an envelope. The text fits after "failed to verify: ".
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope, or larger than allowed.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another kind of document than the reader asked for.
    #[error("envelope holds a document of type {found:?}, expected {expected:?}")]
    WrongType {
        /// The type the reader asked for.
        expected: String,
        /// The type in the envelope.
        found: String,
    },
    /// Fewer trusted keys signed than needed.
    #[error(
        "{valid} of {needed} needed signatures are valid and by trusted keys ({unknown} by unknown keys)"
    )]
    TooFewSignatures {
        /// Unique trusted keys whose signature holds.
        valid: usize,
        /// The threshold asked for.
        needed: usize,
        /// Signatures by keys the reader does not know.
        unknown: usize,
    },
    /// A signature by a trusted key does not fit the bytes: the document or the signature was changed.
    #[error("signature by key {0} does not fit the document: it was changed after signing")]
    BadSignature(KeyId),
    /// A threshold of zero would accept unsigned documents.
    #[error("a threshold of 0 signatures is never enough")]
    ZeroThreshold,
    /// More signatures or a longer type than allowed.
    #[error("envelope has too many signatures or too long a type (limits: 16 signatures, 128 bytes)")]
    TooLarge,
    /// The crypto library could not sign.
    #[error("signing failed in the crypto library")]
    Signing,
}

/// What can be wrong with CBOR bytes.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Larger than the limit of this boundary.
    #[error("document of {size} bytes is larger than the {limit} bytes allowed")]
    TooLarge {
        /// Size received, in bytes.
        size: usize,
        /// Limit, in bytes.
        limit: usize,
    },
    /// Not CBOR, or not of this shape: wrong, missing or unknown field.
    #[error("document cannot be read: {0}")]
    Malformed(String),
    /// Something follows the document.
    #[error("{0} bytes follow the end of the document")]
    TrailingBytes(usize),
    /// A value cannot be written as CBOR.
    #[error("value cannot be written: {0}")]
    Unwritable(String),
}

/// What can be wrong with a key's text.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The first line is not a known version.
    #[error("not a packhorse signing key: the first line must be {KEY_FILE_VERSION:?}")]
    UnknownVersion,
    /// Not base64, not PKCS#8, not Ed25519, or too long.
    #[error("signing key is damaged: {0}")]
    Damaged(&'static str),
    /// The text of a public key has another form.
    #[error("not a public key: expected {PUBLIC_KEY_PREFIX}<base64 of 32 bytes>")]
    NotAPublicKey,
    /// The crypto library could not make a key.
    #[error("the crypto library could not make a key")]
    Generating,
}

/// Writes a value as CBOR. Errors: the value holds something CBOR cannot express.
pub fn to_cbor<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).map_err(|error| CborError::Unwritable(error.to_string()))?;
    Ok(out)
}

/// Reads one CBOR value that fills `bytes` exactly. Errors: more than `limit_bytes`, malformed, bytes left over.
pub fn from_cbor_limited<T: DeserializeOwned>(bytes: &[u8], limit_bytes: usize) -> Result<T, CborError> {
    if bytes.len() > limit_bytes {
        return Err(CborError::TooLarge { size: bytes.len(), limit: limit_bytes });
    }
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|error| CborError::Malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(CborError::TrailingBytes(rest.len())) }
}

/// Names a key: the first 16 bytes of the BLAKE3 of the public key. Text form: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        bytes.as_slice().try_into().map(KeyId).map_err(|_| D::Error::custom("a key id has 16 bytes"))
    }
}

/// An Ed25519 public key, 32 bytes. Text and serde form: `packhorse-key:ed25519:<base64>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The key's name in envelopes and on screens.
    pub fn id(&self) -> KeyId {
        let hash = blake3::hash(&self.0);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        KeyId(id)
    }

    fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PUBLIC_KEY_PREFIX}{}", BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > Limits::KEY_TEXT_BYTES {
            return Err(KeyError::NotAPublicKey);
        }
        let encoded = text.trim().strip_prefix(PUBLIC_KEY_PREFIX).ok_or(KeyError::NotAPublicKey)?;
        let bytes = BASE64.decode(encoded).map_err(|_| KeyError::NotAPublicKey)?;
        bytes.as_slice().try_into().map(PublicKey).map_err(|_| KeyError::NotAPublicKey)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// An Ed25519 key pair that signs. Its text form is a file of two lines: the version, the base64 of the PKCS#8.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new key from the system's randomness. Errors: the system has none.
    pub fn generate() -> Result<Self, KeyError> {
        Ed25519KeyPair::generate().map(|pair| Self { pair }).map_err(|_| KeyError::Generating)
    }

    /// Reads the text form. Errors: another version, damaged, not Ed25519.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        if text.len() > Limits::KEY_TEXT_BYTES {
            return Err(KeyError::Damaged("too long"));
        }
        let (version, body) = text.split_once('\n').ok_or(KeyError::UnknownVersion)?;
        if version.trim_end() != KEY_FILE_VERSION {
            return Err(KeyError::UnknownVersion);
        }
        let pkcs8 = BASE64.decode(body.trim()).map_err(|_| KeyError::Damaged("second line is not base64"))?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::Damaged("not an Ed25519 key"))?;
        Ok(Self { pair })
    }

    /// Writes the text form; whoever stores it gives the file mode 0600. Errors: the crypto library refuses.
    pub fn to_text(&self) -> Result<String, KeyError> {
        let pkcs8 = self.pair.to_pkcs8().map_err(|_| KeyError::Damaged("cannot be exported"))?;
        Ok(format!("{KEY_FILE_VERSION}\n{}\n", BASE64.encode(pkcs8.as_ref())))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.public().id())
    }
}

/// One signature: which key, and 64 bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Names the key; it proves nothing by itself.
    pub key_id: KeyId,
    /// The Ed25519 signature over the type and the payload.
    #[serde(with = "serde_bytes")]
    pub sig: Vec<u8>,
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature(by {})", self.key_id)
    }
}

/// A signed document. Fields are public to look at; what counts is what [`Envelope::verify`] returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// What the payload is; signed together with it.
    pub payload_type: String,
    /// The exact bytes that were signed.
    #[serde(with = "payload_bytes")]
    pub payload: Bytes,
    /// Who signed.
    pub signatures: Vec<Signature>,
}

mod payload_bytes {
    //! `Bytes` as a CBOR byte string.
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        ByteBuf::deserialize(deserializer).map(|bytes| Bytes::from(bytes.into_vec()))
    }
}

impl Envelope {
    /// Signs `payload` as a document of `payload_type` with every key given. Errors: the crypto library refuses.
    pub fn sign(payload_type: &str, payload: Bytes, keys: &[&SigningKey]) -> Result<Self, EnvelopeError> {
        let message = pre_authentication(payload_type, &payload);
        let signatures = keys.iter().map(|key| sign_one(key, &message)).collect::<Result<_, _>>()?;
        Ok(Self { payload_type: payload_type.to_owned(), payload, signatures })
    }

    /// Returns the payload if at least `threshold` different keys known to `keys` signed exactly these bytes as a
    /// document of `expected_type`.
    ///
    /// Keys are counted by their 32 bytes, so one key listed or signing twice counts once. A signature by an unknown
    /// key is passed over; a wrong signature in the name of a known key refuses the whole envelope.
    pub fn verify(
        &self,
        expected_type: &str,
        keys: impl Fn(&KeyId) -> Option<PublicKey>,
        threshold: usize,
    ) -> Result<&[u8], EnvelopeError> {
        self.check_shape(expected_type)?;
        if threshold == 0 {
            return Err(EnvelopeError::ZeroThreshold);
        }
        let message = pre_authentication(&self.payload_type, &self.payload);
        let mut signers = std::collections::BTreeSet::new();
        let mut unknown = 0;
        for signature in &self.signatures {
            match keys(&signature.key_id) {
                None => unknown += 1,
                Some(key) if key.accepts(&message, &signature.sig) => {
                    signers.insert(key);
                }
                Some(_) => return Err(EnvelopeError::BadSignature(signature.key_id)),
            }
        }
        if signers.len() < threshold {
            return Err(EnvelopeError::TooFewSignatures { valid: signers.len(), needed: threshold, unknown });
        }
        Ok(&self.payload)
    }

    fn check_shape(&self, expected_type: &str) -> Result<(), EnvelopeError> {
        if self.signatures.len() > Limits::SIGNATURES
            || self.payload_type.len() > Limits::PAYLOAD_TYPE_BYTES
            || self.signatures.iter().any(|signature| signature.sig.len() != SIGNATURE_BYTES)
        {
            return Err(EnvelopeError::TooLarge);
        }
        if self.payload_type != expected_type {
            return Err(EnvelopeError::WrongType {
                expected: expected_type.to_owned(),
                found: self.payload_type.clone(),
            });
        }
        Ok(())
    }

    /// The envelope as CBOR.
    pub fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        Ok(to_cbor(self)?)
    }

    /// Reads an envelope of at most `limit_bytes`. It is not verified yet: see [`Envelope::verify`].
    pub fn decode(bytes: &[u8], limit_bytes: usize) -> Result<Self, EnvelopeError> {
        Ok(from_cbor_limited(bytes, limit_bytes)?)
    }
}

fn sign_one(key: &SigningKey, message: &[u8]) -> Result<Signature, EnvelopeError> {
    let signature = key.pair.try_sign(message).map_err(|_| EnvelopeError::Signing)?;
    Ok(Signature { key_id: key.public().id(), sig: signature.as_ref().to_vec() })
}

/// DSSE's pre-authentication encoding: lengths keep type and payload from running into each other.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "application/vnd.packhorse.test";

    fn known(keys: &[PublicKey]) -> impl Fn(&KeyId) -> Option<PublicKey> + '_ {
        |id| keys.iter().find(|key| key.id() == *id).copied()
    }

    fn signed(keys: &[&SigningKey]) -> Envelope {
        Envelope::sign(TYPE, Bytes::from_static(b"hello"), keys).unwrap()
    }

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        assert_eq!(
            pre_authentication("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn round_trip_through_bytes() {
        let key = SigningKey::generate().unwrap();
        let bytes = signed(&[&key]).encode().unwrap();
        let envelope = Envelope::decode(&bytes, bytes.len()).unwrap();
        assert_eq!(envelope.verify(TYPE, known(&[key.public()]), 1).unwrap(), b"hello");
        assert_eq!(envelope.encode().unwrap(), bytes);
    }

    #[test]
    fn keys_survive_their_text() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_text(&key.to_text().unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        assert!(matches!(SigningKey::from_text("other v9\nAAAA\n"), Err(KeyError::UnknownVersion)));
        assert!("packhorse-key:ed25519:AAAA".parse::<PublicKey>().is_err());
    }

    #[test]
    fn one_key_counts_once() {
        let key = SigningKey::generate().unwrap();
        let envelope = signed(&[&key, &key]);
        let error = envelope.verify(TYPE, known(&[key.public()]), 2).unwrap_err();
        assert!(matches!(error, EnvelopeError::TooFewSignatures { valid: 1, needed: 2, unknown: 0 }));
        // Also when two ids lead to the same key.
        let mut renamed = signed(&[&key, &key]);
        renamed.signatures[1].key_id = KeyId([7; 16]);
        assert!(renamed.verify(TYPE, |_| Some(key.public()), 2).is_err());
        let other = SigningKey::generate().unwrap();
        let both = signed(&[&key, &other]);
        assert!(both.verify(TYPE, known(&[key.public(), other.public()]), 2).is_ok());
    }

    #[test]
    fn what_was_changed_is_refused() {
        let key = SigningKey::generate().unwrap();
        let trusted = [key.public()];
        let mut changed = signed(&[&key]);
        changed.payload = Bytes::from_static(b"hellp");
        assert!(matches!(changed.verify(TYPE, known(&trusted), 1), Err(EnvelopeError::BadSignature(_))));
        let mut retyped = signed(&[&key]);
        retyped.payload_type = "application/vnd.packhorse.other".into();
        assert!(matches!(
            retyped.verify("application/vnd.packhorse.other", known(&trusted), 1),
            Err(EnvelopeError::BadSignature(_))
        ));
        let genuine = signed(&[&key]);
        assert!(matches!(genuine.verify("x", known(&trusted), 1), Err(EnvelopeError::WrongType { .. })));
        assert!(matches!(genuine.verify(TYPE, known(&trusted), 0), Err(EnvelopeError::ZeroThreshold)));
        assert!(matches!(
            genuine.verify(TYPE, known(&[]), 1),
            Err(EnvelopeError::TooFewSignatures { unknown: 1, .. })
        ));
    }

    #[test]
    fn bytes_from_outside_are_limited() {
        let key = SigningKey::generate().unwrap();
        let bytes = signed(&[&key]).encode().unwrap();
        assert!(Envelope::decode(&bytes, bytes.len() - 1).is_err());
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(
            Envelope::decode(&longer, 1000),
            Err(EnvelopeError::Cbor(CborError::TrailingBytes(1)))
        ));
        for cut in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..cut], 1000).is_err());
        }
    }
}
