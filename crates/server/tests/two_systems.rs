//! A managing server and a relay with real sockets and TLS, and a lower system that speaks the protocol by hand.

#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::ids::{HostId, JobKey, Name, PackageId, PackageLabel};
use packhorse_domain::instruction::State;
use packhorse_domain::job::{
    Clause, HostRole, Intent, Job, JobPackage, JobType, Place, Proof, Round, Standing,
};
use packhorse_domain::merkle::Prover;
use packhorse_server::db::hosts::Fleet;
use packhorse_server::db::jobs::{self, Incoming, Taken};
use packhorse_server::db::meta::NextJobNumber;
use packhorse_server::db::tokens::MakeToken;
use packhorse_server::db::{Command, DbError};
use packhorse_server::system::{System, now};
use packhorse_server::{InitOptions, RelayJoinOptions, Running, init, relay_join, start_relay, start_server};
use packhorse_wire::enroll::{EnrollError, Enrolled, join};
use packhorse_wire::messages::{
    BodyMsg, CursorMsg, EventMsg, FEED, FeedRequest, FeedResponse, Order, OutcomeMsg, PROTOCOL, REPORTS,
    ReportMsg, ReportsRequest, ReportsResponse, Soft,
};
use packhorse_wire::net::{Link, LinkError};
use packhorse_wire::pki::Role;
use packhorse_wire::signed::KeyDoc;
use packhorse_wire::token::Token;
use tokio::sync::oneshot;

struct Live {
    system: Arc<System>,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Live {
    fn of(running: Running) -> Live {
        let system = running.system().clone();
        let url = format!("https://localhost:{}", running.address().unwrap().port());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let _ = running.serve(async { drop(stopped.await) }).await;
        });
        Live { system, url, stop: Some(stop), task }
    }

    async fn end(mut self) {
        drop(self.stop.take());
        let _ = self.task.await;
    }
}

async fn server(folder: &Path) -> Live {
    let data = folder.join("hq");
    if !data.exists() {
        let listen = "127.0.0.1:0".parse().unwrap();
        init(&InitOptions { data: data.clone(), listen, name: "localhost".into(), addresses: vec![] })
            .unwrap();
    }
    Live::of(start_server(&data).await.unwrap())
}

async fn relay(folder: &Path, name: &str, higher: &Live, top: &Live) -> Live {
    let data = folder.join(name);
    if !data.exists() {
        let options = RelayJoinOptions {
            data: data.clone(),
            url: higher.url.clone(),
            token: token(&top.system, HostRole::Relay, 1, None).await,
            name: name.into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            addresses: vec![],
        };
        relay_join(&options).await.unwrap();
    }
    Live::of(start_relay(&data).await.unwrap())
}

async fn token(top: &System, role: HostRole, uses: u32, replaces: Option<&str>) -> String {
    let wire = if role == HostRole::Relay { Role::Relay } else { Role::Client };
    let token = Token::new(wire, &top.authority.as_ref().unwrap().ca().fingerprint(), None).unwrap();
    let make = MakeToken {
        hash: token.secret_hash(),
        role,
        uses,
        ends: now().plus_secs(3600),
        replaces: replaces.map(str::to_owned),
        now: now(),
    };
    top.db.write(make).await.unwrap();
    token.to_secret_text()
}

async fn client(name: &str, higher: &Live, top: &Live) -> Enrolled {
    let token = token(&top.system, HostRole::Client, 1, None).await;
    join(&higher.url, &token, HostRole::Client, &Name::new(name).unwrap(), &[]).await.unwrap()
}

async fn revise(top: &Live, job: &Job, intent: Intent) {
    let job = Job { revision: job.revision + 1, intent, ..job.clone() };
    let make = MakeJob { system: top.system.clone(), job, proofs: vec![] };
    top.system.db.write(make).await.unwrap();
}

