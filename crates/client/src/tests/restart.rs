use packhorse_wire::messages::{EventMsg, RenewResponse};
use packhorse_wire::pki::{HOST_LIFETIME, HostKey, Usage, verify_renew_proof};

use super::system::{System, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_delivery_and_report_it_installs_once_and_reports_once() {
    let system = System::start().await;
    system.join().await;
    let package = system.package("1.0", &[("file", b"x")]);
    system.higher.known.lock().unwrap().deaf = true;
    let agent = system.agent();
    system.order(&system.job(1, &package));
    until(async || system.installed("file").is_some()).await;
    agent.kill().await;
    let inode =
        || std::os::unix::fs::MetadataExt::ino(&system.root_folder().join("opt/editor").metadata().unwrap());
    let first = inode();
    system.higher.known.lock().unwrap().deaf = false;
    let agent = system.agent();
    assert_eq!(system.higher.end(1).await.end, "done");
    assert_eq!(inode(), first, "installed once");
    // Another agent later has nothing to add.
    agent.stop().await;
    let agent = system.agent();
    system.order(&system.job(2, &package));
    assert_eq!(system.higher.end(2).await.end, "already_installed");
    let (mut events, reports) = {
        let known = system.higher.known.lock().unwrap();
        (known.events(1), known.reports.clone())
    };
    events.retain(|event| !matches!(event, EventMsg::Waits(_)));
    assert!(matches!(events[..], [EventMsg::Delivered, EventMsg::Begun, EventMsg::Ended(_)]), "{events:?}");
    let numbers: Vec<u64> = reports.iter().map(|report| report.no).collect();
    let counted: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, counted);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_comes_to_one_result() {
    let system = System::start().await;
    system.join().await;
    let content = vec![7; 300_000];
    let package = system.package("1.0", &[("file", &content), ("more/file", b"y")]);
    system.order(&system.job(1, &package));
    for pause_millis in [5, 15, 30, 45, 60, 80] {
        let agent = system.agent();
        tokio::time::sleep(std::time::Duration::from_millis(pause_millis)).await;
        agent.kill().await;
    }
    let agent = system.agent();
    assert_eq!(system.higher.end(1).await.end, "done");
    assert_eq!(system.higher.known.lock().unwrap().ends(1).len(), 1);
    assert_eq!(system.installed("more/file").as_deref(), Some("y"));
    until(async || system.left_over().is_empty()).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_life_above_hears_everything_again() {
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    let package = system.package("1.0", &[("file", b"x")]);
    system.order(&system.job(1, &package));
    assert_eq!(system.higher.end(1).await.end, "done");
    {
        let mut known = system.higher.known.lock().unwrap();
        (known.server, known.stored) = (99, 0);
        known.reports.clear();
    }
    system.order(&system.job(2, &package));
    assert_eq!(system.higher.end(1).await.end, "done");
    assert_eq!(system.higher.end(2).await.end, "already_installed");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agent_in_a_folder_and_a_second_is_told() {
    let system = System::start().await;
    system.join().await;
    let agent = system.agent();
    until(async || agent.status().await.online).await;
    let second = system.agent();
    let error = second.outcome().await.unwrap_err();
    assert!(error.to_string().contains("another agent runs"), "{error}");
    assert!(agent.status().await.online);
    system.higher.known.lock().unwrap().refuse = Some("twins");
    agent.ask(packhorse_wire::local::LocalRequest::Sync).await;
    let status = agent.status().await;
    assert!(!status.online && status.trouble.unwrap().contains("twins"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_off_past_the_end_of_its_certificate_renews_it_first() {
    let system = System::start().await;
    system.join().await;
    // As if it had joined forty days ago.
    let folder = packhorse_wire::enroll::IdentityFolder::at(&system.data());
    let mut identity = folder.load().unwrap();
    let key = HostKey::generate().unwrap();
    let who = identity.info().unwrap().identity;
    let then = jiff::Timestamp::now() - std::time::Duration::from_secs(40 * 86_400);
    let csr = key.csr_pem("pc1").unwrap();
    let old = system.ca.issue(&csr, &who, &Usage::Client, then, HOST_LIFETIME).unwrap();
    (identity.key, identity.chain_pem) = (std::sync::Arc::new(key), old.chain_pem);
    folder.save_keys(&identity).unwrap();
    let ca = std::sync::Arc::clone(&system.ca);
    system.higher.known.lock().unwrap().renewal = Some(Box::new(move |request| {
        let info = verify_renew_proof(ca.cert(), &request.proof).unwrap();
        let mut who = info.identity;
        who.generation += 1;
        let now = jiff::Timestamp::now();
        let issued = ca.issue(&request.proof.csr_pem, &who, &Usage::Client, now, HOST_LIFETIME).unwrap();
        RenewResponse { chain_pem: issued.chain_pem, generation: who.generation }
    }));
    let agent = system.agent();
    until(async || agent.status().await.online).await;
    assert_eq!(folder.load().unwrap().info().unwrap().identity.generation, 2);
    agent.stop().await;
}
