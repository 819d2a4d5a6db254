//! Manifests passed on without their packages: a host judges whether a package fits it before any content travels, and an
//! offer brings nothing to a site until somebody chose it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use packhorse_content::store::StoreError;
use packhorse_domain::ids::PackageId;

use super::CopyError;
use super::upstream::{manifest, verified};
use crate::db::copies;
use crate::system::System;

/// Most bytes of manifests that are kept.
const PASSED_BYTES_MAX: usize = 32 << 20;

/// The newest last; in memory, for many ask for the same at a time.
#[derive(Debug, Default)]
pub struct Passed(VecDeque<(PackageId, Bytes)>);

impl Passed {
    fn get(&self, package: &PackageId) -> Option<Bytes> {
        self.0.iter().find(|(known, _)| known == package).map(|(_, envelope)| envelope.clone())
    }

    fn put(&mut self, package: PackageId, envelope: Bytes) {
        self.0.push_back((package, envelope));
        let bytes =
            |kept: &VecDeque<(PackageId, Bytes)>| kept.iter().map(|(_, one)| one.len()).sum::<usize>();
        while self.0.len() > 1 && bytes(&self.0) > PASSED_BYTES_MAX {
            self.0.pop_front();
        }
    }
}

/// The manifest of a package that is here, arriving, passing through, or was passed on before; else, at a relay, fetched from
/// above and verified. One fetch at a time, whoever asks: manifests are small.
pub(crate) async fn manifest_of(system: &Arc<System>, package: PackageId) -> Result<Bytes, CopyError> {
    if let Some(envelope) = at_hand(system, package).await? {
        return Ok(envelope);
    }
    let Some(upper) = &system.upper else { return Err(StoreError::NotFound(package).into()) };
    let mut passed = system.copies.passed.lock().await;
    if let Some(envelope) = passed.get(&package) {
        return Ok(envelope);
    }
    if let Some(envelope) = at_hand(system, package).await? {
        return Ok(envelope);
    }
    let wanted = system.db.read(move |connection| copies::source(connection, &package)).await?;
    let wanted = wanted.ok_or(StoreError::NotFound(package))?;
    let envelope = manifest(system, upper.link(), &wanted).await?;
    verified(system, &wanted, &envelope)?;
    passed.put(package, envelope.clone());
    Ok(envelope)
}

async fn at_hand(system: &Arc<System>, package: PackageId) -> Result<Option<Bytes>, CopyError> {
    if let Some(through) = system.copies.passing(&package) {
        return Ok(Some(through.envelope().clone()));
    }
    let store = system.store.clone();
    match tokio::task::spawn_blocking(move || store.manifest_envelope(&package)).await? {
        Ok(envelope) => Ok(Some(envelope)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way() {
        let mut passed = Passed::default();
        let id = |n| PackageId([n; 32]);
        for n in 0..5 {
            passed.put(id(n), Bytes::from(vec![n; PASSED_BYTES_MAX / 3]));
        }
        assert!(passed.get(&id(1)).is_none() && passed.get(&id(4)).is_some());
        passed.put(id(9), Bytes::from(vec![9; PASSED_BYTES_MAX * 2]));
        assert!(passed.get(&id(9)).is_some(), "one is kept whatever its size");
    }
}