/// A host that has said nothing of itself.
fn standing(place: &Place) -> Standing<'_> {
    Standing { place, facts: &packhorse_domain::facts::NONE, now: now() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_job_supersedes_and_a_revision_of_an_older_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    client("pc1", &top, &top).await;
    let old = job_for(&top, &["pc1"]).await;
    job_for(&top, &["pc1"]).await;
    revise(&top, &old, Intent::Open).await;
    assert_eq!(state_at(&top, "pc1").await, Some(State::Waiting), "the newer one");
    let states = top.system.db.read(|connection| {
        let mut states = Vec::new();
        for job in jobs::list(connection)? {
            states.extend(jobs::lines_of(connection, job.row)?.into_iter().map(|(_, line)| line.shown()));
        }
        Ok(states)
    });
    assert_eq!(states.await.unwrap(), vec![State::Waiting, State::Superseded]);
    top.end().await;
}

struct MakeJob {
    system: Arc<System>,
    job: Job,
    proofs: Vec<Proof>,
}

impl Command for MakeJob {
    type Answer = Taken;

    fn apply(self, tx: &rusqlite::Connection) -> Result<Taken, DbError> {
        let envelope = self.system.authority.as_ref().unwrap().sign_job(&self.job).unwrap();
        let incoming = Incoming {
            job: self.job,
            envelope,
            proofs: self.proofs,
            ended: vec![],
            named: Vec::new(),
            copies: vec![(PackageId([7; 32]), 10, vec![])],
            asked: "[]".into(),
        };
        jobs::take(tx, &incoming, &self.system.capabilities, now())
    }
}

fn job_with(number: u64, clause: Clause) -> Job {
    let label = PackageLabel { cabinet: "main".into(), name: "p".into(), version: "1".into(), generation: 1 };
    Job {
        key: JobKey::server(1, number),
        revision: 1,
        job_type: JobType::Install,
        created: now(),
        packages: vec![JobPackage { id: PackageId([7; 32]), label, keep_until: now().plus_days(90) }],
        rounds: vec![Round { attempt: 1, ordered: now(), to: vec![clause] }],
        at: Some(now().plus_secs(3000)),
        until: now().plus_days(90),
        allow_downgrade: false,
        intent: Intent::Open,
        terms: packhorse_domain::job::Terms::default(),
    }
}

async fn job_for(top: &Live, names: &[&str]) -> Job {
    let number = top.system.db.write(NextJobNumber).await.unwrap();
    let fleet = top.system.db.read(Fleet::load).await.unwrap();
    let rows = names.iter().map(|name| fleet.named(name).unwrap().row).collect();
    let list: Vec<HostId> =
        fleet.in_route_order(rows).into_iter().map(|row| fleet.get(row).unwrap().id).collect();
    let prover = Prover::whole(list).unwrap();
    let clause = Clause::Hosts { root: prover.slice().root().unwrap(), size: prover.slice().size };
    let job = job_with(number, clause);
    let proofs = vec![Proof { attempt: 1, slice: prover.slice().clone() }];
    let make = MakeJob { system: top.system.clone(), job: job.clone(), proofs };
    let Taken::Stored { lowers, .. } = top.system.db.write(make).await.unwrap() else { panic!("not stored") };
    top.system.wake(&lowers);
    job
}

struct Reader {
    link: Link,
    cursor: Option<CursorMsg>,
    run: u64,
}

impl Reader {
    fn new(host: &Enrolled) -> Reader {
        Reader { link: host.identity.link().unwrap(), cursor: None, run: 5 }
    }

    async fn ask(&mut self, hold_secs: u32) -> Result<(FeedResponse, Vec<Order>), LinkError> {
        let request =
            FeedRequest { v: PROTOCOL, run: self.run, incarnation: 77, cursor: self.cursor, hold_secs };
        let response: FeedResponse = self.link.call(FEED, &request, Duration::from_secs(30)).await?;
        let newest = response.orders.last().map_or(response.after, |order| order.n);
        self.cursor = Some(CursorMsg { incarnation: response.feed, n: newest });
        let orders =
            response.orders.iter().filter_map(|order| Order::decode(&order.kind, &order.body).unwrap());
        let orders = orders.collect();
        Ok((response, orders))
    }

