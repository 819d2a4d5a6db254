//! Hosts that call another system of their list by themselves, at real systems with real certificates: who holds them, and
//! who does not.

#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::ids::{HostId, Name};
use packhorse_domain::job::HostRole;
use packhorse_domain::place::Above;
use packhorse_domain::time::Time;
use packhorse_server::db::hosts::{self, HostRecord};
use packhorse_server::db::moving::MoveHost;
use packhorse_server::db::tokens::MakeToken;
use packhorse_server::db::{Command, DbError};
use packhorse_server::system::{System, now};
use packhorse_server::{InitOptions, RelayJoinOptions, Running, init, relay_join, start_relay, start_server};
use packhorse_wire::bytes::Fixed;
use packhorse_wire::enroll::{Enrolled, Higher, HostIdentity, IdentityFolder, join};
use packhorse_wire::envelope::to_cbor;
use packhorse_wire::messages::{
    BodyMsg, CALL, CallRequest, CallResponse, FEED, FeedRequest, FeedResponse, Order, PROTOCOL, REPORTS,
    ReportMsg, ReportsRequest, ReportsResponse, Soft,
};
use packhorse_wire::net::LinkError;
use packhorse_wire::pki::{CallProof, Role};
use packhorse_wire::token::Token;
use serde_bytes::ByteBuf;
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(20);

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

    async fn host(&self, name: &'static str) -> Option<HostRecord> {
        self.system.db.read(move |connection| hosts::by_name(connection, name)).await.unwrap()
    }
}

struct Fleet {
    folder: tempfile::TempDir,
    top: Live,
}

impl Fleet {
    async fn new() -> Fleet {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("hq");
        let listen = "127.0.0.1:0".parse().unwrap();
        init(&InitOptions { data: data.clone(), listen, name: "localhost".into(), addresses: vec![] })
            .unwrap();
        Fleet { folder, top: Live::of(start_server(&data).await.unwrap()) }
    }

