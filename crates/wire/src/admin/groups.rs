//! Groups of hosts.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /admin/v1/groups`, `POST /admin/v1/groups` | [`NewGroup`] | `[GroupView]`, [`GroupChanged`] |
//! | `GET /admin/v1/groups/{name}` | | [`GroupDetail`] |
//! | `POST /admin/v1/groups/{name}/add`, `…/leave` | [`GroupMembers`] | [`GroupChanged`] |
//! | `POST /admin/v1/groups/{name}/import` | CSV with a heading (text) | [`GroupChanged`] |
//! | `DELETE /admin/v1/groups/{name}?anyway=` | | [`GroupChanged`] |

use serde::{Deserialize, Serialize};

/// A group to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Who is in it: a condition; then nobody is put in.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Who is put in: hosts by name, other groups as `group:NAME`.
    #[serde(default)]
    pub members: Vec<String>,
}

/// Who is put in or taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMembers {
    /// Hosts by name, other groups as `group:NAME`.
    pub members: Vec<String>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChanged {
    /// The group.
    pub name: String,
    /// Members put in or taken out.
    pub changed: u64,
    /// Of those asked for, the ones that were in it already, or were not.
    pub unchanged: u64,
    /// What whoever asked should know.
    pub notes: Vec<String>,
}

/// A group in `group list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// `fixed` or `condition`.
    pub kind: String,
    /// Its condition.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// Hosts in it, also by groups that are members; of conditions by what hosts said last.
    pub hosts: u64,
    /// Groups that are members of it.
    pub groups: Vec<String>,
}

/// A group in `group show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDetail {
    /// As in the list.
    #[serde(flatten)]
    pub group: GroupView,
    /// Its id.
    pub id: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// An open job that is to it.
    pub job: Option<String>,
    /// The hosts in it.
    pub members: Vec<GroupMember>,
}

/// A host in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The host.
    pub host: String,
    /// Why it is in it: put in, by another group, or what its condition found.
    pub why: String,
}
