//! What this host says of itself: read from the system, no command is run. An administrator of the machine may add facts of
//! his own in `DATA/facts.conf`, a line each: `floor = 3`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use packhorse_domain::facts::{Facts, is_known};

/// Facts that the machine's administrator adds.
const OWN_FILE: &str = "facts.conf";
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Largest file of own facts.
const OWN_BYTES_MAX: u64 = 16 << 10;

/// Reads all there is to tell. What cannot be read is left out: it is not known then.
pub(crate) fn gather(root: &Path, data: &Path) -> Facts {
    let mut facts = Facts::default();
    let mut tell = |name: &str, value: Option<String>| {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if let Err(error) = facts.set(name, &value) {
            tracing::debug!(%error, "a fact is left out");
        }
    };
    tell("os", Some(std::env::consts::OS.to_owned()));
    tell("arch", Some(std::env::consts::ARCH.to_owned()));
    let release = release(root);
    tell("os_id", release.as_deref().and_then(|text| release_value(text, "ID")));
    tell("os_version", release.as_deref().and_then(|text| release_value(text, "VERSION_ID")));
    let kernel = |what: &str| read(&Path::new("/proc/sys/kernel").join(what), FILE_BYTES_MAX);
    tell("kernel", kernel("osrelease").map(|text| text.trim().to_owned()));
    tell("hostname", kernel("hostname").map(|text| text.trim().to_owned()));
    tell("cpus", std::thread::available_parallelism().ok().map(|count| count.to_string()));
    tell("memory", read(Path::new("/proc/meminfo"), FILE_BYTES_MAX).and_then(|text| memory(&text)));
    if let Ok(disk) = rustix::fs::statvfs(root) {
        tell("disk_size", disk.f_blocks.checked_mul(disk.f_frsize).map(|bytes| bytes.to_string()));
        tell("disk_free", disk.f_bavail.checked_mul(disk.f_frsize).map(|bytes| bytes.to_string()));
    }
    tell("zone", jiff::tz::TimeZone::system().iana_name().map(str::to_owned));
    tell("virtual", read(Path::new("/proc/cpuinfo"), FILE_BYTES_MAX).and_then(|text| is_virtual(&text)));
    tell("packhorse_version", Some(env!("CARGO_PKG_VERSION").to_owned()));
    for (name, value) in own(&data.join(OWN_FILE)) {
        tell(&name, Some(value));
    }
    facts
}

/// Files of `/proc` have no length; others that are larger are none of what is looked for.
fn read(path: &Path, limit_bytes: u64) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path).ok()?.take(limit_bytes).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The managed system's `os-release`; a root that has none stands for this system.
fn release(root: &Path) -> Option<String> {
    let roots = [root, Path::new("/")];
    let paths =
        roots.iter().flat_map(|root| ["etc/os-release", "usr/lib/os-release"].map(|path| root.join(path)));
    paths.into_iter().find_map(|path| read(&path, FILE_BYTES_MAX))
}

/// A value of `os-release`: `KEY=value`, or in quotes.
fn release_value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    Some(unquoted(line.trim()).to_owned())
}

fn unquoted(text: &str) -> &str {
    let inside = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn memory(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).map(|bytes| bytes.to_string())
}

/// A processor that says what it can do says also whether somebody plays it.
fn is_virtual(text: &str) -> Option<String> {
    let flags = text.lines().find(|line| line.starts_with("flags"))?;
    let found = flags.split_whitespace().any(|flag| flag == "hypervisor");
    Some(if found { "yes" } else { "no" }.to_owned())
}

/// Facts that the machine's administrator added. A file that others may write is nobody's word.
fn own(path: &Path) -> Vec<(String, String)> {
    let Ok(found) = fs::metadata(path) else { return Vec::new() };
    let mine = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if !mine || !found.is_file() || found.len() > OWN_BYTES_MAX {
        tracing::warn!(
            path = %path.display(),
            "own facts are left out: a file of the agent's user, writable by nobody else, of at most {OWN_BYTES_MAX} bytes is needed"
        );
        return Vec::new();
    }
    read(path, OWN_BYTES_MAX).map_or_else(Vec::new, |text| own_lines(&text))
}

fn own_lines(text: &str) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (line, n) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=').map(|(name, value)| (name.trim(), unquoted(value.trim()))) {
            Some((name, _)) if is_known(name) => {
                tracing::warn!(line = n, name, "{OWN_FILE} does not replace what the agent itself tells");
            }
            Some((name, value)) => facts.push((name.to_owned(), value.to_owned())),
            None => tracing::warn!(line = n, "{OWN_FILE}: a line reads: name = value"),
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_managed_system_is_described() {
        let folder = tempfile::tempdir().unwrap();
        let (root, data) = (folder.path().join("root"), folder.path().join("data"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(&data).unwrap();
        fs::write(root.join("etc/os-release"), "NAME=x\nID=horse\nVERSION_ID=\"7.1\"\n").unwrap();
        fs::write(data.join(OWN_FILE), "# mine\nfloor = 3\nos=bsd\nnonsense\nBad = 1\nroom = \"a b\"\n")
            .unwrap();
        fs::set_permissions(data.join(OWN_FILE), fs::Permissions::from_mode(0o600)).unwrap();
        let facts = gather(&root, &data);
        let get = |name| facts.get(name);
        assert_eq!((get("os_id"), get("os_version"), get("os")), (Some("horse"), Some("7.1"), Some("linux")));
        assert_eq!((get("floor"), get("room"), get("bad")), (Some("3"), Some("a b"), None));
        for name in ["memory", "disk_free", "disk_size", "cpus", "kernel", "hostname"] {
            assert!(get(name).is_some(), "{name}");
        }
        fs::set_permissions(data.join(OWN_FILE), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(gather(&root, &data).get("floor"), None);
    }

    #[test]
    fn lines_are_read() {
        assert_eq!(memory("MemTotal:       16316412 kB\nMemFree: 1 kB").as_deref(), Some("16708005888"));
        assert_eq!(is_virtual("processor: 0\nflags\t\t: fpu hypervisor sse").as_deref(), Some("yes"));
        assert_eq!(is_virtual("flags: fpu").as_deref(), Some("no"));
        assert_eq!(is_virtual("nothing"), None);
        assert_eq!(release_value("VERSION_ID='12'", "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(release_value("ID_LIKE=x", "ID"), None);
    }
}
