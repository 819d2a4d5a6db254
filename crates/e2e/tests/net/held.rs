//! Jobs that are suspended, also for those who were off when it was said.

use std::time::Instant;

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::wait;
use packhorse_e2e::world::line;

use super::{MIB, no_payload, one_copy};

#[test]
fn a_suspended_job_waits_also_where_nobody_was() {
    let mut fleet = Fleet::with(1);
    const BYTES: u64 = 2 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    let job = fleet.install("editor", &["all"], &["--at", &fleet.soon(5)]);
    let all = ["osaka-1", "sakai-1", "sendai-1"];
    fleet.know(&all, &job);
    let made = Instant::now();
    // They know the job, and are off when it is suspended: a machine, and a whole site.
    fleet.client_mut("osaka-1").kill();
    fleet.relay_mut("sakai").kill();
    fleet.client_mut("sakai-1").kill();
    fleet.cli.ok(&["job", "suspend", &job]);
    assert_eq!(fleet.job(&job)["state"], "suspended");
    for name in ["osaka-1", "sakai-1"] {
        fleet.client_mut(name).start();
    }
    fleet.relay_mut("sakai").start();
    fleet.online(&["osaka-1", "sakai", "sakai-1"]);
    // Its time comes, and a little more.
    let left = fleet.stretched(5).saturating_sub(made.elapsed().as_secs());
    wait::always("nobody installs it", left + 2, || fleet.without(&source).len() == all.len());
    let shown = fleet.job_until(&job, 10, "the reason", |job| {
        let is_held = |name: &str| line(job, name).is_some_and(|line| line["reason"]["code"] == "suspended");
        all.into_iter().all(is_held)
    });
    no_payload(&fleet.counted().since(&before), &SITES, BYTES);
    fleet.cli.ok(&["job", "resume", &job]);
    let ended = fleet.done(&job, 60);
    assert_eq!(ended["counts"]["done"], all.len(), "{shown}\n{ended}");
    assert_eq!(fleet.without(&source), Vec::<&str>::new());
    fleet.once(&all, &job);
    one_copy(&fleet.counted().since(&before), &SITES, BYTES);
}
