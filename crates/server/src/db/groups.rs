//! Groups at the managing server. A fixed group has members, hosts and other groups; what a host belongs to is written into
//! its signed place ([`super::places`]). A group with a condition has none that are written down: hosts judge for themselves.

use std::collections::{BTreeSet, HashMap};

use packhorse_domain::condition::{Condition, Named};
use packhorse_domain::ids::{GroupId, HostId, Name};
use packhorse_domain::job::{Clause, HostRole};
use packhorse_domain::place::Membership;
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::DbError;
use super::hosts::{Fleet, HostRow};

/// A group's number in this database.
pub type GroupRow = i64;
/// Most groups.
pub const GROUPS_MAX: usize = 10_000;
/// How deep groups are members of one another.
pub const DEPTH_MAX: usize = 16;

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its number.
    pub row: GroupRow,
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Who is in it, as it was written; `None`: whoever was put in.
    pub condition: Option<String>,
    /// When it was made.
    pub created: Time,
}

/// All groups with what they name of one another: loaded with two statements, looked at in memory.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    all: Vec<GroupRecord>,
    /// Group → groups that are members of it.
    members: HashMap<GroupRow, Vec<GroupRow>>,
}

impl Groups {
    /// Loads them.
    ///
    /// # Errors
    /// The database's.
    pub fn load(connection: &Connection) -> Result<Groups, DbError> {
        let sql = "SELECT row, id, name, condition, created FROM groups ORDER BY name";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(GroupRecord {
                row: row.get(0)?,
                id: GroupId(row.get(1)?),
                name: row.get(2)?,
                condition: row.get(3)?,
                created: Time(row.get(4)?),
            })
        })?;
        let mut groups = Groups { all: rows.collect::<Result<_, _>>()?, members: HashMap::new() };
        let mut statement =
            connection.prepare_cached("SELECT grp, member FROM group_groups ORDER BY 1, 2")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            groups.members.entry(row.get(0)?).or_default().push(row.get(1)?);
        }
        Ok(groups)
    }

    /// All, by name.
    pub fn all(&self) -> &[GroupRecord] {
        &self.all
    }

    /// One by its name.
    pub fn named(&self, name: &str) -> Option<&GroupRecord> {
        self.all.binary_search_by(|group| group.name.as_str().cmp(name)).ok().map(|i| &self.all[i])
    }

    fn get(&self, row: GroupRow) -> Option<&GroupRecord> {
        self.all.iter().find(|group| group.row == row)
    }

    /// The groups that are members of one, itself not among them.
    pub fn members(&self, group: &GroupRecord) -> Vec<&GroupRecord> {
        self.members.get(&group.row).into_iter().flatten().filter_map(|row| self.get(*row)).collect()
    }

    /// One and all groups that are members of it, at any depth.
    pub fn within<'a>(&'a self, group: &'a GroupRecord) -> Vec<&'a GroupRecord> {
        let mut found = vec![group];
        let mut at = 0;
        while let Some(group) = found.get(at).copied() {
            for member in self.members(group) {
                if found.iter().all(|known| known.row != member.row) {
                    found.push(member);
                }
            }
            at += 1;
        }
        found
    }

    /// Groups that speak of this one: it is a member of them, or their condition names it.
    pub fn users(&self, group: &GroupRecord) -> Vec<&GroupRecord> {
        let speaks = |other: &&GroupRecord| {
            self.members(other).iter().any(|member| member.row == group.row)
                || names_in(other).contains(&group.name)
        };
        self.all.iter().filter(speaks).collect()
    }

    /// Whether `from` leads to `to`, by members and by conditions that name groups.
    pub fn leads_to(&self, from: &GroupRecord, to: GroupRow) -> bool {
        let mut seen: BTreeSet<GroupRow> = BTreeSet::new();
        let mut next = vec![from.row];
        while let Some(row) = next.pop() {
            if row == to {
                return true;
            }
            let Some(group) = self.get(row).filter(|_| seen.insert(row)) else { continue };
            next.extend(self.members(group).iter().map(|member| member.row));
            let named = names_in(group).into_iter().filter_map(|name| self.named(&name).map(|g| g.row));
            next.extend(named.collect::<Vec<_>>());
        }
        false
    }

    /// Whom a group means, as clauses to be signed: its members by their statements, and the conditions of the groups with a
    /// condition that are members of it.
    ///
    /// # Errors
    /// A condition names what is not there (any more).
    pub fn clauses(&self, fleet: &Fleet, group: &GroupRecord) -> Result<Vec<Clause>, DbError> {
        self.clauses_at(fleet, group, 0)
    }

    fn clauses_at(&self, fleet: &Fleet, group: &GroupRecord, depth: usize) -> Result<Vec<Clause>, DbError> {
        if depth > DEPTH_MAX {
            let message = format!("groups name one another more than {DEPTH_MAX} deep, at {}", group.name);
            return Err(DbError::refused("limit", message, None));
        }
        let within = self.within(group);
        let mut clauses = Vec::new();
        if group.condition.is_none() {
            clauses.push(Clause::Group(group.id));
        }
        for text in within.iter().filter_map(|group| group.condition.as_deref()) {
            let written = Condition::parse(text).map_err(DbError::damaged)?;
            clauses.push(Clause::Condition(self.resolve_at(fleet, &written, depth + 1)?));
        }
        Ok(clauses)
    }

    /// A condition with ids in place of names.
    ///
    /// # Errors
    /// It names what is not there, or is too large with all it names written out.
    pub fn resolve(&self, fleet: &Fleet, written: &Condition) -> Result<Condition, DbError> {
        let resolved = self.resolve_at(fleet, written, 0)?;
        Condition::parse_signed(&resolved.to_string()).map_err(|error| {
            let message =
                format!("with the groups it names written out, the condition is too large: {error}");
            DbError::refused("limit", message, None)
        })
    }

    fn resolve_at(&self, fleet: &Fleet, written: &Condition, depth: usize) -> Result<Condition, DbError> {
        let mut relay = |name: &Name| relay_named(fleet, name.as_str());
        let mut group = |name: &Name| {
            let found = self.named(name.as_str()).ok_or_else(|| unknown(name.as_str()))?;
            let parts = self.clauses_at(fleet, found, depth)?.into_iter().filter_map(|clause| match clause {
                Clause::Group(id) => Some(Condition::Group(Named::Id(id.0))),
                Clause::Condition(condition) => Some(condition),
                _ => None,
            });
            Ok(Condition::any(parts.collect()))
        };
        written.resolve(&mut relay, &mut group)
    }
}

