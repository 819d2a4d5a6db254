//! The arrows between crates point downwards only (design section 7), and `domain` has neither IO, clock, async nor serde.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the crates' own files, which domain itself may not"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates each may use.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("wire", &["domain"]),
    ("content", &["domain", "wire"]),
    ("client", &["domain", "wire", "content"]),
    ("server", &["domain", "wire", "content"]),
    ("packhorse", &["domain", "wire", "content", "client", "server"]),
    ("sim", &["domain"]),
    ("e2e", &["domain", "wire", "content"]),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of the dependencies of a manifest's section.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == format!("[{section}]");
        } else if inside && !line.trim().is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.push(name.trim_matches('"').to_owned());
        }
    }
    names
}

#[test]
fn arrows_point_downwards() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let mut seen = 0;
    for entry in fs::read_dir(crates()).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("crate {name} is not in the map"));
        for used in dependencies(&manifest, "dependencies") {
            if let Some(own) = used.strip_prefix("packhorse-") {
                assert!(may.contains(&own), "{name} uses {own}: the arrow points upwards or sideways");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, ALLOWED.len());
}

#[test]
fn domain_decides_and_does_nothing_else() {
    let manifest = fs::read_to_string(crates().join("domain/Cargo.toml")).unwrap();
    let used = dependencies(&manifest, "dependencies");
    assert_eq!(used, ["blake3", "semver", "debversion"], "every dependency of domain has to be pure");
    for file in sources(&crates().join("domain/src")) {
        let text = fs::read_to_string(&file).unwrap();
        for word in
            ["std::fs", "std::net", "std::env", "std::time", "std::thread", "async fn", ".await", "serde"]
        {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            assert!(code.into_iter().all(|line| !line.contains(word)), "{}: {word}", file.display());
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else {
            files.push(path);
        }
    }
    files
}
