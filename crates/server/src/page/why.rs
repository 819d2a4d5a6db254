//! What waits, and what did not end well: by job and reason, with the sentence that `explain` says and what would clear it.

use std::collections::BTreeMap;

use askama::Template;
use packhorse_domain::reason::Code;

use super::busy::Busy;
use super::look::{JobLook, Look, OPEN_LINES_MAX};
use crate::admin::around::{Around, JobFacts};
use crate::admin::format::clock;
use crate::admin::{explain, groups, lines, sentence};
use crate::db::jobs::JobRow;
use crate::system::System;

/// Groups that are shown.
const GROUPS_SHOWN: usize = 40;
/// Lines told of one group.
const LINES_SHOWN: usize = 8;

/// Why things are not there yet.
#[derive(Template)]
#[template(path = "page_why.html")]
pub struct Why {
    waiting: Vec<Group>,
    waiting_more: u64,
    bad: Vec<Group>,
    bad_more: u64,
    /// More lines wait than were asked why: these many were.
    asked_of: Option<(u64, u64)>,
    alarms: Vec<Alarm>,
}

struct Group {
    /// Names it, so that what a reader opened stays open.
    key: String,
    class: &'static str,
    count: u64,
    words: String,
    job: String,
    what: String,
    sentences: Vec<String>,
    more: u64,
    clear: Option<String>,
}

struct Alarm {
    at: String,
    host: String,
    text: String,
}

/// Says why.
pub fn why<'a>(system: &System, around: &Around<'a>, look: &'a Look, busy: &[Busy<'a>]) -> Why {
    let (mut waiting, mut bad) = (waiting(system, around, busy), bad(system, around, look));
    let alarm = |alarm: &crate::db::views::AlarmRecord| Alarm {
        at: clock(alarm.at, around.now),
        host: alarm.host.clone(),
        text: alarm.text.clone(),
    };
    Why {
        waiting_more: cut(&mut waiting),
        waiting,
        bad_more: cut(&mut bad),
        bad,
        asked_of: (look.open_total > u64::from(OPEN_LINES_MAX))
            .then_some((look.open.len() as u64, look.open_total)),
        alarms: look.alarms.iter().map(alarm).collect(),
    }
}

fn cut(groups: &mut Vec<Group>) -> u64 {
    let more = groups.len().saturating_sub(GROUPS_SHOWN) as u64;
    groups.truncate(GROUPS_SHOWN);
    more
}

/// Lines that wait: those that need somebody come first, then by how many there are.
fn waiting(system: &System, around: &Around<'_>, busy: &[Busy<'_>]) -> Vec<Group> {
    let mut found: BTreeMap<(JobRow, Code), Vec<&Busy<'_>>> = BTreeMap::new();
    for line in busy {
        found.entry((line.job.job.row, line.reason.code())).or_default().push(line);
    }
    let mut groups: Vec<Group> =
        found.into_iter().filter_map(|((_, code), lines)| waits(system, around, code, &lines)).collect();
    groups.sort_by_key(|group| (group.class != "act", std::cmp::Reverse(group.count)));
    groups
}

fn waits(system: &System, around: &Around<'_>, code: Code, lines: &[&Busy<'_>]) -> Option<Group> {
    let first = lines.first()?;
    let job = explain::written(system, &first.job.job, around.now);
    let sentence = |line: &&Busy<'_>| {
        let host = line.host.map_or("a host that was removed", |host| host.name.as_str());
        sentence::waits(host, line.state, &line.reason, around.now)
    };
    let clear = first.reason.clear();
    let by_itself = clear.starts_with("nothing to do");
    Some(Group {
        key: format!("{}-{}", job.id, code.as_str()),
        class: if by_itself || in_time(code) { "wait" } else { "act" },
        count: lines.len() as u64,
        words: code.brief().to_owned(),
        what: what(first.job),
        sentences: lines.iter().take(LINES_SHOWN).map(sentence).collect(),
        more: lines.len().saturating_sub(LINES_SHOWN) as u64,
        clear: (!by_itself).then(|| clear.to_owned()),
        job: job.number,
    })
}

/// What waits so because somebody wanted it so: it goes on by itself, or when its user wants.
fn in_time(code: Code) -> bool {
    use Code::{
        ChosenFor, HeldUntil, LineClosed, NotChosen, Postponed, Scheduled, SystemStart, SystemStop, Turn,
    };
    let wanted =
        [ChosenFor, HeldUntil, LineClosed, NotChosen, Postponed, Scheduled, SystemStart, SystemStop, Turn];
    wanted.contains(&code)
}

/// What a job does, in few words.
fn what(job: &JobLook) -> String {
    let packages: Vec<String> = job.packages.iter().map(|(package, _)| package.label.to_string()).collect();
    format!("{} {}", job.job.job_type, packages.join(" "))
}

/// Lines that did not end well.
fn bad(system: &System, around: &Around<'_>, look: &Look) -> Vec<Group> {
    let mut found: Vec<Group> = Vec::new();
    for job in &look.jobs {
        let facts = JobFacts::from(&job.job);
        let views = look.bad.iter().filter(|(at, _)| at.job == job.job.row).filter_map(|(at, line)| {
            let (package, _) = job.packages.get(at.place as usize)?;
            Some(lines::view(around, &facts, package, at.host, line))
        });
        let views: Vec<_> = views.collect();
        let written = explain::written(system, &job.job, around.now);
        for group in groups::groups(&views, around.silent_days()) {
            found.push(Group {
                key: format!("{}-{}", written.id, group.words),
                class: "bad",
                count: group.lines.len() as u64,
                words: group.words.clone(),
                job: written.number.clone(),
                what: what(job),
                sentences: group.lines.iter().take(LINES_SHOWN).map(|line| explain::sentence(line)).collect(),
                more: group.lines.len().saturating_sub(LINES_SHOWN) as u64,
                clear: group.lines.first().and_then(|line| groups::clear(&written, line)),
            });
        }
    }
    found
}
