//! Groups.

use packhorse_wire::admin::{GroupDetail, GroupMember, GroupView};

use super::facts;
use super::table::{self, Cell, Row};
use crate::{say, when};

impl Row for GroupView {
    const COLUMNS: &'static [&'static str] = &["name", "kind", "hosts", "groups", "where"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(&self.kind),
            Cell::Number(self.hosts),
            Cell::text(self.groups.join(" ")),
            Cell::text(self.condition.clone().unwrap_or_default()),
        ]
    }
}

impl Row for GroupMember {
    const COLUMNS: &'static [&'static str] = &["host", "why"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.host), Cell::text(&self.why)]
    }
}

/// `group show`
pub fn show(detail: &GroupDetail) -> String {
    let group = &detail.group;
    let mut pairs = vec![
        ("group", format!("{} ({})", group.name, group.kind)),
        ("id", detail.id.clone()),
        ("made", when::shown(&detail.created)),
    ];
    if let Some(condition) = &group.condition {
        pairs.push(("where", condition.clone()));
    }
    if !group.groups.is_empty() {
        pairs.push(("groups in it", group.groups.join(" ")));
    }
    if let Some(job) = &detail.job {
        pairs.push(("open job", format!("{job} takes in who joins")));
    }
    pairs.push(("hosts", group.hosts.to_string()));
    let head = say::clean_lines(&facts(&pairs));
    match detail.members.is_empty() {
        true => head,
        false => format!("{head}\n\n{}", table::table(&detail.members)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_who_is_in_it_and_why() {
        let detail = GroupDetail {
            group: GroupView {
                name: "big".into(),
                kind: "condition".into(),
                condition: Some("disk_free > 20GB".into()),
                hosts: 1,
                groups: Vec::new(),
            },
            id: "07".repeat(16),
            created: "2026-11-24T09:12:00Z".into(),
            job: Some("server/3".into()),
            members: vec![GroupMember { host: "pc1".into(), why: "disk_free 45.2GB".into() }],
        };
        let text = show(&detail);
        for part in
            ["big (condition)", "disk_free > 20GB", "server/3 takes in who joins", "pc1   disk_free 45.2GB"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(
            table::csv(&[detail.group]),
            "name,kind,hosts,groups,where\nbig,condition,1,,disk_free > 20GB\n"
        );
    }
}
