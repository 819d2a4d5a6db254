//! What may be asked of a relay. Looking is free from the start; a relay's administrator does what the managing server
//! delegated; everything else is refused by name. A command that nobody thought of here is refused, too.

use axum::http::{Method, StatusCode};
use packhorse_domain::ingest::Position;
use packhorse_wire::admin::NewJob;
use packhorse_wire::signed::DelegationDoc;

use super::AdminError;
use super::auth::Asker;
use crate::granting::{self, Lacks};
use crate::signer::{RelaySigner, Signer};
use crate::system::{System, now};

/// Where the paths begin.
const PREFIX: &str = "/admin/v1/";

/// What a request is about, as the command line calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    /// `job cancel`.
    pub command: String,
    right: Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// Free for whoever may look.
    Look,
    /// With a delegation.
    Delegated,
    /// With a delegation, whatever has become of it: who made a job may always stop it.
    Stopping,
    /// The same; what it is called and whether it is delegated stands in the request.
    ByRequest,
    /// At the managing server only.
    ServerOnly,
}

impl Asks {
    /// Of a request's method and route.
    pub fn of(method: &Method, route: &str) -> Asks {
        let path = route.strip_prefix(PREFIX).unwrap_or(route);
        let looks = *method == Method::GET || path == "plan";
        let right = match path.split('/').next().unwrap_or_default() {
            // Whoever has a token lets machines in.
            "tokens" => Right::ServerOnly,
            _ if looks => Right::Look,
            "jobs" if path == "jobs" => Right::ByRequest,
            "jobs" if path.ends_with("/cancel") || path.ends_with("/close") => Right::Stopping,
            "jobs" | "uploads" | "packages" => Right::Delegated,
            "relays" if path.ends_with("/keep") || path.ends_with("/drop") => Right::Delegated,
            _ => Right::ServerOnly,
        };
        Asks { command: command(method, path), right }
    }
}

/// `jobs/{job}/cancel` is `job cancel`.
fn command(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let noun = parts.first().copied().unwrap_or_default();
    let verb = match (method.as_str(), parts.last().copied().filter(|part| !part.starts_with('{'))) {
        (_, _) if noun == "uploads" => "add",
        (_, Some(verb)) if parts.len() > 1 => verb,
        ("GET", _) if parts.len() > 1 => "show",
        ("GET", _) => "list",
        ("DELETE", _) if noun == "tokens" => "revoke",
        ("DELETE", _) => "remove",
        _ => "new",
    };
    let noun = if noun == "uploads" { "package" } else { noun.strip_suffix('s').unwrap_or(noun) };
    format!("{noun} {verb}")
}

/// Whether it may be asked here.
///
/// # Errors
/// A refusal with the command's name and the reason.
pub fn check(system: &System, asker: Asker, asks: &Asks) -> Result<(), AdminError> {
    if system.position == Position::Top || asks.right == Right::Look {
        return Ok(());
    }
    let relay = &system.config.name;
    if asks.right == Right::ServerOnly {
        let message = format!("{}: this is done at the managing server, not at relay {relay}", asks.command);
        return Err(AdminError::new(StatusCode::FORBIDDEN, "not_at_a_relay", message)
            .hint("PACKHORSE_CONTEXT names the system that is asked: the managing server's admin.toml"));
    }
    if asker == Asker::FromAbove {
        let message = format!(
            "{}: the managing server's administrators look at {relay}; its own administrator does this here",
            asks.command
        );
        return Err(AdminError::new(StatusCode::FORBIDDEN, "look_only", message)
            .hint("ask the managing server for it, or use the access file in the relay's folder"));
    }
    if asks.right == Right::ByRequest {
        return Ok(());
    }
    granted(system, &asks.command, asks.right == Right::Stopping).map(|_| ())
}

/// The delegation in force at this relay.
///
/// # Errors
/// A refusal of `command`: there is none, or it counts no more.
pub fn delegation(system: &System, command: &str) -> Result<DelegationDoc, AdminError> {
    granted(system, command, false)
}

/// The delegation at this relay; in force, unless it is only asked for to stop what was made under it.
fn granted(system: &System, command: &str, only_stops: bool) -> Result<DelegationDoc, AdminError> {
    let relay = &system.config.name;
    let delegations = system.delegations();
    let why = match delegations.of(relay) {
        None => "nothing was delegated to it",
        Some(doc) if only_stops => return Ok(doc.clone()),
        Some(doc) if doc.revoked => "its delegation was revoked",
        Some(doc) if doc.expires <= now().0 => "its delegation has ended",
        Some(doc) => return Ok(doc.clone()),
    };
    let message = format!("{command}: {relay}'s administrator may not: {why}");
    Err(AdminError::new(StatusCode::FORBIDDEN, "not_delegated", message).hint(granting::command(
        relay,
        delegations.of(relay),
        Lacks::Force,
    )))
}

