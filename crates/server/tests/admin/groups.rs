//! Groups are made, filled and looked at; jobs to them take in who comes later.

use axum::http::{Method, StatusCode};
use packhorse_domain::job::HostRole;
use packhorse_domain::place::Place;
use packhorse_server::db::hosts::HostRecord;
use packhorse_server::system::now;
use serde_json::{Value, json};

use super::support::{Many, Top, install};

impl Top {
    async fn clients(&self, names: &[&str]) -> Vec<HostRecord> {
        let mut hosts = Vec::new();
        for name in names {
            hosts.push(self.join(name, HostRole::Client, None).await);
        }
        hosts
    }

    async fn group(&self, name: &str, members: &[&str]) {
        self.done("/admin/v1/groups", &json!({ "name": name, "members": members })).await;
    }

    async fn change(&self, name: &str, verb: &str, members: &[&str]) -> Value {
        self.done(&format!("/admin/v1/groups/{name}/{verb}"), &json!({ "members": members })).await
    }

    /// Host → why.
    async fn members(&self, name: &str) -> Vec<(String, String)> {
        let shown = self.get(&format!("/admin/v1/groups/{name}")).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let members = shown["members"].as_array().unwrap();
        members.iter().map(|member| (text(&member["host"]), text(&member["why"]))).collect()
    }

    /// The place of a host as it is signed now.
    async fn place(&self, host: &HostRecord) -> Place {
        let row = host.row;
        let read = self.system.db.read(move |connection| {
            let sql = "SELECT place FROM hosts WHERE row = ?1";
            Ok(connection.query_row(sql, [row], |row| row.get::<_, Vec<u8>>(0))?)
        });
        self.system.trust().place(&read.await.unwrap()).unwrap()
    }

    /// The hosts of a job.
    async fn hosts_of(&self, job: &Value) -> Vec<String> {
        let shown = self.get(&format!("/admin/v1/jobs/{}", job["number"])).await;
        let lines = shown["instructions"].as_array().unwrap();
        let mut hosts: Vec<String> =
            lines.iter().map(|line| line["host"].as_str().unwrap().to_owned()).collect();
        hosts.sort();
        hosts
    }

    /// Kinds of the orders in a direct lower system's feed.
    async fn feed(&self, host: &HostRecord) -> Vec<String> {
        let row = host.row;
        let read = self.system.db.read(move |connection| {
            let mut statement =
                connection.prepare("SELECT kind FROM feed_entries WHERE lower = ?1 ORDER BY n")?;
            let rows = statement.query_map([row], |row| row.get(0))?;
            Ok(rows.collect::<Result<Vec<String>, _>>()?)
        });
        read.await.unwrap()
    }
}

fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(host, why)| (host.as_str(), why.as_str())).collect()
}

