//! The administrator's API: JSON over HTTPS, the caller known by its certificate (role `admin`). The same types answer the
//! command line's `--json`: snake_case, times in RFC 3339. Fields may be added; what stands here stays.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /admin/v1/hosts?all=` | | `[HostView]` |
//! | `GET /admin/v1/hosts/{name}` | | [`HostDetail`] |
//! | `POST /admin/v1/hosts/{name}/move` | [`HostMove`] | [`HostMoved`] |
//! | `POST /admin/v1/hosts/-/retire`, `…/remove` | [`HostNames`] | `[HostRetired]` |
//! | `GET /admin/v1/tree` | | [`TreeNode`] |
//! | `POST /admin/v1/tokens` | [`NewToken`] | [`TokenMade`] |
//! | `GET /admin/v1/tokens`, `DELETE /admin/v1/tokens/{id}` | | `[TokenView]`, `{}` |
//! | `GET /admin/v1/cabinets`, `POST /admin/v1/cabinets` | [`NewCabinet`] | `[CabinetView]`, [`CabinetView`] |
//! | `POST /admin/v1/cabinets/{name}/trust`, `…/distrust` | [`KeyText`] | [`CabinetView`] |
//! | `GET /admin/v1/packages?cabinet=` | | `[PackageView]` |
//! | `GET /admin/v1/packages/show?package=` | | [`PackageDetail`] |
//! | `DELETE /admin/v1/packages?package=` | | [`PackageView`] |
//! | `POST /admin/v1/uploads?cabinet=` | the manifest's envelope (bytes) | [`Upload`] |
//! | `POST /admin/v1/uploads/{package}/frames` | frames (bytes, streamed) | [`UploadProgress`] |
//! | `POST /admin/v1/uploads/{package}/finish?cabinet=` | | [`Registered`] |
//! | `POST /admin/v1/plan` | [`NewJob`] | [`PlanView`] |
//! | `POST /admin/v1/jobs` | [`NewJob`] | [`JobMade`] |
//! | `GET /admin/v1/jobs` | | `[JobSummary]` |
//! | `GET /admin/v1/jobs/{job}?seen=&hold_secs=` | held until there is news after `seen` | [`JobView`] |
//! | `GET /admin/v1/jobs/{job}/hosts/{host}` | | [`LineHistory`] |
//! | `POST /admin/v1/jobs/{job}/cancel` | | [`JobMade`] |
//! | `POST /admin/v1/jobs/{job}/retry` | [`Retry`] | [`JobMade`] |
//! | `POST /admin/v1/jobs/{job}/suspend`, `…/resume`, `…/close`, `…/again` | | [`JobMade`] |
//! | `GET /admin/v1/explain?job=&host=&relay=&package=` | | [`Explained`] |
//! | `GET /admin/v1/relays`, `GET /admin/v1/relays/{name}` | | `[RelaySummary]`, [`RelayView`] |
//! | `POST /admin/v1/relays/{name}/grant`, `…/revoke` | [`Grant`] | [`GrantView`] |
//! | `POST /admin/v1/relays/{name}/suspend`, `…/resume` | | [`ControlMade`] |
//! | `POST /admin/v1/relays/{name}/limit` | [`NewLimits`] | [`ControlMade`] |
//! | `POST /admin/v1/relays/{name}/keep`, `…/drop` | [`KeepCopy`], [`DropCopy`] | [`CopyOrdered`] |
//! | `GET /admin/v1/alarms` | | `[AlarmView]` |
//! | `/admin/v1/groups…` | see `admin/groups.rs` | |
//! | `POST /admin/v1/page` | | [`PageGranted`] |
//!
//! `{job}` is `3` or `osaka:3` (a slash does not fit into a path). Errors are [`Problem`] with a status of 400 to 599.

mod groups;

