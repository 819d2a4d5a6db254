//! A relay's access file for its administrator (`admin.toml`), and its key for jobs of its own (`job.key`). Both are made
//! here; the managing server certifies the one and is told the other in one signed request, which no relay on the way can
//! change. Asked at joining, at each start, in time before the certificate ends, and when the managing server is another.

use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::ids::Incarnation;
use packhorse_wire::admin::AccessFile;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::enroll::{EnrollError, HostIdentity, JOIN_TIMEOUT};
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::messages::{ACCESS, AccessRequest, AccessResponse, PROTOCOL};
use packhorse_wire::pki::{
    AccessProof, CaCert, CertInfo, HostKey, PkiError, Role, chain_from_pem, renew_due, write_private,
};

use super::rest;
use crate::error::ServerError;
use crate::folder::{Config, Folder};
use crate::system::System;

/// The access file.
pub const ACCESS_FILE: &str = "admin.toml";
/// The key for jobs of the relay's own.
const JOB_KEY_FILE: &str = "job.key";
/// How often it is looked whether there is something to ask.
const LOOK: Duration = Duration::from_secs(30);

/// The relay's job key, made when it is first asked for.
///
/// # Errors
/// The file cannot be read or written.
pub fn job_key(folder: &Folder) -> Result<SigningKey, ServerError> {
    if folder.path(JOB_KEY_FILE).exists() {
        return Ok(SigningKey::from_text(&folder.read(JOB_KEY_FILE)?)?);
    }
    let key = SigningKey::generate()?;
    write_private(&folder.path(JOB_KEY_FILE), &key.to_text()?)?;
    Ok(key)
}

/// Tells the job key; asks for the administrator's certificate and writes the access file if there is none, it ends soon, or
/// it is of another machine that had this name.
///
/// # Errors
/// Why it was not answered, or a file; what is there stays.
pub async fn ask(folder: &Folder, config: &Config, identity: &HostIdentity) -> Result<(), ServerError> {
    let job_key = Fixed(job_key(folder)?.public().0);
    let fresh = match is_due(folder, identity)? {
        true => Some(HostKey::generate()?),
        false => None,
    };
    let csr_pem = fresh.as_ref().map(|key| key.csr_pem(&identity.name)).transpose()?;
    let proof = AccessProof::new(&identity.key, &identity.chain_pem, csr_pem, job_key)?;
    let link = identity.anonymous_link()?;
    let answer: AccessResponse = link
        .call(ACCESS, &AccessRequest { v: PROTOCOL, proof }, JOIN_TIMEOUT)
        .await
        .map_err(EnrollError::from)?;
    let (Some(key), Some(chain_pem)) = (fresh, answer.chain_pem) else { return Ok(()) };
    let info = key.check_chain(&chain_pem, &identity.ca)?;
    if info.identity.role != Role::RelayAdmin || info.identity.id != identity.id.to_string() {
        let what = "the certificate is not that of this relay's administrator";
        return Err(EnrollError::Answer { url: identity.higher.url.clone(), what }.into());
    }
    write(folder, config, &identity.ca, chain_pem, &key)?;
    tracing::info!(file = ACCESS_FILE, "the administrator's access was written");
    Ok(())
}

fn write(
    folder: &Folder,
    config: &Config,
    ca: &CaCert,
    chain_pem: String,
    key: &HostKey,
) -> Result<(), ServerError> {
    let access = AccessFile {
        version: 1,
        url: config.url(),
        system: config.name.clone(),
        system_id: config.id.clone(),
        ca_pem: ca.to_pem(),
        chain_pem,
        key_pem: key.to_secret_pem(),
    };
    let path = folder.path(ACCESS_FILE);
    let text = toml::to_string(&access)
        .map_err(|error| ServerError::Format { path: path.clone(), why: error.to_string() })?;
    Ok(write_private(&path, &text)?)
}

/// Whether a certificate is to be asked for. A file that cannot be read is made anew.
fn is_due(folder: &Folder, identity: &HostIdentity) -> Result<bool, ServerError> {
    if !folder.path(ACCESS_FILE).exists() {
        return Ok(true);
    }
    let Ok(file) = toml::from_str::<AccessFile>(&folder.read(ACCESS_FILE)?) else { return Ok(true) };
    let read = |pem: &str| -> Result<Option<CertInfo>, PkiError> {
        chain_from_pem(pem)?.first().map(|leaf| CertInfo::from_der(leaf)).transpose()
    };
    let Ok(Some(info)) = read(&file.chain_pem) else { return Ok(true) };
    Ok(info.identity.id != identity.id.to_string()
        || renew_due(info.not_before, info.not_after, jiff::Timestamp::now()))
}

/// Asks when there is something to ask, for ever.
pub async fn run(system: Arc<System>) {
    let mut told: Option<Incarnation> = None;
    let mut failures = 0;
    loop {
        let life = system.server_life();
        let Some(upper) = &system.upper else { return };
        let identity = upper.identity();
        let due = is_due(&system.folder, &identity).unwrap_or(true);
        if told == Some(life) && !due {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        match ask(&system.folder, &system.config, &identity).await {
            Ok(()) => (told, failures) = (Some(life), 0),
            Err(error) => {
                tracing::info!(%error, "the administrator's access was not renewed; tried again");
                let refused = match &error {
                    ServerError::Link(error) | ServerError::Enroll(EnrollError::Link(error)) => Some(error),
                    _ => None,
                };
                rest(refused, failures).await;
                failures += 1;
            }
        }
    }
}
