//! Groups of hosts, as administrators make and change them. Each change is one command: members, places signed anew, and the
//! open jobs that take the new ones in.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::condition::Condition;
use packhorse_domain::facts;
use packhorse_domain::ids::{GroupId, Name};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{GroupChanged, GroupMembers, NewGroup};
use packhorse_wire::pki::new_id;
use rusqlite::Connection;
use serde::Deserialize;

use super::members::{self, Found, Word};
use super::request::{Ask, Body, Whole};
use super::{Admin, AdminError};
use crate::authority::Authority;
use crate::capability::Capabilities;
use crate::db::groups::{self, GROUPS_MAX, GroupRecord, Groups};
use crate::db::hosts::{Fleet, HostRow};
use crate::db::{Command, DbError, places};
use crate::system::now;

/// What is to change.
enum Change {
    New(NewGroup),
    Add { name: String, words: Vec<Word> },
    Import { name: String, words: Vec<Word> },
    Leave { name: String, words: Vec<Word> },
    Remove { name: String, anyway: bool },
}

struct ChangeGroup {
    authority: Arc<Authority>,
    capabilities: Capabilities,
    change: Change,
    now: Time,
}

/// What became of it, and the lower systems with something new in their feeds.
struct Changed {
    answer: GroupChanged,
    lowers: Vec<HostRow>,
}

impl Command for ChangeGroup {
    type Answer = Changed;

    fn apply(self, tx: &Connection) -> Result<Changed, DbError> {
        let (fleet, all) = (Fleet::load(tx)?, Groups::load(tx)?);
        match &self.change {
            Change::New(new) => {
                let (group, notes) = self.make(tx, &fleet, &all, &new.name, new.condition.as_deref())?;
                let words: Vec<Word> = new.members.iter().map(Word::from).collect();
                if group.condition.is_some() && !words.is_empty() {
                    return Err(has_condition(&group));
                }
                self.put_in(tx, &fleet, &group, &words, notes)
            }
            Change::Add { name, words } => {
                let group = all.named(name).ok_or_else(|| groups::unknown(name))?;
                self.put_in(tx, &fleet, group, words, Vec::new())
            }
            Change::Import { name, words } => match all.named(name) {
                Some(group) => self.put_in(tx, &fleet, group, words, Vec::new()),
                None => {
                    let (group, mut notes) = self.make(tx, &fleet, &all, name, None)?;
                    notes.push(format!("there was no group {name}: it was made"));
                    self.put_in(tx, &fleet, &group, words, notes)
                }
            },
            Change::Leave { name, words } => {
                let group = all.named(name).ok_or_else(|| groups::unknown(name))?;
                self.take_out(tx, &fleet, &all, group, words)
            }
            Change::Remove { name, anyway } => {
                let group = all.named(name).ok_or_else(|| groups::unknown(name))?;
                self.remove(tx, &all, group, *anyway)
            }
        }
    }
}

impl ChangeGroup {
    fn make(
        &self,
        tx: &Connection,
        fleet: &Fleet,
        all: &Groups,
        name: &str,
        condition: Option<&str>,
    ) -> Result<(GroupRecord, Vec<String>), DbError> {
        let name = Name::for_host(name).map_err(|error| {
            DbError::refused("name", error.to_string(), Some("a name like sales or branch-2"))
        })?;
        if all.named(name.as_str()).is_some() {
            let hint = format!("packhorse group add {name} HOST… puts hosts in");
            return Err(DbError::refused("exists", format!("there is a group {name} already"), Some(&hint)));
        }
        if all.all().len() >= GROUPS_MAX {
            return Err(DbError::refused("limit", format!("at most {GROUPS_MAX} groups are possible"), None));
        }
        let written = condition.map(read_condition).transpose()?;
        if let Some(written) = &written {
            all.resolve(fleet, written)?;
        }
        let id: GroupId = new_id().map_err(DbError::internal)?.parse().map_err(DbError::internal)?;
        let mut group = GroupRecord {
            row: 0,
            id,
            name: name.to_string(),
            condition: written.as_ref().map(ToString::to_string),
            created: self.now,
        };
        group.row = groups::insert(tx, &group)?;
        Ok((group, written.as_ref().map(notes_on).unwrap_or_default()))
    }