pub use groups::{GroupChanged, GroupDetail, GroupMember, GroupMembers, GroupView, NewGroup};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An error for the person who reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A word that scripts may rely on: `unknown_host`, `bad_request`, `in_use`, …
    pub code: String,
    /// What was wrong, and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A host in `host list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// `relay` or `client`.
    pub role: String,
    /// Name of its higher system.
    pub higher: String,
    /// A held request, or heard within 90 seconds.
    pub online: bool,
    /// Last heard, RFC 3339; `None`: never.
    pub last_seen: Option<String>,
    /// Its certificates count no more and its history is kept: since then, RFC 3339.
    #[serde(default)]
    pub retired: Option<String>,
    /// Not heard for very long: left out of percentages.
    #[serde(default)]
    pub silent: bool,
    /// It calls its higher system by itself, because those it prefers could not be reached.
    #[serde(default)]
    pub fallback: Option<FallbackView>,
}

/// Hosts by their names: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNames {
    /// Their names.
    pub hosts: Vec<String>,
}

/// A host was retired or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRetired {
    /// The host.
    pub host: String,
    /// Its open lines, which ended by it.
    pub lines: u64,
    /// Whether it was in use before.
    pub changed: bool,
    /// It is forgotten, and its name is free.
    pub removed: bool,
}

/// A host that went by itself to a system further down its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackView {
    /// Since when, by the host's clock, RFC 3339.
    pub since: Option<String>,
    /// The systems it prefers, in their order; empty at a relay that was not told yet.
    pub not_reached: Vec<String>,
    /// As one sentence.
    pub text: String,
}

/// A host in `host show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDetail {
    /// As in the list.
    #[serde(flatten)]
    pub host: HostView,
    /// Its id.
    pub id: String,
    /// Names of the systems above it, from the managing server down.
    pub route: Vec<String>,
    /// The systems it may call, in order; empty: the one it joined.
    #[serde(default)]
    pub above: Vec<String>,
    /// When it joined.
    pub joined: String,
    /// Its certificate's generation.
    pub certificate_generation: u64,
    /// Two machines answer under its name, since then.
    pub twins_since: Option<String>,
    /// Fixed groups it is in, also by groups that are members of them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What it says of itself, by name.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// When it said so, RFC 3339.
    #[serde(default)]
    pub facts_at: Option<String>,
    /// Its lines, the newest job first.
    pub instructions: Vec<HostLine>,
    /// What happened there, the oldest first; of a long past the newest part.
    #[serde(default)]
    pub events: Vec<EventView>,
}

/// One machine's part of a job, in `job show JOB HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineHistory {
    /// `server/3`.
    pub job: String,
    /// The machine.
    pub host: String,
    /// Its lines.
    pub instructions: Vec<InstructionView>,
    /// What happened to them, the oldest first.
    pub events: Vec<EventView>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// When, by the clock of the system it happened at; RFC 3339.
    pub at: String,
    /// At which system.
    pub system: String,
    /// When the managing server had it; `None`: it said so itself.
    pub received: Option<String>,
    /// `server/3`, if it is about a job.
    pub job: Option<String>,
    /// The package.
    pub package: Option<String>,
    /// The attempt.
    pub attempt: Option<u32>,
    /// A word: `ordered`, `at_relay`, `waiting`, `offered`, `chosen`, `delivered`, `installing`, how it ended, `joined`,
    /// `retired`, `returned`, …
    pub event: String,
    /// The user who chose or rejected; the administrator who retired.
    pub by: Option<String>,
    /// The code of a reason.
    pub reason: Option<String>,
    /// The installer's exit code.
    pub exit_code: Option<i32>,
    /// One sentence.
    pub text: String,
    /// The end of the installer's output.
    pub tail: String,
}

/// Which system a host is to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMove {
    /// A relay, or `server`.
    pub to: String,
    /// Where it may go if that does not answer, in this order.
    #[serde(default)]
    pub then: Vec<String>,
}

/// A host was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMoved {
    /// The host.
    pub host: String,
    /// The systems it may call, in order.
    pub above: Vec<String>,
    /// Whether it is another than before.
    pub changed: bool,
}

/// A line of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLine {
    /// `server/3`.
    pub job: String,
    /// The line.
    #[serde(flatten)]
    pub line: InstructionView,
}

