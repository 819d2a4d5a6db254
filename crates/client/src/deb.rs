//! Kind deb: dpkg does the work and is asked what is installed. Nothing is forced.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use packhorse_content::manifest::Deb;

use crate::files::Root;
use crate::installer::plain_command;

/// How long dpkg may take to answer a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What is there in a database of dpkg.
const FOLDERS: [&str; 5] = ["info", "updates", "parts", "triggers", "alternatives"];
const FILES: [&str; 2] = ["status", "available"];
const DATABASE: &str = "/var/lib/dpkg";

/// A package in dpkg's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// `install ok installed` if it is well.
    pub status: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
}

impl Known {
    /// Whether it is installed well.
    pub fn is_installed(&self) -> bool {
        self.status == "install ok installed"
    }

    /// Whether it is exactly this package in this version, and well.
    pub fn is(&self, deb: &Deb, version: &str) -> bool {
        self.is_installed() && self.version == version && self.architecture == deb.architecture
    }
}

/// Makes an empty database in a root that has none.
///
/// # Errors
/// What the system says.
pub(crate) fn prepare(root: &Root) -> io::Result<()> {
    // Held: its path leads there only as long as it is open.
    let held = root.make(DATABASE)?;
    let folder = held.path();
    if folder.join("status").exists() {
        return Ok(());
    }
    for name in FOLDERS {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder.join(name))?;
    }
    // The status comes last: with it the database is there.
    for name in FILES.into_iter().rev() {
        fs::File::create(folder.join(name))?.sync_all()?;
    }
    fs::File::open(&folder)?.sync_all()
}

/// What dpkg is started with to install a file.
pub(crate) fn install_argv(root: &Path, file: &Path) -> Vec<OsString> {
    let mut option = OsString::from("--root=");
    option.push(root);
    vec!["dpkg".into(), option, "-i".into(), file.into()]
}

/// What the database says of a package; `None` if it does not know it or there is no database.
///
/// # Errors
/// dpkg cannot be asked.
pub(crate) async fn known(root: &Root, deb: &Deb) -> io::Result<Option<Known>> {
    if !root.exists(DATABASE)? {
        return Ok(None);
    }
    let mut command = plain_command("dpkg-query");
    // Not `--root`, which older ones do not know.
    let mut option = OsString::from("--admindir=");
    option.push(root.path().join(DATABASE.trim_start_matches('/')));
    command.arg(option).args(["-W", "-f", "${Status}\\t${Version}\\t${Architecture}\\n", &deb.package]);
    let (code, said) = answer(command).await?;
    // 1: it does not know the package.
    if code != Some(0) && code != Some(1) {
        return Err(io::Error::other(format!("dpkg-query ended with {code:?}")));
    }
    let known: Vec<Known> = said.lines().filter_map(line).collect();
    let same = known.iter().find(|known| known.architecture == deb.architecture);
    Ok(same.or(known.first()).cloned())
}

fn line(line: &str) -> Option<Known> {
    let mut fields = line.split('\t').map(str::to_owned);
    Some(Known { status: fields.next()?, version: fields.next()?, architecture: fields.next()? })
}

/// The architectures that fit this machine.
///
/// # Errors
/// dpkg cannot be asked, of kind `NotFound` if it is not there.
pub(crate) async fn architectures(root: &Root) -> io::Result<Vec<String>> {
    let mut found = vec!["all".to_owned()];
    for question in ["--print-architecture", "--print-foreign-architectures"] {
        let mut command = plain_command("dpkg");
        let mut option = OsString::from("--root=");
        option.push(root.path());
        command.arg(option).arg(question);
        found.extend(answer(command).await?.1.split_whitespace().map(str::to_owned));
    }
    Ok(found)
}

async fn answer(mut command: tokio::process::Command) -> io::Result<(Option<i32>, String)> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = tokio::time::timeout(ANSWER_TIMEOUT, child.wait_with_output()).await??;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Whether dpkg ended because another one holds the database.
pub(crate) fn is_locked(code: Option<i32>, tail: &str) -> bool {
    code == Some(2) && tail.contains("lock")
}
