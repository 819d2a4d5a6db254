//! Who calls. A host's certificate says who it is; whether it is below this system, and calls it directly, is looked up at
//! every request, so that a host that was retired or replaced is refused at its next one.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use packhorse_domain::ids::HostId;
use packhorse_domain::job::HostRole;
use packhorse_domain::twins::Verdict;
use packhorse_wire::messages::RETIRED_CODE;
use packhorse_wire::net::Peer;
use packhorse_wire::pki::{CertIdentity, Role};

use super::{LowerError, SERVES_NOBODY};
use crate::authority::timestamp;
use crate::db::retire::replace_command;
use crate::db::retired::Gone;
use crate::system::{Listed, System, now};

/// A direct lower system that may ask, and its certificate's generation.
#[derive(Debug, Clone)]
pub struct Caller(pub Listed, u64);

impl Caller {
    /// It may still ask: it was not retired, replaced or moved while its request was held.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn still(&self, system: &System) -> Result<(), LowerError> {
        let Caller(listed, generation) = self;
        serves(system, &listed.id)?;
        admit(system, &listed.id, &listed.name, listed.role, *generation).map(drop)
    }

    /// Its certificate counts no more.
    pub fn is_retired(&self, system: &System) -> bool {
        self.still(system).is_err_and(|error| error.is_retired())
    }

    /// Its certificate's generation.
    pub fn generation(&self) -> u64 {
        self.1
    }

    /// Notes that this run of the caller came; refuses it if two machines answer under its name.
    ///
    /// # Errors
    /// It is held as one of two.
    pub fn came(&self, system: &System, run: u64) -> Result<(), LowerError> {
        match system.presence.came(self.0.id, run, now()) {
            Verdict::Welcome => Ok(()),
            Verdict::Held => {
                system.outbox_news.notify_one();
                let message = format!("two machines answer as {}: both are held", self.0.name);
                let hint = format!(
                    "{}, and join anew on the machine that is to keep the name",
                    replace_command(&self.0.name, self.0.role)
                );
                Err(LowerError::new(StatusCode::CONFLICT, "twins", message).hint(&hint))
            }
        }
    }
}

/// Who asks for orders: also a host that does not call this system any more, to hear where it stands.
#[derive(Debug)]
pub enum Asker {
    /// A direct lower system.
    Direct(Caller),
    /// Somebody else with this id and a certificate of this generation, and what it would be refused with: one who was moved,
    /// or was retired and is told so once by the managing server's word.
    Elsewhere(HostId, u64, LowerError),
}

impl FromRequestParts<Arc<System>> for Asker {
    type Rejection = LowerError;

    async fn from_request_parts(parts: &mut Parts, system: &Arc<System>) -> Result<Asker, LowerError> {
        let identity = parts.extensions.get::<Peer>().and_then(|peer| peer.identity.clone());
        match Caller::from_request_parts(parts, system).await {
            Ok(caller) => Ok(Asker::Direct(caller)),
            Err(error) => {
                let id = identity.as_ref().and_then(|identity| identity.id.parse().ok());
                // Those that a retired relay still had to serve hear nothing of it: they go to the next of their list.
                let own = |id: &HostId| system.listed(id).is_some_and(|listed| listed.direct);
                let left = error.serves_nobody() && id.as_ref().is_some_and(|id| !own(id));
                if !error.is_elsewhere() && !left {
                    return Err(error);
                }
                match (id, identity) {
                    (Some(id), Some(identity)) => Ok(Asker::Elsewhere(id, identity.generation, error)),
                    _ => Err(error),
                }
            }
        }
    }
}

/// Somebody with a host's certificate that counts; whether it is below this system is another question.
pub struct Certified(pub CertIdentity);

impl FromRequestParts<Arc<System>> for Certified {
    type Rejection = LowerError;

