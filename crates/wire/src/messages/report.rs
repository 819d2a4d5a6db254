//! Reports up.

use packhorse_domain::facts::{FACTS_MAX, Facts};
use packhorse_domain::ids::{HostId, Incarnation, JobKey, PackageId};
use packhorse_domain::instruction::State;
use packhorse_domain::job::{PACKAGES_MAX, Proof, ROUNDS_MAX};
use packhorse_domain::reason::{Code, NextTry, Reason};
use packhorse_domain::report::{
    ADDRESSES_MAX, Body, CallReport, CopyReport, FailClass, JobReport, LineEvent, LineReport, Outcome,
    Report, TAIL_BYTES_MAX, Traffic, USER_BYTES_MAX,
};
use packhorse_domain::time::Time;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use thiserror::Error;

use super::ProofMsg;
use crate::bytes::{Id16, Id32};
use crate::net::is_address;
use crate::signed::KeyDoc;
use crate::trust::Limits;

/// Most reports of one request.
pub const REPORTS_MAX: usize = 4096;
/// Longest text in a report, in bytes.
const TEXT_BYTES_MAX: usize = 2000;
/// Longest list of destinations of a relay's job, in bytes.
const ASKED_BYTES_MAX: usize = 64 << 10;
/// Longest proof of a call, in bytes: a certificate and a signature.
const PROOF_BYTES_MAX: usize = 40 << 10;
/// Longest name in a report (of a system, of a job's issuer), in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a lower system has to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportsRequest {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// As in `FeedRequest`.
    pub run: u64,
    /// The sender's own life: the outbox is numbered within it.
    pub incarnation: u64,
    /// The managing server's life as the sender knows it: the receiver's mark counts for this pair.
    pub server: u64,
    /// The batch begins after this number of the sender's outbox.
    pub after: u64,
    /// And covers up to this number.
    pub through: u64,
    /// What the sender keeps in between: its number in the outbox, and the report.
    pub reports: Vec<(u64, ReportMsg)>,
    /// What is only true now, and not numbered.
    pub soft: Soft,
}

/// The answer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ReportsResponse {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The sender's outbox is stored up to here. Less than the batch began after: send again from there.
    pub stored: u64,
    /// The managing server's life.
    pub server: u64,
    /// The answering system's life.
    pub higher: u64,
}

/// What is only true now: the newest word counts, and a lost one is no harm.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Soft {
    /// Who is there.
    pub presence: Vec<Presence>,
    /// How far packages have come.
    pub progress: Vec<Progress>,
    /// What keeps relays from getting packages. (A relay of the version before tells of none.)
    #[serde(default)]
    pub trouble: Vec<TroubleMsg>,
}

/// Most words on trouble in one request.
pub const TROUBLE_MAX: usize = 256;

/// Why a relay does not get a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleMsg {
    /// The relay.
    pub relay: Id16,
    /// The package.
    pub package: Id32,
    /// Why; `None`: it goes on.
    pub reason: Option<ReasonMsg>,
}

/// Whether a host is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The host.
    pub host: Id16,
    /// A held request, or heard within 90 seconds.
    pub online: bool,
    /// Last heard, microseconds.
    pub last_seen: i64,
    /// Two machines answer under its name, since then.
    pub twins_since: Option<i64>,
}

/// How far a package has come at a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The host, or the relay.
    pub host: Id16,
    /// The package.
    pub package: Id32,
    /// 0 to 100.
    pub percent: u8,
}

/// A numbered report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportMsg {
    /// Who says it.
    pub origin: Id16,
    /// Which life of the origin.
    pub incarnation: u64,
    /// Its number there.
    pub no: u64,
    /// Everything up to here was receipted.
    pub base: u64,
    /// When, microseconds, by the origin's clock.
    pub at: i64,
    /// What.
    pub body: BodyMsg,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyMsg {
    /// A line at its host.
    Line {
        /// The job.
        job: KeyDoc,
        /// The package.
        package: Id32,
        /// The attempt.
        attempt: u32,
        /// What happened.
        event: EventMsg,
    },
    /// A copy at a relay.
    Copy {
        /// The package.
        package: Id32,
        /// Kept until, microseconds; `None`: gone.
        keep_until: Option<i64>,
        /// What it takes in the store.
        size_bytes: u64,
        /// The counters.
        traffic: TrafficMsg,
    },
    /// The counters.
    Traffic(TrafficMsg),
    /// What a host says of itself.
    Facts(Vec<(String, String)>),
    /// A control order or a delegation was taken in.
    Applied {
        /// `control` or `delegation`.
        what: String,
        /// Its revision.
        revision: u64,
    },
    /// The addresses a relay is called by.
    Called(Vec<String>),
    /// A host that is below another by its place calls this relay now.
    Calls {
        /// The host.
        host: Id16,
        /// Which of its changes this is.
        number: u64,
        /// Since when, microseconds, by the host's clock.
        since: i64,
        /// The host's place as the relay has it (envelope).
        place: ByteBuf,
        /// The host's own word: a [`crate::pki::CallProof`] as CBOR.
        proof: ByteBuf,
    },
    /// A job of a relay.
    Job {
        /// The signed job (envelope).
        job: ByteBuf,
        /// Its lists of hosts.
        proofs: Vec<ProofMsg>,
        /// Sizes of its packages, bytes.
        sizes: Vec<u64>,
        /// What was understood of its destinations, as JSON.
        asked: String,
    },
    /// Something was refused.
    Alarm {
        /// A word.
        code: String,
        /// A sentence.
        text: String,
    },
}

