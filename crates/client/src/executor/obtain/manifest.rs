//! A package's manifest: fetched in resumable bytes, verified before it is believed, kept while it is needed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use hyper::Method;
use packhorse_content::limits::ENVELOPE_BYTES;
use packhorse_content::manifest::{Manifest, PAYLOAD_TYPE};
use packhorse_domain::agent::Trouble;
use packhorse_domain::ids::PackageId;
use packhorse_domain::reason::Code;
use packhorse_wire::envelope::Envelope;
use packhorse_wire::messages::{CopyHint, MANIFEST, ManifestRequest};
use packhorse_wire::net::cbor;

use crate::executor::{Busy, Signed, Task, Tools};

/// Why a manifest is not believed.
struct Bad {
    code: Code,
    why: String,
}

impl Tools {
    /// The manifest: the one kept, or fetched now.
    pub(in crate::executor) async fn manifest(
        self: &Arc<Self>,
        task: &Task,
        busy: &Busy,
    ) -> Result<Signed, Trouble> {
        if let Some(kept) = self.kept_manifest(task, busy).await? {
            return Ok(kept);
        }
        let hint = task.hint.clone().ok_or_else(|| {
            self.above(Code::Network, &"the order does not say where the package is to be had")
        })?;
        self.fetch_manifest(task.line.package, &hint).await?;
        let package = task.line.package;
        let part = self.manifest_path(package).with_extension("part");
        let (signed, bad) = self.verified(task, &part, busy).await?;
        match (signed, bad) {
            (Some(signed), _) => {
                let keep = move |tools: &Tools| fs::rename(&part, tools.manifest_path(package));
                self.blocking(busy, keep).await.map_err(|error| self.disk(&error))?;
                Ok(signed)
            }
            (None, Some(bad)) => {
                // Not trusted now may be trusted later; what is no manifest never becomes one. Either way it is fetched anew.
                let drop = move |_: &Tools| fs::remove_file(&part);
                self.blocking(busy, drop).await.map_err(|error| self.disk(&error))?;
                Err(self.above(bad.code, &bad.why))
            }
            (None, None) => Err(self.disk(&"the manifest that was just fetched is gone")),
        }
    }

    /// The manifest that is kept, if it is and still counts.
    pub(in crate::executor) async fn kept_manifest(
        self: &Arc<Self>,
        task: &Task,
        busy: &Busy,
    ) -> Result<Option<Signed>, Trouble> {
        let path = self.manifest_path(task.line.package);
        let (signed, bad) = self.verified(task, &path, busy).await?;
        match bad {
            Some(bad) if bad.code == Code::NotTrusted => Err(self.above(bad.code, &bad.why)),
            // Damaged on this disk: fetched anew.
            _ => Ok(signed),
        }
    }

    /// The manifest that is kept, if it counts. Blocks; for whoever only looks.
    pub(crate) fn look_at_manifest(&self, task: &Task) -> Option<Signed> {
        let envelope = read(&self.manifest_path(task.line.package)).ok()??;
        verify(task, envelope).ok()
    }

    /// The manifest of what is installed or being installed, without the line.
    pub(in crate::executor) async fn known_manifest(
        self: &Arc<Self>,
        task: &Task,
        busy: &Busy,
    ) -> Result<Arc<Manifest>, Trouble> {
        let package = task.line.package;
        if let Some(found) = self.installed(task).await?.filter(|found| found.package == package) {
            let manifest = Manifest::from_stored_envelope(&found.manifest);
            return manifest.map(Arc::new).map_err(|error| self.disk(&error));
        }
        let kept = self.kept_manifest(task, busy).await?;
        kept.map(|kept| kept.manifest).ok_or_else(|| self.disk(&"the package's manifest is gone"))
    }

    async fn verified(
        self: &Arc<Self>,
        task: &Task,
        path: &Path,
        busy: &Busy,
    ) -> Result<(Option<Signed>, Option<Bad>), Trouble> {
        let (path, task) = (path.to_owned(), task.clone());
        let outcome = self.blocking(busy, move |_| match read(&path)? {
            Some(envelope) => Ok(match verify(&task, envelope) {
                Ok(signed) => (Some(signed), None),
                Err(bad) => (None, Some(bad)),
            }),
            None => Ok((None, None)),
        });
        outcome.await.map_err(|error| self.disk(&error))
    }

    async fn fetch_manifest(&self, package: PackageId, hint: &CopyHint) -> Result<(), Trouble> {
        let part = self.manifest_path(package).with_extension("part");
        let mut file = open_part(&part).map_err(|error| self.disk(&error))?;
        let mut have = file.metadata().map_err(|error| self.disk(&error))?.len();
        let request =
            ManifestRequest { package: package.into(), capability: hint.capability.clone(), offset: have };
        let body = cbor::encode(&request).map_err(|error| self.above(Code::Network, &error))?;
        let stream = self.link.stream(Method::POST, MANIFEST, body).await;
        let mut stream = stream.map_err(|error| self.above(Code::Network, &error))?;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.above(Code::Network, &error))?;
            have = have.saturating_add(piece.len() as u64);
            if have > ENVELOPE_BYTES as u64 {
                // What lies there is no manifest: the next try begins anew.
                fs::remove_file(&part).map_err(|error| self.disk(&error))?;
                let text = format!("the manifest is larger than {ENVELOPE_BYTES} bytes");
                return Err(self.above(Code::Content, &text));
            }
            // A few KiB into the page cache: not worth a thread of its own.
            file.write_all(&piece).map_err(|error| self.disk(&error))?;
        }
        file.sync_all().map_err(|error| self.disk(&error))
    }
}

fn open_part(part: &Path) -> io::Result<File> {
    if let Some(folder) = part.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    File::options().create(true).append(true).mode(0o600).open(part)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut envelope = Vec::new();
    file.take(ENVELOPE_BYTES as u64 + 1).read_to_end(&mut envelope)?;
    Ok(Some(envelope))
}

/// Identity, signature, then what it says.
fn verify(task: &Task, envelope: Vec<u8>) -> Result<Signed, Bad> {
    let content = |why: String| Bad { code: Code::Content, why };
    let distrust = |why: String| Bad { code: Code::NotTrusted, why };
    let parsed = Envelope::decode(&envelope, ENVELOPE_BYTES)
        .map_err(|error| content(format!("the manifest: {error}")))?;
    if blake3::hash(&parsed.payload) != task.line.package.0 {
        return Err(content("the manifest is not the one the job names".to_owned()));
    }
    let (keys, threshold) = task.keys.as_ref().map_err(|why| distrust(why.clone()))?;
    let find = |id: &packhorse_wire::envelope::KeyId| keys.iter().find(|key| key.id() == *id).copied();
    let payload = parsed.verify(PAYLOAD_TYPE, find, *threshold).map_err(|error| {
        distrust(format!("{} for cabinet {}: {error}", task.label.name, task.label.cabinet))
    })?;
    let manifest = Manifest::parse(payload).map_err(|error| content(error.to_string()))?;
    if manifest.name() != task.label.name || manifest.version() != task.label.version {
        let (name, version) = (manifest.name(), manifest.version());
        return Err(content(format!("the job says {}, the package {name}@{version}", task.label)));
    }
    Ok(Signed { manifest: Arc::new(manifest), envelope })
}
