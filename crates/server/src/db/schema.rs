//! The tables. Words, not numbers, stand for states; every incarnation is a random 64-bit number kept as SQLite's signed
//! one; times are microseconds since 1970 in UTC.

use rusqlite::Connection;

use super::DbError;

/// The newest version this program knows.
const VERSION: i64 = 2;
/// What leads from each version to the next.
const STEPS: [&str; VERSION as usize] = [V1, V2];

/// Brings the database to [`VERSION`].
///
/// # Errors
/// It is of a newer version, or SQLite refuses.
pub fn migrate(connection: &Connection) -> Result<(), DbError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let Some(steps) = usize::try_from(found).ok().and_then(|found| STEPS.get(found..)) else {
        return Err(DbError::Version { found, known: VERSION });
    };
    if steps.is_empty() {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for step in steps {
        connection.execute_batch(step)?;
    }
    connection.execute_batch(&format!("PRAGMA user_version = {VERSION}; COMMIT"))?;
    Ok(())
}

const V1: &str = "
-- Single values: incarnations, counters, the trust document.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- Hosts below this system, itself included at a relay. `higher` is the host it calls, NULL for this system itself;
-- `via` the direct lower system on the way to it (itself if it calls us). A number is never given twice: a request of the
-- host that had it may be going on.
CREATE TABLE hosts (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  role TEXT NOT NULL,
  higher INTEGER,
  via INTEGER NOT NULL,
  generation INTEGER NOT NULL,      -- newest certificate issued (managing server)
  oldest INTEGER NOT NULL,          -- oldest certificate accepted
  addresses TEXT NOT NULL DEFAULT '[]',
  place BLOB NOT NULL,              -- signed
  place_revision INTEGER NOT NULL,
  joined INTEGER NOT NULL,
  last_seen INTEGER
);
CREATE INDEX hosts_via ON hosts (via);

CREATE TABLE tokens (
  row INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  role TEXT NOT NULL,
  uses_left INTEGER NOT NULL,
  ends INTEGER NOT NULL,
  replaces TEXT,
  revoked INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL
);

