//! Package manifests made by hand: what no `package build` would ever write.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use ciborium::Value;
use packhorse_content::manifest::PAYLOAD_TYPE;
use packhorse_content::phk::PhkReader;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};

/// The manifest of a package file, changed, and signed anew with the packager's own key.
pub fn manifest(phk: &Path, key: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let reader = PhkReader::open(phk).expect("a package file");
    let envelope = Envelope::decode(reader.envelope(), usize::MAX).expect("an envelope");
    let mut value: Value = ciborium::from_reader(envelope.payload.as_ref()).expect("CBOR");
    change(&mut value);
    let payload = Bytes::from(to_cbor(&value).expect("CBOR"));
    let key = SigningKey::from_text(&fs::read_to_string(key).expect("the key")).expect("a key");
    let signed = Envelope::sign(PAYLOAD_TYPE, payload, &[&key]).expect("a signature");
    signed.encode().expect("an envelope")
}

/// A field of a map.
pub fn field<'a>(map: &'a mut Value, name: &str) -> &'a mut Value {
    let entries = map.as_map_mut().expect("a map");
    let found = entries.iter_mut().find(|(key, _)| key.as_text() == Some(name));
    &mut found.unwrap_or_else(|| panic!("no field {name}")).1
}

/// Takes a field away.
pub fn without(map: &mut Value, name: &str) {
    map.as_map_mut().expect("a map").retain(|(key, _)| key.as_text() != Some(name));
}

/// Adds a field.
pub fn with(map: &mut Value, name: &str, value: Value) {
    map.as_map_mut().expect("a map").push((Value::from(name), value));
}

/// An item of a list.
pub fn item(list: &mut Value, at: usize) -> &mut Value {
    &mut list.as_array_mut().expect("a list")[at]
}