    fn put_in(
        &self,
        tx: &Connection,
        fleet: &Fleet,
        group: &GroupRecord,
        words: &[Word],
        notes: Vec<String>,
    ) -> Result<Changed, DbError> {
        if group.condition.is_some() && !words.is_empty() {
            return Err(has_condition(group));
        }
        let all = Groups::load(tx)?;
        let found = members::find(fleet, &all, words)?;
        for member in all.all().iter().filter(|other| found.groups.contains(&other.row)) {
            if all.leads_to(member, group.row) {
                let message = format!("{} cannot be in {}: it would be in itself", member.name, group.name);
                let hint = format!("packhorse group show {} says what is in it", member.name);
                return Err(DbError::refused("loop", message, Some(&hint)));
            }
        }
        let changed = groups::add(tx, group.row, &found.hosts, &found.groups, self.now)?;
        self.signed(tx, group, &found, changed, notes)
    }

    fn take_out(
        &self,
        tx: &Connection,
        fleet: &Fleet,
        all: &Groups,
        group: &GroupRecord,
        words: &[Word],
    ) -> Result<Changed, DbError> {
        if group.condition.is_some() {
            return Err(has_condition(group));
        }
        let found = members::find(fleet, all, words)?;
        let changed = groups::take_out(tx, group.row, &found.hosts, &found.groups)?;
        let mut notes = Vec::new();
        if changed > 0
            && let Some(job) = groups::open_job_of(tx, group, self.now)?
        {
            notes.push(format!(
                "job {job} goes on for whom it took in: packhorse job cancel ends it for all of them"
            ));
        }
        self.signed(tx, group, &found, changed, notes)
    }

    fn remove(
        &self,
        tx: &Connection,
        all: &Groups,
        group: &GroupRecord,
        anyway: bool,
    ) -> Result<Changed, DbError> {
        let name = &group.name;
        if let Some(user) = all.users(group).first() {
            let message = format!("group {} speaks of {name}", user.name);
            let hint =
                format!("packhorse group remove {0}, or packhorse group leave {0} group:{name}", user.name);
            return Err(DbError::refused("in_use", message, Some(&hint)));
        }
        let mut notes = Vec::new();
        if let Some(job) = groups::open_job_of(tx, group, self.now)? {
            if !anyway {
                let message = format!("job {job} is to group {name} and takes in who joins it");
                let hint = format!(
                    "packhorse job close {job} first, or packhorse group remove {name} --anyway: it goes on for whom it took in"
                );
                return Err(DbError::refused("in_use", message, Some(&hint)));
            }
            notes.push(format!(
                "job {job} goes on for whom it took in, and takes in nobody more by this group"
            ));
        }
        let members = groups::hosts_in(tx, &rows(&all.within(group)))?;
        groups::delete(tx, group.row)?;
        let hosts = distinct(members.into_iter().map(|(_, host)| host));
        let lowers = places::sign_anew(tx, &self.authority, &self.capabilities, &hosts, self.now)?;
        let changed = hosts.len() as u64;
        Ok(Changed { answer: GroupChanged { name: name.clone(), changed, unchanged: 0, notes }, lowers })
    }

