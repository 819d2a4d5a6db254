//! The job document, signed by the managing server's job key or, within its delegation, by a relay's.

use packhorse_domain::condition::Condition;
use packhorse_domain::ids::{GroupId, JobKey, PackageLabel};
use packhorse_domain::job::{Choosers, Clause, Intent, Job, JobPackage, JobType, Round, Terms};
use packhorse_domain::lease::{KEEP_DAYS_MAX, Keep};
use packhorse_domain::time::Time;
use serde::{Deserialize, Serialize};

use super::{BadPayload, version_up_to};
use crate::bytes::{Id16, Id32};

/// Payload type of jobs.
pub const JOB_TYPE: &str = "application/vnd.packhorse.job+cbor";
/// The newest version. A job that needs nothing of it is written as [`PLAIN`], which systems of the version before read.
const VERSION: u32 = 2;
/// The version without terms: installs that are open or cancelled.
const PLAIN: u32 = 1;

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
    /// All relay systems; since version 2.
    Relays,
    /// The members of a fixed group; since version 2.
    Group(Id16),
    /// The hosts where this holds, with ids in place of names; since version 2.
    Condition(String),
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

/// How long a copy is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeepDoc {
    /// Days from its arrival.
    Days(u32),
    /// Until then, microseconds.
    Until(i64),
}

/// What a job says beyond who, what and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermsDoc {
    /// `at` is in the time of each host.
    pub host_time: bool,
    /// Hosts that joined later are not taken in, microseconds.
    pub closed: Option<i64>,
    /// How long relays keep the copies.
    pub keep: Option<KeepDoc>,
    /// The zone in which days end.
    pub zone: String,
    /// Required from then on, microseconds.
    pub required_from: Option<i64>,
    /// `active`, `any`, `group:NAME`.
    pub choosers: String,
    /// How often a user may put it off.
    pub postpone: u32,
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
    /// `install`, `transfer`, `offer`.
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
    /// `open`, `suspended` or `cancelled`.
    pub intent: String,
    /// What else it says; since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermsDoc>,
}

impl From<&Terms> for TermsDoc {
    fn from(terms: &Terms) -> TermsDoc {
        TermsDoc {
            host_time: terms.host_time,
            closed: terms.closed.map(|at| at.0),
            keep: terms.keep.map(|keep| match keep {
                Keep::Days(days) => KeepDoc::Days(days),
                Keep::Until(at) => KeepDoc::Until(at.0),
            }),
            zone: terms.zone.clone(),
            required_from: terms.required_from.map(|at| at.0),
            choosers: terms.choosers.to_string(),
            postpone: terms.postpone,
        }
    }
}

impl TryFrom<TermsDoc> for Terms {
    type Error = BadPayload;

    fn try_from(doc: TermsDoc) -> Result<Terms, BadPayload> {
        let word = |what, word: &str| BadPayload::Word { what, word: word.chars().take(64).collect() };
        Ok(Terms {
            host_time: doc.host_time,
            closed: doc.closed.map(Time),
            keep: match doc.keep {
                Some(KeepDoc::Days(days)) if days > KEEP_DAYS_MAX => {
                    return Err(word("the job's keeping time", &days.to_string()));
                }
                Some(KeepDoc::Days(days)) => Some(Keep::Days(days)),
                Some(KeepDoc::Until(at)) => Some(Keep::Until(Time(at))),
                None => None,
            },
            zone: doc.zone,
            required_from: doc.required_from.map(Time),
            choosers: Choosers::parse(&doc.choosers)
                .ok_or_else(|| word("the offer's choosers", &doc.choosers))?,
            postpone: doc.postpone,
        })
    }
}

/// Whether systems of the version before understand all of it.
fn is_plain(job: &Job) -> bool {
    let plain =
        |clause: &Clause| matches!(clause, Clause::Hosts { .. } | Clause::Below(_) | Clause::All { .. });
    job.job_type == JobType::Install
        && job.intent != Intent::Suspended
        && job.terms == Terms::default()
        && job.clauses().all(plain)
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
            v: if is_plain(job) { PLAIN } else { VERSION },
            key: KeyDoc::from(&job.key),
            revision: job.revision,
            job_type: job.job_type.as_str().to_owned(),
            created: job.created.0,
            packages: job.packages.iter().map(package).collect(),
            rounds: job.rounds.iter().map(round).collect(),
            at: job.at.map(|at| at.0),
            until: job.until.0,
            allow_downgrade: job.allow_downgrade,
            intent: job.intent.as_str().to_owned(),
            terms: (!is_plain(job)).then(|| TermsDoc::from(&job.terms)),
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
            Clause::Relays => ClauseDoc::Relays,
            Clause::Group(group) => ClauseDoc::Group(crate::bytes::Fixed(group.0)),
            Clause::Condition(condition) => ClauseDoc::Condition(condition.to_string()),
        }
    }
}

