//! The columns of every listing.

use packhorse_wire::admin::{
    CabinetView, HostRetired, HostView, InstructionView, JobSummary, PackageView, RelaySummary, TokenView,
};

use super::job::counts_of;
use super::table::{Cell, Row};

impl Row for HostView {
    const COLUMNS: &'static [&'static str] =
        &["name", "role", "higher", "online", "last_seen", "silent", "retired", "fallback"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(&self.role),
            Cell::text(&self.higher),
            Cell::Yes(self.online),
            Cell::Time(self.last_seen.clone()),
            Cell::Yes(self.silent),
            Cell::TimeOr(self.retired.clone(), "no"),
            Cell::text(self.fallback.as_ref().map_or(String::new(), |fallback| fallback.text.clone())),
        ]
    }
}

impl Row for HostRetired {
    const COLUMNS: &'static [&'static str] = &["host", "lines", "changed", "removed"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.host),
            Cell::Number(self.lines),
            Cell::Yes(self.changed),
            Cell::Yes(self.removed),
        ]
    }
}

impl Row for TokenView {
    const COLUMNS: &'static [&'static str] = &["id", "role", "state", "uses_left", "ends", "replace"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Number(self.id),
            Cell::text(&self.role),
            Cell::text(&self.state),
            Cell::Number(u64::from(self.uses_left)),
            Cell::Time(Some(self.ends.clone())),
            Cell::text(self.replace.clone().unwrap_or_default()),
        ]
    }
}

impl Row for CabinetView {
    const COLUMNS: &'static [&'static str] = &["name", "packages", "keys"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.name), Cell::Number(self.packages), Cell::text(self.keys.join(" "))]
    }
}

impl Row for PackageView {
    const COLUMNS: &'static [&'static str] =
        &["cabinet", "name", "version", "generation", "size_bytes", "chunks", "keep"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.cabinet),
            Cell::text(&self.name),
            Cell::text(&self.version),
            Cell::Number(u64::from(self.generation)),
            Cell::Bytes(self.size_bytes),
            Cell::Number(self.chunks),
            Cell::text(&self.keep),
        ]
    }
}

impl Row for RelaySummary {
    const COLUMNS: &'static [&'static str] =
        &["name", "higher", "online", "packages", "used_bytes", "free_bytes"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(&self.higher),
            Cell::Yes(self.online),
            Cell::Number(self.packages),
            Cell::Bytes(self.used_bytes),
            Cell::Bytes(self.free_bytes),
        ]
    }
}

impl Row for JobSummary {
    const COLUMNS: &'static [&'static str] = &["id", "type", "state", "packages", "to", "at", "counts"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.id),
            Cell::text(&self.job_type),
            Cell::text(&self.state),
            Cell::text(self.packages.join(" ")),
            Cell::text(self.to.join(" ")),
            Cell::TimeOr(self.at.clone(), "now"),
            Cell::text(counts_of(self)),
        ]
    }
}

impl Row for InstructionView {
    const COLUMNS: &'static [&'static str] =
        &["host", "package", "attempt", "state", "progress_percent", "why"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.host),
            Cell::text(&self.package),
            Cell::Number(u64::from(self.attempt)),
            Cell::text(&self.state),
            Cell::Percent(self.progress_percent),
            Cell::text(super::job::why(self)),
        ]
    }
}
