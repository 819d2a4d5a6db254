//! What systems say upwards. A report is numbered by its origin and kept there until the managing server's receipt.

use crate::facts::Facts;
use crate::ids::{HostId, Incarnation, JobKey, PackageId};
use crate::instruction::State;
use crate::job::Proof;
use crate::reason::Reason;
use crate::time::Time;

/// Which kind of thing went wrong (design section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailClass {
    /// The line to the higher system.
    Network,
    /// The host's disk.
    Disk,
    /// Bytes that are not what was signed.
    Content,
    /// A condition, or an earlier package of the job.
    Condition,
    /// The installer's own verdict, or the check after it.
    Installer,
    /// It took longer than the package allows.
    Timeout,
    /// Nobody the host trusts asked for it.
    Refused,
}

impl FailClass {
    /// All classes.
    pub const ALL: [FailClass; 7] = [
        FailClass::Network,
        FailClass::Disk,
        FailClass::Content,
        FailClass::Condition,
        FailClass::Installer,
        FailClass::Timeout,
        FailClass::Refused,
    ];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            FailClass::Network => "network",
            FailClass::Disk => "disk",
            FailClass::Content => "content",
            FailClass::Condition => "condition",
            FailClass::Installer => "installer",
            FailClass::Timeout => "timeout",
            FailClass::Refused => "refused",
        }
    }

    /// The class of a word.
    pub fn parse(word: &str) -> Option<FailClass> {
        FailClass::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The end.
    pub end: State,
    /// For `failed`: what kind.
    pub class: Option<FailClass>,
    /// The step that decided: `probe`, `fetch`, `install`, `check`.
    pub step: String,
    /// The installer's exit code.
    pub exit_code: Option<i32>,
    /// One sentence: what was found.
    pub text: String,
    /// The end of the installer's output.
    pub tail: String,
    /// The user who chose or rejected it, if one did.
    pub by: Option<String>,
}

/// The step of an outcome that says that the job does not name the host, as it is now. It is named after all when what is
/// said of it changes: then the attempt begins anew.
pub const UNFIT_STEP: &str = "destination";
/// Longest name of a user in a report, in bytes.
pub const USER_BYTES_MAX: usize = 64;
/// Most bytes of an installer's output that travel in a result.
pub const TAIL_BYTES_MAX: usize = 4096;

impl Outcome {
    /// Whether it says no more than that the job did not name the host as it was then.
    pub fn is_unfit(&self) -> bool {
        self.end == State::NotApplicable && self.step == UNFIT_STEP
    }

    /// An end with nothing to add.
    pub fn plain(end: State) -> Outcome {
        Outcome {
            end,
            class: None,
            step: String::new(),
            exit_code: None,
            text: String::new(),
            tail: String::new(),
            by: None,
        }
    }

    /// An end with a sentence.
    pub fn with(end: State, step: &str, text: &str) -> Outcome {
        Outcome { step: step.to_owned(), text: text.to_owned(), ..Outcome::plain(end) }
    }

    /// A failure.
    pub fn failed(class: FailClass, step: &str, text: &str) -> Outcome {
        Outcome { class: Some(class), ..Outcome::with(State::Failed, step, text) }
    }
}

/// What happened to a line at its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineEvent {
    /// It waits, for this reason.
    Waits(Reason),
    /// The offer is shown to the client's user; again when a choice is taken back.
    Offered,
    /// The user chose it.
    Chosen {
        /// Who; `required` when the time came from which the offer is required.
        by: String,
        /// For when; `None`: now.
        at: Option<Time>,
    },
    /// The package is there, whole and verified.
    Delivered,
    /// A transfer has begun: the first piece is stored.
    Storing,
    /// INTENT is durable.
    Begun,
    /// The attempt ended.
    Ended(Outcome),
}

/// A host's word on one of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineReport {
    /// The job.
    pub job: JobKey,
    /// The package.
    pub package: PackageId,
    /// The attempt.
    pub attempt: u32,
    /// What happened.
    pub event: LineEvent,
}

/// Bytes of content bodies at a relay since it joined, and its room (design section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// From its higher system.
    pub received_bytes: u64,
    /// To its lower systems.
    pub sent_bytes: u64,
    /// Taken by its store.
    pub used_bytes: u64,
    /// Free on its disk.
    pub free_bytes: u64,
}

/// A relay's word on a copy it keeps or has let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// The package.
    pub package: PackageId,
    /// Until when it is kept; `None`: it is gone.
    pub keep_until: Option<Time>,
    /// What it takes in the store.
    pub size_bytes: u64,
    /// The counters at that moment.
    pub traffic: Traffic,
}

/// A job of a relay, as it tells it to the systems above: what is known there of it is shown, and handed to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// The signed job, as its hosts have it.
    pub envelope: Vec<u8>,
    /// The lists of its rounds that name hosts one by one.
    pub proofs: Vec<Proof>,
    /// Sizes of its packages, in its order, bytes.
    pub sizes: Vec<u64>,
    /// What was understood of its destinations, as JSON.
    pub asked: String,
}

/// A relay's word, or the managing server's own knowledge, that a host calls it by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// The host.
    pub host: HostId,
    /// The host's place as the host or the relay has it (envelope): it lists the relay.
    pub place: Vec<u8>,
    /// Which of its changes this is; see [`crate::calling::Call`].
    pub number: u64,
    /// Since when, by the host's clock.
    pub since: Time,
    /// The host's own signature over that, with its certificate, as it came.
    pub proof: Vec<u8>,
}

/// The content of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A line changed at its host.
    Line(LineReport),
    /// A relay's copy arrived or went.
    Copy(CopyReport),
    /// A relay's counters.
    Traffic(Traffic),
    /// What a host says of itself, all of it.
    Facts(Facts),
    /// The sender has taken in a control order or a delegation in this revision.
    Applied {
        /// `control` or `delegation`.
        what: String,
        /// The revision.
        revision: u64,
    },
    /// The addresses a relay is called by.
    Called(Vec<String>),
    /// A host that is below another by its place calls this relay now.
    Calls(CallReport),
    /// A relay's word on a job of its own.
    Job(JobReport),
    /// Something was refused that an administrator should know of.
    Alarm {
        /// A short word: `bad_signature`, `not_below`, …
        code: String,
        /// What was refused, from whom, why.
        text: String,
    },
}

/// Most addresses a relay says, and most bytes of one.
pub const ADDRESSES_MAX: (usize, usize) = (16, 256);

/// A numbered report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who says it.
    pub origin: HostId,
    /// Which life of the origin's state.
    pub incarnation: Incarnation,
    /// Its number there, from 1.
    pub no: u64,
    /// The origin's receipt when it was sent: everything up to here was durable at the managing server and may be
    /// forgotten, so a gap below is none.
    pub base: u64,
    /// When it happened, by the origin's clock.
    pub at: Time,
    /// What happened.
    pub body: Body,
}

/// The managing server's word that everything an origin reported up to `upto` is durable there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt {
    /// Whose reports.
    pub origin: HostId,
    /// Of which life.
    pub incarnation: Incarnation,
    /// Up to this number.
    pub upto: u64,
}
