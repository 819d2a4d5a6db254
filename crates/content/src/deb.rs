//! Reading a `.deb`: an `ar` archive whose `control.tar.*` says what the package is. The data part is not looked at; it is
//! dpkg's matter.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use deb822_lossless::Deb822;

use crate::limits;
use crate::manifest::Deb;

/// What the control file of a `.deb` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebFacts {
    /// Name, architecture, dependencies.
    pub deb: Deb,
    /// Its version, as dpkg orders it.
    pub version: String,
    /// The first line of its description, empty if there is none.
    pub summary: String,
}

/// Why a file is no usable `.deb`. The text fits after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not an archive of the right form.
    #[error("is no Debian package: {0}")]
    Form(&'static str),
    /// A field is missing.
    #[error("has no field {0:?} in its control file")]
    Field(&'static str),
}

/// Reads the control file. Errors: [`DebError`]; sizes are limited by [`limits::DEB_CONTROL_BYTES`].
pub fn read(path: &Path) -> Result<DebFacts, DebError> {
    let mut archive = ar::Archive::new(File::open(path)?);
    let mut version_seen = false;
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(|_| DebError::Form("not an ar archive"))?;
        let name = String::from_utf8_lossy(member.header().identifier()).trim_end_matches('/').to_owned();
        match name.as_str() {
            "debian-binary" => version_seen = true,
            _ if !version_seen => return Err(DebError::Form("its first member is not debian-binary")),
            _ if name.starts_with("control.tar") => return facts(&control_text(&name, member)?),
            _ => {}
        }
    }
    Err(DebError::Form("it has no control.tar member"))
}

/// Unpacks the control member and finds `control` in it.
fn control_text(name: &str, member: impl Read) -> Result<String, DebError> {
    let packed = member.take(limits::DEB_CONTROL_BYTES);
    let unpacked: Box<dyn Read + '_> = match name {
        "control.tar" => Box::new(packed),
        "control.tar.gz" => Box::new(flate2::read::GzDecoder::new(packed)),
        "control.tar.xz" => Box::new(liblzma::read::XzDecoder::new(packed)),
        "control.tar.zst" => Box::new(zstd::stream::read::Decoder::new(packed)?),
        _ => {
            return Err(DebError::Form(
                "its control member is packed in an unknown way; gz, xz and zst are known",
            ));
        }
    };
    let mut tar = tar::Archive::new(unpacked.take(limits::DEB_CONTROL_BYTES));
    for entry in tar.entries()? {
        let entry = entry?;
        let is_control = matches!(entry.path_bytes().as_ref(), b"control" | b"./control");
        if is_control && entry.header().entry_type().is_file() {
            if entry.size() > limits::DEB_CONTROL_FILE_BYTES {
                return Err(DebError::Form("its control file is larger than 1 MiB"));
            }
            let mut text = String::new();
            entry.take(limits::DEB_CONTROL_FILE_BYTES).read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    Err(DebError::Form("its control member holds no control file"))
}

fn facts(control: &str) -> Result<DebFacts, DebError> {
    let control: Deb822 = control.parse().map_err(|_| DebError::Form("its control file is malformed"))?;
    let paragraph = control.paragraphs().next().ok_or(DebError::Form("its control file is empty"))?;
    let optional = |field: &str| paragraph.get(field).map(|value| one_line(&value)).unwrap_or_default();
    let required = |field: &'static str| {
        Some(optional(field)).filter(|value| !value.is_empty()).ok_or(DebError::Field(field))
    };
    let description = paragraph.get("Description").unwrap_or_default();
    Ok(DebFacts {
        deb: Deb {
            package: required("Package")?,
            architecture: required("Architecture")?,
            depends: optional("Depends"),
            pre_depends: optional("Pre-Depends"),
        },
        version: required("Version")?,
        summary: description.lines().next().map(one_line).unwrap_or_default(),
    })
}

/// Folded fields become one line.
fn one_line(value: &str) -> String {
    let words: Vec<&str> = value.split_whitespace().collect();
    words.join(" ")
}