    /// Asks until an order of interest came.
    async fn until<T>(&mut self, mut want: impl FnMut(&Order) -> Option<T>) -> (FeedResponse, T) {
        for _ in 0..50 {
            match self.ask(5).await {
                Ok((response, orders)) => {
                    if let Some(found) = orders.iter().find_map(&mut want) {
                        return (response, found);
                    }
                }
                // A relay that has not heard of the host yet says so; it is asked again.
                Err(error) if error.is_passing() => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the order did not come");
    }
}

fn is_job(order: &Order) -> Option<packhorse_wire::messages::JobOrder> {
    if let Order::Job(job) = order { Some(job.clone()) } else { None }
}

fn done(host: HostId, job: &Job, no: u64) -> ReportMsg {
    let outcome = OutcomeMsg {
        end: State::Done.as_str().into(),
        class: None,
        step: "check".into(),
        exit_code: None,
        text: String::new(),
        tail: String::new(),
        by: None,
    };
    let body = BodyMsg::Line {
        job: KeyDoc::from(&job.key),
        package: job.packages[0].id.into(),
        attempt: 1,
        event: EventMsg::Ended(outcome),
    };
    ReportMsg { origin: host.into(), incarnation: 77, no, base: 0, at: now().0, body }
}

async fn send(link: &Link, server: u64, reports: Vec<(u64, ReportMsg)>) -> ReportsResponse {
    let through = reports.last().map_or(0, |(n, _)| *n);
    let request = ReportsRequest {
        v: PROTOCOL,
        run: 5,
        incarnation: 77,
        server,
        after: 0,
        through,
        reports,
        soft: Soft::default(),
    };
    link.call(REPORTS, &request, Duration::from_secs(10)).await.unwrap()
}

async fn state_at(live: &Live, host: &str) -> Option<State> {
    let host = host.to_owned();
    let found = live.system.db.read(move |connection| {
        let fleet = Fleet::load(connection)?;
        let row = fleet.named(&host).map(|host| host.row);
        let jobs = jobs::list(connection)?;
        let Some(job) = jobs.first() else { return Ok(None) };
        let lines = jobs::lines_of(connection, job.row)?;
        Ok(lines.into_iter().find(|(at, _)| Some(at.host) == row).map(|(_, line)| line.shown()))
    });
    found.await.unwrap()
}

async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    for _ in 0..200 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_down_through_a_relay_and_its_report_comes_up() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let osaka = relay(folder.path(), "osaka", &top, &top).await;
    let pc1 = client("pc1", &osaka, &top).await;
    let pc2 = client("pc2", &osaka, &top).await;
    let direct = client("direct", &top, &top).await;
    assert_eq!(pc1.place.route.len(), 1);
    assert_eq!(direct.place.route.len(), 0);
    assert_eq!(pc1.identity.higher.name, "osaka");

    let job = job_for(&top, &["pc1", "pc2", "direct"]).await;
    for host in [&pc1, &pc2, &direct] {
        let mut reader = Reader::new(host);
        let (response, order) = reader.until(is_job).await;
        let got = host.trust.job(&order.job, &Default::default(), Some(&host.place), now()).unwrap();
        assert_eq!(got, job);
        let proofs: Vec<Proof> = order.proofs.into_iter().map(Proof::from).collect();
        assert_eq!(
            got.round_for(&standing(&host.place), &proofs).unwrap().attempt,
            1,
            "{}",
            host.identity.name
        );
        assert!(proofs.iter().all(|proof| proof.slice.leaves == [host.identity.id]), "only its own leaf");
        eventually("the managing server's life", async || osaka.system.server_life().0 != 0).await;
        let answer = send(&reader.link, response.server, vec![(1, done(host.identity.id, &job, 1))]).await;
        assert_eq!(answer.stored, 1);
        let (_, receipts) = reader
            .until(|order| if let Order::Receipts(all) = order { Some(all.clone()) } else { None })
            .await;
        assert_eq!((receipts.len(), receipts[0].upto), (1, 1));
        eventually("the result", async || state_at(&top, &host.identity.name).await == Some(State::Done))
            .await;
    }
    eventually("the outbox empties", async || {
        let left = osaka.system.db.read(|c| Ok(packhorse_server::db::outbox::after(c, 0, 100)?.0));
        left.await.unwrap().iter().all(|(_, report)| report.origin == osaka.system.id.into())
    })
    .await;
    osaka.end().await;
    top.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_what_it_says_and_a_name_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let refusal = |error: EnrollError| match error {
        EnrollError::Link(error) => error.refusal().unwrap().clone(),
        other => panic!("{other}"),
    };
    let try_join = async |token: &str, role, name: &str| {
        join(&top.url, token, role, &Name::new(name).unwrap(), &[]).await
    };
    let once = token(&top.system, HostRole::Client, 1, None).await;
    let first = try_join(&once, HostRole::Client, "pc1").await.unwrap();
    let error = refusal(try_join(&once, HostRole::Client, "pc2").await.unwrap_err());
    assert_eq!(error.message, "this token was used as often as it may be");
    let wrong = token(&top.system, HostRole::Relay, 1, None).await;
    let error = try_join(&wrong, HostRole::Client, "pc2").await.unwrap_err();
    assert_eq!(error.to_string(), "this token is for a relay, not for a client");
    let other = token(&top.system, HostRole::Client, 2, None).await;
    let error = refusal(try_join(&other, HostRole::Client, "pc1").await.unwrap_err());
    assert_eq!(error.message, "there is a host named pc1");
    assert!(error.hint.unwrap().contains("token new --replace pc1"));

    let replace = token(&top.system, HostRole::Client, 1, Some("pc1")).await;
    let second = try_join(&replace, HostRole::Client, "pc1").await.unwrap();
    assert_eq!(second.identity.id, first.identity.id);
    let mut old = Reader::new(&first);
    let error = old.ask(0).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, "retired");
    Reader::new(&second).ask(0).await.unwrap();

