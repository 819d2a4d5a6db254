//! Hosts are retired, come back, are removed; hosts that were not heard for very long.

use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{LineEvent, Outcome};
use packhorse_domain::time::Time;
use packhorse_server::db::hosts::{HostRecord, Seen};
use packhorse_server::db::join::Join;
use packhorse_server::db::tokens::MakeToken;
use packhorse_server::db::{DbError, feeds, retired};
use packhorse_server::system::now;
use packhorse_wire::messages::Order;
use packhorse_wire::pki::HostKey;
use serde_json::{Value, json};

use super::support::{Many, Top, install};

const RETIRE: &str = "/admin/v1/hosts/-/retire";
const REMOVE: &str = "/admin/v1/hosts/-/remove";

fn done() -> LineEvent {
    LineEvent::Ended(Outcome::plain(State::Done))
}

fn names(hosts: &[&str]) -> Value {
    json!({"hosts": hosts})
}

/// A machine asks to be let in under a name, with a token that replaces `replaces`.
async fn ask_in(top: &Top, name: &str, replaces: Option<&str>) -> Result<u64, DbError> {
    let at = now();
    let hash = *blake3::hash(format!("{name} {}", at.0).as_bytes()).as_bytes();
    let role = HostRole::Client;
    let replaces = replaces.map(str::to_owned);
    top.system.db.write(MakeToken { hash, role, uses: 1, ends: at.plus_secs(60), replaces, now: at }).await?;
    let join = Join {
        authority: top.system.authority().unwrap(),
        capabilities: top.system.capabilities.clone(),
        token: hash,
        role,
        name: name.into(),
        csr_pem: HostKey::generate().unwrap().csr_pem(name).unwrap(),
        addresses: vec![],
        higher: None,
        now: at,
    };
    let let_in = top.system.db.write(join).await?;
    top.system.reload_directory().await.unwrap();
    Ok(let_in.generation)
}

/// Orders of a kind in a host's feed.
async fn orders(top: &Top, host: &HostRecord, wanted: fn(&Order) -> bool) -> usize {
    let row = host.row;
    let bodies = top.system.db.read(move |connection| {
        let mut statement = connection.prepare("SELECT kind, body FROM feed_entries WHERE lower = ?1")?;
        let rows =
            statement.query_map([row], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    });
    let bodies = bodies.await.unwrap();
    bodies
        .iter()
        .filter(|(kind, body)| Order::decode(kind, body).unwrap().as_ref().is_some_and(wanted))
        .count()
}

fn is_word(order: &Order) -> bool {
    matches!(order, Order::Retired(_))
}

#[tokio::test]
async fn a_retired_host_ends_what_is_open_and_its_history_stays() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let sendai = top.join("sendai", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let pc2 = top.join("pc2", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc1", "pc2"])).await;
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    top.report(&pc1, 1, 1, 1, LineEvent::Begun).await;
    top.report(&pc2, 1, 1, 1, done()).await;
    let left = top.done(RETIRE, &names(&["pc1"])).await;
    assert_eq!(left, json!([{"host": "pc1", "lines": 2, "changed": true, "removed": false}]));
    // Also what it had begun; a job in which it was the last ends.
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["counts"], &shown["state"]), (&json!({"cancelled": 1, "done": 1}), &json!("ended")));
    let line = &shown["instructions"][0];
    assert_eq!(
        (&line["host"], &line["state"], &line["reason"]),
        (&json!("pc1"), &json!("cancelled"), &Value::Null)
    );
    assert_eq!(line["result"]["verdict"], "retired");
    assert!(line["result"]["text"].as_str().unwrap().starts_with("the host was retired at "), "{line}");
    let explained = top.get("/admin/v1/explain?job=1").await;
    assert_eq!(explained["summary"], "1 of 1 done · 1 retired, not counted");
    assert_eq!(top.get("/admin/v1/jobs/2").await["state"], "ended");
    top.refused("/admin/v1/jobs/2/retry", &json!({"failed": false}), 409, "nothing_to_retry").await;
    // Twice is once, and nothing is told again.
    let again = top.done(RETIRE, &names(&["pc1"])).await;
    assert_eq!(again, json!([{"host": "pc1", "lines": 0, "changed": false, "removed": false}]));
    // Every relay is told, also one it never called; the one on its way also as the version before reads it.
    for relay in [&osaka, &sendai] {
        assert_eq!(orders(&top, relay, is_word).await, 1, "{}", relay.name);
    }
    // It is listed only if it is asked for, and its past is one timeline.
    let listed = top.get("/admin/v1/hosts").await;
    assert!(listed.as_array().unwrap().iter().all(|host| host["name"] != "pc1"), "{listed}");
    let all = top.get("/admin/v1/hosts?all=true").await;
    let found = all.as_array().unwrap().last().unwrap();
    assert_eq!((&found["name"], found["retired"].is_string()), (&json!("pc1"), true));
    assert!(!top.get("/admin/v1/tree").await.to_string().contains("pc1"));
    let shown = top.get("/admin/v1/hosts/pc1").await;
    let events = shown["events"].as_array().unwrap();
    let retired =
        events.iter().find(|event| event["event"] == "retired" && event["by"] == "somebody").unwrap();
    assert!(retired["text"].as_str().unwrap().starts_with("retired by somebody"), "{retired}");
    assert!(events.iter().any(|event| event["event"] == "installing"), "{shown}");
    assert!(
        top.get("/admin/v1/explain?host=pc1").await["summary"].as_str().unwrap().contains("was retired at")
    );
    // What it did all the same outranks the verdict.
    top.report(&pc1, 2, 1, 1, done()).await;
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!(shown["counts"], json!({"done": 2}));
    assert_eq!(shown["instructions"][0]["result"]["verdict"], "retired");
}

