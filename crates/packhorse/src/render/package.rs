//! Packages, one by one.

use packhorse_content::manifest::Manifest;
use packhorse_wire::admin::{PackageDetail, RelayCopy};
use serde::Serialize;

use super::job::counts_text;
use super::table::{self, Cell, Row, size};
use super::{count, facts};
use crate::{say, when};

#[derive(Debug, Serialize)]
struct Copy<'a>(&'a RelayCopy);

impl Row for Copy<'_> {
    const COLUMNS: &'static [&'static str] = &["relay", "kept_until"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.0.relay), Cell::text(when::shown_day(&self.0.keep_until))]
    }
}

/// `package show`
pub fn show(detail: &PackageDetail) -> String {
    let package = &detail.package;
    let keep = format!(
        "{} (a relay that stores it now: until {})",
        package.keep,
        when::shown_day(&detail.keep_until)
    );
    let content = format!(
        "{} in {}, {}; {} in the store",
        size(package.size_bytes),
        entries(detail.entries),
        count(package.chunks, "chunk"),
        size(detail.stored_bytes)
    );
    let mut pairs = vec![
        ("package", format!("{} ({})", detail.label, detail.kind)),
        ("summary", detail.summary.clone()),
        ("id", detail.id.clone()),
        ("content", content),
        ("registered", when::shown(&detail.registered)),
        ("keep", keep),
        ("signed by", detail.signed_by.join(" ")),
    ];
    if let Some(depends) = &detail.depends {
        pairs.push(("depends", depends.clone()));
    }
    pairs.push(("where", counts_text(&detail.counts)));
    let head = say::clean_lines(&facts(&pairs));
    let copies: Vec<Copy<'_>> = detail.relays.iter().map(Copy).collect();
    if copies.is_empty() { head } else { format!("{head}\n\n{}", table::table(&copies)) }
}

/// What a package file says of itself.
#[derive(Debug, Serialize)]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `files` or `deb`.
    pub kind: String,
    /// Its identity.
    pub id: String,
    /// Plain content in bytes.
    pub size_bytes: u64,
    /// The package file's frames in bytes.
    pub packed_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// Files, folders, symlinks.
    pub entries: u64,
    /// `90d` or a date.
    pub keep: String,
    /// Ids of the keys that signed it.
    pub signed_by: Vec<String>,
    /// Whether one of the keys given signed it; `false`: none was given.
    pub signature_checked: bool,
}

impl FileFacts {
    /// From a manifest and what was found beside it.
    pub fn new(
        manifest: &Manifest,
        packed_bytes: u64,
        signed_by: Vec<String>,
        signature_checked: bool,
    ) -> FileFacts {
        FileFacts {
            name: manifest.name().to_owned(),
            version: manifest.version().to_owned(),
            kind: manifest.kind().to_string(),
            id: manifest.id().to_string(),
            size_bytes: manifest.plain_bytes(),
            packed_bytes,
            chunks: u64::from(manifest.chunk_count()),
            entries: manifest.entries().len() as u64,
            keep: manifest.keep().to_string(),
            signed_by,
            signature_checked,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let signature = if self.signature_checked {
            format!("good, by {}", self.signed_by.join(" "))
        } else {
            format!("not checked (no --key), claims {}", self.signed_by.join(" "))
        };
        say::clean_lines(&facts(&[
            ("package", format!("{}@{} ({})", self.name, self.version, self.kind)),
            ("id", self.id.clone()),
            ("content", format!("{} packed to {}", size(self.size_bytes), size(self.packed_bytes))),
            ("pieces", format!("{} of {}, all in order", count(self.chunks, "chunk"), entries(self.entries))),
            ("keep", self.keep.clone()),
            ("signature", signature),
        ]))
    }
}

fn entries(number: u64) -> String {
    if number == 1 { "1 entry".into() } else { format!("{number} entries") }
}
