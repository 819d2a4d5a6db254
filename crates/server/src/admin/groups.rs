//! Lines of a job by why they are where they are: `312 of 340 done · 11 off · 3 failed: exit 1603 (packhorse job retry 12
//! --failed)`.

use std::collections::BTreeMap;

use packhorse_domain::instruction::{State, Verdict};
use packhorse_domain::job::JobType;
use packhorse_domain::reason::Code;
use packhorse_wire::admin::InstructionView;

/// Lines that have the same to say.
pub struct Group<'a> {
    /// The state.
    pub state: String,
    /// The few words for it: `off`, `failed: exit 1603`.
    pub words: String,
    /// Whether it counts: nobody knows whether hosts that are silent still exist, and those that were retired do not.
    pub counts: bool,
    /// The lines.
    pub lines: Vec<&'a InstructionView>,
}

/// A job as commands name it.
pub struct Written {
    /// `server/3`.
    pub id: String,
    /// As it is written at this system: `3`.
    pub number: String,
    /// Its time is over: nothing of it is tried again.
    pub over: bool,
    /// Its type: the command that would make another.
    pub job_type: String,
}

/// What would clear it: a command where there is one.
pub fn clear(job: &Written, line: &InstructionView) -> Option<String> {
    let ended_badly = State::parse(&line.state).is_some_and(|state| state.is_end() && !state.ended_well());
    match retry(job, &line.state).filter(|_| !is_retired(line)) {
        Some(retry) if has_said(line) => {
            Some(format!("packhorse job show {} tells what it said; then {retry}", job.number))
        }
        Some(retry) => Some(retry),
        None if is_retired(line) => {
            Some(format!("packhorse token new --replace {} lets a machine be it again", line.host))
        }
        None if ended_badly => Some(format!(
            "the job's time is over; a new one: packhorse {} {} --to {}",
            job.job_type, line.package, line.host
        )),
        None => line.reason.as_ref().map(|reason| reason.clear.clone()),
    }
}

/// An exit code alone tells nobody what to change before it is tried again.
fn has_said(line: &InstructionView) -> bool {
    line.result.as_ref().is_some_and(|result| !result.tail.trim().is_empty())
}

/// The command that tries lines of a state again.
fn retry(job: &Written, state: &str) -> Option<String> {
    match State::parse(state) {
        _ if job.over => None,
        Some(State::Failed) => Some(format!("packhorse job retry {} --failed", job.number)),
        Some(State::Missed | State::Cancelled) => Some(format!("packhorse job retry {}", job.number)),
        _ => None,
    }
}

/// Groups lines: done first, then by how many there are.
/// `silent_days`: what hosts that are silent were not heard for.
pub fn groups(lines: &[InstructionView], silent_days: i64) -> Vec<Group<'_>> {
    let mut found: BTreeMap<(String, String, bool), Vec<&InstructionView>> = BTreeMap::new();
    for line in lines {
        let key = match uncounted(line, silent_days) {
            // What they had come to says nothing any more: they stand together.
            Some(words) => (State::Waiting.as_str().to_owned(), words, false),
            None => (line.state.clone(), words(line), true),
        };
        found.entry(key).or_default().push(line);
    }
    let mut groups: Vec<Group<'_>> = found
        .into_iter()
        .map(|((state, words, counts), lines)| Group { state, words, counts, lines })
        .collect();
    groups.sort_by_key(|group| (!is_done(group), !group.counts, std::cmp::Reverse(group.lines.len())));
    groups
}

/// What a job is for: of a transfer that is another end.
fn is_done(group: &Group<'_>) -> bool {
    group.state == State::Done.as_str() || group.state == State::Transferred.as_str()
}

/// The words for a line that is left out of what is counted.
fn uncounted(line: &InstructionView, silent_days: i64) -> Option<String> {
    if line.silent {
        return Some(format!("silent for more than {silent_days} days, not counted"));
    }
    is_retired(line).then(|| "retired, not counted".to_owned())
}

/// Whether a line ended because its host was retired.
fn is_retired(line: &InstructionView) -> bool {
    let verdict = line.result.as_ref().and_then(|result| result.verdict.as_deref());
    line.state == State::Cancelled.as_str() && verdict == Some(Verdict::Retired.as_str())
}