/// A relay's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficMsg {
    /// From its higher system.
    pub received_bytes: u64,
    /// To its lower systems.
    pub sent_bytes: u64,
    /// Taken by its store.
    pub used_bytes: u64,
    /// Free on its disk.
    pub free_bytes: u64,
}

/// What happened to a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventMsg {
    /// It waits.
    Waits(ReasonMsg),
    /// Shown to the user.
    Offered,
    /// Chosen.
    Chosen {
        /// By whom.
        by: String,
        /// For when, microseconds; `None`: now.
        at: Option<i64>,
    },
    /// The package is there.
    Delivered,
    /// The first piece of a transfer is stored.
    Storing,
    /// Begun.
    Begun,
    /// Ended.
    Ended(OutcomeMsg),
}

/// Why it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonMsg {
    /// The code's word.
    pub code: String,
    /// At which system.
    pub system: String,
    /// Since, microseconds.
    pub since: i64,
    /// Tried again at, microseconds; `None`: when it is cleared.
    pub next_try: Option<i64>,
    /// What would clear it.
    pub clear: String,
    /// What exactly.
    pub detail: String,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeMsg {
    /// The end's word.
    pub end: String,
    /// The class's word.
    pub class: Option<String>,
    /// The step.
    pub step: String,
    /// The exit code.
    pub exit_code: Option<i32>,
    /// One sentence.
    pub text: String,
    /// The end of the output.
    pub tail: String,
    /// The user who chose or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Why a report is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("report {no}: {what} '{word}' is not known")]
pub struct BadReport {
    /// Its number.
    pub no: u64,
    /// Which field.
    pub what: &'static str,
    /// The word.
    pub word: String,
}

impl From<Traffic> for TrafficMsg {
    fn from(t: Traffic) -> TrafficMsg {
        TrafficMsg {
            received_bytes: t.received_bytes,
            sent_bytes: t.sent_bytes,
            used_bytes: t.used_bytes,
            free_bytes: t.free_bytes,
        }
    }
}

impl From<TrafficMsg> for Traffic {
    fn from(t: TrafficMsg) -> Traffic {
        Traffic {
            received_bytes: t.received_bytes,
            sent_bytes: t.sent_bytes,
            used_bytes: t.used_bytes,
            free_bytes: t.free_bytes,
        }
    }
}

impl From<&Reason> for ReasonMsg {
    fn from(reason: &Reason) -> ReasonMsg {
        ReasonMsg {
            code: reason.code().as_str().to_owned(),
            system: reason.system().to_owned(),
            since: reason.since().0,
            next_try: match reason.next_try() {
                NextTry::At(at) => Some(at.0),
                NextTry::WhenCleared => None,
            },
            clear: reason.clear().to_owned(),
            detail: reason.detail().to_owned(),
        }
    }
}

impl ReasonMsg {
    /// The reason, if its code is known; texts that are too long are cut.
    pub fn to_reason(&self) -> Option<Reason> {
        let next = self.next_try.map_or(NextTry::WhenCleared, |at| NextTry::At(Time(at)));
        let code = Code::parse(&self.code)?;
        let system = head(&self.system, NAME_BYTES_MAX);
        let (clear, detail) = (head(&self.clear, TEXT_BYTES_MAX), head(&self.detail, TEXT_BYTES_MAX));
        Some(Reason::new(code, &system, Time(self.since), next, &clear, &detail))
    }
}

impl From<&Outcome> for OutcomeMsg {
    fn from(outcome: &Outcome) -> OutcomeMsg {
        OutcomeMsg {
            end: outcome.end.as_str().to_owned(),
            class: outcome.class.map(|class| class.as_str().to_owned()),
            step: outcome.step.clone(),
            exit_code: outcome.exit_code,
            text: outcome.text.clone(),
            tail: outcome.tail.clone(),
            by: outcome.by.clone(),
        }
    }
}

impl OutcomeMsg {
    /// The outcome; texts that are too long are cut.
    pub fn to_outcome(&self) -> Option<Outcome> {
        Some(Outcome {
            end: State::parse(&self.end).filter(|end| end.is_end())?,
            class: match &self.class {
                Some(word) => Some(FailClass::parse(word)?),
                None => None,
            },
            step: head(&self.step, 32),
            exit_code: self.exit_code,
            text: head(&self.text, TEXT_BYTES_MAX),
            tail: tail(&self.tail, TAIL_BYTES_MAX),
            by: self.by.as_ref().map(|by| head(by, USER_BYTES_MAX)),
        })
    }
}

fn head(text: &str, limit_bytes: usize) -> String {
    let mut end = text.len().min(limit_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn tail(text: &str, limit_bytes: usize) -> String {
    let mut start = text.len().saturating_sub(limit_bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

impl From<&LineEvent> for EventMsg {
    fn from(event: &LineEvent) -> EventMsg {
        match event {
            LineEvent::Waits(reason) => EventMsg::Waits(reason.into()),
            LineEvent::Offered => EventMsg::Offered,
            LineEvent::Chosen { by, at } => EventMsg::Chosen { by: by.clone(), at: at.map(|at| at.0) },
            LineEvent::Delivered => EventMsg::Delivered,
            LineEvent::Storing => EventMsg::Storing,
            LineEvent::Begun => EventMsg::Begun,
            LineEvent::Ended(outcome) => EventMsg::Ended(outcome.into()),
        }
    }
}

impl EventMsg {
    fn to_event(&self, no: u64) -> Result<LineEvent, BadReport> {
        let bad = |what, word: &str| BadReport { no, what, word: head(word, 64) };
        Ok(match self {
            EventMsg::Waits(reason) => {
                LineEvent::Waits(reason.to_reason().ok_or_else(|| bad("reason", &reason.code))?)
            }
            EventMsg::Offered => LineEvent::Offered,
            EventMsg::Chosen { by, at } => {
                LineEvent::Chosen { by: head(by, USER_BYTES_MAX), at: at.map(Time) }
            }
            EventMsg::Delivered => LineEvent::Delivered,
            EventMsg::Storing => LineEvent::Storing,
            EventMsg::Begun => LineEvent::Begun,
            EventMsg::Ended(outcome) => {
                LineEvent::Ended(outcome.to_outcome().ok_or_else(|| bad("end", &outcome.end))?)
            }
        })
    }
}

impl From<&Report> for ReportMsg {
    fn from(report: &Report) -> ReportMsg {
        let body = match &report.body {
            Body::Line(line) => BodyMsg::Line {
                job: KeyDoc::from(&line.job),
                package: line.package.into(),
                attempt: line.attempt,
                event: EventMsg::from(&line.event),
            },
            Body::Copy(copy) => BodyMsg::Copy {
                package: copy.package.into(),
                keep_until: copy.keep_until.map(|at| at.0),
                size_bytes: copy.size_bytes,
                traffic: copy.traffic.into(),
            },
            Body::Traffic(traffic) => BodyMsg::Traffic((*traffic).into()),
            Body::Facts(facts) => BodyMsg::Facts(
                facts.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ),
            Body::Applied { what, revision } => BodyMsg::Applied { what: what.clone(), revision: *revision },
            Body::Called(urls) => BodyMsg::Called(urls.clone()),
            Body::Calls(call) => BodyMsg::Calls {
                host: call.host.into(),
                number: call.number,
                since: call.since.0,
                place: ByteBuf::from(call.place.clone()),
                proof: ByteBuf::from(call.proof.clone()),
            },
            Body::Job(job) => BodyMsg::Job {
                job: ByteBuf::from(job.envelope.clone()),
                proofs: job.proofs.iter().map(ProofMsg::from).collect(),
                sizes: job.sizes.clone(),
                asked: job.asked.clone(),
            },
            Body::Alarm { code, text } => BodyMsg::Alarm { code: code.clone(), text: text.clone() },
        };
        ReportMsg {
            origin: report.origin.into(),
            incarnation: report.incarnation.0,
            no: report.no,
            base: report.base,
            at: report.at.0,
            body,
        }
    }
}

/// What a host says of itself, without what is no fact: one that a newer agent tells is not known to this program, and no
/// ground to lose what else it says.
fn facts(said: &[(String, String)]) -> Facts {
    let mut facts = Facts::default();
    for (name, value) in said.iter().take(FACTS_MAX) {
        let _ = facts.set(name, value);
    }
    facts
}

impl TryFrom<&ReportMsg> for Report {
    type Error = BadReport;

    fn try_from(msg: &ReportMsg) -> Result<Report, BadReport> {
        // Databases count to 2^63 - 1, and nobody has said that much.
        if msg.no == 0 || i64::try_from(msg.no.max(msg.base)).is_err() {
            let word = format!("{} after {}", msg.no, msg.base);
            return Err(BadReport { no: msg.no, what: "number", word });
        }
        let body = match &msg.body {
            BodyMsg::Line { job, package, attempt, event } => Body::Line(LineReport {
                job: JobKey {
                    issuer: head(&job.issuer, NAME_BYTES_MAX),
                    epoch: job.epoch,
                    number: job.number,
                },
                package: PackageId(package.0),
                attempt: *attempt,
                event: event.to_event(msg.no)?,
            }),
            BodyMsg::Copy { package, keep_until, size_bytes, traffic } => Body::Copy(CopyReport {
                package: PackageId(package.0),
                keep_until: keep_until.map(Time),
                size_bytes: *size_bytes,
                traffic: (*traffic).into(),
            }),
            BodyMsg::Traffic(traffic) => Body::Traffic((*traffic).into()),
            BodyMsg::Facts(said) => Body::Facts(facts(said)),
            BodyMsg::Applied { what, revision } => {
                Body::Applied { what: head(what, 32), revision: *revision }
            }
            BodyMsg::Called(urls) => {
                let (count, bytes) = ADDRESSES_MAX;
                Body::Called(
                    urls.iter()
                        .take(count)
                        .filter(|url| url.len() <= bytes && is_address(url))
                        .cloned()
                        .collect(),
                )
            }
            BodyMsg::Calls { host, number, since, place, proof } => {
                let large = [
                    ("place's bytes", place.len(), Limits::PLACE_BYTES),
                    ("proof's bytes", proof.len(), PROOF_BYTES_MAX),
                ];
                if let Some((what, found, _)) = large.into_iter().find(|(_, found, most)| found > most) {
                    return Err(BadReport { no: msg.no, what, word: found.to_string() });
                }
                Body::Calls(CallReport {
                    host: HostId(host.0),
                    number: *number,
                    since: Time(*since),
                    place: place.to_vec(),
                    proof: proof.to_vec(),
                })
            }
            BodyMsg::Job { job, proofs, sizes, asked } => {
                let large = [
                    ("job's bytes", job.len(), Limits::JOB_BYTES),
                    ("job's lists", proofs.len(), ROUNDS_MAX),
                    ("job's packages", sizes.len(), PACKAGES_MAX),
                    ("job's destinations", asked.len(), ASKED_BYTES_MAX),
                ];
                if let Some((what, found, _)) = large.into_iter().find(|(_, found, most)| found > most) {
                    return Err(BadReport { no: msg.no, what, word: found.to_string() });
                }
                Body::Job(JobReport {
                    envelope: job.to_vec(),
                    proofs: proofs.iter().cloned().map(Proof::from).collect(),
                    sizes: sizes.clone(),
                    asked: asked.clone(),
                })
            }
            BodyMsg::Alarm { code, text } => {
                Body::Alarm { code: head(code, 64), text: head(text, TEXT_BYTES_MAX) }
            }
        };
        Ok(Report {
            origin: HostId(msg.origin.0),
            incarnation: Incarnation(msg.incarnation),
            no: msg.no,
            base: msg.base,
            at: Time(msg.at),
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::to_cbor;

    #[test]
    fn whatever_a_host_writes_into_a_report_is_passed_on_small() {
        let long = "x".repeat(1 << 20);
        let reason = ReasonMsg {
            code: Code::Network.as_str().to_owned(),
            system: long.clone(),
            since: 0,
            next_try: None,
            clear: long.clone(),
            detail: long.clone(),
        };
        let job = KeyDoc { issuer: long, epoch: 1, number: 1 };
        let package = crate::bytes::Fixed([1; 32]);
        let event = EventMsg::Waits(reason);
        let body = BodyMsg::Line { job, package, attempt: 1, event };
        let said =
            ReportMsg { origin: crate::bytes::Fixed([1; 16]), incarnation: 1, no: 1, base: 0, at: 0, body };
        let passed_on = ReportMsg::from(&Report::try_from(&said).unwrap());
        assert!(to_cbor(&passed_on).unwrap().len() < 8 << 10);
    }
}