/// At a relay a host that is not known is one that is not below it.
pub fn not_below(system: &System, command: &str, error: AdminError) -> AdminError {
    if system.position == Position::Top || error.code() != "unknown_host" {
        return error;
    }
    error.reworded(|message| format!("{command}: {message} below {}", system.config.name))
}

/// Refuses a cabinet that is not a relay's own. `standing`: what was granted to it last.
pub fn not_own_cabinet(
    relay: &str,
    standing: Option<&DelegationDoc>,
    command: &str,
    cabinet: &str,
) -> AdminError {
    let shown: String = cabinet.chars().take(64).collect();
    let message = format!("{command}: cabinet {shown} is not one of {relay}'s own");
    AdminError::new(StatusCode::FORBIDDEN, "not_delegated", message).hint(format!(
        "packhorse relay show {relay} names its own; this gives it one: {}",
        granting::command(relay, standing, Lacks::Cabinet("NAME"))
    ))
}

/// Who signs jobs here, for a command that needs it.
///
/// # Errors
/// At a relay: nothing is delegated to it, or, unless the command only stops, not any more.
pub fn signer(system: &System, command: &str, only_stops: bool) -> Result<Signer, AdminError> {
    match (&system.authority, &system.job_key) {
        (Some(authority), _) => Ok(Signer::Server(authority.clone())),
        (None, Some(key)) => {
            let delegation = granted(system, command, only_stops)?;
            let cabinets = system.trust().doc().cabinets.keys().cloned().collect();
            Ok(Signer::Relay(RelaySigner {
                relay: system.id,
                key: key.clone(),
                delegation,
                cabinets,
                only_stops,
            }))
        }
        (None, None) => Err(AdminError::internal("its keys", &"there is no job key")),
    }
}

/// A relay makes no transfers, and nothing that would need one.
///
/// # Errors
/// It is asked for one.
pub fn refuse_transfer(system: &System, new: &NewJob) -> Result<(), AdminError> {
    let command = match (new.job_type.as_str(), &new.terms.stage_at) {
        ("transfer", _) => "transfer",
        (_, Some(_)) => "install --stage-at",
        _ => return Ok(()),
    };
    if system.position == Position::Top {
        return Ok(());
    }
    let message = format!(
        "{command}: a relay makes no transfers: packages are brought to relays by the managing server"
    );
    Err(AdminError::new(StatusCode::FORBIDDEN, "no_transfer_at_a_relay", message)
        .hint("packhorse transfer, at the managing server; here packages of the relay's own are added"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_called_as_people_call_them() {
        for (method, path, command, right) in [
            (Method::GET, "hosts", "host list", Right::Look),
            (Method::GET, "jobs/{job}", "job show", Right::Look),
            (Method::POST, "plan", "plan new", Right::Look),
            (Method::POST, "jobs", "job new", Right::ByRequest),
            (Method::POST, "jobs/{job}/cancel", "job cancel", Right::Stopping),
            (Method::POST, "jobs/{job}/close", "job close", Right::Stopping),
            (Method::POST, "jobs/{job}/retry", "job retry", Right::Delegated),
            (Method::POST, "uploads/{package}/frames", "package add", Right::Delegated),
            (Method::DELETE, "packages", "package remove", Right::Delegated),
            (Method::GET, "tokens", "token list", Right::ServerOnly),
            (Method::DELETE, "tokens/{id}", "token revoke", Right::ServerOnly),
            (Method::POST, "cabinets", "cabinet new", Right::ServerOnly),
            (Method::POST, "cabinets/{name}/trust", "cabinet trust", Right::ServerOnly),
            (Method::POST, "relays/{name}/keep", "relay keep", Right::Delegated),
            (Method::POST, "relays/{name}/grant", "relay grant", Right::ServerOnly),
            (Method::POST, "hosts/-/retire", "host retire", Right::ServerOnly),
            (Method::POST, "hosts/-/remove", "host remove", Right::ServerOnly),
            (Method::POST, "something/new", "something new", Right::ServerOnly),
        ] {
            let asks = Asks::of(&method, &format!("{PREFIX}{path}"));
            assert_eq!((asks.command.as_str(), asks.right), (command, right), "{method} {path}");
        }
    }
}