    let error = packhorse_wire::enroll::renew(&first.identity).await.unwrap_err();
    assert_eq!(refusal(error).code, "retired");
    let renewed = packhorse_wire::enroll::renew(&second.identity).await.unwrap();
    assert_eq!(renewed.info().unwrap().identity.generation, 3);
    top.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_taken_over_elsewhere_is_refused_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let osaka = relay(folder.path(), "osaka", &top, &top).await;
    let namba = relay(folder.path(), "namba", &osaka, &top).await;
    let first = client("pc1", &namba, &top).await;
    let mut old = Reader::new(&first);
    old.until(|order| matches!(order, Order::Place(_)).then_some(())).await;

    let replace = token(&top.system, HostRole::Client, 1, Some("pc1")).await;
    let name = Name::new("pc1").unwrap();
    let second = join(&top.url, &replace, HostRole::Client, &name, &[]).await.unwrap();
    assert_eq!(second.identity.id, first.identity.id);
    Reader::new(&second).ask(0).await.unwrap();
    let id = first.identity.id;
    for live in [&osaka, &namba] {
        eventually("the old place is forgotten", async || live.system.listed(&id).is_none()).await;
    }
    assert_eq!(old.ask(0).await.unwrap_err().refusal().unwrap().code, "unknown_host");

