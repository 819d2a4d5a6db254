//! Whether a package is installed already, and whether it can be here.

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use packhorse_content::manifest::{Deb, Kind, Manifest};
use packhorse_domain::agent::{Found, Trouble};
use packhorse_domain::version::compare;

use super::{Busy, Task, Tools};
use crate::deb;
use crate::files::{difference, finish_all};
use crate::store::Installed;

impl Tools {
    /// Looks; the package's bytes have not travelled yet.
    pub(super) async fn probe(self: &Arc<Self>, task: &Task, busy: &Busy) -> Result<Found, Trouble> {
        // A switch that was made and not noted would look like another package.
        let finishing =
            |tools: &Tools| finish_all(&tools.db, &tools.root, tools.clock.now()).map_err(io::Error::other);
        self.blocking(busy, finishing).await.map_err(|error| self.disk(&error))?;
        let installed = self.installed(task).await?;
        if let Some(same) = installed.as_ref().filter(|found| found.package == task.line.package)
            && self.is_whole(task, same, busy).await?
        {
            return Ok(Found::Same);
        }
        let manifest = self.manifest(task, busy).await?.manifest;
        if let Some(why) = self.impossible(&manifest) {
            return Ok(Found::Impossible(why));
        }
        match (manifest.kind(), manifest.deb()) {
            (Kind::Files, _) => Ok(newer(&manifest, installed.as_ref().map(|found| &*found.label.version))),
            (Kind::Deb, Some(deb)) => self.probe_deb(&manifest, deb).await,
            (Kind::Deb, None) => Ok(Found::Impossible("the manifest says nothing of its .deb".to_owned())),
        }
    }

    /// Whether what is noted as installed is there, whole, and its check holds.
    async fn is_whole(
        self: &Arc<Self>,
        task: &Task,
        installed: &Installed,
        busy: &Busy,
    ) -> Result<bool, Trouble> {
        let manifest = Manifest::from_stored_envelope(&installed.manifest);
        let manifest = Arc::new(manifest.map_err(|error| self.disk(&error))?);
        let wrong = self.wrong(task, &manifest, busy).await.map_err(|error| self.disk(&error))?;
        Ok(wrong.is_none())
    }

    /// What is not as it should be of an installed package; `None` if all is.
    pub(super) async fn wrong(
        self: &Arc<Self>,
        task: &Task,
        manifest: &Arc<Manifest>,
        busy: &Busy,
    ) -> io::Result<Option<String>> {
        if let Some(deb) = manifest.deb() {
            let known = deb::known(&self.root, deb).await?;
            match known {
                Some(known) if known.is(deb, &task.label.version) => {}
                Some(known) => {
                    let Deb { package, .. } = deb;
                    let (status, version) = (known.status, known.version);
                    return Ok(Some(format!("dpkg says of {package} {version}: {status}")));
                }
                None => return Ok(Some(format!("dpkg does not know {}", deb.package))),
            }
        }
        let manifest = Arc::clone(manifest);
        self.blocking(busy, move |tools| tools.wrong_files(&manifest)).await
    }

    fn wrong_files(&self, manifest: &Manifest) -> io::Result<Option<String>> {
        if let (Kind::Files, Some(to)) = (manifest.kind(), manifest.install().to.as_deref()) {
            let Some(tree) = self.root.folder(to)? else { return Ok(Some(format!("{to} is not there"))) };
            if let Some(what) = difference(&tree, manifest)? {
                return Ok(Some(format!("{to}/{what}")));
            }
        }
        match manifest.check_file() {
            Some(file) if !self.root.exists(file)? => Ok(Some(format!("{file} is not there"))),
            _ => Ok(None),
        }
    }

    /// Why this agent can never install it.
    fn impossible(&self, manifest: &Manifest) -> Option<String> {
        let is_root = rustix::process::geteuid().is_root();
        match manifest.kind() {
            Kind::Deb if !is_root => Some("kind deb needs root; this agent runs as another user".to_owned()),
            Kind::Deb => None,
            Kind::Files if !is_root && !self.owns_root() => {
                Some("kind files needs root, or a --root that the agent's user owns".to_owned())
            }
            Kind::Files => {
                let to = manifest.install().to.as_deref().unwrap_or_default();
                let spot = self.root.spot(to, false).and_then(|spot| match spot {
                    Some(spot) => spot.tree().map(|_| ()),
                    None => Ok(()),
                });
                spot.err().map(|error| format!("{to}: {error}"))
            }
        }
    }

    fn owns_root(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(self.root.path()).map(|found| found.uid());
        owner.is_ok_and(|owner| owner == rustix::process::geteuid().as_raw())
    }

    async fn probe_deb(&self, manifest: &Manifest, deb: &Deb) -> Result<Found, Trouble> {
        let fitting = match deb::architectures(&self.root).await {
            Ok(fitting) => fitting,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Found::Impossible("kind deb needs dpkg, which is not on this host".to_owned()));
            }
            Err(error) => return Err(self.disk(&error)),
        };
        if !fitting.contains(&deb.architecture) {
            let text =
                format!("architecture {} is needed, this host has {}", deb.architecture, fitting.join(", "));
            return Ok(Found::Unfit(text));
        }
        let known = deb::known(&self.root, deb).await.map_err(|error| self.disk(&error))?;
        let Some(known) = known.filter(deb::Known::is_installed) else { return Ok(Found::Other) };
        if known.is(deb, manifest.version()) {
            let check = manifest.check_file().map_or(Ok(true), |file| self.root.exists(file));
            return match check.map_err(|error| self.disk(&error))? {
                true => Ok(Found::Same),
                false => Ok(Found::Other),
            };
        }
        Ok(newer(manifest, Some(&known.version)))
    }
}

/// Whether what is installed is newer than the package. What cannot be compared is just another version.
fn newer(manifest: &Manifest, installed: Option<&str>) -> Found {
    let Some(installed) = installed else { return Found::Other };
    match compare(manifest.version_order(), installed, manifest.version()) {
        Ok(Ordering::Greater) => Found::Newer(installed.to_owned()),
        _ => Found::Other,
    }
}
