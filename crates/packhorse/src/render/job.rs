//! A job: its counts, its lines, how far it is.

use std::collections::BTreeMap;

use packhorse_domain::instruction::State;
use packhorse_wire::admin::{InstructionView, JobSummary, JobView, PlanFact, ReasonView, ResultView};

use super::{count, facts, table};
use crate::{say, when};

/// Most tails of output that `job show` prints.
const TAILS_MAX: usize = 5;

/// `3 done · 1 failed`, in the order a line goes through its states.
pub fn counts_text(counts: &BTreeMap<String, u64>) -> String {
    let mut known: Vec<(usize, &String, &u64)> =
        counts.iter().map(|(state, number)| (place(state), state, number)).collect();
    known.sort();
    let parts: Vec<String> = known
        .into_iter()
        .filter(|(_, _, number)| **number > 0)
        .map(|(_, state, number)| format!("{number} {}", state.replace('_', " ")))
        .collect();
    if parts.is_empty() { "no lines yet".into() } else { say::clean(&parts.join(" · ")) }
}

/// The same of a job, and how many lines are left out of what is counted.
pub fn counts_of(job: &JobSummary) -> String {
    let counts = counts_text(&job.counts);
    match job.silent {
        0 => counts,
        silent => format!("{counts} ({silent} silent for very long, not counted)"),
    }
}

fn place(word: &str) -> usize {
    State::ALL.iter().position(|state| state.as_str() == word).unwrap_or(State::ALL.len())
}

/// How many lines ended, how many of them well, and how many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All lines.
    pub all: u64,
    /// Lines that have ended.
    pub ended: u64,
    /// Of these, well.
    pub well: u64,
}

impl Tally {
    /// From a job's counts. A state from a newer system counts as not ended.
    pub fn of(counts: &BTreeMap<String, u64>) -> Tally {
        let mut tally = Tally::default();
        for (word, number) in counts {
            let state = State::parse(word);
            tally.all += number;
            tally.ended += if state.is_some_and(State::is_end) { *number } else { 0 };
            tally.well += if state.is_some_and(State::ended_well) { *number } else { 0 };
        }
        tally
    }

    /// Every line has ended.
    pub fn is_over(self) -> bool {
        self.ended == self.all
    }

    /// Every line has ended well.
    pub fn is_well(self) -> bool {
        self.well == self.all
    }
}

/// Why a line is where it is: its reason, or how it ended.
pub fn why(line: &InstructionView) -> String {
    match (&line.reason, &line.result) {
        // The table names the host already.
        (Some(reason), _) => {
            let text = reason_text(reason);
            text.strip_prefix(&format!("{}: ", line.host)).map(str::to_owned).unwrap_or(text)
        }
        (None, Some(result)) => result_text(result, &line.state),
        (None, None) => String::new(),
    }
}

fn reason_text(reason: &ReasonView) -> String {
    let text = if reason.text.is_empty() { reason.code.replace('_', " ") } else { reason.text.clone() };
    say::clean(&text)
}

/// `installer: exit code 3: it said so`
fn result_text(result: &ResultView, state: &str) -> String {
    let mut parts = Vec::new();
    if let Some(class) = &result.class {
        parts.push(class.clone());
    }
    if let Some(code) = result.exit_code.filter(|code| *code != 0) {
        parts.push(format!("exit {code}"));
    }
    // "done" is said by the state already.
    if !result.text.is_empty() && result.text != state.replace('_', " ") {
        parts.push(result.text.clone());
    }
    // A verdict that is the state needs no second word.
    if let Some(verdict) = result.verdict.as_ref().filter(|verdict| *verdict != state) {
        parts.push(format!("{verdict} meanwhile"));
    }
    say::clean(&parts.join(": "))
}

/// Lines that wait, grouped by the code of their reason, the largest group first: `(what, number, an example)`.
pub fn groups(lines: &[InstructionView]) -> Vec<Group> {
    let mut by_code: BTreeMap<(String, String), Group> = BTreeMap::new();
    for line in lines {
        let Some(reason) = &line.reason else { continue };
        let key = (reason.code.clone(), reason.system.clone());
        let group = by_code.entry(key).or_insert_with(|| Group {
            lines: 0,
            code: say::clean(&reason.code).replace('_', " "),
            system: say::clean(&reason.system),
            hosts: Vec::new(),
            text: reason_text(reason),
        });
        group.lines += 1;
        if group.hosts.len() < 3 {
            group.hosts.push(say::clean(&line.host));
        }
    }
    let mut groups: Vec<Group> = by_code.into_values().collect();
    groups.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.code.cmp(&b.code)));
    groups
}

