//! Who is believed and who is not, over real TLS.

use hyper::Method;
use packhorse_wire::net::{Expect, Link, LinkError, Pinned};
use packhorse_wire::pki::{Ca, CertIdentity, Role};

use crate::common::{Host, PATIENCE, Server, any_higher, ca, days_ago, link, now};

async fn who(link: &Link) -> Result<String, LinkError> {
    let body = link.request(Method::GET, "/who", "", 1000, PATIENCE).await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

fn assert_refused(outcome: Result<impl std::fmt::Debug, LinkError>, why: &str) {
    match outcome {
        Err(LinkError::TlsRefused { why: found, .. }) if found.contains(why) => {}
        other => panic!("expected a TLS refusal with {why:?}, got {other:?}"),
    }
}

async fn relay(ca: &Ca) -> (Host, Server) {
    let host = Host::new(ca, Role::Relay, "osaka");
    let server = Server::start(ca, &host).await;
    (host, server)
}

#[tokio::test]
async fn a_host_is_known_by_its_certificate() {
    let ca = ca();
    let (higher, server) = relay(&ca).await;
    let pc17 = Host::new(&ca, Role::Client, "pc17");
    let pinned = Pinned::Ca { ca: ca.cert().clone(), expect: Expect::host(&higher.identity) };
    let link = link(&server, pinned, Some(&pc17));
    assert_eq!(link.peer(), None);
    assert_eq!(who(&link).await.unwrap(), pc17.identity.to_uri());
    assert_eq!(link.peer(), Some(higher.identity));
    server.stop().await;
}

#[tokio::test]
async fn a_caller_without_certificate_reaches_the_service_without_identity() {
    let ca = ca();
    let (higher, server) = relay(&ca).await;
    let joining = link(&server, Pinned::CaFingerprint(ca.fingerprint()), None);
    assert_eq!(joining.connect().await.unwrap(), higher.identity);
    assert_eq!(joining.peer_ca().unwrap(), *ca.cert());
    assert_eq!(who(&joining).await.unwrap(), "anonymous");
}

#[tokio::test]
async fn another_authority_is_refused() {
    let (ca, other) = (ca(), ca());
    let (_, server) = relay(&ca).await;
    assert_refused(link(&server, any_higher(&other), None).connect().await, "was not signed by");
    let fingerprint = Pinned::CaFingerprint(other.fingerprint());
    assert_refused(link(&server, fingerprint, None).connect().await, "has fingerprint");
}

/// The authority's certificate is public: showing it proves nothing unless it signed the certificate beside it.
#[tokio::test]
async fn a_foreign_certificate_beside_the_right_authority_is_refused() {
    let (ca, other) = (ca(), ca());
    let mut host = Host::new(&other, Role::Relay, "osaka");
    let leaf_end =
        host.chain_pem.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----\n".len();
    host.chain_pem = format!("{}{}", &host.chain_pem[..leaf_end], ca.cert().to_pem());
    let server = Server::start(&other, &host).await;
    let joining = link(&server, Pinned::CaFingerprint(ca.fingerprint()), None);
    assert_refused(joining.connect().await, "was not signed by");
}

#[tokio::test]
async fn another_role_id_or_name_is_refused() {
    let ca = ca();
    let (higher, server) = relay(&ca).await;
    let expecting = |expect| link(&server, Pinned::Ca { ca: ca.cert().clone(), expect }, None);
    let same = Expect::host(&higher.identity);

    assert!(expecting(same.clone()).connect().await.is_ok());
    let role = Expect { roles: vec![Role::Server], ..same.clone() };
    assert_refused(expecting(role).connect().await, "is a relay, expected server");
    let id = Expect { id: Some("0".repeat(32)), ..same.clone() };
    assert_refused(expecting(id).connect().await, "expected the host with id 000");
    let name = Expect { name: Some("tokyo".into()), ..same };
    assert_refused(expecting(name).connect().await, "is named osaka, expected tokyo");
}

#[tokio::test]
async fn a_client_posing_as_a_server_is_refused() {
    let ca = ca();
    let server = Server::start(&ca, &Host::new(&ca, Role::Client, "pc17")).await;
    assert_refused(link(&server, any_higher(&ca), None).connect().await, "invalid peer certificate");
    let joining = Pinned::CaFingerprint(ca.fingerprint());
    assert_refused(link(&server, joining, None).connect().await, "invalid peer certificate");
}

#[tokio::test]
async fn expired_certificates_are_refused_on_both_sides() {
    let ca = ca();
    let (_, server) = relay(&ca).await;
    let late = Host::valid_from(&ca, Role::Client, "pc17", days_ago(31));
    assert_refused(who(&link(&server, any_higher(&ca), Some(&late))).await, "CertificateExpired");

    let late = Host::valid_from(&ca, Role::Relay, "kobe", days_ago(31));
    let server = Server::start(&ca, &late).await;
    assert_refused(link(&server, any_higher(&ca), None).connect().await, "expired");
}

#[tokio::test]
async fn a_caller_of_another_authority_is_refused() {
    let (ca, other) = (ca(), ca());
    let (_, server) = relay(&ca).await;
    let stranger = Host::new(&other, Role::Client, "pc17");
    let outcome = who(&link(&server, any_higher(&ca), Some(&stranger))).await;
    assert!(matches!(outcome, Err(LinkError::TlsRefused { .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_server_certificate_is_swapped_while_running() {
    let ca = ca();
    let (higher, server) = relay(&ca).await;
    let before = link(&server, any_higher(&ca), None);
    assert_eq!(before.connect().await.unwrap().generation, 1);

    let renewed = CertIdentity { generation: 2, ..higher.identity.clone() };
    server.tls.replace(&Host::issued(&ca, renewed, now()).tls());
    assert!(who(&before).await.is_ok(), "a connection that stands is not touched");
    let pinned = Pinned::Ca { ca: ca.cert().clone(), expect: Expect::host(&higher.identity) };
    assert_eq!(link(&server, pinned, None).connect().await.unwrap().generation, 2);
}

#[tokio::test]
async fn the_own_certificate_is_swapped_while_running() {
    let ca = ca();
    let (_, server) = relay(&ca).await;
    let old = Host::new(&ca, Role::Client, "pc17");
    let link = link(&server, any_higher(&ca), Some(&old));
    assert_eq!(who(&link).await.unwrap(), old.identity.to_uri());
    let renewed = CertIdentity { generation: 2, ..old.identity.clone() };
    let renewed = Host::issued(&ca, renewed, now());
    link.set_identity(Some(&renewed.tls())).unwrap();
    assert_eq!(who(&link).await.unwrap(), renewed.identity.to_uri());
}
