//! Ids and hashes on the wire: byte strings in CBOR, hexadecimal in JSON.

use std::fmt;

use packhorse_domain::ids::{HostId, PackageId};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed<const N: usize>(pub [u8; N]);

/// A host's id.
pub type Id16 = Fixed<16>;
/// A package's id, or a hash.
pub type Id32 = Fixed<32>;

impl<const N: usize> fmt::Debug for Fixed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> fmt::Display for Fixed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<HostId> for Id16 {
    fn from(id: HostId) -> Id16 {
        Fixed(id.0)
    }
}

impl From<Id16> for HostId {
    fn from(id: Id16) -> HostId {
        HostId(id.0)
    }
}

impl From<PackageId> for Id32 {
    fn from(id: PackageId) -> Id32 {
        Fixed(id.0)
    }
}

impl From<Id32> for PackageId {
    fn from(id: Id32) -> PackageId {
        PackageId(id.0)
    }
}

impl<const N: usize> Serialize for Fixed<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de, const N: usize> Deserialize<'de> for Fixed<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fixed<N>, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(FixedVisitor)
        } else {
            deserializer.deserialize_bytes(FixedVisitor)
        }
    }
}

struct FixedVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for FixedVisitor<N> {
    type Value = Fixed<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Fixed<N>, E> {
        bytes.try_into().map(Fixed).map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Fixed<N>, E> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let bytes: Option<Vec<u8>> = digits
            .filter(|digits| digits.len() == N * 2)
            .map(|digits| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect());
        let bytes = bytes.ok_or_else(|| E::custom(format!("expected {} hexadecimal digits", N * 2)))?;
        self.visit_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_cbor_and_digits_in_json() {
        let id = Fixed([0xab; 16]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(16)));
        assert_eq!(serde_json::from_str::<Id16>(&json).unwrap(), id);
        let mut cbor = Vec::new();
        ciborium::into_writer(&id, &mut cbor).unwrap();
        assert_eq!(cbor.len(), 17);
        assert_eq!(ciborium::from_reader::<Id16, _>(&cbor[..]).unwrap(), id);
        assert!(ciborium::from_reader::<Id32, _>(&cbor[..]).is_err());
        assert!(serde_json::from_str::<Id16>("\"zz\"").is_err());
    }
}