    // A relay with hosts below it keeps its place.
    let replace = token(&top.system, HostRole::Relay, 1, Some("osaka")).await;
    let name = Name::new("osaka").unwrap();
    let back = async |url: &str| join(url, &replace, HostRole::Relay, &name, &["localhost".into()]).await;
    let EnrollError::Link(error) = back(&namba.url).await.unwrap_err() else { panic!("another error") };
    assert_eq!(error.refusal().unwrap().code, "moved_relay");
    back(&top.url).await.unwrap();
    for live in [namba, osaka, top] {
        live.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_under_one_name_are_held_only_when_they_come_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let host = client("pc1", &top, &top).await;
    let (mut a, mut b) = (Reader::new(&host), Reader::new(&host));
    b.run = 6;
    a.ask(0).await.unwrap();
    b.ask(0).await.unwrap();
    assert_eq!(a.ask(0).await.unwrap_err().refusal().unwrap().code, "twins");
    assert_eq!(b.ask(0).await.unwrap_err().refusal().unwrap().code, "twins");
    top.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_about_a_host_that_is_not_below_is_refused_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let (pc1, pc2) = (client("pc1", &top, &top).await, client("pc2", &top, &top).await);
    let job = job_for(&top, &["pc1", "pc2"]).await;
    let mut reader = Reader::new(&pc1);
    let (response, _) = reader.until(is_job).await;
    send(&reader.link, response.server, vec![(1, done(pc2.identity.id, &job, 1))]).await;
    assert_eq!(state_at(&top, "pc2").await, Some(State::Waiting));
    let alarms: i64 = top
        .system
        .db
        .read(|c| {
            Ok(c.query_row(
                "SELECT COUNT(*) FROM alarms WHERE code = 'not_below' AND host = 'pc1'",
                [],
                |r| r.get(0),
            )?)
        })
        .await
        .unwrap();
    assert_eq!(alarms, 1);
    top.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_2000_hosts_costs_as_many_statements_as_one_of_10() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let osaka = relay(folder.path(), "osaka", &top, &top).await;
    eventually("the relay comes", async || top.system.presence.now(&osaka.system.id, now()).online).await;
    let statements = || top.system.db.statements_written();
    top.system.db.write(ManyHosts(osaka.system.id)).await.unwrap();
    osaka.end().await;
    // What the relay sent last may still be being written.
    let mut seen = 0;
    while std::mem::replace(&mut seen, statements()) != seen {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let names: Vec<String> = (0..2000).map(|n| format!("bulk{n:04}")).collect();
    let mut costs = Vec::new();
    for count in [10, 2000, 10, 2000] {
        let names: Vec<&str> = names[..count].iter().map(String::as_str).collect();
        let before = statements();
        job_for(&top, &names).await;
        costs.push(statements() - before);
    }
    let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
    assert!(most - least <= 2, "{costs:?}");
    top.end().await;
}

/// Two thousand clients below a relay, without their keys and certificates.
struct ManyHosts(HostId);

impl Command for ManyHosts {
    type Answer = ();

    fn apply(self, tx: &rusqlite::Connection) -> Result<(), DbError> {
        let relay: i64 = tx.query_row("SELECT row FROM hosts WHERE id = ?1", [self.0.0], |row| row.get(0))?;
        for n in 0..2000u32 {
            let mut id = [9; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let sql = "INSERT INTO hosts (id, name, role, higher, via, generation, oldest, place, place_revision, joined)
                       VALUES (?1, ?2, 'client', ?3, ?3, 1, 1, x'', 1, 0)";
            tx.prepare_cached(sql)?.execute(rusqlite::params![id, format!("bulk{n:04}"), relay])?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_for_what_is_below_a_relay_is_understood_at_every_level() {
    let folder = tempfile::tempdir().unwrap();
    let top = server(folder.path()).await;
    let osaka = relay(folder.path(), "osaka", &top, &top).await;
    let namba = relay(folder.path(), "namba", &osaka, &top).await;
    let pc1 = client("pc1", &namba, &top).await;
    let id = osaka.system.id;
    let number = top.system.db.write(NextJobNumber).await.unwrap();
    let mut job = job_with(number, Clause::Below(id));
    job.at = None;
    let make = MakeJob { system: top.system.clone(), job: job.clone(), proofs: vec![] };
    let Taken::Stored { lowers, lines, .. } = top.system.db.write(make).await.unwrap() else {
        panic!("not stored")
    };
    assert_eq!(lines, 1);
    top.system.wake(&lowers);
    let (_, order) = Reader::new(&pc1).until(is_job).await;
    let got = pc1.trust.job(&order.job, &Default::default(), Some(&pc1.place), now()).unwrap();
    assert_eq!(got.round_for(&standing(&pc1.place), &[]).unwrap().attempt, 1);

    // A host that joins while the job is open is taken in.
    let pc2 = client("pc2", &namba, &top).await;
    let (_, order) = Reader::new(&pc2).until(is_job).await;
    assert_eq!(pc2.trust.job(&order.job, &Default::default(), Some(&pc2.place), now()).unwrap(), job);
    for live in [namba, osaka, top] {
        live.end().await;
    }
}