    fn data(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn relay(&self, name: &str) -> Live {
        let data = self.data(name);
        let options = RelayJoinOptions {
            data: data.clone(),
            url: self.top.url.clone(),
            token: self.token(HostRole::Relay, None).await,
            name: name.into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            addresses: vec![],
        };
        relay_join(&options).await.unwrap();
        Live::of(start_relay(&data).await.unwrap())
    }

    async fn token(&self, role: HostRole, replaces: Option<&str>) -> String {
        let wire = if role == HostRole::Relay { Role::Relay } else { Role::Client };
        let authority = self.top.system.authority.as_ref().unwrap();
        let token = Token::new(wire, &authority.ca().fingerprint(), None).unwrap();
        let make = MakeToken {
            hash: token.secret_hash(),
            role,
            uses: 1,
            ends: now().plus_secs(3600),
            replaces: replaces.map(str::to_owned),
            now: now(),
        };
        self.top.system.db.write(make).await.unwrap();
        token.to_secret_text()
    }

    async fn client(&self, name: &str, higher: &Live, replaces: Option<&str>) -> Enrolled {
        let token = self.token(HostRole::Client, replaces).await;
        join(&higher.url, &token, HostRole::Client, &Name::new(name).unwrap(), &[]).await.unwrap()
    }

    /// `host move`, as soon as the relays have said where they are called; answers the signed place.
    async fn listed(&self, host: &'static str, above: &[&str]) -> Vec<u8> {
        let system = &self.top.system;
        let own = Above { id: system.id, relay: false, name: "localhost".into(), urls: system.urls() };
        for _ in 0..200 {
            let command = MoveHost {
                authority: system.authority().unwrap(),
                capabilities: system.capabilities.clone(),
                host: host.into(),
                above: above.iter().map(|name| (*name).to_owned()).collect(),
                own: own.clone(),
                now: now(),
            };
            if let Ok(moved) = system.db.write(command).await {
                system.reload_directory().await.unwrap();
                system.wake(&moved.lowers);
                return self.place(host).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{host} cannot be moved");
    }

    async fn place(&self, host: &'static str) -> Vec<u8> {
        let read = self.top.system.db.read(move |connection| {
            let sql = "SELECT place FROM hosts WHERE name = ?1";
            Ok(connection.query_row(sql, [host], |row| row.get(0))?)
        });
        read.await.unwrap()
    }

    async fn alarms(&self) -> Vec<String> {
        let read = self.top.system.db.read(|connection| {
            let mut statement = connection.prepare("SELECT host || ' ' || code FROM alarms")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<Vec<String>, _>>()?)
        });
        read.await.unwrap()
    }
}

fn proof(host: &Enrolled, to: &Live, number: u64) -> CallProof {
    let identity = &host.identity;
    CallProof::new(&identity.key, &identity.chain_pem, Fixed(to.system.id.0), number, now().0).unwrap()
}

/// The host's link to another system than the one it joined.
fn link(host: &HostIdentity, to: &Live) -> packhorse_wire::net::Link {
    let higher = Higher {
        url: to.url.clone(),
        role: if to.system.authority.is_some() { Role::Server } else { Role::Relay },
        id: to.system.id.to_string(),
        name: String::new(),
    };
    HostIdentity { higher, ..host.clone() }.link().unwrap()
}

async fn call(
    host: &Enrolled,
    to: &Live,
    place: &[u8],
    proof: Option<CallProof>,
) -> Result<CallResponse, LinkError> {
    let request = CallRequest { v: PROTOCOL, place: ByteBuf::from(place.to_vec()), proof };
    link(&host.identity, to).call(CALL, &request, PATIENCE).await
}

async fn feed(host: &Enrolled, to: &Live) -> Result<Vec<Order>, LinkError> {
    feed_as(&host.identity, to).await
}

async fn feed_as(host: &HostIdentity, to: &Live) -> Result<Vec<Order>, LinkError> {
    let request = FeedRequest { v: PROTOCOL, run: 5, incarnation: 77, cursor: None, hold_secs: 0 };
    let response: FeedResponse = link(host, to).call(FEED, &request, PATIENCE).await?;
    Ok(response.orders.iter().filter_map(|order| Order::decode(&order.kind, &order.body).unwrap()).collect())
}

async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    for _ in 0..400 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not happen");
}

async fn ready(live: &Live) {
    eventually("it is ready", async || live.system.is_ready() && live.system.server_life().0 != 0).await;
}

/// The managing server's word about a relay came to the relay itself.
struct OwnWord(HostId, u64);

impl Command for OwnWord {
    type Answer = ();

