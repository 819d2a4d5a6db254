//! `packhorse.toml`: what a packager writes (design section 9), and refusals with file and line.
//!
//! Every key is one of three: understood; named by the design but not yet built (refused by name, never ignored); unknown.

mod table;

use std::path::{Path, PathBuf};

use packhorse_domain::agent::Timing;
use packhorse_domain::version::{self, VersionOrder};

use crate::limits;
use crate::manifest::{Install, Keep, Kind, check_line, check_name};
use crate::path::check_host_path;
use crate::timing;
use table::{Line, Table};

/// The file's name in a package's folder.
pub const FILE_NAME: &str = "packhorse.toml";
/// Keeping time if none is written, in days.
pub const KEEP_DAYS_DEFAULT: u32 = 90;
/// An installer's timeout if none is written, in seconds.
pub const TIMEOUT_SECS_DEFAULT: u32 = 30 * 60;

/// A recipe, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The package's name, without cabinet.
    pub name: String,
    /// Its version, checked under its order.
    pub version: String,
    /// Which scheme orders its versions.
    pub version_order: VersionOrder,
    /// One line for people, possibly empty.
    pub summary: String,
    /// What kind of package.
    pub kind: Kind,
    /// Keeping time at relays.
    pub keep: Keep,
    /// How it is installed.
    pub install: Install,
    /// The absolute path of a file that must be there after installing.
    pub check_file: Option<String>,
}

/// A refusal: `packhorse.toml:7: …`.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {problem}", file.display())]
pub struct RecipeError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub problem: String,
}

const NOT_YET_INSTALL: &[&str] =
    &["command", "arguments", "success_codes", "restart", "restore", "closes", "before", "after", "on_error"];
const NOT_YET_TABLES: &[&str] = &["conditions"];

/// Parses the text of a recipe; `file` is only for messages. Errors: the first thing wrong, with its line.
pub fn parse(file: &Path, text: &str) -> Result<Recipe, RecipeError> {
    let fail = |(line, problem): Line| RecipeError { file: file.to_owned(), line, problem };
    if text.len() as u64 > limits::RECIPE_BYTES {
        return Err(fail((
            1,
            format!("has {} bytes, at most {} are possible", text.len(), limits::RECIPE_BYTES),
        )));
    }
    read(text).map_err(fail)
}

fn read(text: &str) -> Result<Recipe, Line> {
    let document = table::parse(text)?;
    let root = Table::root(text, document.get_ref());
    root.check_keys(&["package", "install", "check"], NOT_YET_TABLES)?;
    let package = root.table("package")?.ok_or((1, "table `[package]` is missing".to_owned()))?;
    package.check_keys(&["name", "version", "version_order", "summary", "kind", "keep"], &[])?;
    let kind = read_kind(&package)?;
    let version_order = read_order(&package, kind)?;
    Ok(Recipe {
        name: package.required("name", |name| check_name(name).map(|()| name.to_owned()))?,
        version: package.required("version", |text| {
            version::check(version_order, text).map(|()| text.to_owned()).map_err(|error| error.to_string())
        })?,
        version_order,
        summary: package
            .text("summary", |text| check_line(text, limits::SUMMARY_BYTES).map(|()| text.to_owned()))?
            .unwrap_or_default(),
        kind,
        keep: package.text("keep", keep_to_come)?.unwrap_or(Keep::Days(KEEP_DAYS_DEFAULT)),
        install: read_install(&root, kind)?,
        check_file: read_check(&root)?,
    })
}

fn read_kind(package: &Table<'_>) -> Result<Kind, Line> {
    package.required("kind", |kind| match kind {
        "files" => Ok(Kind::Files),
        "deb" => Ok(Kind::Deb),
        "rpm" | "script" | "msi" | "exe" => {
            Err(format!("kind {kind:?} is not supported yet; files and deb are"))
        }
        other => Err(format!("kind {other:?} is unknown; files and deb are possible")),
    })
}

