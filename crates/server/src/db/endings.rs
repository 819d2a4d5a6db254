//! What ends by itself and has to be renewed by somebody: told of in time, once.

use packhorse_domain::time::Time;
use packhorse_wire::trust::Trust;
use rusqlite::{Connection, params};

use super::reports::alarm;
use super::{Command, DbError, delegations, meta};
use crate::authority::timestamp;

/// The end of a trust document is told of this many days before.
const TRUST_DAYS: i64 = 60;
/// The end of a delegation.
const DELEGATION_DAYS: i64 = 14;

/// Looks for what ends soon, or has ended, and tells of it by an alarm; answers how many are new.
pub struct WarnOfEndings {
    /// The managing server's name.
    pub own: String,
    /// Now.
    pub now: Time,
}

impl Command for WarnOfEndings {
    type Answer = u32;

    fn apply(self, tx: &Connection) -> Result<u32, DbError> {
        let mut told = 0;
        let trust = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
        let trust = Trust::own(&trust).map_err(DbError::damaged)?;
        let ends = Time(trust.doc().expires);
        if let Some(when) = self.ending(ends, TRUST_DAYS) {
            let text = format!(
                "the trust document {} {when}: any change of a cabinet's keys signs the next one",
                trust.doc().version
            );
            told += self.tell(tx, "trust_ends", &text)?;
        }
        for envelope in delegations::all(tx)? {
            let doc = delegations::read(&envelope)?;
            let when = self.ending(Time(doc.expires), DELEGATION_DAYS).filter(|_| !doc.revoked);
            if let Some(when) = when {
                let text = format!(
                    "what is delegated to {0} {when}: packhorse relay grant {0} … renews it, packhorse relay revoke {0} \
                     takes it back",
                    doc.name
                );
                told += self.tell(tx, "delegation_ends", &text)?;
            }
        }
        Ok(told)
    }
}

impl WarnOfEndings {
    fn ending(&self, ends: Time, days: i64) -> Option<String> {
        let at = timestamp(ends);
        match () {
            () if ends <= self.now => Some(format!("has ended at {at}")),
            () if ends <= self.now.plus_days(days) => Some(format!("ends at {at}")),
            () => None,
        }
    }

    fn tell(&self, tx: &Connection, code: &str, text: &str) -> Result<u32, DbError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM alarms WHERE code = ?1 AND text = ?2)";
        let known: bool = tx.prepare_cached(sql)?.query_row(params![code, text], |row| row.get(0))?;
        if known {
            return Ok(0);
        }
        tracing::warn!(code, text, "something ends soon");
        alarm(tx, &self.own, self.now, code, text)?;
        Ok(1)
    }
}
