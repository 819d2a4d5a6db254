//! What a relay's administrator can name: the packages this relay keeps, whoever sent them.

use std::sync::Arc;

use packhorse_content::store::StoreError;
use packhorse_domain::ingest::Position;
use packhorse_wire::envelope::Envelope;

use super::AdminError;
use super::verified;
use crate::db::known::{self, Kept, Know};
use crate::db::packages::PackageRecord;
use crate::system::System;

/// Brings what is written down of packages up to what is kept. At the managing server packages are registered.
///
/// # Errors
/// The store's or the database's.
pub async fn refresh(system: &Arc<System>) -> Result<(), AdminError> {
    if system.position == Position::Top {
        return Ok(());
    }
    let (kept, gone) = system.db.read(known::changed).await?;
    if kept.is_empty() && !gone {
        return Ok(());
    }
    let store = system.store.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let records = kept.iter().filter_map(|kept| read(&store, kept).transpose());
        records.collect::<Result<Vec<PackageRecord>, AdminError>>()
    });
    Ok(system.db.write(Know(reading.await??)).await?)
}

fn read(store: &packhorse_content::store::Store, kept: &Kept) -> Result<Option<PackageRecord>, AdminError> {
    let manifest = match store.manifest(&kept.id) {
        Ok(manifest) => manifest,
        // It went meanwhile.
        Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let envelope = store.manifest_envelope(&kept.id)?;
    let signed_by = Envelope::decode(&envelope, packhorse_content::limits::ENVELOPE_BYTES)
        .map(|envelope| envelope.signatures.iter().map(|signature| signature.key_id).collect())
        .unwrap_or_default();
    let mut record = verified::record(&manifest, signed_by, &kept.label.cabinet);
    record.label = kept.label.clone();
    record.keep_until = kept.keep_until;
    Ok(Some(record))
}