impl TryFrom<ClauseDoc> for Clause {
    type Error = BadPayload;

    fn try_from(doc: ClauseDoc) -> Result<Clause, BadPayload> {
        Ok(match doc {
            ClauseDoc::Hosts { root, size } => Clause::Hosts { root: root.0, size },
            ClauseDoc::Below(relay) => Clause::Below(relay.into()),
            ClauseDoc::All { relays } => Clause::All { relays },
            ClauseDoc::Relays => Clause::Relays,
            ClauseDoc::Group(group) => Clause::Group(GroupId(group.0)),
            ClauseDoc::Condition(text) => Clause::Condition(Condition::parse_signed(&text)?),
        })
    }
}

impl TryFrom<JobDoc> for Job {
    type Error = BadPayload;

    fn try_from(doc: JobDoc) -> Result<Job, BadPayload> {
        version_up_to("the job", doc.v, VERSION)?;
        let word = |what, word: &str| BadPayload::Word { what, word: word.chars().take(64).collect() };
        let round = |r: RoundDoc| {
            let to = r.to.into_iter().map(Clause::try_from).collect::<Result<_, _>>()?;
            Ok(Round { attempt: r.attempt, ordered: Time(r.ordered), to })
        };
        let job = Job {
            job_type: JobType::parse(&doc.job_type).ok_or_else(|| word("the job's type", &doc.job_type))?,
            intent: Intent::parse(&doc.intent).ok_or_else(|| word("the job's intent", &doc.intent))?,
            terms: doc.terms.map(Terms::try_from).transpose()?.unwrap_or_default(),
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
            rounds: doc.rounds.into_iter().map(round).collect::<Result<_, BadPayload>>()?,
            at: doc.at.map(Time),
            until: Time(doc.until),
            allow_downgrade: doc.allow_downgrade,
        };
        job.validate()?;
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::PackageId;

    use super::*;
    use crate::envelope::{from_cbor_limited, to_cbor};

    fn job() -> Job {
        let label =
            PackageLabel { cabinet: "main".into(), name: "p".into(), version: "1".into(), generation: 1 };
        Job {
            key: JobKey::server(1, 1),
            revision: 1,
            job_type: JobType::Install,
            created: Time(0),
            packages: vec![JobPackage { id: PackageId([1; 32]), label, keep_until: Time(9) }],
            rounds: vec![Round { attempt: 1, ordered: Time(0), to: vec![Clause::All { relays: false }] }],
            at: None,
            until: Time(100),
            allow_downgrade: false,
            intent: Intent::Open,
            terms: Terms::default(),
        }
    }

    #[test]
    fn a_plain_install_is_written_as_the_version_before_reads_it() {
        let doc = JobDoc::from(&job());
        assert_eq!((doc.v, doc.terms.is_none()), (PLAIN, true));
        let bytes = to_cbor(&doc).unwrap();
        assert!(!bytes.windows(5).any(|name| name == b"terms"));
        assert_eq!(Job::try_from(doc).unwrap(), job());
    }

    #[test]
    fn groups_and_conditions_come_back() {
        let mut sale = job();
        let condition = Condition::parse(&format!("os = linux and below #{}", "01".repeat(16))).unwrap();
        sale.rounds[0].to =
            vec![Clause::Relays, Clause::Group(GroupId([7; 16])), Clause::Condition(condition)];
        let doc = JobDoc::from(&sale);
        assert_eq!(doc.v, VERSION);
        assert_eq!(Job::try_from(doc.clone()).unwrap(), sale);
        let mut named = doc;
        named.rounds[0].to = vec![ClauseDoc::Condition("below osaka".into())];
        assert!(matches!(Job::try_from(named), Err(BadPayload::Condition(_))));
    }

    #[test]
    fn terms_come_back_as_they_were_said() {
        let offer = Job {
            job_type: JobType::Offer,
            intent: Intent::Suspended,
            terms: Terms {
                host_time: false,
                closed: Some(Time(7)),
                keep: Some(Keep::Days(30)),
                zone: "Asia/Tokyo".into(),
                required_from: Some(Time(50)),
                choosers: Choosers::Group("sales".into()),
                postpone: 0,
            },
            ..job()
        };
        let bytes = to_cbor(&JobDoc::from(&offer)).unwrap();
        let doc: JobDoc = from_cbor_limited(&bytes, 1 << 20).unwrap();
        assert_eq!(doc.v, VERSION);
        assert_eq!(Job::try_from(doc).unwrap(), offer);
        let odd = JobDoc { v: 3, ..JobDoc::from(&offer) };
        assert!(matches!(Job::try_from(odd), Err(BadPayload::Version { .. })));
    }
}
