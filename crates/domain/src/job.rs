//! What a job asks: who gets what, how and when. Signed by its issuer, in revisions; every change of intent is a new one.

use std::fmt;

use crate::condition::{Condition, Truth};
use crate::ids::{GroupId, HostId, JobKey, PackageId, PackageLabel};
use crate::lease::Keep;
use crate::merkle::{Hash, Slice};
pub use crate::place::{HostRole, Membership, Place, Standing};
use crate::time::Time;

/// A job without `--until` is valid this long (design section 4).
pub const VALID_DAYS: i64 = 90;
/// Most packages of one job.
pub const PACKAGES_MAX: usize = 64;
/// Most rounds (attempts) of one job.
pub const ROUNDS_MAX: usize = 1000;
/// Most destination clauses of one round.
pub const CLAUSES_MAX: usize = 64;

/// What is done with the packages. A job type is one variant here and one file that executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobType {
    /// Distributed and installed by the higher system's will.
    Install,
    /// Brought to relay systems, where it stops and waits.
    Transfer,
    /// Offered to the client's user, who chooses or rejects.
    Offer,
}

impl JobType {
    /// All types.
    pub const ALL: [JobType; 3] = [JobType::Install, JobType::Transfer, JobType::Offer];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            JobType::Install => "install",
            JobType::Transfer => "transfer",
            JobType::Offer => "offer",
        }
    }

    /// The type of a word.
    pub fn parse(word: &str) -> Option<JobType> {
        JobType::ALL.into_iter().find(|job_type| job_type.as_str() == word)
    }
}

/// What the issuer wants to become of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intent {
    /// It goes on.
    Open,
    /// What has not begun waits until it goes on.
    Suspended,
    /// What has not begun does not begin.
    Cancelled,
}

impl Intent {
    /// The word in JSON, in the database and in what is signed.
    pub fn as_str(self) -> &'static str {
        match self {
            Intent::Open => "open",
            Intent::Suspended => "suspended",
            Intent::Cancelled => "cancelled",
        }
    }

    /// The intent of a word.
    pub fn parse(word: &str) -> Option<Intent> {
        [Intent::Open, Intent::Suspended, Intent::Cancelled]
            .into_iter()
            .find(|intent| intent.as_str() == word)
    }
}

/// Who of a client's users may choose from an offer. Root may always.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Choosers {
    /// Who has a login session; where the host keeps no record of sessions, any local user.
    #[default]
    Active,
    /// Members of a group of the host's operating system.
    Group(String),
    /// Any local user.
    Any,
}

impl fmt::Display for Choosers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choosers::Active => f.write_str("active"),
            Choosers::Group(name) => write!(f, "group:{name}"),
            Choosers::Any => f.write_str("any"),
        }
    }
}

/// Longest name of an operating system's group, in bytes.
pub const OS_GROUP_BYTES_MAX: usize = 64;

impl Choosers {
    /// The choosers of a word: `active`, `any`, `group:NAME`.
    pub fn parse(word: &str) -> Option<Choosers> {
        match (word, word.strip_prefix("group:")) {
            ("active", _) => Some(Choosers::Active),
            ("any", _) => Some(Choosers::Any),
            (_, Some(name)) => {
                let fits = (1..=OS_GROUP_BYTES_MAX).contains(&name.len())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                fits.then(|| Choosers::Group(name.to_owned()))
            }
            _ => None,
        }
    }
}

/// What a job may say beyond who, what and when; all of it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// `at` is what the clock shows, written as if in UTC: each host starts when its own clock, in its own zone, shows it.
    pub host_time: bool,
    /// Hosts that joined later are not taken in.
    pub closed: Option<Time>,
    /// How long relays keep the copies this job brings or finds (`--keep`): it wins over the package's own time.
    pub keep: Option<Keep>,
    /// The zone in which days end, by its name in the zone database; empty: UTC.
    pub zone: String,
    /// Offers: from then on it is an install for whoever has not chosen.
    pub required_from: Option<Time>,
    /// Offers: who may choose.
    pub choosers: Choosers,
    /// Installs: how often a user may put it off.
    pub postpone: u32,
}