    fn apply(self, tx: &rusqlite::Connection) -> Result<(), DbError> {
        let sql = "INSERT INTO retired (id, name, revision, generation, at, removed, envelope)
                   VALUES (?1, 'osaka', 1, ?2, 1, 0, x'') ON CONFLICT (id) DO UPDATE SET generation = ?2";
        tx.execute(sql, rusqlite::params![self.0.0, self.1 as i64])?;
        Ok(())
    }
}

fn status(error: &LinkError) -> u16 {
    match error {
        LinkError::Refused { status, .. } => *status,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_relay_serves_nobody_but_its_own_agent() {
    let fleet = Fleet::new().await;
    let (osaka, sendai) = (fleet.relay("osaka").await, fleet.relay("sendai").await);
    ready(&osaka).await;
    ready(&sendai).await;
    let pc1 = fleet.client("pc1", &osaka, None).await;
    let pc2 = fleet.client("pc2", &sendai, None).await;
    let pc3 = fleet.client("pc3", &osaka, None).await;
    let place = fleet.listed("pc2", &["sendai", "osaka"]).await;
    fleet.listed("pc3", &["sendai"]).await;
    eventually("it is told", async || osaka.host("pc3").await.is_none()).await;
    let agent = osaka.system.upper.as_ref().unwrap().identity();
    assert!(feed(&pc1, &osaka).await.is_ok() && feed_as(&agent, &osaka).await.is_ok());
    // An older certificate's word is about a life before.
    osaka.system.db.write(OwnWord(osaka.system.id, 0)).await.unwrap();
    osaka.system.reload_directory().await.unwrap();
    assert!(feed(&pc1, &osaka).await.is_ok());
    osaka.system.db.write(OwnWord(osaka.system.id, 1)).await.unwrap();
    osaka.system.reload_directory().await.unwrap();
    let refused = feed(&pc1, &osaka).await.unwrap_err();
    assert!(status(&refused) == 503 && refused.is_passing(), "{refused}");
    for comes in [None, Some(proof(&pc2, &osaka, 7))] {
        let refused = call(&pc2, &osaka, &place, comes).await.unwrap_err();
        assert_eq!((status(&refused), refused.refusal().unwrap().code.as_str()), (503, "relay_retired"));
    }
    assert!(osaka.host("pc2").await.is_none());
    assert!(feed_as(&agent, &osaka).await.is_ok());
    // One that was moved away in time hears where it belongs.
    assert!(matches!(feed(&pc3, &osaka).await.unwrap()[..], [Order::Place(_)]));
    osaka.end().await;
    sendai.end().await;
    fleet.top.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_relay_holds_the_host_and_the_managing_server_moves_it_there_and_back() {
    let fleet = Fleet::new().await;
    let (osaka, sendai) = (fleet.relay("osaka").await, fleet.relay("sendai").await);
    ready(&osaka).await;
    ready(&sendai).await;
    let pc = fleet.client("pc1", &osaka, None).await;
    let place = fleet.listed("pc1", &["osaka", "sendai", "server"]).await;
    // Whoever only looks is held nowhere.
    assert!(call(&pc, &sendai, &place, None).await.unwrap().takes);
    assert!(sendai.host("pc1").await.is_none());
    let refused = feed(&pc, &sendai).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, "unknown_host");
    // It comes.
    let taken = call(&pc, &sendai, &place, Some(proof(&pc, &sendai, 7))).await.unwrap();
    assert!(taken.takes, "{taken:?}");
    assert!(feed(&pc, &sendai).await.unwrap().iter().any(|order| matches!(order, Order::Place(_))));
    eventually("it is moved", async || {
        let (host, relay) = (fleet.top.host("pc1").await.unwrap(), fleet.top.host("sendai").await.unwrap());
        host.higher == Some(relay.row) && host.call_no == 7 && host.called_since.is_some()
    })
    .await;
    let names: Vec<String> = fleet.top.host("pc1").await.unwrap().above.into_iter().map(|a| a.name).collect();
    assert_eq!(names, ["osaka", "sendai", "localhost"], "the list is kept in its order");
    eventually("it is no guest any more", async || {
        sendai.host("pc1").await.is_some_and(|host| host.guest.is_none() && host.via == host.row)
    })
    .await;
    eventually("the old one forgot it", async || osaka.host("pc1").await.is_none()).await;
    // A word that the managing server knows and has gone beyond counts nowhere; the host hears where it stands.
    let late = call(&pc, &osaka, &place, Some(proof(&pc, &osaka, 6))).await.unwrap();
    assert!(!late.takes && late.place.is_some(), "{late:?}");
    assert!(osaka.host("pc1").await.is_none());
    // And back, and on to the managing server itself.
    let place = fleet.place("pc1").await;
    assert!(call(&pc, &osaka, &place, Some(proof(&pc, &osaka, 8))).await.unwrap().takes);
    eventually("it is back", async || {
        let relay = fleet.top.host("osaka").await.unwrap().row;
        fleet.top.host("pc1").await.unwrap().higher == Some(relay) && sendai.host("pc1").await.is_none()
    })
    .await;
    let place = fleet.place("pc1").await;
    assert!(call(&pc, &fleet.top, &place, Some(proof(&pc, &fleet.top, 9))).await.unwrap().takes);
    let host = fleet.top.host("pc1").await.unwrap();
    assert_eq!((host.higher, host.via), (None, host.row));
    assert!(feed(&pc, &fleet.top).await.is_ok());
    // Another machine took the name over: the old one is held nowhere.
    eventually("that is known", async || osaka.host("pc1").await.is_none()).await;
    let new = fleet.client("pc1", &sendai, Some("pc1")).await;
    let place = fleet.listed("pc1", &["sendai", "osaka"]).await;
    let refused = call(&pc, &sendai, &place, Some(proof(&pc, &sendai, 10))).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, "retired", "{refused}");
    assert!(call(&new, &sendai, &place, None).await.unwrap().takes);
    assert_eq!(fleet.alarms().await, Vec::<String>::new());
    for live in [sendai, osaka, fleet.top] {
        live.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_not_listed_draws_nobody_to_itself() {
    let fleet = Fleet::new().await;
    let (osaka, kobe) = (fleet.relay("osaka").await, fleet.relay("kobe").await);
    ready(&osaka).await;
    ready(&kobe).await;
    let pc = fleet.client("pc1", &osaka, None).await;
    let other = fleet.client("pc2", &osaka, None).await;
    let place = fleet.listed("pc1", &["osaka", "server"]).await;
    // Not by the host itself,
    let refused = call(&pc, &kobe, &place, Some(proof(&pc, &kobe, 7))).await.unwrap();
    assert!(!refused.takes && refused.why.is_some(), "{refused:?}");
    // nor with another's certificate or word,
    assert!(call(&other, &osaka, &place, None).await.is_err());
    assert!(call(&pc, &osaka, &place, Some(proof(&other, &osaka, 7))).await.is_err());
    assert!(call(&pc, &osaka, &place, Some(proof(&pc, &kobe, 7))).await.is_err());
    let mut changed = proof(&pc, &osaka, 7);
    changed.number = 8;
    assert!(call(&pc, &osaka, &place, Some(changed)).await.is_err());
    assert!(kobe.host("pc1").await.is_none());
    // nor by what the relay tells upwards, with its own certificate.
    let kobe_id = kobe.system.id;
    let words = [proof(&pc, &osaka, 7), proof(&other, &kobe, 7), proof(&pc, &kobe, 7)];
    kobe.end().await;
    let identity = IdentityFolder::at(&fleet.data("kobe")).load().unwrap();
    let reports =
        words.iter().zip(1u64..).map(|(word, n)| (n, told(kobe_id, &pc, &place, word, n))).collect();
    let request = ReportsRequest {
        v: PROTOCOL,
        run: 9,
        incarnation: 78,
        server: fleet.top.system.incarnation.0,
        after: 0,
        through: 3,
        reports,
        soft: Soft::default(),
    };
    let link = identity.link().unwrap();
    let stored: ReportsResponse = link.call(REPORTS, &request, PATIENCE).await.unwrap();
    assert_eq!(stored.stored, 3);
    let host = fleet.top.host("pc1").await.unwrap();
    assert_eq!((host.higher, host.call_no), (Some(fleet.top.host("osaka").await.unwrap().row), 0));
    assert_eq!(fleet.alarms().await, ["kobe bad_call", "kobe bad_call"]);
    assert!(feed(&pc, &osaka).await.is_ok());
    for live in [osaka, fleet.top] {
        live.end().await;
    }
}

fn told(relay: HostId, host: &Enrolled, place: &[u8], word: &CallProof, no: u64) -> ReportMsg {
    let body = BodyMsg::Calls {
        host: host.identity.id.into(),
        number: word.number,
        since: word.since,
        place: ByteBuf::from(place.to_vec()),
        proof: ByteBuf::from(to_cbor(word).unwrap()),
    };
    ReportMsg { origin: relay.into(), incarnation: 78, no, base: 0, at: now().0, body }
}

#[tokio::test]
async fn a_relay_that_heard_nothing_yet_takes_no_delegation_for_ended() {
    let fleet = Fleet::new().await;
    let osaka = fleet.relay("osaka").await;
    ready(&osaka).await;
    let heard = osaka.system.knows_until();
    assert!(heard > Time(0) && heard <= now());
    osaka.end().await;
    let data = fleet.data("osaka");
    fleet.top.end().await;
    // It has all that it knew before, and cannot know what was renewed meanwhile.
    let alone = Live::of(start_relay(&data).await.unwrap());
    assert!(alone.system.is_ready());
    assert_eq!(alone.system.knows_until(), Time(0));
    alone.end().await;
}