CREATE TABLE cabinets (name TEXT PRIMARY KEY, created INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE packages (
  row INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  cabinet TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version_order TEXT NOT NULL,
  kind TEXT NOT NULL,
  summary TEXT NOT NULL,
  depends TEXT,
  keep TEXT NOT NULL,
  keep_until INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  chunks INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  signed_by TEXT NOT NULL,
  registered INTEGER NOT NULL,
  UNIQUE (cabinet, name, version, generation),
  UNIQUE (cabinet, id)
);
CREATE INDEX packages_id ON packages (id);

CREATE TABLE jobs (
  row INTEGER PRIMARY KEY,
  issuer TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  number INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  job_type TEXT NOT NULL,
  envelope BLOB NOT NULL,
  created INTEGER NOT NULL,
  starts INTEGER NOT NULL,
  until INTEGER NOT NULL,
  intent TEXT NOT NULL,
  asked TEXT NOT NULL,              -- JSON: what was understood of --to
  grows INTEGER NOT NULL,           -- takes in hosts that join while it is open
  UNIQUE (issuer, epoch, number)
);

CREATE TABLE job_packages (
  job INTEGER NOT NULL,
  place INTEGER NOT NULL,
  id BLOB NOT NULL,
  cabinet TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  generation INTEGER NOT NULL,
  keep_until INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  capability BLOB,                  -- at a relay: shown to the higher system
  PRIMARY KEY (job, place)
) WITHOUT ROWID;
CREATE INDEX job_packages_id ON job_packages (id);

-- The proofs of a job's rounds that name hosts by a list: whole at the issuer, the part below at a relay (CBOR).
CREATE TABLE job_rounds (job INTEGER NOT NULL, attempt INTEGER NOT NULL, proofs BLOB NOT NULL, PRIMARY KEY (job, attempt))
  WITHOUT ROWID;

-- Instructions.
CREATE TABLE lines (
  job INTEGER NOT NULL,
  host INTEGER NOT NULL,
  place INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  leaf INTEGER,
  state TEXT NOT NULL,
  since INTEGER NOT NULL,
  seen_incarnation INTEGER,
  seen_no INTEGER,
  verdict TEXT,
  verdict_at INTEGER,
  reason BLOB,
  outcome BLOB,
  change INTEGER NOT NULL,
  PRIMARY KEY (job, host, place)
) WITHOUT ROWID;
CREATE INDEX lines_host ON lines (host);
CREATE INDEX lines_change ON lines (job, change);

-- Every report that was new here but for counters, at the managing server: the history.
CREATE TABLE history (
  origin BLOB NOT NULL,
  incarnation INTEGER NOT NULL,
  no INTEGER NOT NULL,
  at INTEGER NOT NULL,
  received INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (origin, incarnation, no)
) WITHOUT ROWID;

-- How far each origin's reports are durable here without a gap.
CREATE TABLE marks (origin BLOB NOT NULL, incarnation INTEGER NOT NULL, upto INTEGER NOT NULL,
  PRIMARY KEY (origin, incarnation)) WITHOUT ROWID;

-- Feeds to direct lower systems.
CREATE TABLE feeds (
  lower INTEGER PRIMARY KEY,
  incarnation INTEGER NOT NULL,
  reader INTEGER,                   -- the reader's life the feed was made for
  pruned INTEGER NOT NULL,
  last INTEGER NOT NULL
);
CREATE TABLE feed_entries (lower INTEGER NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (lower, n)) WITHOUT ROWID;

-- How far each direct lower system's outbox is stored here, for one pair of lives.
CREATE TABLE stored (lower INTEGER PRIMARY KEY, incarnation INTEGER NOT NULL, server INTEGER NOT NULL, n INTEGER NOT NULL);

-- A relay's outbox: kept until the managing server's receipt.
CREATE TABLE outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, origin BLOB NOT NULL, incarnation INTEGER NOT NULL,
  no INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX outbox_origin ON outbox (origin, incarnation, no);

-- A relay's own copies.
CREATE TABLE copies (id BLOB PRIMARY KEY, keep_until INTEGER NOT NULL, size_bytes INTEGER NOT NULL, arrived INTEGER NOT NULL)
  WITHOUT ROWID;

-- Copies and counters of the relays below, as reported.
CREATE TABLE relay_copies (relay INTEGER NOT NULL, id BLOB NOT NULL, keep_until INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  PRIMARY KEY (relay, id)) WITHOUT ROWID;
CREATE TABLE traffic (relay INTEGER PRIMARY KEY, received_bytes INTEGER NOT NULL, sent_bytes INTEGER NOT NULL,
  used_bytes INTEGER NOT NULL, free_bytes INTEGER NOT NULL);

CREATE TABLE alarms (row INTEGER PRIMARY KEY, host TEXT NOT NULL, at INTEGER NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL);
";

/// Transfers, offers, groups, control and relay administrators.
const V2: &str = "
-- What ends by itself is ended by type: an offer that nobody chose is not missed.
CREATE INDEX jobs_until ON jobs (until);
CREATE INDEX history_received ON history (received);
CREATE INDEX alarms_host ON alarms (host, row);

-- The public key with which a relay would sign jobs of its own, as it said.
ALTER TABLE hosts ADD COLUMN job_key BLOB;

-- What is set at relays: see db/control.rs.
CREATE TABLE controls (relay BLOB PRIMARY KEY, revision INTEGER NOT NULL, envelope BLOB NOT NULL,
  suspended_since INTEGER) WITHOUT ROWID;
-- control: when a job's newest revision came here.
ALTER TABLE jobs ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
-- Addresses a relay is called by; the systems a host may call; the direct lower system on the way to it before it was moved
-- (all JSON but the last). At relays: the places of hosts that were moved away, for when they ask.
ALTER TABLE hosts ADD COLUMN urls TEXT NOT NULL DEFAULT '[]';
ALTER TABLE hosts ADD COLUMN above TEXT NOT NULL DEFAULT '[]';
ALTER TABLE hosts ADD COLUMN moved_from INTEGER;
CREATE TABLE moved (id BLOB PRIMARY KEY, place BLOB NOT NULL, oldest INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE applied (origin BLOB NOT NULL, what TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (origin, what))
  WITHOUT ROWID;

-- What a host's newest signed place says beyond its route: its memberships, until when they count, when it joined (0: that
-- does not matter). See db/standings.rs.
ALTER TABLE hosts ADD COLUMN groups_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN place_joined INTEGER NOT NULL DEFAULT 0;
CREATE TABLE memberships (host INTEGER NOT NULL, grp BLOB NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (host, grp))
  WITHOUT ROWID;
-- What hosts say of themselves, the newest: a JSON list of name and value.
CREATE TABLE facts (host INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
-- Groups at the managing server: see db/groups.rs. One with a condition has no members that are written down.
CREATE TABLE groups (row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, condition TEXT,
  created INTEGER NOT NULL);
CREATE TABLE group_hosts (grp INTEGER NOT NULL, host INTEGER NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (grp, host))
  WITHOUT ROWID;
CREATE INDEX group_hosts_host ON group_hosts (host);
CREATE TABLE group_groups (grp INTEGER NOT NULL, member INTEGER NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (grp, member)) WITHOUT ROWID;
CREATE INDEX group_groups_member ON group_groups (member);
-- A job that takes in nobody any more; one that asks what hosts say of themselves.
ALTER TABLE jobs ADD COLUMN closed INTEGER;
ALTER TABLE jobs ADD COLUMN asks_facts INTEGER NOT NULL DEFAULT 0;

-- What is delegated to relays: see db/delegations.rs.
CREATE TABLE delegations (relay BLOB PRIMARY KEY, name TEXT NOT NULL, revision INTEGER NOT NULL, envelope BLOB NOT NULL)
  WITHOUT ROWID;
-- A relay's job that a withdrawn delegation stopped: what is said of it. One that is known by the relay's report: it is shown
-- here, and handed to nobody.
ALTER TABLE jobs ADD COLUMN stopped TEXT;
ALTER TABLE jobs ADD COLUMN learned INTEGER NOT NULL DEFAULT 0;

-- room: dates of copies and room for them: see db/keeping.rs. What a job says of dates, and when it was ordered.
ALTER TABLE jobs ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN keep_days INTEGER;
ALTER TABLE jobs ADD COLUMN keep_until INTEGER;
-- room: a transfer of which a piece is stored at its relay.
ALTER TABLE lines ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
-- room: which order set a copy's date, until when a higher system promised it, when it was last read, whether it is to go.
ALTER TABLE copies ADD COLUMN ordered INTEGER;
ALTER TABLE copies ADD COLUMN promised INTEGER;
UPDATE copies SET promised = keep_until;
ALTER TABLE copies ADD COLUMN last_used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE copies ADD COLUMN dropping INTEGER NOT NULL DEFAULT 0;
-- room: the newest order for each single copy that was taken in.
CREATE TABLE copy_orders (id BLOB PRIMARY KEY, ordered INTEGER NOT NULL) WITHOUT ROWID;
-- room: copies that were let go, and when: they do not come again unasked for the jobs there were.
CREATE TABLE copies_gone (id BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;

-- history: how earlier attempts of a line stood when the next began; lines of jobs long over, as numbers: see db/history.rs.
CREATE TABLE attempts (job INTEGER NOT NULL, host INTEGER NOT NULL, place INTEGER NOT NULL, attempt INTEGER NOT NULL,
  state TEXT NOT NULL, since INTEGER NOT NULL, verdict TEXT, verdict_at INTEGER, PRIMARY KEY (job, host, place, attempt))
  WITHOUT ROWID;
CREATE INDEX attempts_host ON attempts (host);
CREATE TABLE folded (job INTEGER NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, lines INTEGER NOT NULL,
  PRIMARY KEY (job, place, state)) WITHOUT ROWID;
-- history: what a job was planned to do when it was made (JSON).
CREATE TABLE plans (job INTEGER PRIMARY KEY, plan TEXT NOT NULL);
-- history: what lines carried, as measured: see db/rates.rs. `way` is in (from its higher system) or out (to what is below).
CREATE TABLE rates (host INTEGER NOT NULL, way TEXT NOT NULL, counted INTEGER NOT NULL, at INTEGER NOT NULL,
  bytes_per_sec INTEGER, measured INTEGER, PRIMARY KEY (host, way)) WITHOUT ROWID;

-- calling: the newest change of whom it calls that a host made by itself, and since when; at relays, of a host that calls a
-- system that its signed place lists and is not below by it: the route of that place. See db/calling.rs.
ALTER TABLE hosts ADD COLUMN call_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN called_since INTEGER;
ALTER TABLE hosts ADD COLUMN guest_route BLOB;
-- hosts: retired, since then; what became of them, by whom; the signed words about them, at every system: see db/retire.rs.
ALTER TABLE hosts ADD COLUMN retired INTEGER;
CREATE TABLE host_events (row INTEGER PRIMARY KEY, host INTEGER NOT NULL, at INTEGER NOT NULL, event TEXT NOT NULL,
  by TEXT NOT NULL);
CREATE INDEX host_events_host ON host_events (host);
CREATE TABLE retired (id BLOB PRIMARY KEY, name TEXT NOT NULL, revision INTEGER NOT NULL, generation INTEGER NOT NULL,
  at INTEGER NOT NULL, removed INTEGER NOT NULL, envelope BLOB NOT NULL) WITHOUT ROWID;
-- hosts: when a host was moved away.
ALTER TABLE moved ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
-- delegations: when a job was stopped because the delegation's end had come; NULL if it was stopped by a word.
ALTER TABLE jobs ADD COLUMN stopped_by_end INTEGER;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_the_version_before_is_brought_on() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(V1).unwrap();
        connection.execute_batch("PRAGMA user_version = 1").unwrap();
        connection
            .execute_batch(
                "INSERT INTO jobs (issuer, epoch, number, revision, job_type, envelope, created, starts, until, intent,
                   asked, grows) VALUES ('server', 1, 1, 1, 'install', x'00', 0, 0, 9, 'open', '[]', 0)",
            )
            .unwrap();
        migrate(&connection).unwrap();
        migrate(&connection).unwrap();
        let fresh = Connection::open_in_memory().unwrap();
        migrate(&fresh).unwrap();
        let columns = |connection: &Connection| -> Vec<String> {
            let sql = "SELECT m.name || '.' || c.name || ' ' || c.type FROM sqlite_master m, pragma_table_info(m.name) c
                       WHERE m.type = 'table' ORDER BY 1";
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(columns(&connection), columns(&fresh));
        let jobs: i64 = connection.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get(0)).unwrap();
        assert_eq!(jobs, 1);
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&format!("PRAGMA user_version = {}", VERSION + 1)).unwrap();
        assert!(matches!(migrate(&connection), Err(DbError::Version { .. })));
    }
}