/// Most times an install may be put off.
pub const POSTPONE_MAX: u32 = 1000;
/// How far the clocks of the earliest zone are ahead of UTC, in seconds: before that no host's clock shows a time.
pub const EARLIEST_ZONE_SECS: i64 = 14 * 3600;
/// How far the clocks of the last zone are behind UTC, in seconds.
pub const LAST_ZONE_SECS: i64 = 12 * 3600;

/// One package of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPackage {
    /// Its identity.
    pub id: PackageId,
    /// Cabinet, name, version, generation.
    pub label: PackageLabel,
    /// Until when a relay promises to keep a copy that this job brought.
    pub keep_until: Time,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// A list of hosts, of which only the Merkle root is signed.
    Hosts {
        /// The root over the list in route order.
        root: Hash,
        /// Hosts in it.
        size: u32,
    },
    /// The clients under a relay, at any depth.
    Below(HostId),
    /// All clients.
    All {
        /// And the relays, as hosts.
        relays: bool,
    },
    /// All relay systems.
    Relays,
    /// The members of a fixed group, by the statement in their place.
    Group(GroupId),
    /// The hosts where this holds; clients only, unless it asks for the `role` itself.
    Condition(Condition),
}

impl Clause {
    /// Whether hosts that come later are taken in.
    pub fn grows(&self) -> bool {
        !matches!(self, Clause::Hosts { .. })
    }

    /// Whether it names a host by how it stands, and not by a list. A host that joined after the job was `closed` is named by
    /// none, nor a member by a membership that is younger.
    pub fn names(&self, host: &Standing<'_>, closed: Option<Time>) -> bool {
        let place = host.place;
        if closed.is_some_and(|closed| place.joined > closed) {
            return false;
        }
        let is_client = place.role == HostRole::Client;
        match self {
            Clause::Hosts { .. } => false,
            Clause::All { relays } => *relays || is_client,
            Clause::Below(relay) => is_client && place.is_below(relay),
            Clause::Relays => !is_client,
            Clause::Group(group) => {
                host.member_since(group).is_some_and(|since| closed.is_none_or(|closed| since <= closed))
            }
            Clause::Condition(condition) => {
                (is_client || condition.facts().any(|fact| fact == "role"))
                    && condition.judge(host) == Truth::True
            }
        }
    }

    /// Whether hosts at or below a relay may be among those it names, now or later. `within` answers whether another relay
    /// is the same, above or below it.
    pub fn may_name_below(&self, within: impl Fn(&HostId) -> bool) -> bool {
        match self {
            Clause::Hosts { .. } => false,
            Clause::Below(relay) => within(relay),
            Clause::All { .. } | Clause::Relays | Clause::Group(_) | Clause::Condition(_) => true,
        }
    }
}

/// An attempt: whom the job asks for the n-th time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// From 1, rising by one.
    pub attempt: u32,
    /// When it was ordered; the later order for the same package supersedes.
    pub ordered: Time,
    /// For whom; any clause that fits will do.
    pub to: Vec<Clause>,
}

/// A job in one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose job.
    pub key: JobKey,
    /// From 1; a revision that is not newer than the newest known of the same job is refused.
    pub revision: u64,
    /// What is done.
    pub job_type: JobType,
    /// When it was registered.
    pub created: Time,
    /// With what, in this order.
    pub packages: Vec<JobPackage>,
    /// For whom, attempt by attempt.
    pub rounds: Vec<Round>,
    /// Not before.
    pub at: Option<Time>,
    /// What has not begun by then ends as missed.
    pub until: Time,
    /// Whether a version may go down.
    pub allow_downgrade: bool,
    /// Whether it goes on.
    pub intent: Intent,
    /// What else it says.
    pub terms: Terms,
}

/// Why a job is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadJob {
    /// Without packages, or with more than [`PACKAGES_MAX`].
    Packages(usize),
    /// The same package twice.
    Twice(PackageLabel),
    /// Without destination, or with too many rounds or clauses.
    Rounds(usize),
    /// `until` is not after `at` or the registration.
    Until,
    /// Something that only another type of job may say.
    Terms(&'static str),
    /// An issuer, epoch, number or revision of 0, or rounds that do not count up.
    Numbers,
}

