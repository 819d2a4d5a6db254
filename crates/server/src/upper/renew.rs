//! A relay's certificate: renewed by itself at two thirds of its life, by its old key if it was off past the end.

use std::sync::Arc;
use std::time::Duration;

use packhorse_wire::enroll::{EnrollError, IdentityFolder, renew};
use packhorse_wire::pki::renew_due;

use crate::error::ServerError;
use crate::system::System;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(600);

/// Renews for ever.
pub async fn run(system: Arc<System>) {
    loop {
        if let Err(error) = look(&system).await {
            tracing::warn!(%error, "the certificate was not renewed; tried again");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(system: &System) -> Result<(), ServerError> {
    let Some(upper) = &system.upper else { return Ok(()) };
    let identity = upper.identity();
    let info = identity.info()?;
    if !renew_due(info.not_before, info.not_after, jiff::Timestamp::now()) {
        return Ok(());
    }
    let renewed = renew(&identity).await?;
    IdentityFolder::at(system.folder.root()).save_keys(&renewed)?;
    let tls = renewed.tls().map_err(|error: EnrollError| ServerError::from(error))?;
    system.tls.replace(&tls);
    upper.set_identity(renewed)?;
    tracing::info!("the certificate was renewed");
    Ok(())
}
