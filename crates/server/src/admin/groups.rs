//! Lines of a job by why they are where they are: `312 of 340 done · 11 off · 3 failed: exit 1603 (packhorse job retry 12
//! --failed)`.

use std::collections::BTreeMap;

use packhorse_domain::instruction::State;
use packhorse_domain::reason::Code;
use packhorse_wire::admin::InstructionView;

/// Lines that have the same to say.
pub struct Group<'a> {
    /// The state.
    pub state: String,
    /// The few words for it: `off`, `failed: exit 1603`.
    pub words: String,
    /// The lines.
    pub lines: Vec<&'a InstructionView>,
}

impl Group<'_> {
    /// What would clear it: a command where there is one.
    pub fn command(&self, job: &str) -> Option<String> {
        let first = self.lines.first()?;
        match State::parse(&self.state) {
            Some(State::Failed) => Some(format!("packhorse job retry {job} --failed")),
            Some(State::Missed | State::Cancelled) => Some(format!("packhorse job retry {job}")),
            _ => first.reason.as_ref().map(|reason| reason.clear.clone()),
        }
    }
}

/// Groups lines: done first, then by how many there are.
pub fn groups(lines: &[InstructionView]) -> Vec<Group<'_>> {
    let mut found: BTreeMap<(String, String), Vec<&InstructionView>> = BTreeMap::new();
    for line in lines {
        found.entry((line.state.clone(), words(line))).or_default().push(line);
    }
    let mut groups: Vec<Group<'_>> =
        found.into_iter().map(|((state, words), lines)| Group { state, words, lines }).collect();
    groups.sort_by_key(|group| (!is_done(group), std::cmp::Reverse(group.lines.len())));
    groups
}

fn is_done(group: &Group<'_>) -> bool {
    group.state == State::Done.as_str()
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
pub fn summary(groups: &[Group<'_>], total: usize, job: &str) -> String {
    let done: usize = groups.iter().filter(|group| is_done(group)).map(|group| group.lines.len()).sum();
    let mut parts = vec![format!("{done} of {total} done")];
    for group in groups.iter().filter(|group| !is_done(group)) {
        let command = match State::parse(&group.state) {
            Some(State::Failed | State::Missed) => group.command(job),
            _ => None,
        };
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
        });
        InstructionView {
            host: host.to_owned(),
            package: "main/a@1:1".to_owned(),
            attempt: 1,
            state: state.as_str().to_owned(),
            reason,
            progress_percent: None,
            result,
        }
    }

    #[test]
    fn lines_are_told_by_why() {
        let mut lines: Vec<_> = (0..5).map(|n| line(&format!("a{n}"), State::Done, Some(0), None)).collect();
        lines.push(line("b", State::Failed, Some(1603), None));
        lines.extend((0..3).map(|n| line(&format!("c{n}"), State::Waiting, None, Some(Code::HostOff))));
        lines.push(line("d", State::AlreadyInstalled, None, None));
        let groups = groups(&lines);
        assert_eq!(
            summary(&groups, lines.len(), "12"),
            "5 of 10 done · 3 off · 1 had it already · 1 failed: exit 1603 (packhorse job retry 12 --failed)"
        );
        let off = groups.iter().find(|group| group.words == "off").unwrap();
        assert_eq!(off.command("12").as_deref(), Some("start it"));
    }
}
