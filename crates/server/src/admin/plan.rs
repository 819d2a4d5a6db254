//! What a job would do, from the same functions that do it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use packhorse_domain::ids::JobKey;
use packhorse_domain::job::{Intent, Job, JobPackage, JobType, Proof, Round};
use packhorse_domain::planner::{self, Due};
use packhorse_domain::time::Time;
use packhorse_domain::version::not_above;
use packhorse_wire::admin::{NewJob, PlanLineView, PlanOut, PlanView};
use rusqlite::Connection;

use super::around::Around;
use super::request::Body;
use super::wish::{Resolved, Wish};
use super::{Admin, AdminError, destinations, known, make, may, plan_text, plan_time};
use crate::db::DbError;
use crate::db::hosts::HostRow;
use crate::db::rates::{self, Rates, Way};
use crate::db::standings::{Needs, Standings};
use crate::db::views::{self, CopyRecord, Scene};
use crate::system::{System, now};

/// A wish with what it would meet.
pub struct Drafted {
    /// What is wanted.
    pub wish: Wish,
    /// Packages and destinations.
    pub resolved: Resolved,
    /// Hosts named, whether they get an order or not.
    pub named: Vec<HostRow>,
    /// Of these, the ones that have everything already (of a transfer: relays that keep it).
    pub having: HashSet<HostRow>,
    /// Of these, the ones that have a newer version, which this job does not lower.
    pub newer: HashSet<HostRow>,
    /// Rates that were measured.
    pub rates: Rates,
    /// Transfers of the same packages that begin later than this: which, and when.
    pub later: Vec<(String, Time)>,
    /// When the transfer that is made together with this install begins, if that is before it is due.
    pub staged: Option<Time>,
    /// Copies at relays.
    pub copies: Vec<CopyRecord>,
    /// Free bytes at relays, as they last said.
    pub free_bytes: BTreeMap<HostRow, u64>,
    /// When relays take the packages in.
    pub due: Due,
}

/// A relay of a plan.
pub struct RelayPlan {
    /// The relay.
    pub row: HostRow,
    /// Bytes it takes in.
    pub bytes: u64,
    /// Until when it keeps everything already; `None` if something is to come.
    pub kept_until: Option<Time>,
    /// The transfer that is made together with this install brings what it lacks.
    pub staged: bool,
    /// Hosts of the plan that call it.
    pub hosts: u64,
}

/// `POST /admin/v1/plan`; of a staged install both plans, the transfer's first.
pub async fn plan(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<NewJob>,
) -> Result<Json<PlanView>, AdminError> {
    let (system, at) = (&admin.system, now());
    let wish = Wish::read(&new, at)?;
    may::refuse_transfer(system, &new)?;
    known::refresh(system).await?;
    let Some(transfer) = make::staged(&new)? else { return Ok(Json(of(system, wish, None).await?)) };
    let transfer = Wish::read(&transfer, at)?;
    let begins = transfer.at;
    let stage = of(system, transfer, None).await?;
    let install = of(system, wish, begins).await?;
    let text = format!("{}{}", stage.text, install.text);
    Ok(Json(PlanView { stage: Some(Box::new(stage)), text, ..install }))
}

/// What a wish would do; `staged` is when the transfer begins that is made together with it.
///
/// # Errors
/// It cannot be granted, or the database's.
pub async fn of(system: &System, wish: Wish, staged: Option<Time>) -> Result<PlanView, AdminError> {
    let draft = system.db.read(move |connection| draft(connection, wish, staged)).await?;
    Ok(view(system, draft))
}

fn draft(connection: &Connection, wish: Wish, staged: Option<Time>) -> Result<Drafted, DbError> {
    let resolved = wish.resolve(connection)?;
    let job = job(&wish, &resolved)?;
    let standings = Standings::load(connection, &resolved.fleet, None, Needs::of(&job.0), wish.now)?;
    let opened = planner::opens(&job.0, &job.1, &[], standings.iter());
    let ids: HashSet<_> = opened.iter().map(|open| open.host).collect();
    let named: Vec<HostRow> =
        resolved.fleet.hosts().iter().filter(|host| ids.contains(&host.id)).map(|host| host.row).collect();
    let copies = views::copies(connection)?;
    let (having, newer) = match wish.job_type {
        JobType::Transfer => (keeping(&copies, &resolved, &named), HashSet::new()),
        JobType::Install | JobType::Offer => having(connection, &resolved, &named, wish.allow_downgrade)?,
    };
    let open = (named.len() - having.len() - newer.len()) as u64;
    let packages: Vec<_> = resolved.packages.iter().map(|package| package.id).collect();
    let starts = job.0.starts();
    let mut later = match wish.job_type {
        JobType::Install => views::later_transfers(connection, &packages, starts)?,
        JobType::Transfer | JobType::Offer => Vec::new(),
    };
    later.iter_mut().for_each(|(job, _)| job.insert_str(0, "job "));
    later.extend(staged.filter(|begins| *begins > starts).map(|begins| ("its own".to_owned(), begins)));
    Ok(Drafted {
        newer,
        rates: rates::all(connection)?,
        later,
        staged: staged.filter(|begins| *begins <= starts),
        due: planner::copy_due(&job.0, open, 0, wish.now),
        copies,
        free_bytes: views::traffic(connection)?.into_iter().map(|(row, t)| (row, t.free_bytes)).collect(),
        named,
        having,
        resolved,
        wish,
    })
}