/// A system and what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Its name.
    pub name: String,
    /// `server`, `relay` or `client`.
    pub role: String,
    /// Connected now.
    pub online: bool,
    /// Last heard.
    pub last_seen: Option<String>,
    /// As in the list.
    #[serde(default)]
    pub fallback: Option<FallbackView>,
    /// Not heard for very long.
    #[serde(default)]
    pub silent: bool,
    /// Its lower systems: relays first, those that are silent last, by name.
    pub lower: Vec<TreeNode>,
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// For a relay (else for a client).
    pub relay: bool,
    /// How often it may be used.
    pub uses: u32,
    /// How long, in seconds.
    pub ends_secs: u64,
    /// The name it may take over.
    pub replace: Option<String>,
}

/// A token that was made. Its text is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMade {
    /// The text.
    pub token: String,
    /// What it looks like in the list.
    pub view: TokenView,
}

/// A token in `token list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its number.
    pub id: u64,
    /// `relay` or `client`.
    pub role: String,
    /// Uses left.
    pub uses_left: u32,
    /// Its end, RFC 3339.
    pub ends: String,
    /// The name it may take over.
    pub replace: Option<String>,
    /// `open`, `used`, `ended` or `revoked`.
    pub state: String,
}

/// A cabinet to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCabinet {
    /// Its name.
    pub name: String,
    /// Packager keys, as text.
    pub keys: Vec<String>,
}

/// A packager key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyText {
    /// `packhorse-key:ed25519:…`
    pub key: String,
}

/// A cabinet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CabinetView {
    /// Its name.
    pub name: String,
    /// Packages in it.
    pub packages: u64,
    /// Ids of the packager keys it trusts.
    pub keys: Vec<String>,
}

/// A package in `package list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageView {
    /// Its cabinet.
    pub cabinet: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its generation.
    pub generation: u32,
    /// Plain content in bytes.
    pub size_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// `90d` or a date.
    pub keep: String,
}

/// A package in `package show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageDetail {
    /// As in the list.
    #[serde(flatten)]
    pub package: PackageView,
    /// Its identity.
    pub id: String,
    /// `cabinet/name@version:generation`.
    pub label: String,
    /// What it is.
    pub summary: String,
    /// `files` or `deb`.
    pub kind: String,
    /// When it was registered.
    pub registered: String,
    /// Until when relays that store it now would keep it.
    pub keep_until: String,
    /// Ids of the keys that signed it.
    pub signed_by: Vec<String>,
    /// Bytes it takes in the store, and shares with other packages there.
    pub stored_bytes: u64,
    /// Entries in it.
    pub entries: u64,
    /// For kind deb: its dependencies, as written in it.
    pub depends: Option<String>,
    /// Relays that keep it, each with its date.
    pub relays: Vec<RelayCopy>,
    /// Where it is: lines of all jobs by state.
    pub counts: BTreeMap<String, u64>,
}

/// A relay's copy of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayCopy {
    /// The relay.
    pub relay: String,
    /// Kept until.
    pub keep_until: String,
}

/// The answer to a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The package's id.
    pub package: String,
    /// Ranges of chunks that the server lacks.
    pub missing: Vec<(u32, u32)>,
    /// Set if the same manifest is registered in the cabinet already.
    pub known: Option<Registered>,
}

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadProgress {
    /// Ranges of chunks that the server still lacks.
    pub missing: Vec<(u32, u32)>,
}

/// A registered package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// `cabinet/name@version:generation`.
    pub label: String,
    /// Its identity.
    pub id: String,
    /// Whether this very manifest was there already: nothing was done.
    pub already: bool,
}

/// A job to make or to plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// `install`, `transfer`, `offer`.
    pub job_type: String,
    /// `cabinet/name@version:generation`, with parts left out.
    pub packages: Vec<String>,
    /// Hosts, `below:RELAY`, `all`, `all+relays`.
    pub to: Vec<String>,
    /// Not before; RFC 3339.
    pub at: Option<String>,
    /// Begun by then or never; RFC 3339.
    pub until: Option<String>,
    /// Whether versions may go down.
    pub allow_downgrade: bool,
    /// What else is wanted.
    #[serde(default)]
    pub terms: NewTerms,
}