fn words(line: &InstructionView) -> String {
    if let Some(reason) = &line.reason {
        return Code::parse(&reason.code).map_or("waiting", Code::brief).to_owned();
    }
    match State::parse(&line.state) {
        Some(State::AlreadyInstalled) => "had it already".to_owned(),
        Some(State::Failed) => failed(line),
        _ => line.state.replace('_', " "),
    }
}

fn failed(line: &InstructionView) -> String {
    let result = line.result.as_ref();
    match (result.and_then(|result| result.exit_code), result.and_then(|result| result.class.as_deref())) {
        (Some(code), _) if code != 0 => format!("failed: exit {code}"),
        (_, Some(class)) => format!("failed: {class}"),
        _ => "failed".to_owned(),
    }
}

/// The first line of an explanation: who has it, and why not.
pub fn summary(groups: &[Group<'_>], job: &Written) -> String {
    let total: usize = groups.iter().filter(|group| group.counts).map(|group| group.lines.len()).sum();
    let done: usize = groups.iter().filter(|group| is_done(group)).map(|group| group.lines.len()).sum();
    let word = if job.job_type == JobType::Transfer.as_str() { State::Transferred } else { State::Done };
    let mut parts = vec![format!("{done} of {total} {word}")];
    for group in groups.iter().filter(|group| !is_done(group)) {
        let command =
            retry(job, &group.state).filter(|_| group.counts && group.state != State::Cancelled.as_str());
        let command = command.map_or_else(String::new, |command| format!(" ({command})"));
        parts.push(format!("{} {}{command}", group.lines.len(), group.words));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use packhorse_wire::admin::{ReasonView, ResultView};

    use super::*;

    fn line(host: &str, state: State, exit_code: Option<i32>, code: Option<Code>) -> InstructionView {
        let reason = code.map(|code| ReasonView {
            code: code.as_str().to_owned(),
            system: "osaka".to_owned(),
            since: String::new(),
            next_try: None,
            clear: "start it".to_owned(),
            text: format!("{host}: waiting"),
        });
        let result = state.is_end().then(|| ResultView {
            at: String::new(),
            class: (state == State::Failed).then(|| "installer".to_owned()),
            step: "install".to_owned(),
            exit_code,
            text: String::new(),
            tail: String::new(),
            verdict: None,
            by: None,
        });
        InstructionView {
            host: host.to_owned(),
            package: "main/a@1:1".to_owned(),
            attempt: 1,
            state: state.as_str().to_owned(),
            reason,
            progress_percent: None,
            result,
            silent: code == Some(Code::Silent),
        }
    }

    #[test]
    fn lines_are_told_by_why() {
        let mut lines: Vec<_> = (0..5).map(|n| line(&format!("a{n}"), State::Done, Some(0), None)).collect();
        lines.push(line("b", State::Failed, Some(1603), None));
        lines.extend((0..3).map(|n| line(&format!("c{n}"), State::Waiting, None, Some(Code::HostOff))));
        lines.push(line("d", State::AlreadyInstalled, None, None));
        let groups = groups(&lines, 90);
        let job = |over| Written {
            id: "server/12".to_owned(),
            number: "12".to_owned(),
            over,
            job_type: "install".to_owned(),
        };
        assert_eq!(
            summary(&groups, &job(false)),
            "5 of 10 done · 3 off · 1 had it already · 1 failed: exit 1603 (packhorse job retry 12 --failed)"
        );
        let off = groups.iter().find(|group| group.words == "off").unwrap();
        assert_eq!(clear(&job(false), off.lines[0]).as_deref(), Some("start it"));
        let mut failed = line("b", State::Failed, Some(1603), None);
        assert_eq!(clear(&job(false), &failed).as_deref(), Some("packhorse job retry 12 --failed"));
        failed.result.as_mut().unwrap().tail = "no such user".to_owned();
        assert!(clear(&job(false), &failed).unwrap().starts_with("packhorse job show 12 tells what it said"));
        let missed = line("e", State::Missed, None, None);
        assert_eq!(clear(&job(false), &missed).as_deref(), Some("packhorse job retry 12"));
        assert!(clear(&job(true), &missed).unwrap().ends_with("packhorse install main/a@1:1 --to e"));
        assert_eq!(clear(&job(true), &line("f", State::Done, None, None)), None);
    }
}
