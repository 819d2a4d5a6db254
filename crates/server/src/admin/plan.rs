//! What a job would do, from the same functions that do it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use packhorse_domain::ids::JobKey;
use packhorse_domain::job::{Intent, Job, JobPackage, Proof, Round};
use packhorse_domain::planner::{self, Due};
use packhorse_wire::admin::{NewJob, PlanLineView, PlanOut, PlanView};
use rusqlite::Connection;

use super::around::Around;
use super::plan_text;
use super::request::Body;
use super::wish::{Resolved, Wish};
use super::{Admin, AdminError, destinations, known};
use crate::db::DbError;
use crate::db::hosts::HostRow;
use crate::db::standings::{Needs, Standings};
use crate::db::views::{self, CopyRecord, JobPackageRecord, Scene};
use crate::system::{System, now};

/// A wish with what it would meet.
pub struct Drafted {
    /// What is wanted.
    pub wish: Wish,
    /// Packages and destinations.
    pub resolved: Resolved,
    /// Hosts named, whether they get an order or not.
    pub named: Vec<HostRow>,
    /// Of these, the ones that have everything already.
    pub having: HashSet<HostRow>,
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
    pub kept_until: Option<packhorse_domain::time::Time>,
    /// Hosts of the plan that call it.
    pub hosts: u64,
}

/// `POST /admin/v1/plan`.
pub async fn plan(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<NewJob>,
) -> Result<Json<PlanView>, AdminError> {
    let wish = Wish::read(&new, now())?;
    known::refresh(&admin.system).await?;
    let draft = admin.system.db.read(move |connection| draft(connection, wish)).await?;
    Ok(Json(view(&admin.system, draft)))
}

fn draft(connection: &Connection, wish: Wish) -> Result<Drafted, DbError> {
    let resolved = wish.resolve(connection)?;
    let job = job(&wish, &resolved)?;
    let standings = Standings::load(connection, &resolved.fleet, None, Needs::of(&job.0), wish.now)?;
    let opened = planner::opens(&job.0, &job.1, &[], standings.iter());
    let ids: HashSet<_> = opened.iter().map(|open| open.host).collect();
    let named: Vec<HostRow> =
        resolved.fleet.hosts().iter().filter(|host| ids.contains(&host.id)).map(|host| host.row).collect();
    let having = having(connection, &resolved, &named)?;
    let open = (named.len() - having.len()) as u64;
    Ok(Drafted {
        due: planner::copy_due(&job.0, open, wish.now),
        copies: views::copies(connection)?,
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

/// Hosts of `named` that have all packages, by what they said last.
fn having(
    connection: &Connection,
    resolved: &Resolved,
    named: &[HostRow],
) -> Result<HashSet<HostRow>, DbError> {
    let mut all: HashSet<HostRow> = named.iter().copied().collect();
    for package in &resolved.packages {
        let record = JobPackageRecord { id: package.id, label: package.label.clone() };
        let have = views::having(connection, &record)?;
        all.retain(|host| have.contains(host));
    }
    Ok(all)
}

impl Drafted {
    /// Bytes of all packages together.
    pub fn total_bytes(&self) -> u64 {
        self.resolved.packages.iter().map(|package| package.size_bytes).sum()
    }

    /// Hosts that have something to do.
    pub fn within(&self) -> impl Iterator<Item = HostRow> + '_ {
        self.named.iter().copied().filter(|row| !self.having.contains(row))
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
                *calling += u64::from(depth == route.len());
            }
        }
        hosts.into_values().map(|(row, hosts)| self.relay(row, hosts)).collect()
    }

    fn relay(&self, row: HostRow, hosts: u64) -> RelayPlan {
        let copy = |id| self.copies.iter().find(|copy| copy.relay == row && copy.package == id);
        let packages = &self.resolved.packages;
        let lacking = packages.iter().filter(|package| copy(package.id).is_none());
        let bytes = if self.due == Due::Never { 0 } else { lacking.map(|package| package.size_bytes).sum() };
        let dates: Option<Vec<_>> =
            packages.iter().map(|package| copy(package.id).map(|copy| copy.keep_until)).collect();
        RelayPlan { row, bytes, kept_until: dates.and_then(|dates| dates.into_iter().min()), hosts }
    }
}

fn view(system: &System, mut draft: Drafted) -> PlanView {
    let copies = draft.copies.iter().map(|copy| (copy.relay, copy.package)).collect();
    let scene = Scene { fleet: draft.resolved.fleet.clone(), copies, controls: HashMap::new() };
    let around = Around::new(system, &scene, draft.wish.now);
    let relays = draft.relays();
    let out = match draft.having.len() as u64 {
        0 => Vec::new(),
        hosts => vec![PlanOut { hosts, why: "have it already".to_owned() }],
    };
    let words = std::mem::take(&mut draft.resolved.destinations.words);
    let mut view = PlanView {
        to: destinations::shown(words),
        packages: draft.resolved.packages.iter().map(|package| package.label.to_string()).collect(),
        hosts: draft.named.len() as u64,
        within: draft.within().count() as u64,
        out,
        lines: lines(&around, &draft, &relays),
        text: String::new(),
    };
    view.text = plan_text::text(&around, &draft, &relays, &view);
    view
}

fn lines(around: &Around<'_>, draft: &Drafted, relays: &[RelayPlan]) -> Vec<PlanLineView> {
    let to_hosts = |from: &str, hosts: u64| PlanLineView {
        from: from.to_owned(),
        to: super::format::count(hosts, "host"),
        bytes: draft.total_bytes(),
        note: "each at most".to_owned(),
    };
    let mut lines = Vec::new();
    for plan in relays {
        let Some(relay) = around.host(plan.row) else { continue };
        lines.push(PlanLineView {
            from: around.higher(relay).to_owned(),
            to: relay.name.clone(),
            bytes: plan.bytes,
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
    match plan.kept_until {
        Some(until) => format!("kept until {}", super::format::day(until, around.now)),
        None if plan.bytes > 0 && draft.copies.iter().any(|copy| copy.relay == plan.row) => {
            "at most".to_owned()
        }
        None => String::new(),
    }
}