/// Lines that wait for the same reason at the same system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub lines: u64,
    /// The reason's words.
    pub code: String,
    /// Where.
    pub system: String,
    /// Up to three of the hosts.
    pub hosts: Vec<String>,
    /// One line's sentence.
    pub text: String,
}

impl Group {
    /// One line: `11 host off (pc1, pc2, pc3 …): off since 09:12`. A single line is its own sentence.
    pub fn line(&self) -> String {
        if self.lines == 1 {
            return self.text.clone();
        }
        let more = if self.lines > self.hosts.len() as u64 { " …" } else { "" };
        format!("{} {} ({}{more}): {}", self.lines, self.code, self.hosts.join(", "), self.sentence())
    }
}

impl Group {
    /// The sentence without the host it begins with: a group has several.
    fn sentence(&self) -> &str {
        let own = self.hosts.first().and_then(|host| self.text.strip_prefix(host.as_str()));
        own.and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&self.text)
    }
}

impl table::Row for PlanFact {
    const COLUMNS: &'static [&'static str] = &["what", "planned", "so_far"];

    fn cells(&self) -> Vec<table::Cell> {
        vec![table::Cell::text(&self.what), table::Cell::text(&self.planned), table::Cell::text(&self.fact)]
    }
}

/// `job show`: facts, lines, the ends of installers' outputs.
pub fn show(view: &JobView) -> String {
    let job = &view.job;
    let head = facts(&[
        ("job", format!("{} {} {}", job.id, job.job_type, job.packages.join(" "))),
        ("to", job.to.join(" ")),
        ("state", format!("{} · {}", job.state, counts_of(job))),
        ("at", job.at.as_deref().map_or("now".into(), when::shown)),
        ("until", until(view)),
        ("made", format!("{} · revision {}", when::shown(&job.created), view.revision)),
    ]);
    let mut parts = vec![say::clean_lines(&head)];
    if !view.plan.is_empty() {
        parts.push(table::table(&view.plan));
    }
    if view.instructions.is_empty() {
        parts.push("no lines yet: nobody at the destination has joined".into());
    } else {
        parts.extend(lines(view));
    }
    parts.extend(tails(view));
    parts.join("\n\n")
}

/// The lines; those of hosts that are silent stand apart.
fn lines(view: &JobView) -> Vec<String> {
    let (silent, heard): (Vec<&InstructionView>, Vec<&InstructionView>) =
        view.instructions.iter().partition(|line| line.silent);
    let mut parts = Vec::new();
    if !heard.is_empty() {
        parts.push(table::table(&heard));
    }
    if !silent.is_empty() {
        let head = format!("silent for more than {} days, not counted:", view.silent_days);
        parts.push(format!("{head}\n{}", table::table(&silent)));
    }
    parts
}

fn until(view: &JobView) -> String {
    let until = when::shown(&view.job.until);
    match &view.closed {
        Some(closed) => format!("{until} · closed {}: takes in nobody who joined later", when::shown(closed)),
        None => until,
    }
}

fn tails(view: &JobView) -> Vec<String> {
    let with_tail: Vec<(&InstructionView, &ResultView)> = view
        .instructions
        .iter()
        .filter_map(|line| line.result.as_ref().map(|result| (line, result)))
        .filter(|(line, result)| line.state == "failed" && !result.tail.trim().is_empty())
        .collect();
    let mut texts: Vec<String> = with_tail
        .iter()
        .take(TAILS_MAX)
        .map(|(line, result)| {
            let tail = say::clean_lines(result.tail.trim_end());
            format!("the end of what it said at {}:\n{}", say::clean(&line.host), indented(&tail))
        })
        .collect();
    if with_tail.len() > TAILS_MAX {
        let more = (with_tail.len() - TAILS_MAX) as u64;
        texts.push(format!("{} more said something: --json shows all", count(more, "line")));
    }
    texts
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
