//! A relay's administrator gets a certificate, and the relay's job key is written down.

use std::sync::Arc;

use packhorse_domain::ids::HostId;
use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::pki::{CertIdentity, CertInfo, Role};
use rusqlite::{Connection, params};

use super::hosts::{self, HostRow};
use super::{Command, DbError, delegations, meta, retire};
use crate::authority::Authority;

/// A relay asks for its administrator's certificate, and says its job key.
pub struct GiveAccess {
    /// The keys.
    pub authority: Arc<Authority>,
    /// What the relay's certificate says, the proof verified.
    pub relay: CertInfo,
    /// The request for the administrator's key, if one is asked for.
    pub csr_pem: Option<String>,
    /// The relay's job key.
    pub job_key: [u8; 32],
    /// Now.
    pub now: Time,
}

/// What [`GiveAccess`] answers.
pub struct Given {
    /// The administrator's certificate and the authority's.
    pub chain_pem: Option<String>,
    /// Lower systems with something new in their feeds.
    pub lowers: Vec<HostRow>,
}

impl Command for GiveAccess {
    type Answer = Given;

    fn apply(self, tx: &Connection) -> Result<Given, DbError> {
        let relay = &self.relay.identity;
        let refuse = |what: &str| {
            let hint = format!("{}, and join anew", retire::replace_command(&relay.name, HostRole::Relay));
            DbError::refused("retired", format!("{} {what}", relay.name), Some(&hint))
        };
        let id: HostId = relay.id.parse().map_err(|_| refuse("has no id"))?;
        let host = hosts::by_id(tx, &id)?.ok_or_else(|| retire::forgotten(&relay.name))?;
        if host.retired.is_some() {
            return Err(refuse("was retired"));
        }
        if relay.role != Role::Relay || host.role != HostRole::Relay {
            return Err(refuse("is not a relay: only relays have administrators of their own"));
        }
        if relay.generation < host.oldest || relay.generation > host.generation {
            return Err(refuse("was given to another machine"));
        }
        let sql = "UPDATE hosts SET job_key = ?2 WHERE row = ?1 AND job_key IS NOT ?2";
        tx.prepare_cached(sql)?.execute(params![host.row, self.job_key])?;
        Ok(Given { chain_pem: self.certify(&host)?, lowers: self.follow_key(tx, &host)? })
    }
}

impl GiveAccess {
    /// A relay that was replaced by a machine that an administrator let in goes on with what was delegated to it, under its
    /// new key; jobs signed by the key before count no more.
    fn follow_key(&self, tx: &Connection, host: &hosts::HostRecord) -> Result<Vec<HostRow>, DbError> {
        let Some(envelope) = delegations::of(tx, &host.id)? else { return Ok(Vec::new()) };
        let mut doc = delegations::read(&envelope)?;
        if doc.key.0 == self.job_key || doc.revoked || doc.expires <= self.now.0 {
            return Ok(Vec::new());
        }
        doc.key = Fixed(self.job_key);
        doc.revision = meta::next_revision(doc.revision, self.now);
        delegations::set(tx, &self.authority, &doc, self.now)
    }

    /// The certificate names the relay: it is good there and nowhere else, and not after the relay was replaced.
    fn certify(&self, host: &hosts::HostRecord) -> Result<Option<String>, DbError> {
        let Some(csr_pem) = &self.csr_pem else { return Ok(None) };
        let identity = CertIdentity {
            role: Role::RelayAdmin,
            id: host.id.to_string(),
            name: host.name.clone(),
            generation: self.relay.identity.generation,
        };
        let issued = self.authority.issue(csr_pem, &identity, &[], self.now);
        let issued = issued.map_err(|error| DbError::refused("request", error.to_string(), None))?;
        Ok(Some(issued.chain_pem))
    }
}