impl fmt::Display for BadJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadJob::Packages(n) => write!(f, "a job has 1 to {PACKAGES_MAX} packages, this one {n}"),
            BadJob::Twice(label) => write!(f, "the job names {label} twice"),
            BadJob::Rounds(n) => write!(
                f,
                "a job has 1 to {ROUNDS_MAX} rounds of 1 to {CLAUSES_MAX} destinations, this one {n}"
            ),
            BadJob::Until => f.write_str("the job's end is not after its start"),
            BadJob::Terms(what) => write!(f, "{what}"),
            BadJob::Numbers => f.write_str("the job's numbers do not count up from 1"),
        }
    }
}

impl std::error::Error for BadJob {}

/// A host's proof that a round's list names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The round.
    pub attempt: u32,
    /// A run of the list.
    pub slice: Slice,
}

/// What a system does with an offered revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Newer than what is known: take it.
    Take,
    /// Known already.
    Known,
    /// Older than what is known: refused (rule 6).
    Older,
}

/// Judges an offered revision against the newest known of the same job.
pub fn gate(known: Option<u64>, offered: u64) -> Gate {
    match known {
        Some(known) if offered < known => Gate::Older,
        Some(known) if offered == known => Gate::Known,
        _ => Gate::Take,
    }
}

impl Job {
    /// Checks what a signature does not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), BadJob> {
        if self.packages.is_empty() || self.packages.len() > PACKAGES_MAX {
            return Err(BadJob::Packages(self.packages.len()));
        }
        for (i, package) in self.packages.iter().enumerate() {
            if self.packages[..i].iter().any(|other| other.id == package.id) {
                return Err(BadJob::Twice(package.label.clone()));
            }
        }
        let clauses = self.rounds.iter().map(|round| round.to.len());
        if self.rounds.is_empty()
            || self.rounds.len() > ROUNDS_MAX
            || clauses.clone().any(|n| n == 0 || n > CLAUSES_MAX)
        {
            return Err(BadJob::Rounds(self.rounds.len()));
        }
        if self.until <= self.at.unwrap_or(self.created) {
            return Err(BadJob::Until);
        }
        self.validate_terms()?;
        let counted = self.rounds.iter().zip(1..).all(|(round, n)| round.attempt == n);
        if !counted
            || self.key.number == 0
            || self.key.epoch == 0
            || self.revision == 0
            || self.key.issuer.is_empty()
        {
            return Err(BadJob::Numbers);
        }
        Ok(())
    }

    fn validate_terms(&self) -> Result<(), BadJob> {
        let (terms, offer) = (&self.terms, self.job_type == JobType::Offer);
        let wrong = if !offer && terms.required_from.is_some() {
            "only an offer is required from a time on"
        } else if !offer && terms.choosers != Choosers::default() {
            "only an offer has choosers"
        } else if self.job_type != JobType::Install && terms.postpone > 0 {
            "only an install can be put off"
        } else if terms.postpone > POSTPONE_MAX {
            "an install can be put off at most 1000 times"
        } else if self.job_type == JobType::Transfer && (self.allow_downgrade || terms.host_time) {
            "a transfer installs nothing: it knows neither downgrades nor the time of hosts"
        } else if terms.required_from.is_some_and(|from| from >= self.until || from <= self.starts()) {
            "the time from which an offer is required is not between its start and its end"
        } else if terms.host_time && self.at.is_none() {
            "the time of hosts needs a time"
        } else if terms.zone.len() > 64 {
            "the zone's name is too long"
        } else {
            return Ok(());
        };
        Err(BadJob::Terms(wrong))
    }

    /// When it starts; in the time of hosts: when the clock of the earliest zone shows it.
    pub fn starts(&self) -> Time {
        match self.at {
            Some(at) if self.terms.host_time => at.plus_secs(-EARLIEST_ZONE_SECS).max(self.created),
            Some(at) => at,
            None => self.created,
        }
    }

    /// When it starts at a host whose clock is `ahead_secs` ahead of UTC at that time.
    pub fn starts_at_host(&self, ahead_secs: i64) -> Time {
        match self.at {
            Some(at) if self.terms.host_time => at.plus_secs(-ahead_secs).max(self.created),
            _ => self.starts(),
        }
    }

    /// Whether hosts that come later are taken in while it is open.
    pub fn grows(&self) -> bool {
        self.clauses().any(Clause::grows)
    }

    /// Whether what hosts say of themselves decides.
    pub fn asks_facts(&self) -> bool {
        self.clauses().any(|clause| matches!(clause, Clause::Condition(_)))
    }

    /// All clauses of all rounds.
    pub fn clauses(&self) -> impl Iterator<Item = &Clause> {
        self.rounds.iter().flat_map(|round| &round.to)
    }

    /// The newest round that names a host: by a clause that speaks of how it stands, or by one of `proofs`.
    pub fn round_for(&self, host: &Standing<'_>, proofs: &[Proof]) -> Option<&Round> {
        let fits = |round: &Round, clause: &Clause| match clause {
            Clause::Hosts { root, size } => proofs.iter().any(|proof| {
                proof.attempt == round.attempt
                    && proof.slice.size == *size
                    && proof.slice.contains(&host.place.host)
                    && proof.slice.root() == Some(*root)
            }),
            clause => clause.names(host, self.terms.closed),
        };
        self.rounds.iter().rev().find(|round| round.to.iter().any(|clause| fits(round, clause)))
    }

    /// The round that names a host by how it stands, for hosts that no list names.
    pub fn round_by_standing(&self, host: &Standing<'_>) -> Option<&Round> {
        self.round_for(host, &[])
    }

    /// Whether what is said of a host decides, by itself or by the managing server: that may change, and be known at one place
    /// before another.
    pub fn asks_statements(&self) -> bool {
        self.rounds.iter().any(Round::asks_statements)
    }

    /// The newest attempt in which what is said of a host decides.
    pub fn attempt_by_statements(&self) -> Option<u32> {
        self.rounds.iter().rev().find(|round| round.asks_statements()).map(|round| round.attempt)
    }

    /// For a host that this job was handed to, though what is said of it does not name it (any more): the attempt it was handed
    /// over for, and what was found. `None` if the job asks nothing of the kind.
    pub fn unmet(&self, host: &Standing<'_>) -> Option<(u32, String)> {
        let round = self.rounds.iter().rev().find(|round| round.asks_statements())?;
        let found = round.to.iter().filter_map(|clause| match clause {
            Clause::Condition(condition) => Some(condition.found(host)),
            Clause::Group(_) => Some("this host is not in the group".to_owned()),
            _ => None,
        });
        Some((round.attempt, found.collect::<Vec<_>>().join("; ")))
    }
}

