//! The agent in a few words.

use packhorse_domain::agent::{AgentLine, Stage};
use packhorse_domain::instruction::State;
use packhorse_domain::reason::{NextTry, Reason};
use packhorse_wire::local::{LINE_BYTES_MAX, LocalLine, LocalStatus};

use super::Driver;
use crate::clock::rfc3339;
use crate::store::Installed;

/// Most lines and packages that are told: the answer is one line of limited length.
const LINES_MAX: usize = 60;
const INSTALLED_MAX: usize = 120;
/// Longest reason that is told, in characters.
const REASON_CHARS_MAX: usize = 200;
const _: () = assert!(LINES_MAX * (REASON_CHARS_MAX * 2 + 200) + INSTALLED_MAX * 200 < LINE_BYTES_MAX);

impl Driver {
    /// For the user of this host.
    pub(super) async fn status(&self) -> LocalStatus {
        let contact = self.contact.borrow().clone();
        let until = *self.until.borrow();
        let installed = self.tools.db.run(|connection| Installed::labels(connection)).await;
        let open = self.agent.lines().filter(|line| !line.stage.is_end());
        LocalStatus {
            name: self.tools.name.clone(),
            id: self.tools.me.to_string(),
            role: self.role.to_owned(),
            higher: self.tools.higher.clone(),
            calls: self.judge.place().above.iter().map(|above| above.name.clone()).collect(),
            fallback: self.fallback(),
            url: self.tools.link.url().to_owned(),
            online: contact.online,
            last_contact: contact.last.map(rfc3339),
            trouble: self
                .retired
                .clone()
                .or(contact.retired)
                .or(contact.trouble.map(|trouble| self.tried(trouble))),
            certificate_until: until.map(|until| until.to_string()).unwrap_or_default(),
            unreceipted: self.agent.reported().saturating_sub(self.agent.base()),
            lines: open.take(LINES_MAX).map(|line| self.line(line)).collect(),
            installed: installed
                .unwrap_or_default()
                .iter()
                .take(INSTALLED_MAX)
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// Since when and why it calls a system that is not the first of its list.
    fn fallback(&self) -> Option<String> {
        let call = self.calling.machine().call();
        let above = &self.judge.place().above;
        let at = above.iter().position(|above| above.id == call.to).filter(|at| *at > 0)?;
        let names: Vec<&str> = above[..at].iter().map(|above| above.name.as_str()).collect();
        let (higher, since) = (&self.tools.higher, rfc3339(call.since));
        Some(format!("calls {higher} since {since}; {} could not be reached", names.join(" and ")))
    }

    /// What is wrong, and since when all that may be called are tried.
    fn tried(&self, trouble: String) -> String {
        let machine = self.calling.machine();
        let above = &self.judge.place().above;
        match machine.out_since() {
            Some(since) if above.len() > 1 => {
                let names: Vec<&str> = above.iter().map(|above| above.name.as_str()).collect();
                let since = rfc3339(since);
                format!("{trouble}; out of reach since {since}, tried in order: {}", names.join(", "))
            }
            _ => trouble,
        }
    }

    fn line(&self, line: &AgentLine) -> LocalLine {
        let known = self.agent.job(&line.id.job);
        let package = known.and_then(|known| known.job.packages.get(line.id.place as usize));
        let progress = self.tools.progress.borrow().clone();
        LocalLine {
            job: line.id.job.to_string(),
            package: package.map(|package| package.label.to_string()).unwrap_or_default(),
            attempt: line.attempt,
            state: state(line).as_str().to_owned(),
            reason: self.reason(line),
            percent: progress.filter(|now| now.line == line.id).map(|now| now.percent),
        }
    }

    pub(super) fn reason(&self, line: &AgentLine) -> Option<String> {
        let text = match &line.stage {
            Stage::Waiting | Stage::Offered | Stage::Probing | Stage::Obtaining if self.retired.is_some() => {
                "this host was retired: nothing is installed any more".to_owned()
            }
            Stage::Offered => "it is offered to the user: packhorse offers".to_owned(),
            Stage::Probing => "it is being looked at what is installed".to_owned(),
            Stage::Obtaining => format!("the package is being taken in from {}", self.tools.higher),
            Stage::Installing => "the installer runs".to_owned(),
            Stage::Checking => "what was installed is being checked".to_owned(),
            Stage::Ended(_) => return None,
            Stage::Waiting => match &line.reason {
                Some(reason) => sentence(reason),
                None => self.waits(line),
            },
        };
        Some(text.chars().take(REASON_CHARS_MAX).collect())
    }

    fn waits(&self, line: &AgentLine) -> String {
        let starts = self.agent.job(&line.id.job).map(|known| known.job.starts());
        match starts.filter(|starts| *starts > self.tools.clock.now()) {
            Some(starts) => format!("it starts at {}", rfc3339(starts)),
            None => "other packages come first".to_owned(),
        }
    }
}

pub(super) fn state(line: &AgentLine) -> State {
    match &line.stage {
        Stage::Installing | Stage::Checking => State::Installing,
        Stage::Ended(outcome) => outcome.end,
        Stage::Offered => State::Offered,
        _ if line.delivered => State::Delivered,
        _ if line.choice.is_some() => State::Chosen,
        _ => State::Waiting,
    }
}

fn sentence(reason: &Reason) -> String {
    let again = match reason.next_try() {
        NextTry::At(at) => format!("; tried again at {}", rfc3339(at)),
        NextTry::WhenCleared => String::new(),
    };
    let (code, system, since) = (reason.code().as_str(), reason.system(), rfc3339(reason.since()));
    format!("{code} at {system} since {since}: {}{again}", reason.detail())
}
