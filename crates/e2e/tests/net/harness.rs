//! The network is what it says it is.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, id};
use std::thread;
use std::time::{Duration, Instant};

use packhorse_e2e::net::namespace::{Namespace, sweep};
use packhorse_e2e::net::sites::{Net, Place, RELAY_PORT};
use packhorse_e2e::proxy::Weather;
use packhorse_e2e::wait;

use super::MIB;

/// Sends bytes from one place to another; answers how long that took.
fn send(from: &Place, to: &Place, bytes: u64) -> Duration {
    let listener = to.inside.enter(|| TcpListener::bind((to.address, RELAY_PORT))).expect("a port");
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let got = std::io::copy(&mut stream, &mut std::io::sink()).expect("bytes");
        stream.write_all(b"!").expect("an answer");
        got
    });
    let begin = Instant::now();
    let mut stream = from.inside.enter(|| TcpStream::connect((to.address, RELAY_PORT))).expect("a way");
    stream.write_all(&vec![7; bytes as usize]).expect("bytes");
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    stream.read_exact(&mut [0]).expect("an answer");
    assert_eq!(receiver.join().expect("the receiver"), bytes);
    begin.elapsed()
}

#[test]
fn lines_are_as_wide_and_as_far_as_told_and_count() {
    let net = Net::new();
    let (centre, pc) = (net.at_head_office("above", 2), net.at_site("sakai", "pc", 11));
    pc.cable.width(8);
    let (sakai, osaka) = (net.site("sakai"), net.site("osaka"));
    let latency = Duration::from_millis(100);
    sakai.proxy.weather(Weather { latency, ..Weather::default() });
    // Up through two sites' proxies.
    let took = send(&pc, &centre, MIB);
    assert!(MIB < pc.cable.most_bytes(took), "{took:?}");
    assert!(took > 2 * latency, "{took:?} for there and back");
    let bytes = [pc.cable.counted().up, sakai.line.counted().up, osaka.line.counted().up];
    assert!(bytes.iter().all(|bytes| (MIB..MIB + MIB / 10).contains(bytes)), "{bytes:?}");
    assert_eq!([sakai.proxy.up_bytes(), osaka.proxy.up_bytes()], [MIB, MIB]);
    assert_eq!(net.site("sendai").proxy.up_bytes(), 0);
    // Within a site there is no line between sites.
    let near = net.at_site("sakai", "near", 12);
    send(&pc, &near, MIB / 4);
    assert_eq!(sakai.proxy.up_bytes(), MIB);
}

#[test]
fn a_line_that_is_pulled_carries_nothing_until_it_is_put_back() {
    let net = Net::new();
    let (centre, pc) = (net.at_head_office("above", 2), net.at_site("osaka", "pc", 11));
    let listener = centre.inside.enter(|| TcpListener::bind((centre.address, 9))).expect("a port");
    let calls = || {
        let to = (centre.address, 9).into();
        pc.inside.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(500))).is_ok()
    };
    // The first frames may come before a bridge has its ports.
    wait::until("it carries", 10, || calls().then_some(()));
    net.site("osaka").line.pull();
    assert!(!calls());
    net.site("osaka").line.put_back();
    wait::until("it carries again", 10, || calls().then_some(()));
    drop(listener);
}

#[test]
fn nothing_stays_behind() {
    let mine = || names().into_iter().filter(|name| name.contains(&format!("-{}-", id()))).count();
    let inside = Namespace::make("lonely");
    assert!(inside.run("ip", &["-oneline", "link"]).contains("lo:"));
    // Another test may be making one now.
    wait::until("no name of this process is left", 10, || (mine() == 0).then_some(()));
    // Left by a process that is no more: the number is greater than any there can be.
    let left = "packhorse-e2e-4194305-0-left";
    assert!(Command::new("ip").args(["netns", "add", left]).status().expect("ip").success());
    sweep();
    assert!(!names().contains(&left.to_owned()), "swept away");
}

fn names() -> Vec<String> {
    let items = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    items.filter_map(|item| item.file_name().into_string().ok()).collect()
}