#[tokio::test]
async fn members_come_and_go_and_their_places_say_so() {
    let top = Top::new().await;
    let hosts = top.clients(&["pc1", "pc2", "pc3"]).await;
    top.group("sales", &["pc1"]).await;
    top.group("office", &["pc2", "group:sales"]).await;
    let seen = top.members("office").await;
    assert_eq!(pairs(&seen), [("pc1", "by group:sales"), ("pc2", "put in")]);
    let place = top.place(&hosts[0]).await;
    assert_eq!(place.groups.len(), 2);
    assert!(place.groups_until > now().plus_days(29));
    assert_eq!(top.place(&hosts[2]).await.groups.len(), 0);

    // Through the group that is a member.
    let changed = top.change("sales", "add", &["pc3", "pc1"]).await;
    assert_eq!((&changed["changed"], &changed["unchanged"]), (&json!(1), &json!(1)));
    assert_eq!(top.place(&hosts[2]).await.groups.len(), 2);
    let shown = top.get("/admin/v1/hosts/pc3").await;
    assert_eq!(shown["groups"], json!(["office", "sales"]));
    let list = top.get("/admin/v1/groups").await;
    assert_eq!(list[0]["name"], "office");
    assert_eq!((&list[0]["hosts"], &list[0]["groups"]), (&json!(3), &json!(["sales"])));

    let revision = top.place(&hosts[0]).await.revision;
    top.change("office", "leave", &["group:sales"]).await;
    let place = top.place(&hosts[0]).await;
    assert_eq!((place.groups.len(), place.revision), (1, revision + 1));
    assert_eq!(pairs(&top.members("office").await), [("pc2", "put in")]);
    let (status, gone) = top.ask(Method::DELETE, "/admin/v1/groups/sales", "").await;
    assert_eq!((status, &gone["changed"]), (StatusCode::OK, &json!(2)));
    assert_eq!(top.place(&hosts[0]).await.groups.len(), 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_nothing_is_half_made() {
    let top = Top::new().await;
    top.clients(&["pc1"]).await;
    top.group("sales", &["pc1"]).await;
    top.group("office", &["group:sales"]).await;
    let condition = |text: &str| json!({ "name": "new", "where": text });
    let all = "/admin/v1/groups";
    for (body, status, code) in [
        (json!({ "name": "new", "members": ["pc1", "pc9"] }), 404, "unknown_host"),
        (json!({ "name": "new", "members": ["group:none"] }), 404, "unknown_group"),
        (json!({ "name": "new", "where": "os = linux", "members": ["pc1"] }), 400, "has_condition"),
        (json!({ "name": "sales" }), 409, "exists"),
        (condition("os = "), 400, "bad_condition"),
        (condition("below nowhere"), 404, "unknown_host"),
        (condition("below pc1"), 400, "bad_condition"),
        (condition("group nowhere"), 404, "unknown_group"),
    ] {
        top.refused(all, &body, status, code).await;
    }
    let (status, problem) = top.post(all, &json!({ "name": "a b" })).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some("name")));
    let message = top.refused(all, &condition("os = linux and"), 400, "bad_condition").await;
    assert!(message.contains("column 15"), "{message}");
    for (path, member, code) in [
        ("/admin/v1/groups/sales/add", "group:office", "loop"),
        ("/admin/v1/groups/sales/add", "group:sales", "loop"),
        ("/admin/v1/groups/none/add", "pc1", "unknown_group"),
        ("/admin/v1/groups/sales/leave", "pc9", "unknown_host"),
    ] {
        let status = if code == "loop" { 400 } else { 404 };
        top.refused(path, &json!({ "members": [member] }), status, code).await;
    }
    // A condition that names the group leads to it as well.
    top.done(all, &json!({ "name": "not-sales", "where": "not group office" })).await;
    top.refused("/admin/v1/groups/sales/add", &json!({ "members": ["group:not-sales"] }), 400, "loop").await;
    let (status, problem) = top.ask(Method::DELETE, "/admin/v1/groups/sales", "").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("in_use")), "{problem}");
    let names: Vec<Value> =
        top.get(all).await.as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert_eq!(names, ["not-sales", "office", "sales"]);
}

#[tokio::test]
async fn a_file_is_put_in_whole_or_not_at_all() {
    let top = Top::new().await;
    top.clients(&["pc1", "pc2", "pc3"]).await;
    let path = "/admin/v1/groups/sales/import";
    let (status, problem) = top.ask(Method::POST, path, "host,room\npc1,1\npc8,2\npc9,3\n").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (404, Some("unknown_host")));
    assert!(problem["message"].as_str().unwrap().contains("pc8 (line 3), pc9 (line 4)"), "{problem}");
    assert_eq!(top.get("/admin/v1/groups").await, json!([]));
    let (status, problem) = top.ask(Method::POST, path, "host,room\npc1\n").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some("bad_csv")), "{problem}");
    let (status, made) = top.ask(Method::POST, path, "name,role\npc1,client\npc3,client\npc1,client\n").await;
    assert_eq!((status, &made["changed"]), (StatusCode::OK, &json!(2)), "{made}");
    assert_eq!(top.members("sales").await.len(), 2);
}

