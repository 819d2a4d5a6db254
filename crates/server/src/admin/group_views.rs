//! Groups as they are shown: who is in them, as far as it is known here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::ids::HostId;
use packhorse_domain::job::Clause;
use packhorse_domain::place::Standing;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{GroupDetail, GroupMember, GroupView};
use rusqlite::Connection;

use super::format::rfc3339;
use super::{Admin, AdminError};
use crate::db::DbError;
use crate::db::groups::{self, GroupRecord, GroupRow, Groups};
use crate::db::hosts::Fleet;
use crate::db::standings::{Needs, Standings};
use crate::system::now;

/// All that is needed to show groups, with a fixed number of statements.
struct Scene {
    fleet: Fleet,
    groups: Groups,
    standings: Standings,
}

impl Scene {
    fn load(connection: &Connection, now: Time) -> Result<Scene, DbError> {
        let fleet = Fleet::load(connection)?;
        let standings = Standings::load(connection, &fleet, None, Needs::ALL, now)?;
        Ok(Scene { groups: Groups::load(connection)?, standings, fleet })
    }

    fn view(&self, group: &GroupRecord) -> Result<GroupView, DbError> {
        let clauses = self.groups.clauses(&self.fleet, group)?;
        let named =
            self.standings.iter().filter(|host| clauses.iter().any(|clause| clause.names(host, None)));
        Ok(GroupView {
            name: group.name.clone(),
            kind: if group.condition.is_some() { "condition" } else { "fixed" }.to_owned(),
            condition: group.condition.clone(),
            hosts: named.count() as u64,
            groups: self.groups.members(group).iter().map(|member| member.name.clone()).collect(),
        })
    }

    fn detail(
        &self,
        connection: &Connection,
        group: &GroupRecord,
        now: Time,
    ) -> Result<GroupDetail, DbError> {
        let within = self.groups.within(group);
        let put_in = PutIn::load(connection, &self.fleet, group, &within)?;
        let clauses = self.groups.clauses(&self.fleet, group)?;
        let member = |host: Standing<'_>| {
            let clause = clauses.iter().find(|clause| clause.names(&host, None))?;
            Some(GroupMember { host: host.place.name.clone(), why: put_in.why(clause, &host) })
        };
        Ok(GroupDetail {
            group: self.view(group)?,
            id: group.id.to_string(),
            created: rfc3339(group.created),
            job: groups::open_job_of(connection, group, now)?,
            members: self.standings.iter().filter_map(member).collect(),
        })
    }
}

/// Who was put in by name, and into which of the groups that are members.
struct PutIn {
    here: HashSet<HostId>,
    by_group: HashMap<HostId, String>,
}

impl PutIn {
    fn load(
        connection: &Connection,
        fleet: &Fleet,
        group: &GroupRecord,
        within: &[&GroupRecord],
    ) -> Result<PutIn, DbError> {
        let rows: Vec<GroupRow> = within.iter().map(|group| group.row).collect();
        let mut put_in = PutIn { here: HashSet::new(), by_group: HashMap::new() };
        for (row, host) in groups::hosts_in(connection, &rows)? {
            let Some(host) = fleet.get(host) else { continue };
            if row == group.row {
                put_in.here.insert(host.id);
            } else if let Some(member) = within.iter().find(|member| member.row == row) {
                put_in.by_group.entry(host.id).or_insert_with(|| member.name.clone());
            }
        }
        Ok(put_in)
    }

    fn why(&self, clause: &Clause, host: &Standing<'_>) -> String {
        let id = &host.place.host;
        match clause {
            Clause::Condition(condition) => condition.found(host),
            _ if self.here.contains(id) => "put in".to_owned(),
            _ => self.by_group.get(id).map_or_else(String::new, |name| format!("by group:{name}")),
        }
    }
}

/// `GET /admin/v1/groups`.
pub async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<GroupView>>, AdminError> {
    let read = |connection: &Connection| {
        let scene = Scene::load(connection, now())?;
        scene.groups.all().iter().map(|group| scene.view(group)).collect::<Result<Vec<_>, DbError>>()
    };
    Ok(Json(admin.system.db.read(read).await?))
}

/// `GET /admin/v1/groups/{name}`.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<GroupDetail>, AdminError> {
    let read = move |connection: &Connection| {
        let now = now();
        let scene = Scene::load(connection, now)?;
        let group = scene.groups.named(&name).ok_or_else(|| groups::unknown(&name))?;
        scene.detail(connection, group, now)
    };
    Ok(Json(admin.system.db.read(read).await?))
}
