//! What the authority signs, and renewal by the old key.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use packhorse_wire::pki::{
    Ca, CaCert, CertIdentity, CertInfo, HOST_LIFETIME, HostKey, PkiError, RenewProof, Role, Usage,
    chain_from_pem, new_id, verify_renew_proof,
};

use crate::common::{Host, ca, days_ago, now, usage};

#[test]
fn authority_is_read_back_from_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("ca.crt"), folder.path().join("ca.key"));
    let ca = ca();
    ca.save(&cert, &key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);

    let loaded = Ca::load(&cert, &key).unwrap();
    assert_eq!(loaded.fingerprint(), ca.fingerprint());
    let host = Host::new(&loaded, Role::Client, "pc17");
    assert_eq!(host.key.check_chain(&host.chain_pem, ca.cert()).unwrap().identity, host.identity);

    Ca::create("other", now()).unwrap().save(&cert, &folder.path().join("other.key")).unwrap();
    assert!(matches!(Ca::load(&cert, &key), Err(PkiError::OtherKey)));
    assert!(matches!(Ca::load(&folder.path().join("none"), &key), Err(PkiError::File { .. })));
}

#[test]
fn secrets_do_not_show() {
    let ca = ca();
    let host = Host::new(&ca, Role::Client, "pc17");
    for shown in [format!("{ca:?}"), format!("{:?}", host.key), format!("{:?}", host.tls())] {
        assert!(shown.len() < 120 && !shown.contains("PRIVATE"), "{shown}");
    }
}

#[test]
fn certificate_says_what_the_issuer_said() {
    let ca = ca();
    let key = HostKey::generate().unwrap();
    let identity =
        CertIdentity { role: Role::Relay, id: new_id().unwrap(), name: "osaka".into(), generation: 3 };
    // The request asks for another name.
    let csr = key.csr_pem("server").unwrap();
    let extra = vec!["osaka.example:8441".to_owned(), "[fd00::1]:8441".to_owned()];
    let usage = Usage::server("osaka", "127.0.0.1:8441".parse().unwrap(), &extra);
    let issued = ca.issue(&csr, &identity, &usage, days_ago(1), HOST_LIFETIME).unwrap();
    assert_eq!(issued.info.identity, identity);
    assert_eq!(issued.info.not_after.as_second() - issued.info.not_before.as_second(), 30 * 86_400);
    let Usage::Server { addresses } = usage else { panic!() };
    assert_eq!(addresses, ["osaka", "127.0.0.1", "localhost", "osaka.example", "fd00::1"]);

    let chain = chain_from_pem(&issued.chain_pem).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(&chain[1], ca.cert().der());
    assert_eq!(CaCert::from_chain(&chain, &ca.fingerprint()).unwrap(), *ca.cert());
    assert_eq!(CertInfo::from_der(&chain[0]).unwrap(), issued.info);

    let again = ca.issue(&csr, &identity, &usage_of(Role::Relay), now(), HOST_LIFETIME).unwrap();
    assert_ne!(again.info.serial, issued.info.serial, "one key, two certificates, two serial numbers");
}

fn usage_of(role: Role) -> Usage {
    usage(role)
}

#[test]
fn bad_requests_are_refused() {
    let ca = ca();
    let good = HostKey::generate().unwrap().csr_pem("pc17").unwrap();
    let identity = |name: &str| CertIdentity {
        role: Role::Client,
        id: new_id().unwrap(),
        name: name.into(),
        generation: 1,
    };
    let issue = |csr: &str, identity: &CertIdentity, usage: &Usage, lifetime| {
        ca.issue(csr, identity, usage, now(), lifetime).map(|_| ())
    };
    let pc17 = identity("pc17");
    assert!(issue(&good, &pc17, &Usage::Client, HOST_LIFETIME).is_ok());

    let flipped = good.replace(&good[200..202], if &good[200..202] == "AA" { "BB" } else { "AA" });
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = rcgen::CertificateParams::default().serialize_request(&p384).unwrap().pem().unwrap();
    for csr in ["", "hello", &flipped, &p384, &good.repeat(100)] {
        let refused = issue(csr, &pc17, &Usage::Client, HOST_LIFETIME);
        assert!(matches!(refused, Err(PkiError::Request(_))), "{csr}: {refused:?}");
    }
    let listening = usage(Role::Relay);
    assert!(matches!(issue(&good, &pc17, &listening, HOST_LIFETIME), Err(PkiError::Usage { .. })));
    assert!(matches!(
        issue(&good, &identity("a/b"), &Usage::Client, HOST_LIFETIME),
        Err(PkiError::Name { .. })
    ));
    for lifetime in [Duration::ZERO, Duration::MAX] {
        assert!(matches!(issue(&good, &pc17, &Usage::Client, lifetime), Err(PkiError::Validity(_))));
    }
}

#[test]
fn a_chain_for_another_key_or_by_another_authority_is_refused() {
    let (ca, other) = (ca(), ca());
    let (host, stranger) = (Host::new(&ca, Role::Client, "pc17"), Host::new(&other, Role::Client, "pc17"));
    assert!(host.key.check_chain(&host.chain_pem, ca.cert()).is_ok());
    assert!(matches!(stranger.key.check_chain(&host.chain_pem, ca.cert()), Err(PkiError::OtherKey)));
    assert!(matches!(stranger.key.check_chain(&stranger.chain_pem, ca.cert()), Err(PkiError::NotOurs)));
    assert!(matches!(ca.cert().check_signed(ca.cert().der()), Err(PkiError::NotOurs)));
    let named = other.fingerprint();
    let chain = chain_from_pem(&host.chain_pem).unwrap();
    assert!(matches!(CaCert::from_chain(&chain, &named), Err(PkiError::Fingerprint { .. })));
}

#[test]
fn an_expired_host_renews_by_its_old_key() {
    let ca = ca();
    let old = Host::valid_from(&ca, Role::Client, "pc17", days_ago(90));
    let new_key = HostKey::generate().unwrap();
    let proof = RenewProof::new(&old.key, &old.chain_pem, new_key.csr_pem("pc17").unwrap()).unwrap();
    let info = verify_renew_proof(ca.cert(), &proof).unwrap();
    assert_eq!(info.identity, old.identity);
    assert!(info.not_after < now());

    let next = CertIdentity { generation: 2, ..info.identity };
    let issued = ca.issue(&proof.csr_pem, &next, &Usage::Client, now(), HOST_LIFETIME).unwrap();
    assert_eq!(new_key.check_chain(&issued.chain_pem, ca.cert()).unwrap().identity, next);
}

#[test]
fn a_renewal_by_anybody_else_is_refused() {
    let (ca, other) = (ca(), ca());
    let old = Host::new(&ca, Role::Client, "pc17");
    let thief = Host::new(&other, Role::Client, "pc17");
    let csr = thief.key.csr_pem("pc17").unwrap();

    let by_another_key = RenewProof::new(&thief.key, &old.chain_pem, csr.clone()).unwrap();
    assert!(matches!(verify_renew_proof(ca.cert(), &by_another_key), Err(PkiError::RenewSignature)));

    let of_another_authority = RenewProof::new(&thief.key, &thief.chain_pem, csr.clone()).unwrap();
    assert!(matches!(verify_renew_proof(ca.cert(), &of_another_authority), Err(PkiError::NotOurs)));

    let mut other_request =
        RenewProof::new(&old.key, &old.chain_pem, old.key.csr_pem("pc17").unwrap()).unwrap();
    other_request.csr_pem = csr;
    assert!(matches!(verify_renew_proof(ca.cert(), &other_request), Err(PkiError::RenewSignature)));
}
