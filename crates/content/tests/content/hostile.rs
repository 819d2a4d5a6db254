//! Manifests made by somebody who means harm, signed or not: refused before anything is touched.

use ciborium::Value;
use packhorse_content::manifest::Manifest;

use super::util::{editor, pack};

fn genuine() -> Value {
    let folder = editor("1.0");
    let package = pack(folder.path());
    ciborium::from_reader(package.built.payload().as_ref()).unwrap()
}

fn field<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    let Value::Map(map) = value else { panic!("no map") };
    &mut map.iter_mut().find(|(key, _)| key.as_text() == Some(name)).expect(name).1
}

fn entry<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    let entries = field(value, "files").as_array_mut().unwrap();
    entries.iter_mut().find(|entry| path_of(entry) == Some(path)).unwrap()
}

fn parse(value: &Value) -> Result<Manifest, String> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    Manifest::parse(&bytes).map_err(|error| error.to_string())
}

fn path_of(entry: &Value) -> Option<&str> {
    entry.as_map()?.iter().find(|(key, _)| key.as_text() == Some("path"))?.1.as_text()
}

type Change = fn(&mut Value);

#[test]
fn each_lie_is_refused() {
    let table: &[(&str, Change)] = &[
        ("format 3", |m| *field(m, "format") = 3.into()),
        ("`format`: is 2", |m| *field(m, "format") = 2.into()),
        ("`format`: is 1", |m| {
            field(m, "install").as_map_mut().unwrap().push(("timing".into(), "stop".into()));
        }),
        ("timing", |m| field(m, "install").as_map_mut().unwrap().push(("timing".into(), "x".into()))),
        ("unknown field", |m| m.as_map_mut().unwrap().push(("extra".into(), 1.into()))),
        ("missing field", |m| drop(m.as_map_mut().unwrap().remove(2))),
        ("no package name", |m| *field(m, "name") = "../../etc".into()),
        ("is not a version", |m| *field(m, "version") = "one".into()),
        ("`kind`", |m| *field(m, "kind") = "script".into()),
        ("`version_order`", |m| *field(m, "version_order") = "rpm".into()),
        ("control character", |m| *field(m, "summary") = "a\u{1b}[2J".into()),
        ("install.to", |m| *field(field(m, "install"), "to") = "/opt/../etc".into()),
        ("install.timeout_secs", |m| *field(field(m, "install"), "timeout_secs") = 0.into()),
        ("install.retry", |m| *field(field(m, "install"), "retry") = 5000.into()),
        ("`keep`", |m| *field(m, "keep") = Value::Map(vec![("days".into(), 0.into())])),
        ("`cdc`", |m| *field(field(m, "cdc"), "max") = (2 << 20).into()),
        ("leave the package", |m| *field(entry(m, "bin/editor"), "path") = "../evil".into()),
        ("absolute", |m| *field(entry(m, "bin/editor"), "path") = "/etc/passwd".into()),
        ("leave the package", |m| *field(entry(m, "bin/editor"), "path") = "bin//editor".into()),
        ("out of order", |m| *field(entry(m, "bin/editor"), "path") = "zzz".into()),
        ("does not list", |m| *field(entry(m, "bin/editor"), "path") = "bin/x/editor".into()),
        ("outside the package", |m| *field(entry(m, "run"), "target") = "/etc".into()),
        ("outside the package", |m| *field(entry(m, "lib/up"), "target") = "../../x".into()),
        ("setuid", |m| *field(entry(m, "bin/editor"), "mode") = 0o4755.into()),
        ("another size", |m| *field(entry(m, "bin/editor"), "size") = (1_u64 << 50).into()),
        ("more chunks", |m| *field(entry(m, "bin/editor"), "chunks") = u64::MAX.into()),
        ("fit its kind", |m| *field(entry(m, "bin/editor"), "kind") = "dir".into()),
        ("fit its kind", |m| *field(entry(m, "run"), "kind") = "file".into()),
        ("middle of a record", |m| field(m, "chunks").as_bytes_mut().unwrap().truncate(35)),
        ("middle of a record", |m| field(m, "uses").as_bytes_mut().unwrap().truncate(3)),
        ("1 byte to 1 MiB", |m| field(m, "chunks").as_bytes_mut().unwrap()[32..36].fill(0xff)),
        ("1 byte to 1 MiB", |m| field(m, "chunks").as_bytes_mut().unwrap()[32..36].fill(0)),
        ("listed twice", |m| {
            let chunks = field(m, "chunks").as_bytes_mut().unwrap();
            let first = chunks[..36].to_vec();
            chunks.extend(first);
        }),
        ("order of first use", |m| field(m, "uses").as_bytes_mut().unwrap()[..4].fill(0xff)),
        ("nothing to install", |m| {
            *field(m, "files") = Value::Array(vec![]);
            *field(m, "chunks") = Value::Bytes(vec![]);
            *field(m, "uses") = Value::Bytes(vec![]);
        }),
    ];
    let genuine = genuine();
    parse(&genuine).unwrap();
    for (expected, change) in table {
        let mut changed = genuine.clone();
        change(&mut changed);
        match parse(&changed) {
            Ok(_) => panic!("accepted: {expected}"),
            Err(error) if *expected == "missing field" => assert!(error.contains("missing"), "{error}"),
            Err(error) => assert!(error.contains(expected), "expected {expected}, got {error}"),
        }
    }
}

#[test]
fn a_symlink_is_no_folder() {
    let mut manifest = genuine();
    let entries = field(&mut manifest, "files").as_array_mut().unwrap();
    let mut below = entries.iter().find(|entry| path_of(entry) == Some("share/empty")).unwrap().clone();
    *field(&mut below, "path") = "run/passwd".into();
    let at = entries.iter().position(|entry| path_of(entry) == Some("run")).unwrap();
    entries.insert(at + 1, below);
    let error = parse(&manifest).unwrap_err();
    assert!(error.contains("does not list as one"), "{error}");
}

#[test]
fn junk_is_no_manifest() {
    for junk in [
        &b""[..],
        b"junk",
        &[0xff; 100],
        &[0x9f; 100_000],
        &[0xa1, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(Manifest::parse(junk).is_err());
    }
}
