//! Machines: one, and all as a tree.

use packhorse_wire::admin::{HostDetail, HostRetired, HostView, TreeNode};
use serde::Serialize;

use super::facts;
use super::table::{self, Cell, Row};
use crate::args::Format;
use crate::failure::Outcome;
use crate::{say, when};

/// A line of a host, for its table.
#[derive(Debug, Serialize)]
struct Line<'a>(&'a packhorse_wire::admin::HostLine);

impl Row for Line<'_> {
    const COLUMNS: &'static [&'static str] = &["job", "package", "attempt", "state", "why"];

    fn cells(&self) -> Vec<Cell> {
        let line = &self.0.line;
        vec![
            Cell::text(&self.0.job),
            Cell::text(&line.package),
            Cell::Number(u64::from(line.attempt)),
            Cell::text(&line.state),
            Cell::text(super::job::why(line)),
        ]
    }
}

/// `host list`: for people those that are silent, and those that were retired, stand apart.
///
/// # Errors
/// Whoever reads it has gone.
pub fn list(hosts: &[HostView], format: Format) -> Outcome {
    if format.json || format.csv || hosts.is_empty() {
        return table::print(hosts, format, "no machine has joined yet: packhorse token new");
    }
    say::line(&apart(hosts))
}

fn apart(hosts: &[HostView]) -> String {
    let those = |wanted: fn(&HostView) -> bool| -> Vec<Listed<'_>> {
        hosts.iter().filter(|host| wanted(host)).map(Listed).collect()
    };
    let parts = [
        ("", those(|host| host.retired.is_none() && !host.silent)),
        ("silent for very long, and left out of percentages:\n", those(|host| host.silent)),
        ("retired:\n", those(|host| host.retired.is_some())),
    ];
    let shown = parts.iter().filter(|(_, hosts)| !hosts.is_empty());
    shown.map(|(head, hosts)| format!("{head}{}", table::table(hosts))).collect::<Vec<_>>().join("\n\n")
}

/// A host in a table for people: what stands above the table is no column.
#[derive(Debug, Serialize)]
struct Listed<'a>(&'a HostView);

impl Row for Listed<'_> {
    const COLUMNS: &'static [&'static str] = &["name", "role", "higher", "online", "last_seen", "fallback"];

    fn cells(&self) -> Vec<Cell> {
        let all = HostView::COLUMNS.iter().zip(self.0.cells());
        all.filter(|(column, _)| Self::COLUMNS.contains(column)).map(|(_, cell)| cell).collect()
    }
}

/// What is said of a host that was retired or removed.
pub fn left(host: &HostRetired) -> String {
    let name = say::clean(&host.host);
    let ended = match host.lines {
        0 => String::new(),
        lines => format!("; {} ended by it", super::count(lines, "open line")),
    };
    match (host.removed, host.changed) {
        (true, _) => format!("{name} was removed: the name is free{ended}"),
        (false, true) => format!("{name} was retired{ended}"),
        (false, false) => format!("{name} was retired before"),
    }
}

/// `host show`
pub fn show(detail: &HostDetail) -> String {
    let host = &detail.host;
    let mut pairs = vec![
        ("name", format!("{} ({})", host.name, host.role)),
        ("id", detail.id.clone()),
        ("route", route(detail)),
        ("calls", detail.above.join(", then ")),
        ("online", online(host.online, host.last_seen.as_deref())),
        (
            "joined",
            format!("{} · certificate {}", when::shown(&detail.joined), detail.certificate_generation),
        ),
    ];
    if let Some(fallback) = &host.fallback {
        pairs.insert(4, ("now", fallback.text.clone()));
    }
    if let Some(since) = &host.retired {
        pairs.insert(1, ("retired", format!("{}: its certificates count no more", when::shown(since))));
    }
    if host.silent {
        pairs.push(("silent", "for very long: left out of percentages".to_owned()));
    }
    if let Some(since) = &detail.twins_since {
        pairs.push(("twins", format!("two machines answer under this name since {}", when::shown(since))));
    }
    if !detail.groups.is_empty() {
        pairs.push(("groups", detail.groups.join(" ")));
    }
    if let Some(at) = &detail.facts_at {
        pairs.push(("says", said(detail, at)));
    }
    let head = say::clean_lines(&facts(&pairs));
    let lines: Vec<Line<'_>> = detail.instructions.iter().map(Line).collect();
    let mut parts = vec![head];
    if !lines.is_empty() {
        parts.push(table::table(&lines));
    }
    if !detail.events.is_empty() {
        parts.push(super::history::timeline(&detail.events));
    }
    parts.join("\n\n")
}

