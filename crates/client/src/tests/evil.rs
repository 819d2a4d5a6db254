//! A higher system that lies: everything is refused, told upwards, and what was there stays.

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{Clause, Proof};
use packhorse_domain::merkle::{Slice, root};
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::messages::Order;

use super::system::{System, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_refused_told_upwards_once_and_stop_nothing() {
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    let package = system.package("1.0", &[("file", b"x")]);
    let evil = SigningKey::generate().unwrap();
    let other = HostId([9; 16]);
    let listed = |number, list: &[HostId]| {
        let mut job = system.job(number, &package);
        job.rounds[0].to = vec![Clause::Hosts { root: root(list), size: list.len() as u32 }];
        job
    };
    // A job by a key that is not the server's; a job of a relay to which nothing was delegated.
    system.order_by(&system.job(1, &package), &evil, &[]);
    let mut own = system.job(2, &package);
    own.key.issuer = "osaka".into();
    system.order_by(&own, &evil, &[]);
    // A job for others, with a proof that was widened to this host, and one for another list.
    let mut widened = Slice::of(&[other], 0, 1).unwrap();
    widened.leaves.push(system.me);
    system.order_by(&listed(3, &[other]), &system.jobs, &[Proof { attempt: 1, slice: widened }]);
    let mine = Slice::of(&[system.me], 0, 1).unwrap();
    system.order_by(&listed(4, &[other]), &system.jobs, &[Proof { attempt: 1, slice: mine.clone() }]);
    // A place of another host, an older one, a place and a trust document by other keys; what is no order at all.
    system.higher.order(&Order::Place(system.place(other, 7).into()));
    system.higher.order(&Order::Place(system.place(system.me, 0).into()));
    let trust = system.next_trust(|_| {});
    let forged = packhorse_wire::envelope::Envelope::decode(&trust, 1 << 20).unwrap().payload;
    let forged =
        packhorse_wire::envelope::Envelope::sign(packhorse_wire::signed::TRUST_TYPE, forged, &[&evil]);
    system.higher.order(&Order::Trust(forged.unwrap().encode().unwrap().into()));
    system.higher.order_raw("job", b"nonsense".to_vec());
    system.higher.order_raw("from_the_future", b"?".to_vec());
    // Twice the same lie.
    system.order_by(&own, &evil, &[]);
    // The truth after all that.
    system.order_by(&listed(5, &[system.me]), &system.jobs, &[Proof { attempt: 1, slice: mine }]);
    assert_eq!(system.higher.end(5).await.end, "done");
    // A revision that is older than the one known.
    let mut newer = listed(5, &[system.me]);
    newer.revision = 3;
    system.order(&newer);
    newer.revision = 2;
    system.order(&newer);
    let alarms = |known: &super::higher::Known| Some(known.alarms()).filter(|alarms| alarms.len() >= 9);
    let mut told = system.higher.until(alarms).await;
    told.sort();
    let expected = [
        "bad_job",
        "bad_job",
        "bad_order",
        "bad_trust",
        "not_for_me",
        "not_for_me",
        "older_place",
        "older_revision",
        "other_place",
    ];
    assert_eq!(told, expected);
    for number in 1..=4 {
        assert!(system.higher.known.lock().unwrap().events(number).is_empty(), "job {number}");
    }
    agent.stop().await;
    // They are told once, also after a restart.
    let agent = system.agent();
    system.order_by(&own, &evil, &[]);
    system.order(&system.job(6, &package));
    assert_eq!(system.higher.end(6).await.end, "already_installed");
    assert_eq!(system.higher.known.lock().unwrap().alarms().len(), expected.len());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_and_another_manifest_install_nothing() {
    let system = System::start().await;
    system.join().await;
    let one = system.package("1.0", &[("file", b"one")]);
    let two = system.package("2.0", &[("file", b"two")]);
    {
        let mut known = system.higher.known.lock().unwrap();
        // The second package is answered with the first one's manifest.
        let swapped = known.goods[&one.id.0].clone();
        known.goods.insert(two.id.0, swapped);
        let goods = known.goods.get_mut(&one.id.0).unwrap();
        *goods.frames[0].last_mut().unwrap() ^= 1;
    }
    let agent = system.agent();
    system.order(&system.job(2, &two));
    let content = |number| {
        move |known: &super::higher::Known| match known.events(number).first() {
            Some(packhorse_wire::messages::EventMsg::Waits(reason)) => Some(reason.code.clone()),
            _ => None,
        }
    };
    assert_eq!(system.higher.until(content(2)).await, "content");
    assert_eq!(system.installed("file"), None);
    let status = agent.status().await;
    assert!(status.installed.is_empty());
    // A later job with the first package, one bit of whose content is flipped.
    let mut job = system.job(3, &one);
    job.allow_downgrade = true;
    system.order(&job);
    assert_eq!(system.higher.until(content(3)).await, "content");
    assert_eq!(system.installed("file"), None);
    until(async || agent.status().await.lines.len() == 1).await;
    agent.stop().await;
}