/// What may be said of a job beyond who, what and when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewTerms {
    /// `at` is in the time of each host: its offset is not looked at.
    pub host_time: bool,
    /// How long relays keep copies: `30d`, or a day `2026-12-03`.
    pub keep: Option<String>,
    /// Offers: required from then on, RFC 3339.
    pub required_from: Option<String>,
    /// Offers: `active`, `any`, `group:NAME`.
    pub choosers: Option<String>,
    /// Installs: how often a user may put it off.
    pub postpone: u32,
    /// Transfers: the destinations are hosts, and their relays are meant (`--for`).
    pub for_hosts: bool,
    /// Installs: when the packages are brought to the relays, RFC 3339; makes a transfer too.
    pub stage_at: Option<String>,
}

/// A job that was made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMade {
    /// `server/3`.
    pub id: String,
    /// `3`.
    pub number: u64,
    /// Lines it has, or that were changed.
    pub lines: u64,
    /// Of a staged install: the transfer's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<u64>,
}

/// How long a relay is to keep a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepCopy {
    /// `cabinet/name@version:generation`, with parts left out.
    pub package: String,
    /// `30d`, or a day `2026-12-03`.
    pub keep: String,
}

/// A copy that a relay is to drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCopy {
    /// `cabinet/name@version:generation`, with parts left out.
    pub package: String,
    /// Also if open jobs below need it: it is fetched again for them.
    #[serde(default)]
    pub force: bool,
}

/// What was ordered of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOrdered {
    /// The relay.
    pub relay: String,
    /// The package.
    pub package: String,
    /// Bytes that fetching it again would cost at most.
    pub size_bytes: u64,
    /// Open lines at or below the relay that need it.
    pub needed_by: u64,
    /// Whether the relay has taken the order in; else it is still on its way.
    pub applied: bool,
}

/// Which lines are tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retry {
    /// Only failed ones; else all that did not end well.
    pub failed: bool,
}

/// A job in `job list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// `server/3`.
    pub id: String,
    /// `install`.
    #[serde(rename = "type")]
    pub job_type: String,
    /// `scheduled`, `running`, `suspended`, `ended`.
    pub state: String,
    /// Packages.
    pub packages: Vec<String>,
    /// What was understood of `--to`.
    pub to: Vec<String>,
    /// Not before.
    pub at: Option<String>,
    /// Ends.
    pub until: String,
    /// Registered.
    pub created: String,
    /// State → number.
    pub counts: BTreeMap<String, u64>,
    /// Lines that have not ended, of hosts that were not heard for very long: left out of percentages.
    #[serde(default)]
    pub silent: u64,
}

/// A job in `job show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// As in the list.
    #[serde(flatten)]
    pub job: JobSummary,
    /// Its revision.
    pub revision: u64,
    /// Hosts that joined later are not taken in: since then.
    #[serde(default)]
    pub closed: Option<String>,
    /// What was planned when it was made, beside what became of it; empty if that is not known here.
    #[serde(default)]
    pub plan: Vec<PlanFact>,
    /// Its lines.
    pub instructions: Vec<InstructionView>,
    /// Not heard for longer than this, in days, a host is silent.
    #[serde(default)]
    pub silent_days: i64,
    /// Number of the newest change that is in this answer; ask with `seen` for what comes after.
    pub change: u64,
}

/// A line in `job show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionView {
    /// The host.
    pub host: String,
    /// `cabinet/name@version:generation`.
    pub package: String,
    /// The attempt.
    pub attempt: u32,
    /// The state.
    pub state: String,
    /// Why it has not ended; `None` exactly when it has.
    pub reason: Option<ReasonView>,
    /// How much of the package the host has.
    pub progress_percent: Option<u8>,
    /// How it ended, if there is more to say than the state.
    pub result: Option<ResultView>,
    /// It has not ended, and its host was not heard for very long.
    #[serde(default)]
    pub silent: bool,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonView {
    /// The code.
    pub code: String,
    /// At which system.
    pub system: String,
    /// Since when.
    pub since: String,
    /// When it is tried again; `None`: when it is cleared.
    pub next_try: Option<String>,
    /// What would clear it.
    pub clear: String,
    /// What exactly, as a sentence.
    pub text: String,
}

