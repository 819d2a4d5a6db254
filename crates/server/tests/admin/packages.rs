//! Packages come in, are seen and go.

use axum::http::{Method, StatusCode};
use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{LineEvent, Outcome};
use packhorse_wire::envelope::SigningKey;
use serde_json::{Value, json};

use super::support::{Package, Top, install};

fn nothing_stored(top: &Top) -> bool {
    top.system.store.list().unwrap().is_empty() && top.system.store.staged().unwrap().is_empty()
}

#[tokio::test]
async fn nothing_is_stored_before_the_signature_counts() {
    let top = Top::new().await;
    let key = SigningKey::generate().unwrap();
    let public = key.public().to_string();
    top.done("/admin/v1/cabinets", &json!({"name": "office", "keys": [public]})).await;
    let good = Package::new(top.folder.path(), "1.0", 1, &key);
    let stranger = Package::new(top.folder.path(), "1.0", 1, &SigningKey::generate().unwrap());
    let mut changed = good.envelope.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let begin = |cabinet: &str, body: Vec<u8>| {
        let path = format!("/admin/v1/uploads?cabinet={cabinet}");
        let top = &top;
        async move { top.ask(Method::POST, &path, body).await }
    };
    for (cabinet, body, status, code) in [
        ("office", stranger.envelope.clone(), 403, "not_trusted"),
        ("office", changed, 403, "bad_signature"),
        ("office", good.envelope[..100].to_vec(), 400, "bad_request"),
        ("main", good.envelope.clone(), 403, "not_trusted"),
        ("nowhere", good.envelope.clone(), 404, "unknown_cabinet"),
    ] {
        let (found, problem) = begin(cabinet, body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{problem}");
    }
    assert!(nothing_stored(&top));
    assert_eq!(top.get("/admin/v1/packages").await, json!([]));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped() {
    let top = Top::new().await;
    let key = SigningKey::generate().unwrap();
    let public = key.public().to_string();
    top.done("/admin/v1/cabinets", &json!({"name": "office", "keys": [public]})).await;
    let package = Package::new(top.folder.path(), "1.0", 1, &key);
    let upload = top.upload(&package).await;
    let chunks = upload["missing"][0][1].as_u64().unwrap();
    assert!(chunks > 3 && upload["known"].is_null(), "{upload}");
    let path = format!("/admin/v1/uploads/{}", upload["package"].as_str().unwrap());

    // A flipped bit is refused; a body that ends early keeps what was whole.
    let mut flipped = package.frames.clone();
    flipped[40] ^= 1;
    let (status, problem) = top.ask(Method::POST, &format!("{path}/frames"), flipped).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("bad_content")));
    let part = package.frames[..package.first_frame() + 20].to_vec();
    let (status, progress) = top.ask(Method::POST, &format!("{path}/frames"), part).await;
    assert_eq!((status, &progress["missing"]), (StatusCode::OK, &json!([[1, chunks]])));
    let finish = format!("{path}/finish?cabinet=office");
    top.refused(&finish, &Value::Null, 409, "incomplete").await;

    // After a restart the rest is enough, and what is sent again is passed over.
    let top = top.restart().await;
    let mut endless = package.frames.clone();
    endless.extend_from_slice(&package.frames[..50]);
    let (status, _) = top.ask(Method::POST, &format!("{path}/frames"), endless).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let rest = package.frames[package.first_frame()..].to_vec();
    let (status, progress) = top.ask(Method::POST, &format!("{path}/frames"), rest).await;
    assert_eq!((status, &progress["missing"]), (StatusCode::OK, &json!([])), "{progress}");
    top.refused(&format!("{path}/finish?cabinet=main"), &Value::Null, 403, "not_trusted").await;
    let registered = top.done(&finish, &Value::Null).await;
    assert_eq!(
        (&registered["label"], &registered["already"]),
        (&json!("office/editor@1.0:1"), &json!(false))
    );

    // The same manifest again is a no-op that says so; another is a new generation.
    assert_eq!(top.done(&finish, &Value::Null).await["already"], true);
    let again = top.upload(&package).await;
    assert_eq!((&again["missing"], &again["known"]["already"]), (&json!([]), &json!(true)));
    let other = top.add(&Package::new(top.folder.path(), "1.0", 2, &key)).await;
    assert_eq!(other["label"], "office/editor@1.0:2");
    let unknown = format!("/admin/v1/uploads/{}/frames", "ab".repeat(32));
    top.refused(&unknown, &Value::Null, 404, "unknown_upload").await;
}

#[tokio::test]
async fn packages_are_seen_and_go_when_nothing_needs_them() {
    let top = Top::new().await;
    top.with_editor().await;
    let pc1 = top.join("pc1", HostRole::Client, None).await;
    let listed = top.get("/admin/v1/packages?cabinet=office").await;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["size_bytes"], &listed[0]["keep"]),
        (&json!("editor"), &json!(640_000), &json!("90d"))
    );
    assert_eq!(top.get("/admin/v1/packages?cabinet=main").await, json!([]));
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    let shown = top.get("/admin/v1/packages/show?package=office/editor@1").await;
    assert_eq!((&shown["label"], &shown["counts"]), (&json!("office/editor@1.0:1"), &json!({"waiting": 1})));
    assert_eq!((&shown["stored_bytes"], &shown["entries"]), (&json!(640_000), &json!(2)));

    let path = "/admin/v1/packages?package=office/editor";
    let (status, problem) = top.ask(Method::DELETE, path, "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("in_use")), "{problem}");
    top.report(&pc1, 1, 1, 1, LineEvent::Ended(Outcome::plain(State::Done))).await;
    top.done("/admin/v1/jobs", &install(&["all"])).await;
    top.report(&pc1, 2, 2, 1, LineEvent::Ended(Outcome::plain(State::AlreadyInstalled))).await;
    let (status, problem) = top.ask(Method::DELETE, path, "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("in_use")), "{problem}");
    top.done("/admin/v1/jobs/2/cancel", &Value::Null).await;
    let (status, _) = top.ask(Method::DELETE, path, "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(nothing_stored(&top));
    let (status, problem) = top.ask(Method::DELETE, path, "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("unknown_package")));
}