impl Round {
    fn asks_statements(&self) -> bool {
        self.to.iter().any(|clause| matches!(clause, Clause::Group(_) | Clause::Condition(_)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::merkle;

    pub(crate) fn host(n: u8) -> HostId {
        HostId([n; 16])
    }

    pub(crate) fn package(n: u8) -> JobPackage {
        let label = PackageLabel {
            cabinet: "main".into(),
            name: format!("p{n}"),
            version: "1".into(),
            generation: 1,
        };
        JobPackage { id: PackageId([n; 32]), label, keep_until: Time::MAX }
    }

    pub(crate) fn job(number: u64, to: Vec<Clause>) -> Job {
        Job {
            key: JobKey::server(1, number),
            revision: 1,
            job_type: JobType::Install,
            created: Time(0),
            packages: vec![package(1)],
            rounds: vec![Round { attempt: 1, ordered: Time(number as i64), to }],
            at: None,
            until: Time(0).plus_days(VALID_DAYS),
            allow_downgrade: false,
            intent: Intent::Open,
            terms: Terms::default(),
        }
    }

    /// A host that has said nothing of itself.
    pub(crate) fn bare(place: &Place) -> Standing<'_> {
        Standing { place, facts: &crate::facts::NONE, now: Time(0) }
    }

    pub(crate) fn place(n: u8, role: HostRole, route: &[u8]) -> Place {
        let route = route.iter().map(|n| host(*n)).collect();
        Place { route, revision: 1, ..Place::new(host(n), &format!("h{n}"), role) }
    }

    #[test]
    fn clauses_name_whom_they_say() {
        let client = place(9, HostRole::Client, &[1, 2]);
        let relay = place(2, HostRole::Relay, &[1, 2]);
        let hit = |clause: Clause, place: &Place| job(1, vec![clause]).round_for(&bare(place), &[]).is_some();
        assert!(hit(Clause::All { relays: false }, &client));
        assert!(!hit(Clause::All { relays: false }, &relay));
        assert!(hit(Clause::All { relays: true }, &relay));
        assert!(hit(Clause::Below(host(1)), &client) && hit(Clause::Below(host(2)), &client));
        assert!(!hit(Clause::Below(host(3)), &client) && !hit(Clause::Below(host(1)), &relay));
    }

    #[test]
    fn a_list_needs_its_proof() {
        let list: Vec<HostId> = (1..8).map(host).collect();
        let clause = Clause::Hosts { root: merkle::root(&list), size: 7 };
        let mut job = job(1, vec![clause]);
        let me = place(3, HostRole::Client, &[]);
        let slice = Slice::of(&list, 2, 3).unwrap();
        let proof = |attempt, slice| Proof { attempt, slice };
        assert!(job.round_for(&bare(&me), &[]).is_none());
        assert!(job.round_for(&bare(&me), &[proof(2, slice.clone())]).is_none());
        assert!(job.round_for(&bare(&me), &[proof(1, Slice::of(&list, 3, 4).unwrap())]).is_none());
        assert_eq!(job.round_for(&bare(&me), &[proof(1, slice.clone())]).unwrap().attempt, 1);
        let retry = Clause::Hosts { root: merkle::root(&[host(3)]), size: 1 };
        job.rounds.push(Round { attempt: 2, ordered: Time(9), to: vec![retry] });
        assert_eq!(job.round_for(&bare(&me), &[proof(1, slice.clone())]).unwrap().attempt, 1);
        let both = [proof(1, slice), proof(2, Slice::of(&[host(3)], 0, 1).unwrap())];
        assert_eq!(job.round_for(&bare(&me), &both).unwrap().attempt, 2);
    }

    #[test]
    fn bad_jobs_are_named() {
        let good = job(1, vec![Clause::All { relays: false }]);
        assert_eq!(good.validate(), Ok(()));
        let bad = |change: fn(&mut Job)| {
            let mut job = good.clone();
            change(&mut job);
            job.validate().unwrap_err()
        };
        assert_eq!(bad(|j| j.packages.clear()), BadJob::Packages(0));
        assert!(matches!(bad(|j| j.packages.push(package(1))), BadJob::Twice(_)));
        assert_eq!(bad(|j| j.rounds.clear()), BadJob::Rounds(0));
        assert_eq!(bad(|j| j.rounds[0].to.clear()), BadJob::Rounds(1));
        assert_eq!(bad(|j| j.until = Time(0)), BadJob::Until);
        assert_eq!(bad(|j| j.at = Some(j.until)), BadJob::Until);
        assert_eq!(bad(|j| j.rounds[0].attempt = 2), BadJob::Numbers);
        assert_eq!(bad(|j| j.revision = 0), BadJob::Numbers);
    }

    #[test]
    fn terms_belong_to_their_type() {
        let good = job(1, vec![Clause::All { relays: false }]);
        let judged = |job_type, change: fn(&mut Job)| {
            let mut job = Job { job_type, ..good.clone() };
            change(&mut job);
            job.validate().is_ok()
        };
        for (change, fits) in [
            ((|j| j.terms.required_from = Some(Time(9))) as fn(&mut Job), [false, false, true]),
            (|j| j.terms.choosers = Choosers::Any, [false, false, true]),
            (|j| j.terms.postpone = 3, [true, false, false]),
            (|j| j.allow_downgrade = true, [true, false, true]),
            (|j| (j.at, j.terms.host_time) = (Some(Time(5)), true), [true, false, true]),
            (|j| j.terms.keep = Some(Keep::Days(3)), [true, true, true]),
        ] {
            assert_eq!(JobType::ALL.map(|job_type| judged(job_type, change)), fits);
        }
        assert!(!judged(JobType::Offer, |j| j.terms.required_from = Some(j.until)));
        assert!(!judged(JobType::Install, |j| j.terms.postpone = POSTPONE_MAX + 1));
        assert!(!judged(JobType::Install, |j| j.terms.host_time = true));
    }

    #[test]
    fn the_time_of_hosts_begins_in_the_earliest_zone() {
        let mut job = job(1, vec![Clause::All { relays: false }]);
        let at = Time(0).plus_days(2);
        job.at = Some(at);
        assert_eq!((job.starts(), job.starts_at_host(3600)), (at, at));
        job.terms.host_time = true;
        assert_eq!(job.starts(), at.plus_secs(-14 * 3600));
        assert_eq!(job.starts_at_host(9 * 3600), at.plus_secs(-9 * 3600));
        assert_eq!(job.starts_at_host(-5 * 3600), at.plus_secs(5 * 3600));
    }

    #[test]
    fn choosers_are_read_as_they_are_written() {
        for word in ["active", "any", "group:sales"] {
            assert_eq!(Choosers::parse(word).unwrap().to_string(), word);
        }
        for word in ["", "group:", "all", "group:a b"] {
            assert_eq!(Choosers::parse(word), None);
        }
    }

    #[test]
    fn members_are_named_while_their_membership_lasts() {
        let group = GroupId([4; 16]);
        let mut me = place(9, HostRole::Client, &[1]);
        let mut sale = job(1, vec![Clause::Group(group)]);
        assert!(sale.round_by_standing(&bare(&me)).is_none());
        (me.groups, me.groups_until) = (vec![Membership { group, since: Time(5) }], Time(50));
        let at = |now| Standing { now: Time(now), ..bare(&me) };
        assert!(sale.round_by_standing(&at(49)).is_some());
        assert!(sale.round_by_standing(&at(50)).is_none());
        sale.terms.closed = Some(Time(5));
        assert!(sale.round_by_standing(&at(9)).is_some());
        sale.terms.closed = Some(Time(4));
        assert!(sale.round_by_standing(&at(9)).is_none());
    }

    #[test]
    fn what_a_host_says_of_itself_decides() {
        let facts = |os: &str| crate::facts::Facts::new([("os".to_owned(), os.to_owned())]).unwrap();
        let (linux, other) = (facts("linux"), facts("bsd"));
        let (client, relay) = (place(9, HostRole::Client, &[1]), place(1, HostRole::Relay, &[1]));
        let hit = |text: &str, place: &Place, facts| {
            let condition = Condition::parse(text).unwrap();
            let job = job(1, vec![Clause::Condition(condition)]);
            job.round_by_standing(&Standing { facts, ..bare(place) }).is_some()
        };
        assert!(hit("os = linux", &client, &linux) && !hit("os = linux", &client, &other));
        assert!(!hit("os = linux", &client, &crate::facts::NONE));
        // Relays are hosts too; whoever means them says so.
        assert!(!hit("os = linux", &relay, &linux) && hit("os = linux and role = relay", &relay, &linux));
        let below = format!("below #{} and name = h9", host(1));
        assert!(hit(&below, &client, &other) && !hit(&below, &place(8, HostRole::Client, &[2]), &other));
    }

    #[test]
    fn a_host_that_a_condition_does_not_name_says_what_it_found() {
        let condition = Clause::Condition(Condition::parse("os = linux").unwrap());
        let mut some = job(1, vec![condition]);
        let me = place(9, HostRole::Client, &[1]);
        assert_eq!(some.unmet(&bare(&me)), Some((1, "os is not known".to_owned())));
        some.rounds[0].to = vec![Clause::All { relays: true }];
        assert_eq!(some.unmet(&bare(&me)), None);
    }

    #[test]
    fn a_closed_job_names_nobody_who_joined_later() {
        let mut all = job(1, vec![Clause::All { relays: true }]);
        all.terms.closed = Some(Time(7));
        let mut me = place(9, HostRole::Client, &[1]);
        for (joined, named) in [(0, true), (7, true), (8, false)] {
            me.joined = Time(joined);
            assert_eq!(all.round_by_standing(&bare(&me)).is_some(), named, "{joined}");
        }
        let list = [me.host];
        all.rounds[0].to = vec![Clause::Hosts { root: merkle::root(&list), size: 1 }];
        let proof = Proof { attempt: 1, slice: Slice::of(&list, 0, 1).unwrap() };
        assert!(all.round_for(&bare(&me), &[proof]).is_some());
    }

    #[test]
    fn older_revisions_are_refused() {
        assert_eq!(gate(None, 1), Gate::Take);
        assert_eq!(gate(Some(2), 3), Gate::Take);
        assert_eq!(gate(Some(3), 3), Gate::Known);
        assert_eq!(gate(Some(3), 2), Gate::Older);
    }
}