#[tokio::test]
async fn what_comes_late_of_a_retired_host_opens_no_line() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    top.join("pc2", HostRole::Client, Some(&osaka)).await;
    top.done("/admin/v1/jobs", &install(&["pc2"])).await;
    top.done("/admin/v1/jobs", &install(&["pc1"])).await;
    top.done(RETIRE, &names(&["pc1", "pc2"])).await;
    // Its relay was cut off and had taken it into the first job by itself; and it knew of another attempt in the second.
    for (no, job, attempt) in [(1, 1, 1), (2, 2, 2)] {
        top.report(&pc1, 2 * no - 1, job, attempt, LineEvent::Delivered).await;
        top.report(&pc1, 2 * no, job, attempt, LineEvent::Begun).await;
        let shown = top.get(&format!("/admin/v1/jobs/{job}")).await;
        assert_eq!(shown["state"], "ended", "{shown}");
        let lines = shown["instructions"].as_array().unwrap();
        let line = lines.iter().find(|line| line["host"] == "pc1").unwrap();
        assert_eq!((&line["state"], &line["result"]["verdict"]), (&json!("cancelled"), &json!("retired")));
    }
    // Its own end outranks that here, too.
    top.report(&pc1, 5, 1, 1, done()).await;
    assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"cancelled": 1, "done": 1}));
}

#[tokio::test]
async fn no_job_takes_a_retired_host_in() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    for name in ["pc1", "pc2"] {
        top.join(name, HostRole::Client, Some(&osaka)).await;
    }
    top.done("/admin/v1/groups", &json!({"name": "sales", "members": ["pc1", "pc2"]})).await;
    top.done("/admin/v1/jobs", &install(&["below:osaka"])).await;
    top.done(RETIRE, &names(&["pc1"])).await;
    for to in ["all", "below:osaka", "group:sales"] {
        assert_eq!(top.done("/admin/v1/jobs", &install(&[to])).await["lines"], 1, "{to}");
        assert_eq!(top.done("/admin/v1/plan", &install(&[to])).await["hosts"], 1, "{to}");
    }
    assert_eq!(top.get("/admin/v1/groups/sales").await["members"].as_array().unwrap().len(), 1);
    for (path, body) in [
        ("/admin/v1/jobs", install(&["pc1"])),
        ("/admin/v1/hosts/pc1/move", json!({"to": "server"})),
        ("/admin/v1/groups/sales/add", json!({"members": ["pc1"]})),
    ] {
        assert_eq!(top.refused(path, &body, 409, "retired").await, "pc1 was retired");
    }
    // A new revision of a job does not open its lines again.
    top.done("/admin/v1/jobs", &install(&["all"])).await;
    top.done(RETIRE, &names(&["pc2"])).await;
    top.done("/admin/v1/jobs/5/suspend", &Value::Null).await;
    top.done("/admin/v1/jobs/5/resume", &Value::Null).await;
    assert_eq!(top.get("/admin/v1/jobs/5").await["counts"], json!({"cancelled": 1}));

    // Its name is not free; a token that replaces it brings it back as itself: into its groups, and like a newcomer into jobs.
    let taken = ask_in(&top, "pc1", None).await.unwrap_err().to_string();
    assert!(taken.contains("pc1 was retired"), "{taken}");
    assert_eq!(ask_in(&top, "pc1", Some("pc1")).await.unwrap(), 2);
    let shown = top.get("/admin/v1/hosts/pc1").await;
    assert_eq!((&shown["retired"], &shown["groups"]), (&Value::Null, &json!(["sales"])));
    let what: Vec<&Value> = shown["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
    let at = |word: &str| what.iter().position(|event| *event == word).unwrap();
    assert!(at("retired") < at("returned"), "{what:?}");
    // The newest of them; and one whose line ended with it is open again when it is back.
    assert_eq!(top.get("/admin/v1/jobs/5").await["counts"], json!({"cancelled": 1, "waiting": 1}));
    assert_eq!(ask_in(&top, "pc2", Some("pc2")).await.unwrap(), 2);
    assert_eq!(top.get("/admin/v1/jobs/5").await["counts"], json!({"waiting": 2}));
    let gone = top.system.db.read(retired::all).await.unwrap();
    assert!(gone.len() == 2 && gone.values().all(|gone| gone.generation == 1));
}

