//! Join tokens: only their hashes are stored.

use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Command, DbError};

/// A token to make.
pub struct MakeToken {
    /// BLAKE3 of its secret.
    pub hash: [u8; 32],
    /// For which role.
    pub role: HostRole,
    /// How often it may be used.
    pub uses: u32,
    /// Its end.
    pub ends: Time,
    /// The name it may take over.
    pub replaces: Option<String>,
    /// Now.
    pub now: Time,
}

impl Command for MakeToken {
    type Answer = u64;

    fn apply(self, tx: &Connection) -> Result<u64, DbError> {
        if let Some(name) = &self.replaces {
            let host = super::hosts::by_name(tx, name)?;
            if host.is_none_or(|host| host.role != self.role) {
                let message = format!("there is no {} named {name} to replace", self.role.as_str());
                return Err(DbError::refused(
                    "unknown_host",
                    message,
                    Some("packhorse host list shows the names"),
                ));
            }
        }
        let sql = "INSERT INTO tokens (hash, role, uses_left, ends, replaces, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   RETURNING row";
        let row: i64 = tx.prepare_cached(sql)?.query_row(
            params![self.hash, self.role.as_str(), self.uses, self.ends.0, self.replaces, self.now.0],
            |row| row.get(0),
        )?;
        Ok(row as u64)
    }
}

/// A token as it is listed.
#[derive(Debug, Clone)]
pub struct TokenRecord {
    /// Its number.
    pub id: u64,
    /// For which role.
    pub role: String,
    /// Uses left.
    pub uses_left: u32,
    /// Its end.
    pub ends: Time,
    /// The name it may take over.
    pub replaces: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl TokenRecord {
    /// `open`, `used`, `ended` or `revoked`.
    pub fn state(&self, now: Time) -> &'static str {
        if self.revoked {
            "revoked"
        } else if self.uses_left == 0 {
            "used"
        } else if self.ends <= now {
            "ended"
        } else {
            "open"
        }
    }
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: row.get::<_, i64>(0)? as u64,
        role: row.get(1)?,
        uses_left: row.get(2)?,
        ends: Time(row.get(3)?),
        replaces: row.get(4)?,
        revoked: row.get(5)?,
    })
}

const COLUMNS: &str = "row, role, uses_left, ends, replaces, revoked";

/// All tokens, the newest first.
///
/// # Errors
/// The database's.
pub fn list(connection: &Connection) -> Result<Vec<TokenRecord>, DbError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY row DESC"))?;
    let rows = statement.query_map([], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Uses a token once, or says why it cannot be used. Wrong secrets and wrong states are told apart only for secrets that
/// are right.
///
/// # Errors
/// A refusal: nothing was used.
pub fn spend(tx: &Connection, hash: &[u8; 32], role: HostRole, now: Time) -> Result<TokenRecord, DbError> {
    let refuse = |what: &str| {
        let hint =
            if role == HostRole::Relay { "packhorse token new --relay" } else { "packhorse token new" };
        DbError::refused("token", format!("this token {what}"), Some(hint))
    };
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?1");
    let found = tx.prepare_cached(&sql)?.query_row([hash], record).optional()?;
    let token = found.ok_or_else(|| refuse("is not known here"))?;
    if token.role != role.as_str() {
        return Err(refuse(&format!("is for a {}, not for a {}", token.role, role.as_str())));
    }
    match token.state(now) {
        "open" => {}
        "revoked" => return Err(refuse("was revoked")),
        "used" => return Err(refuse("was used as often as it may be")),
        _ => return Err(refuse("has ended")),
    }
    tx.prepare_cached("UPDATE tokens SET uses_left = uses_left - 1 WHERE row = ?1")?
        .execute([token.id as i64])?;
    Ok(token)
}

/// Revokes a token.
pub struct RevokeToken(pub u64);

impl Command for RevokeToken {
    type Answer = bool;

    fn apply(self, tx: &Connection) -> Result<bool, DbError> {
        Ok(tx.prepare_cached("UPDATE tokens SET revoked = 1 WHERE row = ?1")?.execute([self.0 as i64])? > 0)
    }
}