/// What it says of itself; sizes as people read them.
fn said(detail: &HostDetail, at: &str) -> String {
    let shown = |(name, value): (&String, &String)| match value.parse() {
        Ok(bytes) if ["memory", "disk_size", "disk_free"].contains(&name.as_str()) => {
            format!("{name} {}", table::size(bytes))
        }
        _ => format!("{name} {value}"),
    };
    let all: Vec<String> = detail.facts.iter().map(shown).collect();
    format!("{} (since {})", all.join(" · "), when::shown(at))
}

fn route(detail: &HostDetail) -> String {
    let mut names: Vec<&str> = detail.route.iter().map(String::as_str).collect();
    if names.last() != Some(&detail.host.name.as_str()) {
        names.push(&detail.host.name);
    }
    names.join(" → ")
}

fn online(online: bool, last_seen: Option<&str>) -> String {
    match (online, last_seen) {
        (true, _) => "yes".into(),
        (false, Some(seen)) => format!("no, last heard {}", when::shown(seen)),
        (false, None) => "no, never heard".into(),
    }
}

/// `host tree`, one system a line.
pub fn tree(root: &TreeNode) -> String {
    let mut lines = vec![label(root)];
    branches(root, "", &mut lines);
    lines.join("\n")
}

fn branches(node: &TreeNode, indent: &str, lines: &mut Vec<String>) {
    for (i, lower) in node.lower.iter().enumerate() {
        let last = i + 1 == node.lower.len();
        let (branch, further) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{indent}{branch}{}", label(lower)));
        branches(lower, &format!("{indent}{further}"), lines);
    }
}

fn label(node: &TreeNode) -> String {
    let name = say::clean(&node.name);
    let mut text = match node.role.as_str() {
        "client" => name,
        role => format!("{name} ({})", say::clean(role)),
    };
    if !node.online {
        text.push_str(match (&node.last_seen, node.silent) {
            (Some(_), true) => " · silent",
            (Some(_), false) => " · off",
            (None, _) => " · never heard",
        });
    }
    if let Some(fallback) = &node.fallback {
        text.push_str(" · ");
        text.push_str(&say::clean(&fallback.text));
    }
    text
}

/// A system of the tree as a row, for CSV.
#[derive(Debug, Serialize)]
pub struct TreeRow {
    name: String,
    role: String,
    higher: String,
    depth: u64,
    online: bool,
    last_seen: Option<String>,
    silent: bool,
}

impl Row for TreeRow {
    const COLUMNS: &'static [&'static str] =
        &["name", "role", "higher", "depth", "online", "last_seen", "silent"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(&self.role),
            Cell::text(&self.higher),
            Cell::Number(self.depth),
            Cell::Yes(self.online),
            Cell::Time(self.last_seen.clone()),
            Cell::Yes(self.silent),
        ]
    }
}

/// The tree as rows, each system before what is below it.
pub fn tree_rows(root: &TreeNode) -> Vec<TreeRow> {
    let mut rows = Vec::new();
    collect(root, "", 0, &mut rows);
    rows
}

fn collect(node: &TreeNode, higher: &str, depth: u64, rows: &mut Vec<TreeRow>) {
    rows.push(TreeRow {
        name: node.name.clone(),
        role: node.role.clone(),
        higher: higher.to_owned(),
        depth,
        online: node.online,
        last_seen: node.last_seen.clone(),
        silent: node.silent,
    });
    for lower in &node.lower {
        collect(lower, &node.name, depth + 1, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: &str, online: bool, lower: Vec<TreeNode>) -> TreeNode {
        let last_seen = online.then(|| "2026-11-24T10:00:00Z".to_owned());
        TreeNode {
            name: name.into(),
            role: role.into(),
            online,
            last_seen,
            silent: false,
            fallback: None,
            lower,
        }
    }

    #[test]
    fn a_tree_of_systems() {
        let namba = node("namba", "relay", true, vec![node("pc3", "client", true, vec![])]);
        let osaka = node("osaka", "relay", true, vec![namba, node("pc\u{1b}1", "client", false, vec![])]);
        let hq = node("hq", "server", true, vec![osaka, node("pc9", "client", true, vec![])]);
        assert_eq!(
            tree(&hq),
            "hq (server)\n\
             ├─ osaka (relay)\n\
             │  ├─ namba (relay)\n\
             │  │  └─ pc3\n\
             │  └─ pc 1 · never heard\n\
             └─ pc9"
        );
        assert_eq!(tree_rows(&hq).len(), 6);
        assert_eq!((tree_rows(&hq)[3].higher.as_str(), tree_rows(&hq)[3].depth), ("namba", 3));
    }
}
