//! Paths that come from outside: a type that cannot leave its package.

use std::fmt;
use std::path::Path;

use crate::limits;

/// A path inside a package: relative, UTF-8, parts divided by `/`, none of them empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<str>);

/// Why a text is no path inside a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing, or longer than the limit.
    #[error("a path has 1 to {max} bytes, this one {0}", max = limits::PATH_BYTES)]
    Length(usize),
    /// Begins with a slash.
    #[error("path {0:?} is absolute; paths in a package are relative to its folder")]
    Absolute(String),
    /// `..`, `.`, an empty part, or one that is too long.
    #[error("path {path:?} has the part {part:?}, which would leave the package or be ambiguous")]
    Part {
        /// The path.
        path: String,
        /// The part.
        part: String,
    },
    /// A path on the host that does not begin with a slash.
    #[error("path {0:?} is not absolute")]
    NotAbsolute(String),
    /// The host's root itself.
    #[error("path \"/\" is the root of the whole system")]
    Root,
    /// NUL, line feed and the like.
    #[error("path {0:?} holds a control character")]
    ControlCharacter(String),
    /// A symlink's target is absolute or climbs out.
    #[error(
        "symlink {link:?} points to {target:?}, outside the package; only relative targets inside it are possible"
    )]
    LeavesPackage {
        /// The symlink's own path.
        link: String,
        /// Where it points.
        target: String,
    },
}

impl RelPath {
    /// Checks a text. Errors: see [`PathError`].
    pub fn new(text: &str) -> Result<Self, PathError> {
        check_text(text)?;
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." || part.len() > limits::PATH_COMPONENT_BYTES {
                return Err(PathError::Part { path: text.to_owned(), part: part.to_owned() });
            }
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts, outermost first; at least one.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The folder it lies in, `None` at the top of the package.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// As a path below `root`. Whoever opens it takes care of symlinks on the way.
    pub fn below(&self, root: &Path) -> std::path::PathBuf {
        root.join(&*self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// Checks where a symlink points. `..` is possible only at the beginning and only as often as the link lies deep:
/// after a named part, which may itself be a symlink, nobody can say where `..` leads.
pub fn check_target(link: &RelPath, target: &str) -> Result<(), PathError> {
    check_text(target)?;
    let leaves = || PathError::LeavesPackage { link: link.to_string(), target: target.to_owned() };
    let depth = link.parts().count() - 1;
    let mut climbed = 0;
    let mut named = false;
    for part in target.split('/') {
        match part {
            ".." if named || climbed == depth => return Err(leaves()),
            ".." => climbed += 1,
            "" => return Err(leaves()),
            "." => {}
            _ => named = true,
        }
    }
    Ok(())
}

/// Checks an absolute path on the host (`install.to`, `check.file`): no `..`, no empty parts, not the root itself.
pub fn check_host_path(text: &str) -> Result<(), PathError> {
    match text.strip_prefix('/') {
        Some("") => Err(PathError::Root),
        Some(rest) => RelPath::new(rest).map(|_| ()),
        None => Err(PathError::NotAbsolute(text.to_owned())),
    }
}

fn check_text(text: &str) -> Result<(), PathError> {
    if text.is_empty() || text.len() > limits::PATH_BYTES {
        return Err(PathError::Length(text.len()));
    }
    if text.chars().any(|c| c.is_control()) {
        return Err(PathError::ControlCharacter(text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_no_paths() {
        for good in ["a", "a/b", ".hidden", "a..b/c", "ü/é", "...", "a b"] {
            assert!(RelPath::new(good).is_ok(), "{good}");
        }
        let long = "x/".repeat(2100) + "x";
        let part = "x".repeat(256);
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            ".",
            "a/./b",
            "a\0b",
            "a\nb",
            &long,
            &part,
        ] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        let path = RelPath::new("a/b/c").unwrap();
        assert_eq!((path.parent(), path.name()), (Some("a/b"), "c"));
    }

    #[test]
    fn symlinks_stay_inside() {
        let check = |link: &str, target: &str| check_target(&RelPath::new(link).unwrap(), target);
        for (link, target) in [("l", "x"), ("a/l", "../x"), ("a/b/l", "../../x/y"), ("l", "."), ("l", "./x")]
        {
            assert!(check(link, target).is_ok(), "{link} -> {target}");
        }
        for (link, target) in [
            ("l", "/etc"),
            ("l", ".."),
            ("a/l", "../.."),
            ("a/l", "x/../.."),
            ("l", "s/../x"),
            ("l", ""),
            ("l", "a//b"),
        ] {
            assert!(check(link, target).is_err(), "{link} -> {target}");
        }
    }

    #[test]
    fn host_paths_are_absolute_and_plain() {
        assert!(check_host_path("/opt/editor").is_ok());
        for bad in ["opt", "/", "/opt/../etc", "//x", "/opt/", ""] {
            assert!(check_host_path(bad).is_err(), "{bad}");
        }
    }
}
