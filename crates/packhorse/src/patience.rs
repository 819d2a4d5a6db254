//! A system on this machine that was started a moment ago (`packhorse server run … &` in a script) may not listen yet.

use std::io::ErrorKind;
use std::time::Duration;

use hyper::Uri;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until somebody listens at `url`, if that is on this machine. Whoever is not there then is told of by the request
/// itself.
pub async fn until_it_listens(url: &str) {
    let Some((host, port)) = on_this_machine(url) else { return };
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = TcpStream::connect((host.as_str(), port)).await {
        if error.kind() != ErrorKind::ConnectionRefused || Instant::now() >= deadline {
            return;
        }
        sleep(PAUSE).await;
    }
}

fn on_this_machine(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    here.then(|| Some((host.to_owned(), uri.port_u16()?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_waited_for() {
        for (url, here) in [
            ("https://localhost:8440", Some(("localhost", 8440))),
            ("https://127.0.0.1:8440", Some(("127.0.0.1", 8440))),
            ("https://[::1]:8440", Some(("::1", 8440))),
            ("https://hq:8440", None),
            ("https://10.0.0.1:8440", None),
            ("nonsense", None),
        ] {
            assert_eq!(on_this_machine(url), here.map(|(host, port)| (host.to_owned(), port)), "{url}");
        }
    }

    #[tokio::test]
    async fn who_listens_is_not_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let begun = Instant::now();
        until_it_listens(&format!("https://{}", listener.local_addr().unwrap())).await;
        assert!(begun.elapsed() < PATIENCE / 2);
    }
}
