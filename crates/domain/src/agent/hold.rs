//! What holds a line up that could go on: a suspended job, a time that has not come, a user's "not now", a package that is to
//! be installed when the system starts or stops.

use super::{Agent, AgentLine, Kind, KnownJob, LineId, Stage};
use crate::job::{Intent, JobType};
use crate::reason::{Code, NextTry, Reason};
use crate::time::Time;

/// When an installed package begins to be used, by its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Timing {
    /// As soon as it is there.
    #[default]
    Now,
    /// When the system starts next.
    Start,
    /// When the system stops next.
    Stop,
}

/// What a package that is there says of when it is to be installed. Of an offer it counts for nothing: the user's choice
/// takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// At the next start or stop of the system.
    pub timing: Timing,
    /// Not before.
    pub install_at: Option<Time>,
}

/// Why a line does not go on now.
pub(super) struct Hold {
    code: Code,
    next: NextTry,
    text: String,
}

impl Hold {
    fn until(code: Code, at: Time, text: &str) -> Hold {
        Hold { code, next: NextTry::At(at), text: text.to_owned() }
    }

    fn open(code: Code, text: &str) -> Hold {
        Hold { code, next: NextTry::WhenCleared, text: text.to_owned() }
    }
}

/// When a job starts at this host.
pub(super) fn starts(known: &KnownJob) -> Time {
    known.job.starts_at_host(known.ahead_secs)
}

impl Agent {
    /// Why nothing at all is done for a line that has not begun.
    fn holds_work(&self, line: &AgentLine, now: Time) -> Option<Hold> {
        let known = self.jobs.get(&line.id.job)?;
        if known.job.intent == Intent::Suspended {
            return Some(Hold::open(Code::Suspended, "its job is suspended"));
        }
        if let Some(hold) = self.holds_ended(line, now) {
            return Some(hold);
        }
        if known.job.terms.host_time && starts(known) > now {
            let text = "its time has not come by the clock of this machine";
            return Some(Hold::until(Code::Scheduled, starts(known), text));
        }
        let choice = line.choice.as_ref()?;
        let at = choice.at.filter(|at| *at > now)?;
        Some(Hold::until(Code::ChosenFor, at, &format!("{} chose it for later", choice.by)))
    }

    /// The delegation of the relay that made its job has ended, and may have been renewed: nothing begins before that is known.
    fn holds_ended(&self, line: &AgentLine, now: Time) -> Option<Hold> {
        let known = self.jobs.get(&line.id.job)?;
        let issuer = &known.job.key.issuer;
        self.has_ended(&known.job, now).then(|| {
            let text =
                format!("the delegation of {issuer} has ended; whether it was renewed is not known yet");
            Hold::open(Code::NotTrusted, &text)
        })
    }

    /// Why a line whose package is there does not begin.
    fn holds_begin(&self, line: &AgentLine, now: Time) -> Option<Hold> {
        if let Some(hold) = self.holds_ended(line, now) {
            return Some(hold);
        }
        let job = &self.jobs.get(&line.id.job)?.job;
        if job.job_type != JobType::Install {
            return None;
        }
        if let Some(until) = line.postponed_until.filter(|until| *until > now) {
            return Some(Hold::until(Code::Postponed, until, "put off by the user"));
        }
        if let Some(at) = line.ready.install_at.filter(|at| *at > now) {
            return Some(Hold::until(Code::HeldUntil, at, "the package says when it is to be installed"));
        }
        match line.ready.timing {
            Timing::Start if line.delivered_in.as_ref() == Some(&self.boot) => {
                Some(Hold::open(Code::SystemStart, "the package is to be installed when the system starts"))
            }
            Timing::Stop if !line.released => {
                Some(Hold::open(Code::SystemStop, "the package is to be installed when the system stops"))
            }
            Timing::Now | Timing::Start | Timing::Stop => None,
        }
    }

    /// Whether work on a line may begin now.
    pub(super) fn may_work(&self, line: &AgentLine, now: Time) -> bool {
        self.holds_work(line, now).is_none()
    }

