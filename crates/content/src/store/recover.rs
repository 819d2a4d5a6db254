//! Opening a store after a kill, or after its database was lost.
//!
//! The database decides: a pack or manifest it does not know is what a kill left between rename and commit, or between
//! forgetting and unlinking (on a full disk: unlinking and forgetting). The first goes back to staging and is used again; the second is removed. Only a database
//! that is new, beside packs that are not, is filled from them first.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;

use packhorse_domain::ids::PackageId;

use super::db::{Db, PackedChunk};
use super::{StoreError, list_dir, manifest_path, pack, pack_path, remove_file, remove_pack, staged_path};
use crate::manifest::Manifest;

pub(super) fn recover(dir: &Path, db: &mut Db, is_new: bool) -> Result<(), StoreError> {
    if is_new {
        rebuild(dir, db)?;
    }
    for (n, name) in db.packs()? {
        if !pack_path(dir, &name, "pack").exists() {
            tracing::warn!(pack = name, "a pack is not there any more; its packages are taken in anew");
            db.lost_pack(n)?;
        }
    }
    for name in db.forget_unused(&[])? {
        remove_pack(dir, &name)?;
    }
    tidy_packs(dir, db)?;
    tidy_manifests(dir, db)?;
    tidy_staging(dir, db)
}

/// Fills a new database from packs and manifests.
fn rebuild(dir: &Path, db: &mut Db) -> Result<(), StoreError> {
    for file in list_dir(&dir.join("packs"))? {
        if let Some(name) = file.strip_suffix(".pack") {
            let chunks = chunks_of(dir, name)?;
            db.add_pack(name, &chunks)?;
        }
    }
    for file in list_dir(&dir.join("manifests"))? {
        let path = dir.join("manifests").join(&file);
        let envelope = fs::read(&path).map_err(StoreError::io(&path))?;
        match Manifest::from_stored_envelope(&envelope) {
            Ok(manifest) => {
                db.add(&manifest, None)?;
            }
            Err(error) => tracing::warn!(file, %error, "a stored manifest cannot be read"),
        }
    }
    Ok(())
}

fn chunks_of(dir: &Path, name: &str) -> Result<Vec<PackedChunk>, StoreError> {
    let index = fs::read(pack_path(dir, name, "index")).ok().and_then(|bytes| pack::decode_index(&bytes));
    if let Some(chunks) = index {
        return Ok(chunks);
    }
    let path = pack_path(dir, name, "pack");
    let file = File::open(&path).map_err(StoreError::io(&path))?;
    pack::index_by_scanning(&file).map_err(StoreError::io(&path))
}

fn tidy_packs(dir: &Path, db: &Db) -> Result<(), StoreError> {
    let known: HashSet<String> = db.packs()?.into_iter().map(|(_, name)| name).collect();
    for file in list_dir(&dir.join("packs"))? {
        let name = file.rsplit_once('.').map_or(file.as_str(), |(name, _)| name);
        if known.contains(name) && !file.ends_with(".tmp") {
            continue;
        }
        if file.ends_with(".pack") && back_to_staging(dir, name)? {
            continue;
        }
        remove_file(&dir.join("packs").join(&file))?;
    }
    Ok(())
}

/// A pack whose package is still staged was renamed but not committed: what it holds is used again.
fn back_to_staging(dir: &Path, name: &str) -> Result<bool, StoreError> {
    let id = name.split('.').next().and_then(|id| id.parse::<PackageId>().ok());
    let Some(id) = id else { return Ok(false) };
    let staged = staged_path(dir, &id, "pack");
    if !staged_path(dir, &id, "env").exists() || staged.exists() {
        return Ok(false);
    }
    let path = pack_path(dir, name, "pack");
    fs::rename(&path, &staged).map_err(StoreError::io(&path))?;
    Ok(true)
}

fn tidy_manifests(dir: &Path, db: &Db) -> Result<(), StoreError> {
    let known: HashSet<_> = db.packages()?.iter().map(|package| manifest_path(dir, &package.id)).collect();
    for file in list_dir(&dir.join("manifests"))? {
        let path = dir.join("manifests").join(file);
        if !known.contains(&path) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// What is staged of a package that is whole is left over from a kill just after the commit.
fn tidy_staging(dir: &Path, db: &Db) -> Result<(), StoreError> {
    for file in list_dir(&dir.join("staging"))? {
        let id = file.split('.').next().and_then(|id| id.parse::<PackageId>().ok());
        let wanted = match id {
            Some(id) => !db.has(&id)? && !file.ends_with(".tmp") && staged_path(dir, &id, "env").exists(),
            None => false,
        };
        if !wanted {
            remove_file(&dir.join("staging").join(&file))?;
        }
    }
    Ok(())
}
