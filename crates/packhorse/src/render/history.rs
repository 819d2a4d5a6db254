//! What happened, one event a row.

use packhorse_domain::instruction::State;
use packhorse_wire::admin::{EventView, LineHistory};

use super::table::{self, Cell, Row};
use super::{facts, job};
use crate::{say, when};

impl Row for EventView {
    const COLUMNS: &'static [&'static str] = &["at", "system", "job", "package", "attempt", "event", "what"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::Time(Some(self.at.clone())),
            Cell::text(&self.system),
            Cell::text(self.job.as_deref().unwrap_or_default()),
            Cell::text(self.package.as_deref().unwrap_or_default()),
            Cell::text(self.attempt.map_or_else(String::new, |attempt| attempt.to_string())),
            Cell::text(self.event.replace('_', " ")),
            Cell::text(what(self)),
        ]
    }
}

/// What there is to say of an event beside its word.
fn what(event: &EventView) -> String {
    let mut parts = Vec::new();
    if let Some(by) = event.by.as_ref().filter(|_| event.event != "chosen") {
        parts.push(format!("by {by}"));
    }
    if let Some(code) = event.exit_code.filter(|code| *code != 0) {
        parts.push(format!("exit {code}"));
    }
    // The row names the system already, and its word the state.
    let text = event.text.strip_prefix(&format!("{}: ", event.system)).unwrap_or(&event.text);
    if !text.is_empty() && text != event.event.replace('_', " ") {
        parts.push(text.to_owned());
    }
    say::clean(&parts.join(": "))
}

/// A machine's past.
pub fn timeline(events: &[EventView]) -> String {
    table::table(events)
}

/// `job show JOB HOST`
pub fn line(line: &LineHistory) -> String {
    let now: Vec<String> = line
        .instructions
        .iter()
        .map(|one| match job::why(one) {
            why if why.is_empty() => format!("{} {}", one.package, one.state.replace('_', " ")),
            why => format!("{} {}: {why}", one.package, one.state.replace('_', " ")),
        })
        .collect();
    let head = facts(&[("job", line.job.clone()), ("machine", line.host.clone()), ("now", now.join("; "))]);
    let mut parts = vec![say::clean_lines(&head), timeline(&line.events)];
    // Of an installer that did what it should nobody wants to read the output.
    let said = |event: &&EventView| {
        let ended_badly = State::parse(&event.event).is_none_or(|state| !state.ended_well());
        ended_badly && !event.tail.trim().is_empty()
    };
    for event in line.events.iter().filter(said) {
        let attempt = event.attempt.unwrap_or(1);
        let tail: Vec<String> = event.tail.trim_end().lines().map(|line| format!("  {line}")).collect();
        let at = when::shown(&event.at);
        parts.push(format!(
            "the end of what it said in attempt {attempt}, {at}:\n{}",
            say::clean_lines(&tail.join("\n"))
        ));
    }
    parts.join("\n\n")
}