/// How a line ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultView {
    /// When.
    pub at: String,
    /// For failures: the class.
    pub class: Option<String>,
    /// The step that decided.
    pub step: String,
    /// The installer's exit code.
    pub exit_code: Option<i32>,
    /// One sentence.
    pub text: String,
    /// The end of the output.
    pub tail: String,
    /// A verdict that a higher system had made meanwhile: `missed`, `cancelled`, `superseded`, `retired` (then the state may
    /// be `cancelled` also of what had begun).
    pub verdict: Option<String>,
    /// The user who chose or rejected it; `required` for an offer that was required by then.
    #[serde(default)]
    pub by: Option<String>,
}

/// What a job would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// What was understood of the destinations.
    pub to: Vec<String>,
    /// Packages.
    pub packages: Vec<String>,
    /// Hosts named.
    pub hosts: u64,
    /// Hosts that get an order.
    pub within: u64,
    /// Hosts left out, by why.
    pub out: Vec<PlanOut>,
    /// Each line between two systems.
    pub lines: Vec<PlanLineView>,
    /// When everything is delivered, as far as it follows from rates that were measured; RFC 3339.
    #[serde(default)]
    pub ends: Option<String>,
    /// Of a staged install: the plan of its transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Box<PlanView>>,
    /// The whole plan as text, as the command line prints it.
    pub text: String,
}

/// What a job was planned to do when it was made, beside what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFact {
    /// Hosts, the end, bytes over a line: `server → osaka`.
    pub what: String,
    /// As it was planned.
    pub planned: String,
    /// As it is now.
    pub fact: String,
}

/// Hosts left out of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOut {
    /// How many.
    pub hosts: u64,
    /// Why.
    pub why: String,
}

/// A line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLineView {
    /// The sending system.
    pub from: String,
    /// The receiving system, or how many hosts.
    pub to: String,
    /// Bytes over this line at most.
    pub bytes: u64,
    /// More about it: "kept until 3 Dec".
    pub note: String,
}

/// What `explain` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The first line: who has it and why not.
    pub summary: String,
    /// One entry for each group of lines, or for each line asked for.
    pub entries: Vec<ExplainEntry>,
}

/// An entry of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainEntry {
    /// `server/3`, if it is about a job.
    pub job: Option<String>,
    /// How many lines.
    pub lines: u64,
    /// Up to five hosts.
    pub hosts: Vec<String>,
    /// The state.
    pub state: String,
    /// The sentence.
    pub text: String,
    /// What would clear it: a command where there is one.
    pub clear: Option<String>,
}

/// A relay in `relay list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelaySummary {
    /// Its name.
    pub name: String,
    /// Its higher system.
    pub higher: String,
    /// Connected now.
    pub online: bool,
    /// Packages it keeps.
    pub packages: u64,
    /// Taken by its store, bytes.
    pub used_bytes: u64,
    /// Free, bytes.
    pub free_bytes: u64,
}

/// A relay in `relay show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayView {
    /// Its name.
    pub name: String,
    /// What it keeps.
    pub packages: Vec<RelayPackage>,
    /// Content bodies from its higher system since it joined, bytes.
    pub received_bytes: u64,
    /// To its lower systems, bytes.
    pub sent_bytes: u64,
    /// Taken by its store, bytes.
    pub used_bytes: u64,
    /// Free, bytes.
    pub free_bytes: u64,
    /// What its administrator may do; `None`: nothing was ever granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<GrantView>,
    /// What is set at it.
    #[serde(default)]
    pub control: ControlView,
}

