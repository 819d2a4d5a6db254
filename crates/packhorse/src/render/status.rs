//! What the agent on this machine says of itself.

use packhorse_wire::local::{LocalLine, LocalStatus};
use serde::Serialize;

use super::table::{self, Cell, Row};
use super::{count, facts};
use crate::{say, when};

#[derive(Debug, Serialize)]
struct Waiting<'a>(&'a LocalLine);

impl Row for Waiting<'_> {
    const COLUMNS: &'static [&'static str] = &["job", "package", "attempt", "state", "there", "why"];

    fn cells(&self) -> Vec<Cell> {
        let line = self.0;
        vec![
            Cell::text(&line.job),
            Cell::text(&line.package),
            Cell::Number(u64::from(line.attempt)),
            Cell::text(&line.state),
            Cell::text(line.percent.map_or(String::new(), |percent| format!("{percent} %"))),
            Cell::text(line.reason.clone().unwrap_or_default()),
        ]
    }
}

/// `client status`
pub fn show(status: &LocalStatus) -> String {
    let contact = match (&status.last_contact, status.online) {
        (_, true) => "connected".to_owned(),
        (Some(last), false) => format!("not connected, last heard {}", when::shown(last)),
        (None, false) => "not connected, never heard".to_owned(),
    };
    let reports = match status.unreceipted {
        0 => "all safe at the managing server".to_owned(),
        n => format!("{} not yet safe at the managing server", count(n, "report")),
    };
    let installed = if status.installed.is_empty() { "nothing".into() } else { status.installed.join(" ") };
    let mut pairs = vec![
        ("this is", format!("{} ({}) {}", status.name, status.role, status.id)),
        ("higher", format!("{} at {}", status.higher, status.url)),
        ("contact", contact),
        ("reports", reports),
        ("identity", format!("good until {}", when::shown(&status.certificate_until))),
        ("installed", installed),
    ];
    if let Some(fallback) = &status.fallback {
        pairs.insert(2, ("fallback", fallback.clone()));
    }
    if status.calls.len() > 1 {
        pairs.insert(2, ("calls", status.calls.join(", then ")));
    }
    if let Some(trouble) = &status.trouble {
        let at = pairs.iter().position(|(name, _)| *name == "contact").map_or(pairs.len(), |at| at + 1);
        pairs.insert(at, ("trouble", trouble.clone()));
    }
    let head = say::clean_lines(&facts(&pairs));
    let lines: Vec<Waiting<'_>> = status.lines.iter().map(Waiting).collect();
    if lines.is_empty() {
        format!("{head}\n\nnothing waits")
    } else {
        format!("{head}\n\n{}", table::table(&lines))
    }
}