    /// Holds a line whose package is there, if something does; answers whether.
    pub(super) fn held(&mut self, id: &LineId, now: Time) -> bool {
        let Some(hold) = self.lines.get(id).and_then(|line| self.holds_begin(line, now)) else {
            return false;
        };
        if let Some(line) = self.lines.get_mut(id) {
            line.stage = Stage::Waiting;
            // Held again, it waits for the next stop of the system, not for this one.
            line.released = false;
            line.next_try = match hold.next {
                NextTry::At(at) => at,
                NextTry::WhenCleared => Time::MAX,
            };
        }
        let text = match self.lines.get(id).and_then(|line| line.reason.as_ref()) {
            // Who put it off was said already.
            Some(said) if said.code() == Code::Postponed && hold.code == Code::Postponed => {
                said.detail().to_owned()
            }
            _ => hold.text,
        };
        self.say(id, hold.code, hold.next, &text, now);
        true
    }

    /// Says of every line that has not begun what holds it up, gives up the work on what was suspended, and lets go on what is
    /// suspended no more.
    pub(super) fn hold(&mut self, now: Time) {
        for id in self.ids(AgentLine::is_unbegun) {
            let Some(line) = self.lines.get(&id) else { continue };
            match self.holds_work(line, now) {
                Some(hold) => {
                    self.stop_work(&id);
                    if let (NextTry::At(at), Some(line)) = (hold.next, self.lines.get_mut(&id)) {
                        line.next_try = line.next_try.max(at);
                    }
                    self.say(&id, hold.code, hold.next, &hold.text, now);
                }
                None if line.waits_with(Code::Suspended) || waited_for_renewal(line) => self.go_on(&id, now),
                None => {}
            }
        }
    }

    /// A line of a job that is suspended no more, or whose delegation was renewed. It is said, or higher systems would show the old reason.
    fn go_on(&mut self, id: &LineId, now: Time) {
        let Some(line) = self.lines.get_mut(id) else { return };
        line.next_try = now;
        line.reason = None;
        if line.stage == Stage::Offered {
            return self.journal(id, Kind::Offered, now);
        }
        self.say(id, Code::Turn, NextTry::WhenCleared, "it goes on; what comes first is done first", now);
    }

    /// The system is about to stop: what is held for that begins.
    pub(super) fn stopping(&mut self, now: Time) {
        let held: Vec<LineId> =
            self.ids(|line| line.stage == Stage::Waiting && line.waits_with(Code::SystemStop));
        for id in held {
            if let Some(line) = self.lines.get_mut(&id) {
                (line.released, line.next_try) = (true, now);
            }
        }
    }

    /// Whether something that was held for the system's stop is still being installed.
    pub fn is_stopping(&self) -> bool {
        self.lines.values().any(|line| line.released && !line.stage.is_end())
    }

    /// Notes why a line waits, and reports it unless that was said already.
    pub(super) fn say(&mut self, id: &LineId, code: Code, next: NextTry, text: &str, now: Time) {
        let job = id.job.to_string();
        let system = self.name.clone();
        let Some(line) = self.lines.get_mut(id) else { return };
        let since = line.reason.as_ref().filter(|old| old.code() == code).map_or(now, Reason::since);
        let reason = Reason::new(code, &system, since, next, &clear_of(code, &job), text);
        let same = |old: &Reason| old.same_as(&reason) && old.next_try() == reason.next_try();
        let news = line.unsaid || !line.reason.as_ref().is_some_and(same);
        line.unsaid = false;
        line.reason = Some(reason.clone());
        if news {
            self.journal(id, Kind::Waits(reason), now);
        }
    }
}

/// Other trouble with trust is tried again at a time.
fn waited_for_renewal(line: &AgentLine) -> bool {
    let reason = line.reason.as_ref().filter(|reason| reason.code() == Code::NotTrusted);
    reason.is_some_and(|reason| reason.next_try() == NextTry::WhenCleared)
}

fn clear_of(code: Code, job: &str) -> String {
    let own = job.strip_prefix("server/").unwrap_or(job);
    match code {
        Code::Suspended => format!("packhorse job resume {own}"),
        Code::NotTrusted => "nothing to do: it goes on or ends when the higher system answers".to_owned(),
        Code::SystemStart => "restart the machine".to_owned(),
        Code::SystemStop => "shut the machine down, or as root: packhorse client stopping".to_owned(),
        Code::ChosenFor => "on the machine: packhorse choose PACKAGE, to have it at once".to_owned(),
        _ => "nothing to do: it goes on by itself at that time".to_owned(),
    }
}
