//! Memory does not grow with a package.

use packhorse_e2e::system::System;
use packhorse_e2e::world::World;

const MIB: u64 = 1 << 20;
/// What every role may have resident.
const LIMIT_BYTES: u64 = 150 * MIB;

fn peaks(bytes: u64, secs: u64) {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let pc = world.client("pc1", &osaka.url());
    let source = world.source("big", "1.0").noise("big.bin", bytes, 11);
    world.add(&source);
    let job = world.install("big", &["pc1"], &[]);
    world.done(&job, secs);
    let peak = |system: &System| system.process().peak_bytes();
    let peaks = [("server", peak(&world.server)), ("relay", peak(&osaka)), ("client", peak(&pc))];
    for (role, peak) in peaks {
        eprintln!("{role}: {} MiB for a package of {} MiB", peak / MIB, bytes / MIB);
        assert!(peak < LIMIT_BYTES, "{role}: {peak} bytes");
    }
}

#[test]
fn every_role_stays_small() {
    peaks(1024 * MIB, 200);
}

#[test]
#[ignore = "long: 4 GiB; ./test --long"]
fn every_role_stays_small_with_a_very_large_package() {
    peaks(4096 * MIB, 1500);
}