#[tokio::test]
async fn a_job_to_a_group_takes_in_who_joins_it_and_goes_on_for_who_leaves() {
    let top = Top::new().await;
    top.with_editor().await;
    let hosts = top.clients(&["pc1", "pc2", "pc3"]).await;
    top.group("sales", &["pc1"]).await;
    let job = top.done("/admin/v1/jobs", &install(&["group:sales"])).await;
    assert_eq!(top.hosts_of(&job).await, ["pc1"]);
    top.change("sales", "add", &["pc2"]).await;
    assert_eq!(top.hosts_of(&job).await, ["pc1", "pc2"]);
    // The membership comes before the job that asks for it.
    assert_eq!(top.feed(&hosts[1]).await, ["place", "job"]);
    let left = top.change("sales", "leave", &["pc1"]).await;
    assert!(left["notes"][0].as_str().unwrap().contains("goes on for whom it took in"), "{left}");
    assert_eq!(top.hosts_of(&job).await, ["pc1", "pc2"]);

    let (status, problem) = top.ask(Method::DELETE, "/admin/v1/groups/sales", "").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("in_use")));
    let path = format!("/admin/v1/jobs/{}/close", job["number"]);
    assert_eq!(top.post(&path, &json!({})).await.0, StatusCode::OK);
    top.change("sales", "add", &["pc3"]).await;
    assert_eq!(top.hosts_of(&job).await, ["pc1", "pc2"], "a closed job takes in nobody");
    let (status, _) = top.ask(Method::DELETE, "/admin/v1/groups/sales", "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_host_that_joins_after_a_job_was_closed_has_that_in_its_place() {
    let top = Top::new().await;
    top.with_editor().await;
    let before = top.clients(&["pc1"]).await;
    let job = top.done("/admin/v1/jobs", &install(&["all"])).await;
    assert_eq!(top.place(&before[0]).await.joined.0, 0);
    let path = format!("/admin/v1/jobs/{}/close", job["number"]);
    assert_eq!(top.post(&path, &json!({})).await.0, StatusCode::OK);
    let after = top.clients(&["pc2"]).await;
    assert!(top.place(&after[0]).await.joined.0 > 0);
    assert_eq!(top.hosts_of(&job).await, ["pc1"]);
}

#[tokio::test]
async fn who_is_in_a_condition_follows_from_what_hosts_say() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let pc1 = top.join("pc1", HostRole::Client, Some(&osaka)).await;
    let pc2 = top.join("pc2", HostRole::Client, None).await;
    let made = json!({ "name": "big", "where": "disk_free > 20GB and below osaka" });
    top.done("/admin/v1/groups", &made).await;
    let made = json!({ "name": "odd", "where": "group big and floor = 3" });
    let made = top.done("/admin/v1/groups", &made).await;
    assert!(made["notes"][0].as_str().unwrap().contains("no agent tells floor"), "{made}");
    top.group("both", &["pc2"]).await;
    top.change("both", "add", &["group:big"]).await;
    let job = top.done("/admin/v1/jobs", &install(&["group:both"])).await;
    assert_eq!(top.hosts_of(&job).await, ["pc2"]);
    // The relay is handed a job that may take in hosts below it.
    assert_eq!(top.feed(&osaka).await.last().map(String::as_str), Some("job"));

    top.says(&pc2, 1, &[("disk_free", "90000000000")]).await;
    top.says(&osaka, 1, &[("disk_free", "90000000000")]).await;
    top.says(&pc1, 1, &[("disk_free", "9000000000"), ("floor", "3")]).await;
    assert_eq!(top.hosts_of(&job).await, ["pc2"]);
    assert_eq!(pairs(&top.members("big").await), []);
    top.says(&pc1, 2, &[("disk_free", "30000000000"), ("floor", "3")]).await;
    assert_eq!(top.hosts_of(&job).await, ["pc1", "pc2"]);
    assert_eq!(pairs(&top.members("big").await), [("pc1", "disk_free 30.0GB")]);
    assert_eq!(pairs(&top.members("odd").await), [("pc1", "disk_free 30.0GB, floor 3")]);
    assert_eq!(pairs(&top.members("both").await), [("pc1", "disk_free 30.0GB"), ("pc2", "put in")]);
    let shown = top.get("/admin/v1/hosts/pc1").await;
    assert_eq!(shown["facts"], json!({ "disk_free": "30000000000", "floor": "3" }));
    top.change("both", "leave", &["group:big"]).await;
    assert_eq!(top.hosts_of(&job).await, ["pc1", "pc2"]);
}

#[tokio::test]
async fn a_change_of_2000_members_costs_hardly_more_statements_than_one_of_10() {
    let top = Top::new().await;
    top.with_editor().await;
    let osaka = top.join("osaka", HostRole::Relay, None).await;
    let names = Many { relay: &osaka, count: 2000 }.join(&top).await;
    top.group("sales", &[]).await;
    top.done("/admin/v1/jobs", &install(&["group:sales"])).await;
    let mut costs = Vec::new();
    for count in [10, 2000] {
        let csv = format!("host\n{}\n", names[..count].join("\n"));
        let before = top.system.db.statements_written();
        let (status, said) = top.ask(Method::POST, "/admin/v1/groups/sales/import", csv).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        costs.push(top.system.db.statements_written() - before);
    }
    // Places are written 250 with one statement, and told 1000 with one order.
    assert!(costs[1] <= costs[0] + 2000 / 250 + 4, "{costs:?}");
}
