//! Join tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use packhorse_domain::job::HostRole;
use packhorse_wire::admin::{NewToken, TokenMade, TokenView};
use packhorse_wire::pki::Role;
use packhorse_wire::token::Token;
use serde_json::{Value, json};

use super::format::rfc3339;
use super::request::Body;
use super::{Admin, AdminError};
use crate::db::tokens::{self, MakeToken, RevokeToken, TokenRecord};
use crate::system::now;

/// Most uses of one token.
const USES_MAX: u32 = 100_000;
/// Longest life of a token: 30 days, in seconds.
const LIFE_SECS_MAX: u64 = 30 * 86_400;

/// `POST /admin/v1/tokens`.
pub async fn make(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<NewToken>,
) -> Result<Json<TokenMade>, AdminError> {
    check(&new)?;
    let system = &admin.system;
    let authority = system.authority()?;
    let (role, host_role) =
        if new.relay { (Role::Relay, HostRole::Relay) } else { (Role::Client, HostRole::Client) };
    let token = Token::new(role, &authority.ca().fingerprint(), Some(system.config.url()))
        .map_err(|error| AdminError::internal("making a token", &error))?;
    let at = now();
    // `check` keeps it below 30 days.
    let ends = at.plus_secs(new.ends_secs as i64);
    let command = MakeToken {
        hash: token.secret_hash(),
        role: host_role,
        uses: new.uses,
        ends,
        replaces: new.replace.clone(),
        now: at,
    };
    let id = system.db.write(command).await?;
    let record = TokenRecord {
        id,
        role: host_role.as_str().to_owned(),
        uses_left: new.uses,
        ends,
        replaces: new.replace,
        revoked: false,
    };
    Ok(Json(TokenMade { token: token.to_secret_text(), view: view(&record) }))
}

fn check(new: &NewToken) -> Result<(), AdminError> {
    if !(1..=USES_MAX).contains(&new.uses) {
        let message = format!("a token has 1 to {USES_MAX} uses, not {}", new.uses);
        return Err(AdminError::bad_request(message));
    }
    if !(1..=LIFE_SECS_MAX).contains(&new.ends_secs) {
        return Err(AdminError::bad_request("a token lives at least a second and at most 30 days"));
    }
    Ok(())
}

fn view(token: &TokenRecord) -> TokenView {
    TokenView {
        id: token.id,
        role: token.role.clone(),
        uses_left: token.uses_left,
        ends: rfc3339(token.ends),
        replace: token.replaces.clone(),
        state: token.state(now()).to_owned(),
    }
}

/// `GET /admin/v1/tokens`.
pub async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<TokenView>>, AdminError> {
    let tokens = admin.system.db.read(tokens::list).await?;
    Ok(Json(tokens.iter().map(view).collect()))
}

/// `DELETE /admin/v1/tokens/{id}`.
pub async fn revoke(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, AdminError> {
    let unknown = || {
        AdminError::new(StatusCode::NOT_FOUND, "unknown_token", format!("there is no token {id}"))
            .hint("packhorse token list shows the numbers")
    };
    let number: u64 = id.parse().map_err(|_| unknown())?;
    if !admin.system.db.write(RevokeToken(number)).await? {
        return Err(unknown());
    }
    Ok(Json(json!({})))
}