/// The job as it would be made, but for its number.
fn job(wish: &Wish, resolved: &Resolved) -> Result<(Job, Vec<Proof>), DbError> {
    let (to, prover) = resolved.destinations.signed(&resolved.fleet)?;
    let package = |record: &crate::db::packages::PackageRecord| JobPackage {
        id: record.id,
        label: record.label.clone(),
        keep_until: record.keep_until,
    };
    let job = Job {
        key: JobKey::server(1, 1),
        revision: 1,
        job_type: wish.job_type,
        created: wish.now,
        packages: resolved.packages.iter().map(package).collect(),
        rounds: vec![Round { attempt: 1, ordered: wish.now, to }],
        at: wish.at,
        until: wish.until,
        allow_downgrade: wish.allow_downgrade,
        intent: Intent::Open,
        terms: wish.terms.clone(),
    };
    job.validate().map_err(|error| DbError::refused("bad_request", error.to_string(), None))?;
    let proofs = prover.iter().map(|prover| Proof { attempt: 1, slice: prover.slice().clone() }).collect();
    Ok((job, proofs))
}

/// Hosts of `named` that have all packages, by what they said last; and those that have a newer version of one and lack none.
fn having(
    connection: &Connection,
    resolved: &Resolved,
    named: &[HostRow],
    downgrades: bool,
) -> Result<(HashSet<HostRow>, HashSet<HostRow>), DbError> {
    let (mut all, mut over): (HashSet<HostRow>, HashSet<HostRow>) =
        (named.iter().copied().collect(), named.iter().copied().collect());
    for package in &resolved.packages {
        let known = views::newest(connection, &package.label.cabinet, &package.label.name)?;
        let has = |host: &HostRow| known.get(host).is_some_and(|(id, _)| *id == package.id);
        let above = |host: &HostRow| {
            let version = known.get(host).map(|(_, version)| version.as_str());
            version.is_some_and(|version| !not_above(version, &package.label.version))
        };
        all.retain(&has);
        over.retain(|host| has(host) || !downgrades && above(host));
    }
    over.retain(|host| !all.contains(host));
    Ok((all, over))
}

/// Relays of `named` that keep all packages: of a transfer only the date moves there.
fn keeping(copies: &[CopyRecord], resolved: &Resolved, named: &[HostRow]) -> HashSet<HostRow> {
    let kept: HashSet<_> = copies.iter().map(|copy| (copy.relay, copy.package)).collect();
    let keeps =
        |relay: &&HostRow| resolved.packages.iter().all(|package| kept.contains(&(**relay, package.id)));
    named.iter().filter(keeps).copied().collect()
}

impl Drafted {
    /// Bytes of all packages together.
    pub fn total_bytes(&self) -> u64 {
        self.resolved.packages.iter().map(|package| package.size_bytes).sum()
    }

    /// Hosts that have something to do.
    pub fn within(&self) -> impl Iterator<Item = HostRow> + '_ {
        self.named.iter().copied().filter(|row| !self.having.contains(row) && !self.newer.contains(row))
    }

    /// Hosts of the plan that call the managing server itself.
    pub fn direct(&self) -> u64 {
        let fleet = &self.resolved.fleet;
        self.within().filter(|row| fleet.get(*row).is_some_and(|host| fleet.route(host).is_empty())).count()
            as u64
    }

    /// The relays that the packages pass, the upper ones before the lower.
    pub fn relays(&self) -> Vec<RelayPlan> {
        let fleet = &self.resolved.fleet;
        let mut hosts: BTreeMap<Vec<&str>, (HostRow, u64)> = BTreeMap::new();
        for host in self.within().filter_map(|row| fleet.get(row)) {
            let route = fleet.route(host);
            for depth in 1..=route.len() {
                let path = route[..depth].iter().map(|relay| relay.name.as_str()).collect();
                let (_, calling) = hosts.entry(path).or_insert((route[depth - 1].row, 0));
                // A transfer stops at the relay.
                let goes_on = self.wish.job_type != JobType::Transfer;
                *calling += u64::from(goes_on && depth == route.len());
            }
        }
        hosts.into_values().map(|(row, hosts)| self.relay(row, hosts)).collect()
    }

    fn relay(&self, row: HostRow, hosts: u64) -> RelayPlan {
        let copy = |id| self.copies.iter().find(|copy| copy.relay == row && copy.package == id);
        let packages = &self.resolved.packages;
        let lacking = packages.iter().filter(|package| copy(package.id).is_none());
        let nothing = self.due == Due::Never || self.staged.is_some();
        let bytes = if nothing { 0 } else { lacking.map(|package| package.size_bytes).sum() };
        let dates: Option<Vec<_>> =
            packages.iter().map(|package| copy(package.id).map(|copy| copy.keep_until)).collect();
        let kept_until = dates.and_then(|dates| dates.into_iter().min());
        RelayPlan { row, bytes, kept_until, staged: self.staged.is_some() && kept_until.is_none(), hosts }
    }
}

