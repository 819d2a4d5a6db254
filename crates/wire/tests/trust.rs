//! Whom a host trusts for what: every way in which something signed can be wrong is refused, and what was known stays.

#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::collections::BTreeMap;

use packhorse_domain::ids::{HostId, JobKey, PackageId, PackageLabel};
use packhorse_domain::job::{Clause, HostRole, Intent, Job, JobPackage, JobType, Place, Round};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::enroll::root_pin_of;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};
use packhorse_wire::pki::Ca;
use packhorse_wire::signed::{
    DELEGATION_TYPE, DELEGATION_VERSION, DelegatedCabinet, DelegationDoc, JOB_TYPE, JobDoc, KeySet,
    PLACE_TYPE, PlaceDoc, RETIRED_TYPE, RETIRED_VERSION, RetiredDoc, TRUST_TYPE, TRUST_VERSION, TrustDoc,
    root_pin,
};
use packhorse_wire::trust::{Delegations, Distrust, Trust};

const NOW: Time = Time(1_000_000);

struct Keys {
    root: SigningKey,
    jobs: SigningKey,
    packager: SigningKey,
}

fn keys() -> Keys {
    let key = || SigningKey::generate().unwrap();
    Keys { root: key(), jobs: key(), packager: key() }
}

fn doc(keys: &Keys, version: u64, previous: Option<[u8; 32]>) -> TrustDoc {
    TrustDoc {
        v: TRUST_VERSION,
        version,
        issued: 0,
        expires: i64::MAX,
        previous: previous.map(Fixed),
        root: KeySet::one(keys.root.public()),
        jobs: KeySet::one(keys.jobs.public()),
        cabinets: BTreeMap::from([("office".to_owned(), KeySet::one(keys.packager.public()))]),
        revoked: vec![],
    }
}

fn sign<T: serde::Serialize>(kind: &str, payload: &T, key: &SigningKey) -> Vec<u8> {
    Envelope::sign(kind, to_cbor(payload).unwrap().into(), &[key]).unwrap().encode().unwrap()
}

fn first(keys: &Keys) -> Trust {
    Trust::own(&sign(TRUST_TYPE, &doc(keys, 1, None), &keys.root)).unwrap()
}

fn place(n: u8, route: &[u8]) -> Place {
    let route = route.iter().map(|n| HostId([*n; 16])).collect();
    Place { route, revision: 1, ..Place::new(HostId([n; 16]), &format!("h{n}"), HostRole::Client) }
}

fn job(issuer: &str) -> Job {
    let label =
        PackageLabel { cabinet: "office".into(), name: "p".into(), version: "1".into(), generation: 1 };
    Job {
        key: JobKey { issuer: issuer.into(), epoch: 1, number: 1 },
        revision: 1,
        job_type: JobType::Install,
        created: Time(0),
        packages: vec![JobPackage { id: PackageId([1; 32]), label, keep_until: Time::MAX }],
        rounds: vec![Round { attempt: 1, ordered: Time(0), to: vec![Clause::All { relays: false }] }],
        at: None,
        until: Time(0).plus_days(90),
        allow_downgrade: false,
        intent: Intent::Open,
        terms: packhorse_domain::job::Terms::default(),
    }
}

fn delegation(relay: &SigningKey) -> DelegationDoc {
    DelegationDoc {
        v: DELEGATION_VERSION,
        relay: Fixed([2; 16]),
        name: "osaka".into(),
        key: Fixed(relay.public().0),
        job_types: vec!["install".into(), "offer".into()],
        cabinets: vec![DelegatedCabinet { name: "local".into(), keys: vec![] }],
        revision: 1,
        expires: Time(0).plus_days(1).0,
        revoked: false,
    }
}

#[test]
fn a_certificate_authority_pins_the_root_keys() {
    let (own, other) = (keys(), keys());
    let pin = root_pin(&KeySet::one(own.root.public()));
    let ca = Ca::create(&Fixed(pin).to_string(), "2026-11-24T00:00:00Z".parse().unwrap()).unwrap();
    let pin = root_pin_of(ca.cert()).unwrap();
    let good = sign(TRUST_TYPE, &doc(&own, 1, None), &own.root);
    assert_eq!(Trust::pin(&good, pin).unwrap().doc().version, 1);
    // A relay that a host joins through can sign a document of its own, but not in the name of these root keys.
    let forged = sign(TRUST_TYPE, &doc(&other, 1, None), &other.root);
    assert!(matches!(Trust::pin(&forged, pin), Err(Distrust::RootPin)));
    let renamed = sign(TRUST_TYPE, &doc(&own, 1, None), &other.root);
    assert!(matches!(Trust::pin(&renamed, pin), Err(Distrust::Envelope { .. })));
}

