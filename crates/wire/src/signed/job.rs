//! The job document, signed by the managing server's job key or, within its delegation, by a relay's.

use packhorse_domain::ids::{JobKey, PackageLabel};
use packhorse_domain::job::{Clause, Intent, Job, JobPackage, JobType, Round};
use packhorse_domain::time::Time;
use serde::{Deserialize, Serialize};

use super::{BadPayload, version};
use crate::bytes::{Id16, Id32};

/// Payload type of jobs.
pub const JOB_TYPE: &str = "application/vnd.packhorse.job+cbor";
const VERSION: u32 = 1;

/// A job's identity on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDoc {
    /// Who issued it.
    pub issuer: String,
    /// The issuer's epoch.
    pub epoch: u64,
    /// Its number.
    pub number: u64,
}

impl From<&JobKey> for KeyDoc {
    fn from(key: &JobKey) -> KeyDoc {
        KeyDoc { issuer: key.issuer.clone(), epoch: key.epoch, number: key.number }
    }
}

impl From<KeyDoc> for JobKey {
    fn from(doc: KeyDoc) -> JobKey {
        JobKey { issuer: doc.issuer, epoch: doc.epoch, number: doc.number }
    }
}

/// A package's label on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelDoc {
    /// Cabinet.
    pub cabinet: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Generation.
    pub generation: u32,
}

impl From<&PackageLabel> for LabelDoc {
    fn from(label: &PackageLabel) -> LabelDoc {
        LabelDoc {
            cabinet: label.cabinet.clone(),
            name: label.name.clone(),
            version: label.version.clone(),
            generation: label.generation,
        }
    }
}

impl From<LabelDoc> for PackageLabel {
    fn from(doc: LabelDoc) -> PackageLabel {
        PackageLabel {
            cabinet: doc.cabinet,
            name: doc.name,
            version: doc.version,
            generation: doc.generation,
        }
    }
}

/// A package of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPackageDoc {
    /// Its identity.
    pub id: Id32,
    /// Its label.
    pub label: LabelDoc,
    /// Kept at relays until, microseconds.
    pub keep_until: i64,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClauseDoc {
    /// A list, by its root.
    Hosts {
        /// Merkle root.
        root: Id32,
        /// Hosts in it.
        size: u32,
    },
    /// The clients below a relay.
    Below(Id16),
    /// All clients, and relays if so said.
    All {
        /// Relays too.
        relays: bool,
    },
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundDoc {
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it was ordered, microseconds.
    pub ordered: i64,
    /// For whom.
    pub to: Vec<ClauseDoc>,
}

/// A job in one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDoc {
    /// Version of this payload.
    pub v: u32,
    /// Identity.
    pub key: KeyDoc,
    /// Revision, from 1.
    pub revision: u64,
    /// `install`.
    pub job_type: String,
    /// When it was registered, microseconds.
    pub created: i64,
    /// With what.
    pub packages: Vec<JobPackageDoc>,
    /// For whom.
    pub rounds: Vec<RoundDoc>,
    /// Not before, microseconds.
    pub at: Option<i64>,
    /// Begun by then or never, microseconds.
    pub until: i64,
    /// Whether versions may go down.
    pub allow_downgrade: bool,
    /// `open` or `cancelled`.
    pub intent: String,
}

impl From<&Job> for JobDoc {
    fn from(job: &Job) -> JobDoc {
        let package = |p: &JobPackage| JobPackageDoc {
            id: p.id.into(),
            label: LabelDoc::from(&p.label),
            keep_until: p.keep_until.0,
        };
        let round = |r: &Round| RoundDoc {
            attempt: r.attempt,
            ordered: r.ordered.0,
            to: r.to.iter().map(ClauseDoc::from).collect(),
        };
        JobDoc {
            v: VERSION,
            key: KeyDoc::from(&job.key),
            revision: job.revision,
            job_type: job.job_type.as_str().to_owned(),
            created: job.created.0,
            packages: job.packages.iter().map(package).collect(),
            rounds: job.rounds.iter().map(round).collect(),
            at: job.at.map(|at| at.0),
            until: job.until.0,
            allow_downgrade: job.allow_downgrade,
            intent: match job.intent {
                Intent::Open => "open",
                Intent::Cancelled => "cancelled",
            }
            .to_owned(),
        }
    }
}

impl From<&Clause> for ClauseDoc {
    fn from(clause: &Clause) -> ClauseDoc {
        match clause {
            Clause::Hosts { root, size } => {
                ClauseDoc::Hosts { root: crate::bytes::Fixed(*root), size: *size }
            }
            Clause::Below(relay) => ClauseDoc::Below((*relay).into()),
            Clause::All { relays } => ClauseDoc::All { relays: *relays },
        }
    }
}

impl From<ClauseDoc> for Clause {
    fn from(doc: ClauseDoc) -> Clause {
        match doc {
            ClauseDoc::Hosts { root, size } => Clause::Hosts { root: root.0, size },
            ClauseDoc::Below(relay) => Clause::Below(relay.into()),
            ClauseDoc::All { relays } => Clause::All { relays },
        }
    }
}

impl TryFrom<JobDoc> for Job {
    type Error = BadPayload;

    fn try_from(doc: JobDoc) -> Result<Job, BadPayload> {
        version("the job", doc.v, VERSION)?;
        let word = |what, word: &str| BadPayload::Word { what, word: word.chars().take(64).collect() };
        let job = Job {
            job_type: JobType::parse(&doc.job_type).ok_or_else(|| word("the job's type", &doc.job_type))?,
            intent: match doc.intent.as_str() {
                "open" => Intent::Open,
                "cancelled" => Intent::Cancelled,
                other => return Err(word("the job's intent", other)),
            },
            key: doc.key.into(),
            revision: doc.revision,
            created: Time(doc.created),
            packages: doc
                .packages
                .into_iter()
                .map(|p| JobPackage {
                    id: p.id.into(),
                    label: p.label.into(),
                    keep_until: Time(p.keep_until),
                })
                .collect(),
            rounds: doc
                .rounds
                .into_iter()
                .map(|r| Round {
                    attempt: r.attempt,
                    ordered: Time(r.ordered),
                    to: r.to.into_iter().map(Clause::from).collect(),
                })
                .collect(),
            at: doc.at.map(Time),
            until: Time(doc.until),
            allow_downgrade: doc.allow_downgrade,
        };
        job.validate()?;
        Ok(job)
    }
}