fn read_order(package: &Table<'_>, kind: Kind) -> Result<VersionOrder, Line> {
    let default = match kind {
        Kind::Files => VersionOrder::Semver,
        Kind::Deb => VersionOrder::Deb,
    };
    let order = package.text("version_order", |order| match order {
        "semver" => Ok(VersionOrder::Semver),
        "deb" => Ok(VersionOrder::Deb),
        "rpm" => Err("version_order \"rpm\" is not supported yet; semver and deb are".to_owned()),
        other => Err(format!("version_order {other:?} is unknown; semver and deb are possible")),
    })?;
    match (order, kind) {
        (Some(VersionOrder::Semver), Kind::Deb) => Err((
            package.line_of("version_order"),
            "kind deb has version_order \"deb\"; leave it out".to_owned(),
        )),
        (order, _) => Ok(order.unwrap_or(default)),
    }
}

fn read_install(root: &Table<'_>, kind: Kind) -> Result<Install, Line> {
    let mut read = Install {
        to: None,
        timeout_secs: TIMEOUT_SECS_DEFAULT,
        retry: 0,
        timing: Timing::Now,
        install_at: None,
    };
    let Some(install) = root.table("install")? else {
        return match kind {
            Kind::Files => Err((1, "`install.to` is missing; kind files needs it".to_owned())),
            Kind::Deb => Ok(read),
        };
    };
    install.check_keys(&["to", "timing", "install_at", "timeout", "retry"], NOT_YET_INSTALL)?;
    let to = install.text("to", |to| match check_host_path(to) {
        Ok(()) => Ok(to.to_owned()),
        Err(error) => Err(format!("{error}; write an absolute folder such as \"/opt/editor\"")),
    })?;
    read.to = match (to, kind) {
        (None, Kind::Files) => {
            return Err((install.line(), "`install.to` is missing; kind files needs it".to_owned()));
        }
        (Some(_), Kind::Deb) => {
            return Err((install.line_of("to"), "`install.to` is only for kind files".to_owned()));
        }
        (to, _) => to,
    };
    read.timeout_secs = install.text("timeout", parse_timeout)?.unwrap_or(TIMEOUT_SECS_DEFAULT);
    read.retry = install.number("retry", limits::RETRIES)?.unwrap_or(0);
    read.timing = install.text("timing", timing::parse)?.unwrap_or_default();
    read.install_at = install.text("install_at", timing::parse_install_at)?;
    timing::check_together(read.timing, read.install_at)
        .map_err(|problem| (install.line_of("install_at"), problem))?;
    Ok(read)
}

fn read_check(root: &Table<'_>) -> Result<Option<String>, Line> {
    let Some(check) = root.table("check")? else {
        return Ok(None);
    };
    check.check_keys(&["file"], &[])?;
    check.text("file", |file| match check_host_path(file) {
        Ok(()) => Ok(file.to_owned()),
        Err(error) => Err(format!("{error}; write the absolute path the file has once installed")),
    })
}

/// A keeping time that has not passed: relays would keep no copy of the package for a moment.
fn keep_to_come(text: &str) -> Result<Keep, String> {
    match parse_keep(text)? {
        Keep::Date(date) if date < jiff::Zoned::now().date() => {
            Err(format!("keep {text:?} is in the past: no relay would keep the package"))
        }
        keep => Ok(keep),
    }
}

/// `90d` or a date such as `2026-12-03`. Errors: a sentence that says what is possible.
pub fn parse_keep(text: &str) -> Result<Keep, String> {
    let wrong = || {
        format!(
            "keep {text:?} is neither days (\"90d\", 1 to {}) nor a date (\"2026-12-03\")",
            limits::KEEP_DAYS
        )
    };
    match text.strip_suffix('d') {
        Some(days) if !days.is_empty() && days.bytes().all(|c| c.is_ascii_digit()) => match days.parse() {
            Ok(days) if (1..=limits::KEEP_DAYS).contains(&days) => Ok(Keep::Days(days)),
            _ => Err(wrong()),
        },
        _ if text.len() == "2026-12-03".len() => text.parse().map(Keep::Date).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// A whole number of seconds, minutes, hours or days (`90s`, `30m`, `2h`, `1d`), 1 s to 7 days.
fn parse_timeout(text: &str) -> Result<u32, String> {
    let wrong = || format!("timeout {text:?} is not a time between \"1s\" and \"7d\" such as \"30m\"");
    let split = text.len().checked_sub(1).filter(|&at| text.is_char_boundary(at)).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(split);
    let unit_secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let secs =
        digits.parse::<u32>().ok().and_then(|number| number.checked_mul(unit_secs)).ok_or_else(wrong)?;
    if (1..=limits::TIMEOUT_SECS).contains(&secs) { Ok(secs) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