    async fn from_request_parts(parts: &mut Parts, system: &Arc<System>) -> Result<Certified, LowerError> {
        if !system.is_ready() {
            let message =
                format!("{} has yet to hear from its higher system what is below it", system.config.name);
            return Err(LowerError::new(StatusCode::SERVICE_UNAVAILABLE, "starting", message));
        }
        let peer = parts.extensions.get::<Peer>();
        let ended =
            peer.and_then(|peer| peer.cert_not_after).is_some_and(|end| end.as_microsecond() < now().0);
        let identity = peer.and_then(|peer| peer.identity.as_ref());
        let identity = identity.ok_or_else(|| {
            LowerError::new(StatusCode::UNAUTHORIZED, "no_certificate", "this needs a host's certificate")
        })?;
        if ended {
            return Err(LowerError::new(
                StatusCode::UNAUTHORIZED,
                "certificate",
                "this host's certificate has ended",
            ));
        }
        match identity.id.parse() {
            Ok(id) => serves(system, &id)?,
            Err(_) => return Err(unknown(system, &identity.name)),
        }
        Ok(Certified(identity.clone()))
    }
}

/// A relay that was retired serves nobody but its own agent. Who asks counts it as one that cannot be reached.
fn serves(system: &System, asking: &HostId) -> Result<(), LowerError> {
    if *asking == system.id || !system.is_retired_itself() {
        return Ok(());
    }
    let message = format!("{} was retired: it serves nobody any more", system.config.name);
    let hint = "at the managing server: packhorse host move HOST --to another system";
    Err(LowerError::new(StatusCode::SERVICE_UNAVAILABLE, SERVES_NOBODY, message).hint(hint))
}

impl FromRequestParts<Arc<System>> for Caller {
    type Rejection = LowerError;

    async fn from_request_parts(parts: &mut Parts, system: &Arc<System>) -> Result<Caller, LowerError> {
        let Certified(identity) = Certified::from_request_parts(parts, system).await?;
        judge(system, &identity).map(|listed| Caller(listed, identity.generation))
    }
}

fn judge(system: &System, identity: &CertIdentity) -> Result<Listed, LowerError> {
    let role = match identity.role {
        Role::Relay => HostRole::Relay,
        Role::Client => HostRole::Client,
        Role::Server | Role::Admin | Role::RelayAdmin => {
            let message = format!("a certificate of role {} is not a lower system's", identity.role);
            return Err(LowerError::new(StatusCode::FORBIDDEN, "role", message));
        }
    };
    match identity.id.parse() {
        Ok(id) => admit(system, &id, &identity.name, role, identity.generation),
        Err(_) => Err(unknown(system, &identity.name)),
    }
}

/// Refuses whoever is not known to call here.
pub(super) fn unknown(system: &System, name: &str) -> LowerError {
    // It may be that this relay has not heard of the host yet: the host asks again.
    let message = format!("{name} is not known at {}", system.config.name);
    LowerError::new(StatusCode::SERVICE_UNAVAILABLE, "unknown_host", message)
}

/// Whether a host may ask here with a certificate of this generation.
fn admit(
    system: &System,
    id: &HostId,
    name: &str,
    role: HostRole,
    generation: u64,
) -> Result<Listed, LowerError> {
    if let Some(gone) = system.retired(id, generation) {
        return Err(retired(name, role, &gone));
    }
    let listed = system.listed(id).ok_or_else(|| unknown(system, name))?;
    if listed.role != role || generation < listed.oldest {
        // It may be that no word says why (any more).
        let message = format!("this certificate of {name} counts no more");
        let hint = format!(
            "if another machine took the name over, join this one under another name; else, at the managing server: {}",
            replace_command(name, role)
        );
        return Err(LowerError::new(StatusCode::FORBIDDEN, RETIRED_CODE, message).hint(&hint));
    }
    if !listed.direct {
        let message =
            format!("{name} does not belong to {}, but to a relay system below it", system.config.name);
        return Err(LowerError::new(StatusCode::FORBIDDEN, "not_direct", message));
    }
    Ok(listed)
}

fn retired(name: &str, role: HostRole, gone: &Gone) -> LowerError {
    let relay = if role == HostRole::Relay { " --relay" } else { "" };
    let (what, command) = match gone.removed {
        true => ("removed", format!("packhorse token new{relay}")),
        false => ("retired", replace_command(name, role)),
    };
    let message = format!("{name} was {what} at {}", timestamp(gone.at));
    let hint = format!("at the managing server: {command}; then join this machine anew");
    LowerError::new(StatusCode::FORBIDDEN, RETIRED_CODE, message).hint(&hint)
}