#[tokio::test]
async fn what_cannot_be_retired_is_refused_and_nothing_is_half_done() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    top.join("namba", HostRole::Relay, Some(&osaka)).await;
    top.join("pc1", HostRole::Client, Some(&osaka)).await;
    top.join("pc2", HostRole::Client, None).await;
    for path in [RETIRE, REMOVE] {
        for (hosts, status, code, message) in [
            (vec!["pc2", "pc9"], 404, "unknown_host", "there is no host pc9"),
            (vec!["pc2", "pc2"], 400, "bad_request", "pc2 is named twice"),
            (
                vec!["pc2", "server"],
                409,
                "is_the_server",
                "server is the managing server itself: it is not retired",
            ),
            (
                vec!["localhost"],
                409,
                "is_the_server",
                "localhost is the managing server itself: it is not retired",
            ),
            (vec![], 400, "limit", "1 to 10000 hosts at once, not 0"),
            (
                vec!["pc2", "osaka"],
                409,
                "has_lower",
                "namba and 1 more would be below osaka with nobody to call",
            ),
            (vec!["osaka", "namba"], 409, "has_lower", "pc1 would be below osaka with nobody to call"),
        ] {
            assert_eq!(top.refused(path, &names(&hosts), status, code).await, message);
        }
    }
    let all = top.get("/admin/v1/hosts?all=true").await;
    assert!(all.as_array().unwrap().iter().all(|host| host["retired"].is_null()), "{all}");
    // Together with all that is below it, it goes.
    let left = top.done(RETIRE, &names(&["osaka", "namba", "pc1"])).await;
    assert!(left.as_array().unwrap().iter().all(|host| host["changed"] == true), "{left}");
    assert_eq!(top.get("/admin/v1/relays").await, json!([]));
    top.refused("/admin/v1/jobs", &install(&["below:osaka"]), 404, "unknown_host").await;
}

#[tokio::test]
async fn nothing_is_granted_to_or_set_at_a_retired_relay() {
    let top = Top::new().await;
    top.with_editor().await;
    top.join("osaka", HostRole::Relay, None).await;
    top.done(RETIRE, &names(&["osaka"])).await;
    let limits = json!({"none": true, "down": null, "hours": [], "store": null});
    let grant = json!({"install": true, "offer": false, "cabinets": [], "days": null});
    for (verb, body) in [
        ("grant", grant),
        ("limit", limits),
        ("suspend", Value::Null),
        ("keep", json!({"package": "office/editor", "keep": "30d"})),
        ("drop", json!({"package": "office/editor"})),
    ] {
        let path = format!("/admin/v1/relays/osaka/{verb}");
        assert_eq!(top.refused(&path, &body, 409, "retired").await, "osaka was retired", "{verb}");
    }
    // A relay is let in as one again.
    let (_, refused) = top.post("/admin/v1/relays/osaka/suspend", &Value::Null).await;
    assert!(refused["hint"].as_str().unwrap().contains("packhorse token new --relay --replace osaka"));
    // It is still shown.
    assert_eq!(top.get("/admin/v1/relays/osaka").await["name"], "osaka");
}