/// The names of groups in a group's condition.
fn names_in(group: &GroupRecord) -> Vec<String> {
    let Some(condition) = group.condition.as_deref().and_then(|text| Condition::parse(text).ok()) else {
        return Vec::new();
    };
    let names = condition.tests().into_iter().filter_map(|test| match test {
        Condition::Group(Named::Name(name)) => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

fn relay_named(fleet: &Fleet, name: &str) -> Result<HostId, DbError> {
    let hint = Some("packhorse relay list shows the relay systems");
    match fleet.named(name) {
        Some(host) if host.role == HostRole::Relay => Ok(host.id),
        Some(_) => {
            let message = format!("{name} is a client: nothing is below it");
            Err(DbError::refused("bad_condition", message, hint))
        }
        None => Err(DbError::refused("unknown_host", format!("there is no relay {name}"), hint)),
    }
}

/// Refuses a group that is not there.
pub fn unknown(name: &str) -> DbError {
    let shown: String = name.chars().take(80).collect();
    let hint = "packhorse group list shows the names";
    DbError::refused("unknown_group", format!("there is no group {shown}"), Some(hint))
}

/// Writes down a new group.
///
/// # Errors
/// The database's.
pub fn insert(tx: &Connection, group: &GroupRecord) -> Result<GroupRow, DbError> {
    let sql = "INSERT INTO groups (id, name, condition, created) VALUES (?1, ?2, ?3, ?4) RETURNING row";
    let values = params![group.id.0, group.name, group.condition, group.created.0];
    Ok(tx.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
}

/// Forgets a group and who was in it.
///
/// # Errors
/// The database's.
pub fn delete(tx: &Connection, group: GroupRow) -> Result<(), DbError> {
    for sql in [
        "DELETE FROM group_hosts WHERE grp = ?1",
        "DELETE FROM group_groups WHERE grp = ?1 OR member = ?1",
        "DELETE FROM groups WHERE row = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([group])?;
    }
    Ok(())
}

/// Puts hosts and groups into a group; answers how many were not in it.
///
/// # Errors
/// The database's.
pub fn add(
    tx: &Connection,
    group: GroupRow,
    hosts: &[HostRow],
    groups: &[GroupRow],
    now: Time,
) -> Result<u64, DbError> {
    let mut added = 0;
    for (sql, members) in [
        (
            "INSERT INTO group_hosts (grp, host, since) SELECT ?1, value, ?3 FROM json_each(?2) WHERE true
             ON CONFLICT DO NOTHING",
            hosts,
        ),
        (
            "INSERT INTO group_groups (grp, member, since) SELECT ?1, value, ?3 FROM json_each(?2) WHERE true
             ON CONFLICT DO NOTHING",
            groups,
        ),
    ] {
        let members = serde_json::to_string(members).map_err(DbError::internal)?;
        added += tx.prepare_cached(sql)?.execute(params![group, members, now.0])? as u64;
    }
    Ok(added)
}

/// Takes hosts and groups out of a group; answers how many were in it.
///
/// # Errors
/// The database's.
pub fn take_out(
    tx: &Connection,
    group: GroupRow,
    hosts: &[HostRow],
    groups: &[GroupRow],
) -> Result<u64, DbError> {
    let mut gone = 0;
    for (sql, members) in [
        ("DELETE FROM group_hosts WHERE grp = ?1 AND host IN (SELECT value FROM json_each(?2))", hosts),
        ("DELETE FROM group_groups WHERE grp = ?1 AND member IN (SELECT value FROM json_each(?2))", groups),
    ] {
        let members = serde_json::to_string(members).map_err(DbError::internal)?;
        gone += tx.prepare_cached(sql)?.execute(params![group, members])? as u64;
    }
    Ok(gone)
}

/// The hosts that were put into a group, or into one of several.
///
/// # Errors
/// The database's.
pub fn hosts_in(connection: &Connection, groups: &[GroupRow]) -> Result<Vec<(GroupRow, HostRow)>, DbError> {
    let groups = serde_json::to_string(groups).map_err(DbError::internal)?;
    let sql =
        "SELECT grp, host FROM group_hosts WHERE grp IN (SELECT value FROM json_each(?1)) ORDER BY 1, 2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([groups], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Which groups hosts belong to, also by groups that are members of groups, and since when; by their ids.
///
/// # Errors
/// The database's.
pub fn belonging(
    connection: &Connection,
    hosts: &[HostRow],
) -> Result<HashMap<HostRow, Vec<Membership>>, DbError> {
    let hosts = serde_json::to_string(hosts).map_err(DbError::internal)?;
    // Times do not fall on the way up, and there are finitely many: this ends whatever is stored.
    let sql = "WITH RECURSIVE up (host, grp, since) AS (
                 SELECT host, grp, since FROM group_hosts WHERE host IN (SELECT value FROM json_each(?1))
                 UNION
                 SELECT up.host, g.grp, MAX(up.since, g.since) FROM up JOIN group_groups g ON g.member = up.grp)
               SELECT up.host, g.id, MIN(up.since) FROM up JOIN groups g ON g.row = up.grp
               GROUP BY up.host, up.grp ORDER BY up.host, g.id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([hosts])?;
    let mut found: HashMap<HostRow, Vec<Membership>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let membership = Membership { group: GroupId(row.get(1)?), since: Time(row.get(2)?) };
        found.entry(row.get(0)?).or_default().push(membership);
    }
    Ok(found)
}

/// One of the open jobs that are to a group, by its words or its signed clauses; by the group's id or name.
///
/// # Errors
/// The database's.
pub fn open_job_of(
    connection: &Connection,
    group: &GroupRecord,
    now: Time,
) -> Result<Option<String>, DbError> {
    let sql = "SELECT issuer || '/' || number FROM jobs
               WHERE until > ?1 AND intent <> 'cancelled' AND closed IS NULL
                 AND EXISTS (SELECT 1 FROM json_each(asked) WHERE value = ?2) ORDER BY row LIMIT 1";
    let word = format!("group:{}", group.name);
    Ok(connection.prepare_cached(sql)?.query_row(params![now.0, word], |row| row.get(0)).optional()?)
}