/// What a relay's administrator is to be let do. It takes the place of what was granted before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// Install packages below the relay.
    pub install: bool,
    /// Offer packages below the relay.
    pub offer: bool,
    /// Cabinets of the relay's own.
    pub cabinets: Vec<NewGrantedCabinet>,
    /// How long, in days; 365 if nothing is said.
    pub days: Option<u32>,
}

/// A cabinet of a relay's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewGrantedCabinet {
    /// Its name.
    pub name: String,
    /// Packager keys it trusts, as text; empty: those it has.
    pub keys: Vec<String>,
}

/// What a relay's administrator may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// The relay.
    pub relay: String,
    /// Install packages below it.
    pub install: bool,
    /// Offer packages below it.
    pub offer: bool,
    /// Cabinets of its own.
    pub cabinets: Vec<GrantedCabinet>,
    /// Its revision.
    pub revision: u64,
    /// When it ends, RFC 3339.
    pub ends: String,
    /// Withdrawn: it may do nothing.
    pub revoked: bool,
    /// The relay said that it has this revision.
    pub acknowledged: bool,
}

/// A cabinet of a relay's own, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedCabinet {
    /// Its name.
    pub name: String,
    /// Ids of the packager keys it trusts.
    pub keys: Vec<String>,
}

/// What is set at a relay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControlView {
    /// Transfers to it and through it wait: since then.
    pub suspended_since: Option<String>,
    /// What its store may take, bytes; `None`: as it was started.
    pub store_bytes: Option<u64>,
    /// Limits of its line to its higher system. Of several that hold at a time the lowest counts.
    pub limits: Vec<LimitView>,
    /// The zone of the hours; empty: UTC.
    pub zone: String,
    /// Counts what was set; 0: nothing ever was.
    pub revision: u64,
    /// Whether the relay has taken the newest in.
    pub applied: bool,
}

/// A limit of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// Bits per second; 0: nothing passes.
    pub bits_per_sec: u64,
    /// `22:00-06:00`; `None`: always.
    pub hours: Option<String>,
}

/// Limits to set at a relay. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewLimits {
    /// `20Mbit`; `0`: nothing passes.
    pub down: Option<String>,
    /// When `down` holds: `22:00-06:00`, several or none (always). Takes the place of a limit of the same hours.
    pub hours: Vec<String>,
    /// What its store may take: `40GB`.
    pub store: Option<String>,
    /// What was set before goes.
    pub none: bool,
}

/// Something was set at a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlMade {
    /// The relay.
    pub relay: String,
    /// Counts what was set.
    pub revision: u64,
    /// Whether it is something else than before.
    pub changed: bool,
    /// Whether the relay has taken it in.
    pub applied: bool,
}

/// A package a relay keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPackage {
    /// `cabinet/name@version:generation`.
    pub package: String,
    /// Kept until.
    pub keep_until: String,
    /// What it takes in the store, bytes.
    pub size_bytes: u64,
    /// Open lines below that still need it.
    pub needed_by: u64,
}

/// Something that was refused, in `GET /admin/v1/alarms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmView {
    /// Who says so.
    pub host: String,
    /// When.
    pub at: String,
    /// A word.
    pub code: String,
    /// A sentence.
    pub text: String,
}

/// An address at which one browser may look at the page.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageGranted {
    /// To be put behind the system's address. It carries a secret: good for one opening.
    pub path: String,
    /// Until when it may be opened, RFC 3339.
    pub opens_until: String,
    /// How long the browser that opened it may look, in seconds.
    pub looks_secs: u64,
}

/// An administrator's access file (`admin.toml`), which `PACKHORSE_CONTEXT` names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessFile {
    /// Version of this file.
    pub version: u32,
    /// The system's address: `https://localhost:8440`.
    pub url: String,
    /// Name of the system.
    pub system: String,
    /// The system's id, hexadecimal.
    pub system_id: String,
    /// The certificate authority, PEM.
    pub ca_pem: String,
    /// The administrator's certificate chain, PEM.
    pub chain_pem: String,
    /// The administrator's private key, PEM.
    pub key_pem: String,
}