fn view(system: &System, mut draft: Drafted) -> PlanView {
    let copies = draft.copies.iter().map(|copy| (copy.relay, copy.package)).collect();
    let scene = Scene { fleet: draft.resolved.fleet.clone(), copies, controls: HashMap::new() };
    let around = Around::new(system, &scene, draft.wish.now);
    let relays = draft.relays();
    let out = out(&draft);
    let words = std::mem::take(&mut draft.resolved.destinations.words);
    let mut view = PlanView {
        to: destinations::shown(words),
        packages: draft.resolved.packages.iter().map(|package| package.label.to_string()).collect(),
        hosts: draft.named.len() as u64,
        within: draft.within().count() as u64,
        out,
        lines: lines(&around, &draft, &relays),
        ends: None,
        stage: None,
        text: String::new(),
    };
    let end = plan_time::end(&around, &draft, &relays);
    view.ends = end.at().map(super::format::rfc3339);
    view.text = plan_text::text(&around, &draft, &relays, &view, &end);
    view
}

fn out(draft: &Drafted) -> Vec<PlanOut> {
    let why = match draft.wish.job_type {
        JobType::Transfer => "keep it already: only the date moves",
        JobType::Install | JobType::Offer => "have it already",
    };
    let parts = [(draft.having.len(), why), (draft.newer.len(), "have a newer version (--allow-downgrade)")];
    let some = parts.into_iter().filter(|(hosts, _)| *hosts > 0);
    some.map(|(hosts, why)| PlanOut { hosts: hosts as u64, why: why.to_owned() }).collect()
}

/// Nothing of an offer travels before somebody chooses.
pub fn on_choice(draft: &Drafted) -> bool {
    draft.wish.job_type == JobType::Offer
}

fn lines(around: &Around<'_>, draft: &Drafted, relays: &[RelayPlan]) -> Vec<PlanLineView> {
    let each = if on_choice(draft) { "each that chooses" } else { "each at most" };
    let to_hosts = |from: &str, hosts: u64| PlanLineView {
        from: from.to_owned(),
        to: super::format::count(hosts, "host"),
        bytes: draft.total_bytes(),
        note: each.to_owned(),
    };
    let mut lines = Vec::new();
    for plan in relays {
        let Some(relay) = around.host(plan.row) else { continue };
        lines.push(PlanLineView {
            from: around.higher(relay).to_owned(),
            to: relay.name.clone(),
            bytes: if on_choice(draft) { 0 } else { plan.bytes },
            note: note(around, draft, plan),
        });
        if plan.hosts > 0 {
            lines.push(to_hosts(&relay.name, plan.hosts));
        }
    }
    if draft.direct() > 0 {
        lines.push(to_hosts(around.asked(), draft.direct()));
    }
    lines
}

/// What is to be known of a line to a relay beside its bytes. A relay takes only the pieces that no package in its store
/// has: with other packages there, the size is a limit, not the truth.
fn note(around: &Around<'_>, draft: &Drafted, plan: &RelayPlan) -> String {
    if let Some(until) = plan.kept_until {
        return format!("kept until {}", super::format::day(until, around.now));
    }
    if let Some(begins) = draft.staged.filter(|_| plan.staged) {
        return format!("brought by the transfer from {}", super::format::clock(begins, around.now));
    }
    if on_choice(draft) {
        return format!("{} with the first choice behind it", super::format::size(plan.bytes));
    }
    let others = draft.copies.iter().any(|copy| copy.relay == plan.row);
    let at_most = (plan.bytes > 0 && others).then(|| "at most".to_owned());
    let takes = draft.rates.get(&(plan.row, Way::In)).filter(|_| plan.bytes > 0);
    let takes = takes.map(|rate| {
        format!("{}: {}", plan_time::bits(*rate), plan_time::span(plan_time::secs(plan.bytes, *rate)))
    });
    at_most.into_iter().chain(takes).collect::<Vec<_>>().join(", ")
}
