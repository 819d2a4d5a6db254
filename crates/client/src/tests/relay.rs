use packhorse_domain::ids::Name;
use packhorse_domain::job::{Clause, HostRole, Place};
use packhorse_wire::enroll::{self, IdentityFolder};
use packhorse_wire::messages::{JoinResponse, PROTOCOL};
use packhorse_wire::net::ServerTls;
use packhorse_wire::pki::{CertIdentity, HOST_LIFETIME, Role, Usage};
use packhorse_wire::signed::{PLACE_TYPE, PlaceDoc};
use packhorse_wire::token::Token;

use super::higher::Higher;
use super::system::{System, sign};
use crate::{IdentitySource, RunOptions, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relays_own_agent_asks_the_relay_itself() {
    let mut system = System::start().await;
    let place = Place {
        route: vec![system.relay, system.me],
        revision: 1,
        ..Place::new(system.me, "namba", HostRole::Relay)
    };
    let place = sign(PLACE_TYPE, &PlaceDoc::from(&place), &[&system.jobs]);
    let (ca, me, trust) = (std::sync::Arc::clone(&system.ca), system.me, system.next_trust(|_| {}));
    system.higher.known.lock().unwrap().join = Some(Box::new(move |request| {
        let who = CertIdentity { role: Role::Relay, id: me.to_string(), name: "namba".into(), generation: 1 };
        let usage = Usage::server("localhost", ([127, 0, 0, 1], 0).into(), &[]);
        let now = jiff::Timestamp::now();
        let issued = ca.issue(&request.csr_pem, &who, &usage, now, HOST_LIFETIME).unwrap();
        JoinResponse {
            v: PROTOCOL,
            host: me.into(),
            chain_pem: issued.chain_pem,
            generation: 1,
            place: place.clone().into(),
            trust: trust.clone().into(),
        }
    }));
    let token = Token::new(Role::Relay, &system.ca.fingerprint(), None).unwrap().to_secret_text();
    let name = Name::for_host("namba").unwrap();
    let joined = enroll::join(&system.url, &token, HostRole::Relay, &name, &[]).await.unwrap();
    let folder = system.folder.path().join("relay");
    IdentityFolder::at(&folder).save(&joined).unwrap();

    let tls = ServerTls::new(system.ca.cert(), &joined.identity.tls().unwrap()).unwrap();
    let (own, address) = Higher::start(tls).await;
    let joined_at = std::mem::replace(&mut system.higher, own);
    let root = Some(system.root_folder());
    let url = format!("https://{address}");
    let options = RunOptions {
        data: system.data(),
        socket: Some(system.folder.path().join("agent.sock")),
        identity: IdentitySource::Relay { folder, url, root },
    };
    let agent = tokio::spawn(run(options, std::future::pending()));
    let package = system.package("1.0", &[("file", b"x")]);
    let mut job = system.job(1, &package);
    job.rounds[0].to = vec![Clause::All { relays: true }];
    system.order(&job);
    assert_eq!(system.higher.end(1).await.end, "done");
    assert_eq!(system.installed("file").as_deref(), Some("x"));
    assert!(joined_at.known.lock().unwrap().reports.is_empty());
    agent.abort();
}
