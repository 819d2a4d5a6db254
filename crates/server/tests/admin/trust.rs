//! Who may ask, tokens, and whom hosts trust.

use axum::http::{Method, StatusCode};
use packhorse_domain::job::HostRole;
use packhorse_server::db::feeds::{self, FeedAnswer};
use packhorse_server::db::{DbError, meta};
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::messages::Order;
use packhorse_wire::pki::Role;
use packhorse_wire::token::Token;
use packhorse_wire::trust::Trust;
use serde_json::json;

use super::support::Top;

#[tokio::test]
async fn only_administrators_may_ask() {
    let top = Top::new().await;
    for role in [None, Some(Role::Client), Some(Role::Relay), Some(Role::Server), Some(Role::RelayAdmin)] {
        for path in ["/admin/v1/hosts", "/admin/v1/uploads?cabinet=main", "/admin/v1/jobs/1"] {
            let (status, problem) = top.send(role, Method::GET, path, "").await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{role:?} {path}");
            assert_eq!(problem["code"], "not_an_administrator");
        }
        let (status, _) = top.send(role, Method::POST, "/admin/v1/tokens", "{}").await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    assert_eq!(top.get("/admin/v1/hosts").await, json!([]));
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let top = Top::new().await;
    let new = |uses: u64, secs: u64| json!({"relay": true, "uses": uses, "ends_secs": secs, "replace": null});
    let made = top.done("/admin/v1/tokens", &new(3, 3600)).await;
    let token = Token::parse(made["token"].as_str().unwrap()).unwrap();
    assert_eq!(token.role(), Role::Relay);
    assert_eq!(token.ca_fingerprint(), top.system.authority().unwrap().ca().fingerprint());
    let listed = top.get("/admin/v1/tokens").await;
    assert_eq!(listed, json!([made["view"]]));
    assert_eq!((&listed[0]["uses_left"], &listed[0]["state"]), (&json!(3), &json!("open")));
    for bad in [new(0, 3600), new(100_001, 3600), new(1, 0), new(1, 31 * 86_400)] {
        let (status, _) = top.post("/admin/v1/tokens", &bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let unknown = json!({"relay": false, "uses": 1, "ends_secs": 60, "replace": "pc1"});
    top.refused("/admin/v1/tokens", &unknown, 404, "unknown_host").await;
    let (status, _) = top.ask(Method::DELETE, "/admin/v1/tokens/1", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(top.get("/admin/v1/tokens").await[0]["state"], "revoked");
    let (status, _) = top.ask(Method::DELETE, "/admin/v1/tokens/9", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn stored(top: &Top) -> Trust {
    let read = top.system.db.read(|connection| meta::bytes(connection, "trust")).await;
    Trust::own(&read.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn every_change_of_trust_is_a_version_that_follows_the_one_before() {
    let top = Top::new().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let text = |key: &SigningKey| json!({"key": key.public().to_string()});
    let mut known = stored(&top).await;
    let steps = [
        ("", json!({"name": "office", "keys": [one.public().to_string()]})),
        ("/office/trust", text(&two)),
        ("/office/distrust", text(&one)),
    ];
    for (step, body) in steps {
        top.done(&format!("/admin/v1/cabinets{step}"), &body).await;
        let next = known.follow(stored(&top).await.envelope()).unwrap();
        assert_eq!(next.doc().version, known.doc().version + 1);
        assert_eq!(top.system.trust().envelope(), next.envelope());
        known = next;
    }
    let cabinets = top.get("/admin/v1/cabinets").await;
    let office = json!({"name": "office", "packages": 0, "keys": [two.public().id().to_string()]});
    assert_eq!(cabinets, json!([{"name": "main", "packages": 0, "keys": []}, office]));

    // What changes nothing makes no version.
    assert_eq!(top.done("/admin/v1/cabinets/office/trust", &text(&two)).await, office);
    assert_eq!(stored(&top).await.doc().version, known.doc().version);
    top.refused("/admin/v1/cabinets", &json!({"name": "office", "keys": []}), 409, "exists").await;
    top.refused("/admin/v1/cabinets/nowhere/trust", &text(&two), 404, "unknown_cabinet").await;
    top.refused("/admin/v1/cabinets/office/trust", &json!({"key": "x"}), 400, "bad_request").await;

    assert_eq!(trust_orders(&top, osaka.row).await, vec![2, 3, 4]);
}

/// Versions of the trust documents in a lower system's feed.
async fn trust_orders(top: &Top, lower: i64) -> Vec<u64> {
    let read = top.system.db.read(move |connection| {
        let sql = "SELECT kind, body FROM feed_entries WHERE lower = ?1 ORDER BY n";
        let mut statement = connection.prepare(sql)?;
        let rows =
            statement.query_map([lower], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        rows.collect::<Result<Vec<_>, _>>().map_err(DbError::from)
    });
    let orders = read.await.unwrap();
    let version = |(kind, body): (String, Vec<u8>)| match Order::decode(&kind, &body).unwrap() {
        Some(Order::Trust(envelope)) => Some(Trust::own(&envelope).unwrap().doc().version),
        _ => None,
    };
    orders.into_iter().filter_map(version).collect()
}

#[tokio::test]
async fn without_the_root_key_trust_does_not_change() {
    let top = Top::new().await;
    let root = top.folder.path().join("hq/root.key");
    std::fs::rename(&root, top.folder.path().join("safe.key")).unwrap();
    let top = top.restart().await;
    let version = stored(&top).await.doc().version;
    top.refused("/admin/v1/cabinets", &json!({"name": "office", "keys": []}), 409, "root_key_away").await;
    assert_eq!(stored(&top).await.doc().version, version);
    assert_eq!(top.get("/admin/v1/cabinets").await.as_array().unwrap().len(), 1);
    // A feed that was made anew begins with what is stored.
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let reader = packhorse_domain::ids::Incarnation(3);
    let rebuild = packhorse_server::db::rebuild::RebuildFeed {
        lower: osaka.row,
        reader,
        capabilities: top.system.capabilities.clone(),
        now: packhorse_server::system::now(),
    };
    top.system.db.write(rebuild).await.unwrap();
    assert_eq!(trust_orders(&top, osaka.row).await, vec![version]);
    let read = top.system.db.read(move |connection| feeds::read(connection, osaka.row, reader, None));
    assert!(matches!(read.await.unwrap(), FeedAnswer::Orders { .. }));
}
