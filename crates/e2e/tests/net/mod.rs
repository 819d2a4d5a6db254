//! What happens in a network whose lines are narrow, far, bad and cut: thirteen systems in namespaces.

mod away;
mod cut;
mod harness;
mod held;
mod install;
mod limit;
mod long;
mod moved;
mod night;
mod offers;
mod relay_lost;

use packhorse_e2e::net::fleet::{SITES, Tally};

const MIB: u64 = 1 << 20;

/// Says what crossed the lines, in copies of a package.
fn say(what: &str, tally: &Tally, bytes: u64) {
    let copies = |count: u64| count as f64 / bytes as f64;
    for site in SITES {
        let (line, stream) = (copies(tally.line(site)), copies(tally.stream(site)));
        eprintln!("{what}: line of {site}: {line:.3} copies in frames, {stream:.3} in streams");
    }
}

/// Checks that one copy of a package came down the line of each of these sites. A frame has 66 bytes of headers around 1448,
/// TLS 22 around 16 KiB.
fn one_copy(tally: &Tally, sites: &[&str], bytes: u64) {
    for site in sites {
        let (line, stream) = (tally.line(site), tally.stream(site));
        assert!((bytes..bytes + bytes / 10).contains(&line), "{site}: {line} bytes in frames for {bytes}");
        assert!(
            (bytes..bytes + bytes / 25).contains(&stream),
            "{site}: {stream} bytes in streams for {bytes}"
        );
    }
}

/// Checks that nothing of a package came down the line of any of these sites.
fn no_payload(tally: &Tally, sites: &[&str], bytes: u64) {
    for site in sites {
        let stream = tally.stream(site);
        assert!(stream < bytes / 25, "{site}: {stream} bytes in streams, and none of {bytes} was to come");
    }
}
