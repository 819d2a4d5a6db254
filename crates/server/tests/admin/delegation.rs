//! What is delegated to relays, and what they say of the jobs they make with it.

use axum::http::{Method, StatusCode};
use packhorse_domain::ids::{HostId, JobKey, PackageId, PackageLabel};
use packhorse_domain::job::{Clause, HostRole, Intent, Job, JobPackage, JobType, Proof, Round};
use packhorse_domain::merkle::Prover;
use packhorse_domain::report::{Body, JobReport};
use packhorse_server::db::delegations::{self, StopEnded};
use packhorse_server::db::endings::WarnOfEndings;
use packhorse_server::db::feeds::{self, FeedAnswer};
use packhorse_server::db::hosts::HostRecord;
use packhorse_server::db::rebuild::RebuildFeed;
use packhorse_server::db::{Command, DbError};
use packhorse_server::system::now;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};
use packhorse_wire::messages::Order;
use packhorse_wire::pki::Role;
use packhorse_wire::signed::{JOB_TYPE, JobDoc};
use serde_json::{Value, json};

use super::support::Top;

/// One statement.
struct Sql(&'static str, HostId, Vec<u8>);

impl Command for Sql {
    type Answer = ();

    fn apply(self, tx: &rusqlite::Connection) -> Result<(), DbError> {
        tx.execute(self.0, rusqlite::params![self.1.0, self.2])?;
        Ok(())
    }
}

struct Scene {
    top: Top,
    osaka: HostRecord,
    pc1: HostRecord,
    pc9: HostRecord,
    key: SigningKey,
}

const GRANT: &str = "/admin/v1/relays/osaka/grant";

impl Scene {
    async fn new() -> Scene {
        let top = Top::new().await;
        let osaka = top.join("osaka", HostRole::Relay, None).await;
        let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
        let pc9 = top.join("pc9", HostRole::Client, None).await;
        let key = SigningKey::generate().unwrap();
        Scene { top, osaka, pc1, pc9, key }
    }

    /// As if the relay had told its key, and had every delegation at once.
    async fn told(&self) {
        let sql = "UPDATE hosts SET job_key = ?2 WHERE id = ?1";
        self.top.system.db.write(Sql(sql, self.osaka.id, self.key.public().0.to_vec())).await.unwrap();
        let sql = "INSERT INTO applied (origin, what, revision) VALUES (?1, 'delegation', 9000000000000 + length(?2))";
        self.top.system.db.write(Sql(sql, self.osaka.id, vec![])).await.unwrap();
    }

    async fn grant(&self, days: u32) -> Value {
        let key = self.key.public().to_string();
        let own = json!([{"name": "own", "keys": [key]}]);
        self.top.done(GRANT, &json!({"install": true, "offer": true, "cabinets": own, "days": days})).await
    }

    fn job(&self, to: Clause, number: u64) -> Job {
        // Each brings another package: none takes the place of one before.
        let name = format!("x{number}");
        let label = PackageLabel { cabinet: "own".into(), name, version: "1".into(), generation: 1 };
        Job {
            key: JobKey { issuer: "osaka".into(), epoch: 5, number },
            revision: 1,
            job_type: JobType::Install,
            created: now(),
            packages: vec![JobPackage {
                id: PackageId([u8::try_from(number).unwrap(); 32]),
                label,
                keep_until: now().plus_days(1),
            }],
            rounds: vec![Round { attempt: 1, ordered: now(), to: vec![to] }],
            at: None,
            until: now().plus_days(1),
            allow_downgrade: false,
            intent: Intent::Open,
            terms: packhorse_domain::job::Terms::default(),
        }
    }

    async fn says(&self, no: u64, job: &Job, proofs: Vec<Proof>, key: &SigningKey) {
        let payload = to_cbor(&JobDoc::from(job)).unwrap();
        let envelope = Envelope::sign(JOB_TYPE, payload.into(), &[key]).unwrap().encode().unwrap();
        let report = JobReport { envelope, proofs, sizes: vec![5], asked: "[\"all\"]".into() };
        self.top.say(&self.osaka, no, Body::Job(report)).await;
    }

    async fn hosts_of(&self, job: &str) -> Vec<String> {
        let view = self.top.get(&format!("/admin/v1/jobs/{job}")).await;
        let lines = view["instructions"].as_array().unwrap();
        lines.iter().map(|line| line["host"].as_str().unwrap().to_owned()).collect()
    }

    async fn delegations_in_feed(&self, host: &HostRecord) -> usize {
        let reader = packhorse_domain::ids::Incarnation(3);
        let capabilities = self.top.system.capabilities.clone();
        let lower = host.row;
        self.top.system.db.write(RebuildFeed { lower, reader, capabilities, now: now() }).await.unwrap();
        let read = self.top.system.db.read(move |connection| feeds::read(connection, lower, reader, None));
        let FeedAnswer::Orders { orders, .. } = read.await.unwrap() else { panic!("made anew") };
        let is = |order: &&packhorse_wire::messages::OrderMsg| {
            matches!(Order::decode(&order.kind, &order.body).unwrap(), Some(Order::Delegation(_)))
        };
        orders.iter().filter(is).count()
    }
}

#[tokio::test]
async fn a_grant_is_refused_with_a_reason_and_goes_to_those_who_need_it() {
    let scene = Scene::new().await;
    let top = &scene.top;
    top.refused(GRANT, &json!({"install": true}), 400, "no_job_key").await;
    scene.told().await;
    top.refused(GRANT, &json!({}), 400, "bad_request").await;
    top.refused("/admin/v1/relays/pc1/grant", &json!({"install": true}), 404, "unknown_relay").await;
    top.refused("/admin/v1/relays/osaka/revoke", &json!({}), 404, "unknown_grant").await;
    let main = json!({"cabinets": [{"name": "main", "keys": []}]});
    top.refused(GRANT, &main, 409, "exists").await;
    let keyless = json!({"cabinets": [{"name": "own", "keys": []}]});
    top.refused(GRANT, &keyless, 400, "no_key").await;
    let key = SigningKey::generate().unwrap().public().to_string();
    let own = json!({"install": true, "cabinets": [{"name": "own", "keys": [key]}]});
    let first = top.done(GRANT, &own).await;
    assert_eq!((&first["install"], &first["acknowledged"]), (&json!(true), &json!(true)));
    // The keys a cabinet has stay if none are said; a later grant takes the place of the one before.
    let second = top.done(GRANT, &json!({"offer": true, "cabinets": [{"name": "own", "keys": []}]})).await;
    assert_eq!((&second["install"], &second["cabinets"]), (&json!(false), &first["cabinets"]));
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
    top.refused("/admin/v1/cabinets", &json!({"name": "own", "keys": []}), 409, "exists").await;
    let shown = top.get("/admin/v1/relays/osaka").await;
    assert_eq!(shown["granted"], second);
    // By way of osaka; nobody beside it has to know.
    assert_eq!(scene.delegations_in_feed(&scene.osaka).await, 1);
    assert_eq!(scene.delegations_in_feed(&scene.pc9).await, 0);
    // A restart remembers it.
    let restarted = scene.top.restart().await;
    assert!(restarted.system.delegations().of("osaka").is_some_and(|doc| doc.lets("offer")));
}

#[tokio::test]
async fn a_relays_jobs_are_known_as_far_as_it_may_make_them() {
    let scene = Scene::new().await;
    scene.told().await;
    let all = Clause::All { relays: false };
    scene.says(1, &scene.job(all.clone(), 1), vec![], &scene.key).await;
    let (status, _) = scene.top.ask(Method::GET, "/admin/v1/jobs/osaka:1", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "nothing was delegated");
    scene.grant(365).await;
    scene.says(2, &scene.job(all.clone(), 1), vec![], &scene.key).await;
    assert_eq!(scene.hosts_of("osaka:1").await, ["pc1"], "below osaka, whatever the job says");
    let listed = scene.top.get("/admin/v1/jobs").await;
    assert_eq!((&listed[0]["id"], &listed[0]["to"]), (&json!("osaka/1"), &json!(["all"])));
    // A list that names a host beside it.
    let prover = Prover::whole(vec![scene.pc1.id, scene.pc9.id]).unwrap();
    let clause = Clause::Hosts { root: prover.slice().root().unwrap(), size: 2 };
    let proofs = vec![Proof { attempt: 1, slice: prover.slice().clone() }];
    scene.says(3, &scene.job(clause, 2), proofs, &scene.key).await;
    assert_eq!(scene.hosts_of("osaka:2").await, ["pc1"]);
    // In another's name, by another key, of a type that relays do not make.
    let other = SigningKey::generate().unwrap();
    let foreign =
        Job { key: JobKey { issuer: "server".into(), epoch: 5, number: 3 }, ..scene.job(all.clone(), 3) };
    let transfer = Job { job_type: JobType::Transfer, ..scene.job(all.clone(), 5) };
    scene.says(4, &foreign, vec![], &scene.key).await;
    scene.says(5, &scene.job(all.clone(), 4), vec![], &other).await;
    scene.says(6, &transfer, vec![], &scene.key).await;
    let alarms = scene.top.get("/admin/v1/alarms").await;
    let bad = alarms.as_array().unwrap().iter().filter(|alarm| alarm["code"] == "bad_job").count();
    assert_eq!((bad, scene.top.get("/admin/v1/jobs").await.as_array().unwrap().len()), (4, 2), "{alarms}");
    // The managing server looks; it is not its job to change.
    scene.top.refused("/admin/v1/jobs/osaka:1/cancel", &json!({}), 403, "not_own").await;
    // Nobody is handed a job that is only known of.
    let reader = packhorse_domain::ids::Incarnation(8);
    let (lower, capabilities) = (scene.osaka.row, scene.top.system.capabilities.clone());
    scene.top.system.db.write(RebuildFeed { lower, reader, capabilities, now: now() }).await.unwrap();
    let read = scene.top.system.db.read(move |connection| feeds::read(connection, lower, reader, None));
    let FeedAnswer::Orders { orders, .. } = read.await.unwrap() else { panic!("made anew") };
    assert!(orders.iter().all(|order| order.kind != "job"));

    // Revoked: what has not begun stops, and what is on its way does not bring it back.
    let revoked = scene.top.done("/admin/v1/relays/osaka/revoke", &json!({})).await;
    assert_eq!(revoked["revoked"], true);
    scene.says(7, &scene.job(all, 6), vec![], &scene.key).await;
    for job in ["osaka:1", "osaka:2", "osaka:6"] {
        let view = scene.top.get(&format!("/admin/v1/jobs/{job}")).await;
        assert_eq!(
            (&view["state"], &view["instructions"][0]["state"]),
            (&json!("ended"), &json!("cancelled")),
            "{view}"
        );
    }
    let view = scene.top.get("/admin/v1/jobs/osaka:1").await;
    assert_eq!(view["instructions"][0]["result"]["text"], "the delegation of osaka was revoked");
}

#[tokio::test]
async fn what_ends_is_told_of_in_time_and_once() {
    let scene = Scene::new().await;
    scene.told().await;
    let look = async |days: i64| {
        let command = WarnOfEndings { own: "hq".into(), now: now().plus_days(days) };
        scene.top.system.db.write(command).await.unwrap()
    };
    scene.grant(30).await;
    assert_eq!(look(1).await, 0);
    assert_eq!((look(20).await, look(20).await), (1, 0), "ends soon");
    assert_eq!((look(31).await, look(40).await), (1, 0), "has ended");
    assert_eq!(look(3640).await, 1, "the trust document");
    let alarms = scene.top.get("/admin/v1/alarms").await;
    let codes: Vec<&str> =
        alarms.as_array().unwrap().iter().map(|alarm| alarm["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["trust_ends", "delegation_ends", "delegation_ends"]);
    let (status, _) = scene.top.send(Some(Role::RelayAdmin), Method::GET, "/admin/v1/hosts", "").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "a relay's access is none here");
}

#[tokio::test]
async fn what_is_granted_anew_with_less_stops_what_it_does_not_cover() {
    let scene = Scene::new().await;
    scene.told().await;
    scene.grant(365).await;
    let all = Clause::All { relays: false };
    let offer = Job { job_type: JobType::Offer, ..scene.job(all.clone(), 2) };
    let mut servers = scene.job(all.clone(), 3);
    servers.packages[0].label.cabinet = "main".into();
    for (no, job) in [(1, &scene.job(all.clone(), 1)), (2, &offer), (3, &servers)] {
        scene.says(no, job, vec![], &scene.key).await;
    }
    let stands = async |job: u64| {
        let view = scene.top.get(&format!("/admin/v1/jobs/osaka:{job}")).await;
        let line = &view["instructions"][0];
        let text = line["result"]["text"].as_str().unwrap_or_default().to_owned();
        (line["state"].as_str().unwrap().to_owned(), text)
    };
    let cancelled = |text: &str| ("cancelled".to_owned(), text.to_owned());
    let key = scene.key.public().to_string();
    let own = json!([{"name": "own", "keys": [key]}]);
    scene.top.done(GRANT, &json!({"install": true, "cabinets": own})).await;
    assert_eq!(stands(2).await, cancelled("jobs of type offer are not delegated to osaka any more"));
    assert_eq!((stands(1).await.0, stands(3).await.0), ("waiting".to_owned(), "waiting".to_owned()));
    scene.top.done(GRANT, &json!({"install": true})).await;
    assert_eq!(stands(1).await, cancelled("cabinet own is not delegated to osaka any more"));
    assert_eq!(stands(3).await.0, "waiting", "the managing server's packages it may still install");
    // A revision that was on its way does not begin it again, and one that stops is what its maker says.
    let again = Job { revision: 2, ..scene.job(all.clone(), 1) };
    scene.says(4, &again, vec![], &scene.key).await;
    assert_eq!(stands(1).await, cancelled("cabinet own is not delegated to osaka any more"));
    let stopped = Job { revision: 2, intent: Intent::Cancelled, ..offer };
    scene.says(5, &stopped, vec![], &scene.key).await;
    assert_eq!(stands(2).await.0, "cancelled");
    let alarms = scene.top.get("/admin/v1/alarms").await;
    assert!(alarms.as_array().unwrap().is_empty(), "{alarms}");
}

#[tokio::test]
async fn at_its_end_a_delegation_stops_what_has_not_begun() {
    let scene = Scene::new().await;
    scene.told().await;
    scene.grant(1).await;
    let job = Job { until: now().plus_days(30), ..scene.job(Clause::All { relays: false }, 1) };
    scene.says(1, &job, vec![], &scene.key).await;
    let db = &scene.top.system.db;
    let ended = |days: i64| move |c: &rusqlite::Connection| delegations::any_ended(c, now().plus_days(days));
    assert!(!db.read(ended(0)).await.unwrap() && db.read(ended(1)).await.unwrap());
    db.write(StopEnded(now().plus_days(1))).await.unwrap();
    assert!(!db.read(ended(1)).await.unwrap(), "it is said once");
    let view = scene.top.get("/admin/v1/jobs/osaka:1").await;
    let line = &view["instructions"][0];
    assert_eq!(
        (&line["state"], &line["result"]["text"]),
        (&json!("cancelled"), &json!("the delegation of osaka has ended")),
        "{view}"
    );
    // A renewal that was on its way: what nobody has ended goes on.
    let renewed = scene.grant(365).await;
    assert_eq!(renewed["revoked"], false);
    let stands = async || {
        let view = scene.top.get("/admin/v1/jobs/osaka:1").await;
        let line = &view["instructions"][0];
        (line["state"].as_str().unwrap().to_owned(), line["result"]["text"].clone())
    };
    assert_eq!(stands().await.0, "waiting");
    // What was withdrawn after the end does not come back with the next grant.
    scene.grant(1).await;
    db.write(StopEnded(now().plus_days(1))).await.unwrap();
    scene.top.done("/admin/v1/relays/osaka/revoke", &json!({})).await;
    assert_eq!(stands().await, ("cancelled".to_owned(), json!("the delegation of osaka was revoked")));
    scene.grant(365).await;
    assert_eq!(stands().await.0, "cancelled");
}

#[tokio::test]
async fn a_host_moved_away_from_a_relay_has_nothing_left_to_begin_of_its_jobs() {
    let scene = Scene::new().await;
    scene.told().await;
    scene.grant(365).await;
    scene.says(1, &scene.job(Clause::All { relays: false }, 1), vec![], &scene.key).await;
    scene.top.done("/admin/v1/hosts/pc1/move", &json!({"to": "server"})).await;
    let view = scene.top.get("/admin/v1/jobs/osaka:1").await;
    let line = &view["instructions"][0];
    assert_eq!(
        (&line["state"], &line["result"]["text"]),
        (&json!("cancelled"), &json!("pc1 is not below osaka any more")),
        "{view}"
    );
}

#[tokio::test]
async fn a_host_that_may_come_back_to_a_relay_keeps_what_it_has_not_begun_of_its_jobs() {
    let scene = Scene::new().await;
    let sendai = scene.top.join("sendai", HostRole::Relay, None).await;
    for relay in [&scene.osaka, &sendai] {
        let sql = "UPDATE hosts SET urls = CAST(?2 AS TEXT) WHERE id = ?1";
        let urls = b"[\"https://relay.example:7443\"]".to_vec();
        scene.top.system.db.write(Sql(sql, relay.id, urls)).await.unwrap();
    }
    scene.told().await;
    scene.grant(365).await;
    scene.says(1, &scene.job(Clause::All { relays: false }, 1), vec![], &scene.key).await;
    let stands = async || {
        let view = scene.top.get("/admin/v1/jobs/osaka:1").await;
        let line = &view["instructions"][0];
        (line["state"].as_str().unwrap().to_owned(), line["result"]["text"].clone())
    };
    let call = async |above: &[&str]| {
        let body = json!({"to": above[0], "then": above[1..]});
        scene.top.done("/admin/v1/hosts/pc1/move", &body).await;
    };
    // What the managing server makes of a call of a host whose first system is away is such a place.
    call(&["sendai", "osaka"]).await;
    assert_eq!(stands().await.0, "waiting");
    call(&["osaka", "sendai"]).await;
    assert_eq!(stands().await.0, "waiting");
    // It goes on to call sendai; osaka is not for it any more.
    call(&["sendai", "osaka"]).await;
    call(&["sendai"]).await;
    assert_eq!(stands().await, ("cancelled".to_owned(), json!("pc1 is not below osaka any more")));
}
