//! Starting an installer: at most once for each effect.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use packhorse_content::manifest::{Kind, Manifest};
use packhorse_domain::agent::{Exit, Input, Trouble};
use packhorse_domain::reason::Code;
use packhorse_domain::report::FailClass;

use super::{Busy, Signed, Task, Tools};
use crate::deb;
use crate::files;
use crate::installer::{self, End, Installer};
use crate::store::Installed;

impl Tools {
    /// Installs what was taken in.
    pub(super) async fn install(self: &Arc<Self>, task: &Task, busy: &Busy) -> Input {
        let line = task.line.clone();
        let signed = match self.kept_manifest(task, busy).await {
            Ok(Some(signed)) => signed,
            Ok(None) => return Input::NotStarted(line, self.disk(&"the package's manifest is gone")),
            Err(trouble) => return Input::NotStarted(line, trouble),
        };
        match signed.manifest.kind() {
            Kind::Files => self.install_files(task, signed, busy).await,
            Kind::Deb => self.install_deb(task, signed, busy).await,
        }
    }

    async fn install_files(self: &Arc<Self>, task: &Task, signed: Signed, busy: &Busy) -> Input {
        let line = task.line.clone();
        let retries = signed.manifest.install().retry;
        let new = installed(task, &signed);
        let work = move |tools: &Tools| {
            let now = tools.clock.now();
            Ok(files::install(&tools.db, &tools.root, new, &signed.manifest, now))
        };
        match self.blocking(busy, work).await {
            Ok(Ok(carried)) => Input::Exited(line, ended_well(carried.told(), retries)),
            Ok(Err(error)) if error.is_no_space() => Input::NotStarted(line, self.disk(&error)),
            Ok(Err(error)) => Input::Exited(line, failed(FailClass::Installer, error.to_string(), retries)),
            Err(error) => Input::NotStarted(line, self.disk(&error)),
        }
    }

    async fn install_deb(self: &Arc<Self>, task: &Task, signed: Signed, busy: &Busy) -> Input {
        let line = task.line.clone();
        let argv = match self.deb_file(&signed.manifest) {
            Ok(file) => deb::install_argv(self.root.path(), &file),
            Err(error) => return Input::NotStarted(line, self.disk(&error)),
        };
        if let Err(error) = self.blocking(busy, |tools| deb::prepare(&tools.root)).await {
            return Input::NotStarted(line, self.disk(&error));
        }
        let timeout_secs = signed.manifest.install().timeout_secs;
        match installer::run(&self.spool(task), Installer { argv, timeout_secs }).await {
            Ok(end) => self.ended(task, &signed, end).await,
            Err(error) => Input::NotStarted(line, self.disk(&error)),
        }
    }

    fn deb_file(&self, manifest: &Manifest) -> io::Result<PathBuf> {
        let entry = manifest.entries().first().ok_or_else(|| io::Error::other("the package has no .deb"))?;
        let staged = self.deb_staging(manifest.id()).join("tree");
        // Absolute: the installer is started in another folder.
        entry.path.below(&staged).canonicalize()
    }

    /// What the end of an installer says. The spool folder goes before a start is said not to have been one, so that a
    /// later look finds no trace of it.
    pub(super) async fn ended(&self, task: &Task, signed: &Signed, end: End) -> Input {
        let line = task.line.clone();
        let retries = signed.manifest.install().retry;
        if deb::is_locked(end.code, &end.tail) {
            if let Err(error) = self.spool(task).remove() {
                return Input::Exited(line, failed(FailClass::Disk, error.to_string(), retries));
            }
            let text = "another installer holds dpkg's database".to_owned();
            return Input::NotStarted(line, Trouble { code: Code::Lock, system: self.name.clone(), text });
        }
        let exit = exit(end, retries);
        if exit.ok {
            let (new, now) = (installed(task, signed), self.clock.now());
            if let Err(error) = self.db.run(move |connection| new.put(connection, now)).await {
                tracing::warn!(%error, "what was installed could not be noted");
            }
        }
        Input::Exited(line, exit)
    }
}

fn installed(task: &Task, signed: &Signed) -> Installed {
    Installed {
        label: task.label.clone(),
        package: task.line.package,
        manifest: signed.envelope.clone(),
        start: task.start(),
    }
}

/// A good end of what has no process.
pub(super) fn ended_well(tail: String, retries: u32) -> Exit {
    Exit { ok: true, code: None, class: FailClass::Installer, text: String::new(), tail, retries }
}

fn failed(class: FailClass, text: String, retries: u32) -> Exit {
    Exit { ok: false, code: None, class, text, tail: String::new(), retries }
}

fn exit(end: End, retries: u32) -> Exit {
    let ok = end.code == Some(0) && !end.timed_out;
    let class = if end.timed_out { FailClass::Timeout } else { FailClass::Installer };
    let text = match end.code {
        Some(code) if !end.timed_out => format!("exit {code}"),
        _ => end.why,
    };
    Exit { ok, code: end.code, class, text, tail: end.tail, retries }
}