#[test]
fn trust_is_followed_forwards_only() {
    let own = keys();
    let trust = first(&own);
    let second = sign(TRUST_TYPE, &doc(&own, 2, Some(trust.hash())), &own.root);
    let next = trust.follow(&second).unwrap();
    assert_eq!(next.doc().version, 2);
    assert!(matches!(next.follow(trust.envelope()), Err(Distrust::OlderTrust { offered: 1, known: 2 })));
    assert!(matches!(next.follow(&second), Err(Distrust::OlderTrust { .. })));
    let unchained = sign(TRUST_TYPE, &doc(&own, 2, Some([9; 32])), &own.root);
    assert!(matches!(trust.follow(&unchained), Err(Distrust::Chain(2))));
    // A host that was off for long gets the newest only.
    let fifth = sign(TRUST_TYPE, &doc(&own, 5, Some([9; 32])), &own.root);
    assert_eq!(trust.follow(&fifth).unwrap().doc().version, 5);
    // Well signed by its own root keys, which are not those known.
    let other = keys();
    let taken_over = sign(TRUST_TYPE, &doc(&other, 2, Some(trust.hash())), &other.root);
    assert!(matches!(trust.follow(&taken_over), Err(Distrust::Envelope { .. })));
    let mut changed = second.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    assert!(trust.follow(&changed).is_err());
}

#[test]
fn jobs_and_places_count_by_the_job_key_only() {
    let own = keys();
    let trust = first(&own);
    let none = Delegations::default();
    let doc = JobDoc::from(&job("server"));
    let good = sign(JOB_TYPE, &doc, &own.jobs);
    assert_eq!(trust.job(&good, &none, Some(&place(1, &[])), NOW).unwrap(), job("server"));
    for wrong in [&own.root, &own.packager, &SigningKey::generate().unwrap()] {
        let bad = sign(JOB_TYPE, &doc, wrong);
        assert!(matches!(trust.job(&bad, &none, None, NOW), Err(Distrust::Envelope { .. })));
    }
    let other_type = sign(PLACE_TYPE, &doc, &own.jobs);
    assert!(trust.job(&other_type, &none, None, NOW).is_err());
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x20;
        // A change in what was signed breaks the signature; one around it breaks the envelope, or changes nothing.
        if let Ok(read) = trust.job(&changed, &none, None, NOW) {
            assert_eq!(read, job("server"), "byte {at}");
        }
    }
    let standing = sign(PLACE_TYPE, &PlaceDoc::from(&place(1, &[2])), &own.jobs);
    assert_eq!(trust.place(&standing).unwrap(), place(1, &[2]));
    let invented = sign(PLACE_TYPE, &PlaceDoc::from(&place(1, &[2])), &own.packager);
    assert!(trust.place(&invented).is_err());
}

#[test]
fn only_the_managing_server_says_that_a_host_was_retired() {
    let keys = keys();
    let trust = first(&keys);
    let doc = RetiredDoc {
        v: RETIRED_VERSION,
        host: Fixed([1; 16]),
        name: "pc1".into(),
        generation: 3,
        revision: 9,
        at: 0,
        removed: false,
    };
    assert_eq!(trust.retired(&sign(RETIRED_TYPE, &doc, &keys.jobs)).unwrap(), doc);
    assert!(trust.retired(&sign(RETIRED_TYPE, &doc, &keys.packager)).is_err(), "another key");
    assert!(trust.retired(&sign(PLACE_TYPE, &doc, &keys.jobs)).is_err(), "another type");
    let odd = [RetiredDoc { v: 2, ..doc.clone() }, RetiredDoc { name: "../x".into(), ..doc.clone() }];
    assert!(odd.iter().all(|doc| trust.retired(&sign(RETIRED_TYPE, doc, &keys.jobs)).is_err()));
    let text = doc.sentence("client");
    assert!(text.contains("token new --replace pc1") && text.contains("1970-01-01 00:00 UTC"), "{text}");
    assert!(!RetiredDoc { removed: true, ..doc }.sentence("relay").contains("--replace"));
}

#[test]
fn a_revoked_key_counts_no_more() {
    let own = keys();
    let mut revoking = doc(&own, 2, None);
    revoking.revoked = vec![Fixed(own.jobs.public().id().0), Fixed(own.packager.public().id().0)];
    let trust = Trust::own(&sign(TRUST_TYPE, &revoking, &own.root)).unwrap();
    let signed = sign(JOB_TYPE, &JobDoc::from(&job("server")), &own.jobs);
    assert!(trust.job(&signed, &Delegations::default(), None, NOW).is_err());
    assert!(matches!(trust.packagers("office"), Err(Distrust::NoKeys(_))));
    assert!(matches!(first(&own).packagers("home"), Err(Distrust::NoKeys(_))));
    assert_eq!(first(&own).packagers("office").unwrap().0, vec![own.packager.public()]);
}