    /// The places of all hosts that a change of members concerns, signed anew.
    fn signed(
        &self,
        tx: &Connection,
        group: &GroupRecord,
        found: &Found,
        changed: u64,
        notes: Vec<String>,
    ) -> Result<Changed, DbError> {
        let answer =
            GroupChanged { name: group.name.clone(), changed, unchanged: found.len() - changed, notes };
        if changed == 0 {
            return Ok(Changed { answer, lowers: Vec::new() });
        }
        let all = Groups::load(tx)?;
        let nested = all.all().iter().filter(|other| found.groups.contains(&other.row));
        let within: Vec<_> = nested.flat_map(|member| all.within(member)).collect();
        let by_groups = groups::hosts_in(tx, &rows(&within))?.into_iter().map(|(_, host)| host);
        let hosts = distinct(found.hosts.iter().copied().chain(by_groups));
        let lowers = places::sign_anew(tx, &self.authority, &self.capabilities, &hosts, self.now)?;
        Ok(Changed { answer, lowers })
    }
}

fn rows(groups: &[&GroupRecord]) -> Vec<groups::GroupRow> {
    groups.iter().map(|group| group.row).collect()
}

fn distinct(hosts: impl Iterator<Item = HostRow>) -> Vec<HostRow> {
    hosts.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn has_condition(group: &GroupRecord) -> DbError {
    let message =
        format!("who is in {} follows from its condition: nobody is put in or taken out", group.name);
    let hint = "packhorse group new NAME HOST… group:OTHER makes a group with members";
    DbError::refused("has_condition", message, Some(hint))
}

/// Reads a condition as somebody wrote it.
///
/// # Errors
/// A refusal with the column and what was expected.
pub fn read_condition(text: &str) -> Result<Condition, DbError> {
    let hint = "--where \"os = linux and disk_free > 20GB and below osaka\"; packhorse host show HOST shows its facts";
    Condition::parse(text)
        .map_err(|error| DbError::refused("bad_condition", format!("the condition: {error}"), Some(hint)))
}

/// Facts that no agent tells by itself: perhaps a slip of the pen.
fn notes_on(condition: &Condition) -> Vec<String> {
    let mut unknown: Vec<&str> = condition.facts().filter(|fact| !facts::is_known(fact)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    let note = |fact: &&str| {
        format!(
            "no agent tells {fact} by itself: it counts where facts.conf of the agent's data folder says it"
        )
    };
    unknown.iter().map(note).collect()
}

async fn execute(admin: &Admin, change: Change) -> Result<Json<GroupChanged>, AdminError> {
    let system = &admin.system;
    let command = ChangeGroup {
        authority: system.authority()?,
        capabilities: system.capabilities.clone(),
        change,
        now: now(),
    };
    let changed = system.db.write(command).await?;
    tracing::info!(group = %changed.answer.name, changed = changed.answer.changed, "group");
    system.wake(&changed.lowers);
    system.lines_changed();
    Ok(Json(changed.answer))
}

/// `POST /admin/v1/groups`.
pub async fn make(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<NewGroup>,
) -> Result<Json<GroupChanged>, AdminError> {
    execute(&admin, Change::New(new)).await
}

/// `POST /admin/v1/groups/{name}/add`.
pub async fn add(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Body(members): Body<GroupMembers>,
) -> Result<Json<GroupChanged>, AdminError> {
    let words = members.members.iter().map(Word::from).collect();
    execute(&admin, Change::Add { name, words }).await
}

/// `POST /admin/v1/groups/{name}/leave`.
pub async fn leave(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Body(members): Body<GroupMembers>,
) -> Result<Json<GroupChanged>, AdminError> {
    let words = members.members.iter().map(Word::from).collect();
    execute(&admin, Change::Leave { name, words }).await
}

/// `POST /admin/v1/groups/{name}/import`.
pub async fn import(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Whole(bytes): Whole,
) -> Result<Json<GroupChanged>, AdminError> {
    let words = members::read_csv(&bytes)?;
    execute(&admin, Change::Import { name, words }).await
}

/// How a group is removed.
#[derive(Debug, Deserialize)]
pub struct Removal {
    #[serde(default)]
    anyway: bool,
}

/// `DELETE /admin/v1/groups/{name}`.
pub async fn remove(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Ask(removal): Ask<Removal>,
) -> Result<Json<GroupChanged>, AdminError> {
    execute(&admin, Change::Remove { name, anyway: removal.anyway }).await
}
