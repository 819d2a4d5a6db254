use std::os::unix::fs::PermissionsExt;

use super::system::System;
use crate::{ClientError, join};

#[tokio::test]
async fn joining_writes_the_folder_and_says_who_one_is() {
    let system = System::start().await;
    let joined = system.join().await;
    assert_eq!((joined.name.as_str(), joined.higher.as_str()), ("pc1", "osaka"));
    assert_eq!(joined.id, system.me.to_string());
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&system.data()), 0o711);
    for name in ["agent.json", "identity.json", "host.key"] {
        assert_eq!(mode(&system.data().join(name)), 0o600, "{name}");
    }
    assert!(system.root_folder().is_dir());
    // Once more: refused before the token is shown to anybody.
    system.higher.known.lock().unwrap().join = None;
    let again = join(&system.join_options()).await.unwrap_err();
    assert!(again.to_string().contains("holds an identity already"), "{again}");
}

#[tokio::test]
async fn a_refused_token_leaves_nothing_behind() {
    let system = System::start().await;
    system.higher.known.lock().unwrap().join = None;
    let error = join(&system.join_options()).await.unwrap_err();
    assert!(matches!(error, ClientError::Enroll(_)) && error.to_string().contains("token_used"), "{error}");
    assert!(!system.data().exists() && !system.root_folder().exists());
    // A folder that was there stays.
    std::fs::create_dir(system.data()).unwrap();
    join(&system.join_options()).await.unwrap_err();
    assert_eq!(std::fs::read_dir(system.data()).unwrap().count(), 0);
}

#[test]
fn a_token_never_shows() {
    let options = crate::JoinOptions {
        data: "d".into(),
        url: "u".into(),
        token: "phj1.secret".into(),
        name: "n".into(),
        root: None,
    };
    assert!(!format!("{options:?}").contains("secret"));
}