#[test]
fn a_relay_issues_what_was_delegated_to_it_and_nothing_else() {
    let own = keys();
    let trust = first(&own);
    let relay = SigningKey::generate().unwrap();
    let envelope = sign(DELEGATION_TYPE, &delegation(&relay), &own.jobs);
    let granted = trust.delegation(&envelope).unwrap();
    assert!(trust.delegation(&sign(DELEGATION_TYPE, &delegation(&relay), &relay)).is_err());

    let signed = sign(JOB_TYPE, &JobDoc::from(&job("osaka")), &relay);
    let (below, beside) = (place(1, &[2]), place(1, &[3]));
    let judge = |known: &Delegations, envelope: &[u8], place: &Place, now| {
        trust.job(envelope, known, Some(place), now).map(|job| job.key.issuer)
    };
    let why = |outcome: Result<String, Distrust>| match outcome {
        Err(Distrust::Delegation { why, .. }) => why.to_string(),
        other => panic!("{other:?}"),
    };
    let none = Delegations::default();
    assert_eq!(why(judge(&none, &signed, &below, NOW)), "nothing was delegated to it");
    let mut known = Delegations::default();
    known.take(granted.clone());
    assert_eq!(judge(&known, &signed, &below, NOW).unwrap(), "osaka");
    assert_eq!(why(judge(&known, &signed, &beside, NOW)), "this host is not below it");
    assert_eq!(why(judge(&known, &signed, &below, Time(0).plus_days(2))), "its delegation has ended");
    // A relay cannot sign as the managing server, nor another key in its name.
    let as_server = sign(JOB_TYPE, &JobDoc::from(&job("server")), &relay);
    assert!(matches!(judge(&known, &as_server, &below, NOW), Err(Distrust::Envelope { .. })));
    let by_other = sign(JOB_TYPE, &JobDoc::from(&job("osaka")), &own.packager);
    assert!(matches!(judge(&known, &by_other, &below, NOW), Err(Distrust::Envelope { .. })));
    // There is no transfer for a relay, even if somebody wrote one into its delegation.
    let transfer = JobDoc { job_type: "transfer".into(), ..JobDoc::from(&job("osaka")) };
    let mut wide = Delegations::default();
    wide.take(DelegationDoc { job_types: vec!["transfer".into()], ..granted.clone() });
    let made = sign(JOB_TYPE, &transfer, &relay);
    assert_eq!(why(judge(&wide, &made, &below, NOW)), "this type of job is not delegated to it");
    // Granted anew with less: what was wider before does not come back, and who made a job may still stop it.
    let mut narrow = known.clone();
    narrow.take(DelegationDoc { revision: 2, job_types: vec!["offer".into()], ..granted.clone() });
    narrow.take(granted.clone());
    assert_eq!(why(judge(&narrow, &signed, &below, NOW)), "this type of job is not delegated to it");
    let stops = Job { revision: 2, intent: Intent::Cancelled, ..job("osaka") };
    let stops = |key| sign(JOB_TYPE, &JobDoc::from(&stops), key);
    assert_eq!(judge(&narrow, &stops(&relay), &below, NOW).unwrap(), "osaka");
    assert_eq!(judge(&narrow, &stops(&relay), &below, Time(0).plus_days(2)).unwrap(), "osaka");
    assert!(matches!(judge(&narrow, &stops(&own.packager), &below, NOW), Err(Distrust::Envelope { .. })));
    assert_eq!(why(judge(&narrow, &stops(&relay), &beside, NOW)), "this host is not below it");
    assert_eq!(why(judge(&none, &stops(&relay), &below, NOW)), "nothing was delegated to it");
    // A cabinet that is taken away takes its packages' jobs along.
    let mut own_package = Job { revision: 2, ..job("osaka") };
    own_package.packages[0].label.cabinet = "local".into();
    let own_package = sign(JOB_TYPE, &JobDoc::from(&own_package), &relay);
    assert_eq!(judge(&known, &own_package, &below, NOW).unwrap(), "osaka");
    narrow.take(DelegationDoc { revision: 3, cabinets: vec![], ..granted.clone() });
    assert_eq!(why(judge(&narrow, &own_package, &below, NOW)), "cabinet local is not delegated to it");
    // Revoked by a newer revision; an older one does not bring it back.
    known.take(DelegationDoc { revision: 2, revoked: true, ..granted.clone() });
    known.take(granted);
    assert_eq!(why(judge(&known, &signed, &below, NOW)), "its delegation was revoked");
}

#[test]
fn of_a_known_version_no_unknown_field_is_taken() {
    #[derive(serde::Serialize)]
    struct Wider {
        #[serde(flatten)]
        doc: PlaceDoc,
        admin: bool,
    }
    let own = keys();
    let wider = Wider { doc: PlaceDoc::from(&place(1, &[])), admin: true };
    assert!(matches!(first(&own).place(&sign(PLACE_TYPE, &wider, &own.jobs)), Err(Distrust::Payload(_))));
    let newer = PlaceDoc { v: 3, ..PlaceDoc::from(&place(1, &[])) };
    let error = first(&own).place(&sign(PLACE_TYPE, &newer, &own.jobs)).unwrap_err();
    assert_eq!(error.to_string(), "the place has version 3, this program knows 2; update this system");
}
