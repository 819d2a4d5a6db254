//! A new certificate in time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use packhorse_wire::enroll::{EnrollError, HostIdentity, renew};
use packhorse_wire::pki::{CertInfo, renew_due};
use tokio::sync::watch;

use super::{Contact, is_retired, pause, retired_pause, sentence};
use crate::clock::Clock;
use crate::who::Who;

/// How often it is looked whether one is due. A clock may jump, so no timer is set for the day.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How often a relay's agent looks whether the relay has a new one.
const RELAY_LOOK_EVERY: Duration = Duration::from_secs(20);

/// Keeps the certificate good.
pub(crate) struct Renewal {
    /// Whose.
    pub who: Who,
    /// The clock.
    pub clock: Arc<Clock>,
    /// Counted up at each new certificate.
    pub renewed: watch::Sender<u64>,
    /// The end of the one in use, microseconds.
    pub until: watch::Sender<Option<Timestamp>>,
    /// How the connection is.
    pub contact: watch::Sender<Contact>,
}

impl Renewal {
    /// Before the first request: a certificate that has ended is renewed by its old key, which needs no certificate.
    pub async fn before_start(&mut self) {
        if let Ok(identity) = self.who.folder.load()
            && let Ok(info) = self.note(&identity)
            && self.who.renews
            && info.not_after <= self.now()
        {
            // It is tried again.
            let _ = self.try_renew(&identity).await;
        }
    }

    /// Looks again and again.
    pub async fn run(mut self) {
        let mut failures = 0;
        let mut known = self.who.folder.load().map(|identity| identity.chain_pem).unwrap_or_default();
        loop {
            let every = if self.who.renews { LOOK_EVERY } else { RELAY_LOOK_EVERY };
            match self.who.folder.load() {
                Ok(identity) if !self.who.renews => {
                    if identity.chain_pem != known && self.take(&identity) {
                        known = identity.chain_pem;
                    }
                    failures = 0;
                }
                Ok(identity) if self.is_due(&identity) => match self.try_renew(&identity).await {
                    Ok(()) => failures = 0,
                    Err(retired) => {
                        failures += 1;
                        if retired {
                            tokio::time::sleep(retired_pause()).await;
                        }
                    }
                },
                Ok(_) => failures = 0,
                Err(error) => {
                    tracing::warn!(%error, "the identity cannot be read");
                    failures += 1;
                }
            }
            tokio::time::sleep(if failures > 0 { pause(failures + 4) } else { every }).await;
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now().0).unwrap_or_else(|_| Timestamp::now())
    }

    fn note(&self, identity: &HostIdentity) -> Result<CertInfo, EnrollError> {
        let info = identity.info()?;
        self.until.send_replace(Some(info.not_after));
        Ok(info)
    }

    fn is_due(&self, identity: &HostIdentity) -> bool {
        self.note(identity).is_ok_and(|info| renew_due(info.not_before, info.not_after, self.now()))
    }

    /// Answers, if not, whether that is because this host was retired.
    async fn try_renew(&mut self, identity: &HostIdentity) -> Result<(), bool> {
        let outcome = match renew(identity).await {
            Ok(renewed) => self.who.folder.save_keys(&renewed).map(|()| renewed),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(renewed) => {
                tracing::info!("the certificate was renewed");
                if self.take(&renewed) { Ok(()) } else { Err(false) }
            }
            Err(EnrollError::Link(error)) if is_retired(&error) => {
                let text = sentence(&error);
                tracing::error!(text, "there is no new certificate for this host");
                self.contact.send_modify(|contact| contact.retired = Some(text));
                Err(true)
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate could not be renewed; tried again");
                Err(false)
            }
        }
    }

    fn take(&mut self, identity: &HostIdentity) -> bool {
        let taken = identity
            .tls()
            .map_err(|error| error.to_string())
            .and_then(|tls| self.who.link.set_identity(Some(&tls)).map_err(|error| error.to_string()));
        if let Err(error) = &taken {
            tracing::warn!(error, "the new certificate cannot be used");
            return false;
        }
        if let Err(error) = self.note(identity) {
            tracing::warn!(%error, "the new certificate cannot be read");
        }
        self.renewed.send_modify(|count| *count += 1);
        true
    }
}