#[tokio::test]
async fn a_removed_host_is_forgotten_and_its_name_is_free() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let pc2 = top.join("pc2", HostRole::Client, None).await;
    top.done("/admin/v1/groups", &json!({"name": "sales", "members": ["pc1", "pc2"]})).await;
    for _ in 0..2 {
        top.done("/admin/v1/jobs", &install(&["pc1", "pc2"])).await;
    }
    top.report(&pc1, 1, 1, 1, done()).await;
    top.report(&pc2, 1, 1, 1, done()).await;
    let token = json!({"relay": false, "uses": 1, "ends_secs": 3600, "replace": "pc1"});
    let token = top.done("/admin/v1/tokens", &token).await["view"]["id"].clone();
    let left = top.done(REMOVE, &names(&["pc1"])).await;
    assert_eq!(left, json!([{"host": "pc1", "lines": 1, "changed": true, "removed": true}]));
    // Its results stay as numbers.
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!(shown["counts"], json!({"done": 2}));
    assert_eq!(shown["instructions"].as_array().unwrap().len(), 1);
    assert_eq!(top.get("/admin/v1/jobs/2").await["counts"], json!({"cancelled": 1, "waiting": 1}));
    top.refused(REMOVE, &names(&["pc1"]), 404, "unknown_host").await;
    assert_eq!(top.get("/admin/v1/hosts?all=true").await.as_array().unwrap().len(), 2);
    // A token that was to replace it is worthless, and what still comes of it is no lie.
    let tokens = top.get("/admin/v1/tokens").await;
    let found = tokens.as_array().unwrap().iter().find(|other| other["id"] == token).unwrap();
    assert_eq!(found["state"], "revoked");
    top.report(&pc1, 2, 2, 1, done()).await;
    assert_eq!(top.get("/admin/v1/alarms").await, json!([]));
    assert_eq!(orders(&top, &osaka, |order| matches!(order, Order::Receipts(_))).await, 2);
    // Another machine of that name is another host.
    assert_eq!(ask_in(&top, "pc1", None).await.unwrap(), 1);
    let shown = top.get("/admin/v1/hosts/pc1").await;
    assert_ne!(shown["id"], pc1.id.to_string());
    assert_eq!((&shown["groups"], &shown["instructions"]), (&json!([]), &json!([])));
    assert_eq!(shown["events"].as_array().unwrap().len(), 1, "{shown}");
    // One that was retired before can be removed, too.
    top.done(RETIRE, &names(&["pc2"])).await;
    let left = top.done(REMOVE, &names(&["pc2"])).await;
    assert_eq!(left, json!([{"host": "pc2", "lines": 0, "changed": false, "removed": true}]));
    assert_eq!(orders(&top, &osaka, is_word).await, 3);
}

/// Statements written so far, when nothing more is written by itself.
async fn settled(top: &Top) -> u64 {
    loop {
        let before = top.system.db.statements_written();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        if top.system.db.statements_written() == before {
            return before;
        }
    }
}

#[tokio::test]
async fn statements_do_not_grow_with_the_hosts_that_go() {
    let mut counted = Vec::new();
    for count in [2, 800] {
        let top = Top::new().await;
        top.with_editor().await;
        let osaka = top.join("osaka", HostRole::Relay, None).await;
        let hosts = Many { relay: &osaka, count }.join(&top).await;
        top.done("/admin/v1/jobs", &install(&["all"])).await;
        let mut one = Vec::new();
        for path in [RETIRE, REMOVE] {
            let before = settled(&top).await;
            top.done(path, &json!({"hosts": hosts})).await;
            one.push(settled(&top).await - before);
        }
        counted.push(one);
        assert_eq!(top.get("/admin/v1/jobs/1").await["counts"], json!({"cancelled": count}));
    }
    assert_eq!(counted[0], counted[1]);
}

#[tokio::test]
async fn hosts_not_heard_for_very_long_are_shown_apart_until_they_are_heard() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let pc2 = top.join("pc2", HostRole::Client, None).await;
    let pc3 = top.join("pc3", HostRole::Client, None).await;
    top.done("/admin/v1/jobs", &install(&["pc1", "pc2", "pc3"])).await;
    top.report(&pc1, 1, 1, 1, done()).await;
    let ago = |days: i64| Time(now().0).plus_days(-days);
    let seen = [(pc1.id, ago(91)), (pc2.id, ago(91)), (pc3.id, ago(89)), (osaka.id, now())];
    top.system.db.write(Seen(seen.to_vec())).await.unwrap();
    let hosts = top.get("/admin/v1/hosts").await;
    let silent: Vec<&Value> = hosts
        .as_array()
        .unwrap()
        .iter()
        .filter(|host| host["silent"] == true)
        .map(|host| &host["name"])
        .collect();
    assert_eq!(silent, ["pc1", "pc2"]);
    let tree = top.get("/admin/v1/tree").await;
    let last = tree["lower"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &last["silent"]), (&json!("pc2"), &json!(true)));
    // A word of a clock that is wrong takes nothing back.
    top.system.db.write(Seen(vec![(pc3.id, Time(5))])).await.unwrap();
    let shown = top.get("/admin/v1/hosts/pc3").await;
    assert_eq!(shown["silent"], json!(false), "{shown}");
    // What it has done counts; what is open at one that is silent does not.
    let explained = top.get("/admin/v1/explain?job=1").await;
    assert_eq!(
        explained["summary"], "1 of 2 done · 1 off · 1 silent for more than 90 days, not counted",
        "{explained}"
    );
    let shown = top.get("/admin/v1/jobs/1").await;
    assert_eq!((&shown["silent"], &shown["counts"]), (&json!(1), &json!({"done": 1, "waiting": 2})));
    let lines = shown["instructions"].as_array().unwrap();
    let silent: Vec<&Value> =
        lines.iter().filter(|line| line["silent"] == true).map(|line| &line["host"]).collect();
    assert_eq!(silent, ["pc2"]);
    assert_eq!(lines[1]["reason"]["code"], "silent");
    assert!(lines[1]["reason"]["clear"].as_str().unwrap().ends_with("packhorse host retire pc2"));
    assert_eq!(top.get("/admin/v1/jobs").await[0]["silent"], 1);
    // Another setting, another word.
    top.system.set_silent_days(30);
    let explained = top.get("/admin/v1/explain?job=1").await;
    assert_eq!(explained["summary"], "1 of 1 done · 2 silent for more than 30 days, not counted");
    top.system.set_silent_days(90);
    // Heard again, it counts again at once.
    top.system.presence.came(pc2.id, 7, now());
    let explained = top.get("/admin/v1/explain?job=1").await;
    assert_eq!(explained["summary"], "1 of 3 done · 1 off · 1 on the way");
    assert_eq!(top.get("/admin/v1/jobs").await[0]["silent"], 0);
}

#[tokio::test]
async fn a_feed_made_anew_tells_of_retired_hosts() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let pc2 = top.join("pc2", HostRole::Client, None).await;
    top.done(RETIRE, &names(&["pc1"])).await;
    let rebuild = packhorse_server::db::rebuild::RebuildFeed {
        lower: osaka.row,
        reader: packhorse_domain::ids::Incarnation(9),
        capabilities: top.system.capabilities.clone(),
        now: now(),
    };
    top.system.db.write(rebuild).await.unwrap();
    assert_eq!(orders(&top, &osaka, is_word).await, 1);
    let row = osaka.row;
    let read = top
        .system
        .db
        .read(move |connection| feeds::read(connection, row, packhorse_domain::ids::Incarnation(9), None));
    let feeds::FeedAnswer::Orders { orders, .. } = read.await.unwrap() else { panic!("it was just made") };
    let below = orders.iter().filter_map(|order| match Order::decode(&order.kind, &order.body).unwrap() {
        Some(Order::Below(hosts)) => Some(hosts),
        _ => None,
    });
    assert!(below.flatten().all(|host| host.host.0 != pc1.id.0));
    // One who asked just before it was retired gets none.
    let rebuild = packhorse_server::db::rebuild::RebuildFeed {
        lower: pc2.row,
        reader: packhorse_domain::ids::Incarnation(9),
        capabilities: top.system.capabilities.clone(),
        now: now(),
    };
    top.done(RETIRE, &names(&["pc2"])).await;
    assert!(!top.system.db.write(rebuild).await.unwrap());
    assert_eq!(self::orders(&top, &pc2, |_| true).await, 0);
    // Nobody asks for it after so long.
    top.system.db.write(retired::Prune(now().plus_days(401))).await.unwrap();
    assert!(top.system.db.read(retired::all).await.unwrap().is_empty());
}
