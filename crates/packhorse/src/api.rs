//! The administrator's API as the command line calls it: one method for each thing that is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::Method;
use packhorse_wire::admin::{
    AccessFile, CabinetView, ControlMade, CopyOrdered, DropCopy, Explained, Grant, GrantView, GroupChanged,
    GroupDetail, GroupMembers, GroupView, HostDetail, HostMove, HostMoved, HostNames, HostRetired, HostView,
    JobMade, JobSummary, JobView, KeepCopy, KeyText, LineHistory, NewCabinet, NewGroup, NewJob, NewLimits,
    NewToken, PackageDetail, PackageView, PageGranted, PlanView, Registered, RelaySummary, RelayView, Retry,
    TokenMade, TokenView, TreeNode, Upload, UploadProgress,
};
use packhorse_wire::net::{Expect, Identity, Link, LinkError, Pinned};
use packhorse_wire::pki::{CaCert, HostKey, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::address::encode;
use crate::failure::{Failure, Outcome, Within};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer, in bytes: a job with very many lines.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// How long a question for news is held at most, in seconds.
pub const HOLD_SECS: u64 = 20;
/// The version of access files this program reads.
const ACCESS_VERSION: u32 = 1;

/// A system, and the right to ask it.
#[derive(Debug, Clone)]
pub struct Api {
    link: Link,
    system: String,
}

impl Api {
    /// Opens the access file that `--context` or `PACKHORSE_CONTEXT` names. Nothing is sent yet.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn open(context: Option<&PathBuf>) -> Outcome<Api> {
        Api::of_file(given(context)?)
    }

    /// As [`Api::open`], for a file that is known.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn of_file(path: &Path) -> Outcome<Api> {
        let file = access_file(path)?;
        let expect =
            Expect { roles: vec![Role::Server, Role::Relay], id: Some(file.system_id.clone()), name: None };
        let link = link(&file, &file.url, expect).within(|| path.display().to_string())?;
        Ok(Api { link, system: file.system })
    }

    /// As [`Api::open`], but for the relay at `url`, with the same access: the authority is the same for all systems.
    ///
    /// # Errors
    /// As [`Api::open`], or `url` is none.
    pub fn open_relay(context: Option<&PathBuf>, url: &str) -> Outcome<Api> {
        let path = given(context)?;
        let file = access_file(path)?;
        let expect = Expect { roles: vec![Role::Relay], id: None, name: None };
        let link = link(&file, url, expect).within(|| path.display().to_string())?;
        Ok(Api { link, system: file.system })
    }

    /// The system's address.
    pub fn url(&self) -> &str {
        self.link.url()
    }

    /// The system's address as another machine may call it: `localhost` means nothing there, the system's name does.
    pub fn url_elsewhere(&self) -> String {
        url_elsewhere(self.link.url(), &self.system)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<T, LinkError> {
        let answer = self.link.request(method, path, body, ANSWER_BYTES_MAX, timeout).await?;
        read(self.link.url(), &answer)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, LinkError> {
        self.ask(Method::GET, path, Bytes::new(), TIMEOUT).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, LinkError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| LinkError::Source { url: self.link.url().to_owned(), why: error.to_string() })?;
        self.ask(Method::POST, path, body, TIMEOUT).await
    }

    /// The machines.
    pub async fn hosts(&self, all: bool) -> Result<Vec<HostView>, LinkError> {
        self.get(&format!("/admin/v1/hosts?all={all}")).await
    }

    /// One machine.
    pub async fn host(&self, name: &str) -> Result<HostDetail, LinkError> {
        self.get(&format!("/admin/v1/hosts/{}", encode(name))).await
    }

    /// Retires machines (`retire`), or forgets them too (`remove`).
    pub async fn leave_hosts(&self, hosts: Vec<String>, verb: &str) -> Result<Vec<HostRetired>, LinkError> {
        self.post(&format!("/admin/v1/hosts/-/{verb}"), &HostNames { hosts }).await
    }

    /// Moves a machine.
    pub async fn move_host(&self, name: &str, to: &HostMove) -> Result<HostMoved, LinkError> {
        self.post(&format!("/admin/v1/hosts/{}/move", encode(name)), to).await
    }

    /// The systems as a tree.
    pub async fn tree(&self) -> Result<TreeNode, LinkError> {
        self.get("/admin/v1/tree").await
    }

    /// Makes a token.
    pub async fn new_token(&self, token: &NewToken) -> Result<TokenMade, LinkError> {
        self.post("/admin/v1/tokens", token).await
    }

    /// The tokens.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, LinkError> {
        self.get("/admin/v1/tokens").await
    }

    /// Makes a token worthless.
    pub async fn revoke_token(&self, id: u64) -> Result<(), LinkError> {
        let path = format!("/admin/v1/tokens/{id}");
        self.ask::<serde_json::Value>(Method::DELETE, &path, Bytes::new(), TIMEOUT).await.map(|_| ())
    }

    /// The cabinets.
    pub async fn cabinets(&self) -> Result<Vec<CabinetView>, LinkError> {
        self.get("/admin/v1/cabinets").await
    }

    /// Makes a cabinet.
    pub async fn new_cabinet(&self, cabinet: &NewCabinet) -> Result<CabinetView, LinkError> {
        self.post("/admin/v1/cabinets", cabinet).await
    }

    /// Trusts (or no more trusts) a packager's key in a cabinet.
    pub async fn trust(&self, cabinet: &str, key: String, trusted: bool) -> Result<CabinetView, LinkError> {
        let verb = if trusted { "trust" } else { "distrust" };
        self.post(&format!("/admin/v1/cabinets/{}/{verb}", encode(cabinet)), &KeyText { key }).await
    }

    /// The groups.
    pub async fn groups(&self) -> Result<Vec<GroupView>, LinkError> {
        self.get("/admin/v1/groups").await
    }

    /// One group.
    pub async fn group(&self, name: &str) -> Result<GroupDetail, LinkError> {
        self.get(&format!("/admin/v1/groups/{}", encode(name))).await
    }

    /// Makes a group.
    pub async fn new_group(&self, group: &NewGroup) -> Result<GroupChanged, LinkError> {
        self.post("/admin/v1/groups", group).await
    }

    /// Puts members in (`add`) or takes them out (`leave`).
    pub async fn change_group(
        &self,
        name: &str,
        verb: &str,
        members: &GroupMembers,
    ) -> Result<GroupChanged, LinkError> {
        self.post(&format!("/admin/v1/groups/{}/{verb}", encode(name)), members).await
    }

    /// Puts the hosts of a CSV file in.
    pub async fn import_group(&self, name: &str, csv: Vec<u8>) -> Result<GroupChanged, LinkError> {
        self.ask(Method::POST, &format!("/admin/v1/groups/{}/import", encode(name)), csv, TIMEOUT).await
    }

    /// Removes a group.
    pub async fn remove_group(&self, name: &str, anyway: bool) -> Result<GroupChanged, LinkError> {
        let path = format!("/admin/v1/groups/{}?anyway={anyway}", encode(name));
        self.ask(Method::DELETE, &path, Bytes::new(), TIMEOUT).await
    }

    /// The packages, of one cabinet or of all.
    pub async fn packages(&self, cabinet: Option<&str>) -> Result<Vec<PackageView>, LinkError> {
        match cabinet {
            Some(cabinet) => self.get(&format!("/admin/v1/packages?cabinet={}", encode(cabinet))).await,
            None => self.get("/admin/v1/packages").await,
        }
    }

    /// One package.
    pub async fn package(&self, package: &str) -> Result<PackageDetail, LinkError> {
        self.get(&format!("/admin/v1/packages/show?package={}", encode(package))).await
    }

    /// Removes a package.
    pub async fn remove_package(&self, package: &str) -> Result<PackageView, LinkError> {
        let path = format!("/admin/v1/packages?package={}", encode(package));
        self.ask(Method::DELETE, &path, Bytes::new(), TIMEOUT).await
    }

    /// Offers a package to a cabinet by its signed manifest; the answer says which chunks are lacking.
    pub async fn begin_upload(&self, cabinet: &str, envelope: Bytes) -> Result<Upload, LinkError> {
        let path = format!("/admin/v1/uploads?cabinet={}", encode(cabinet));
        self.ask(Method::POST, &path, envelope, TIMEOUT).await
    }

    /// Sends frames as they are read.
    pub async fn upload_frames<S>(&self, package: &str, frames: S) -> Result<UploadProgress, LinkError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let path = format!("/admin/v1/uploads/{}/frames", encode(package));
        let answer = self.link.upload(Method::POST, &path, frames, None, ANSWER_BYTES_MAX).await?;
        read(self.link.url(), &answer)
    }

    /// Everything was sent.
    pub async fn finish_upload(&self, package: &str, cabinet: &str) -> Result<Registered, LinkError> {
        let path = format!("/admin/v1/uploads/{}/finish?cabinet={}", encode(package), encode(cabinet));
        self.ask(Method::POST, &path, Bytes::new(), TIMEOUT * 10).await
    }

    /// What a job would do.
    pub async fn plan(&self, job: &NewJob) -> Result<PlanView, LinkError> {
        self.post("/admin/v1/plan", job).await
    }

    /// Makes a job.
    pub async fn new_job(&self, job: &NewJob) -> Result<JobMade, LinkError> {
        self.post("/admin/v1/jobs", job).await
    }

    /// The jobs.
    pub async fn jobs(&self) -> Result<Vec<JobSummary>, LinkError> {
        self.get("/admin/v1/jobs").await
    }

    /// One job; `job` as [`crate::address::job_path`] makes it.
    pub async fn job(&self, job: &str) -> Result<JobView, LinkError> {
        self.get(&format!("/admin/v1/jobs/{job}")).await
    }

    /// One machine's part of a job.
    pub async fn line(&self, job: &str, host: &str) -> Result<LineHistory, LinkError> {
        self.get(&format!("/admin/v1/jobs/{job}/hosts/{}", encode(host))).await
    }

    /// One job as soon as there is news after `seen`, or after [`HOLD_SECS`].
    pub async fn job_after(&self, job: &str, seen: u64) -> Result<JobView, LinkError> {
        let path = format!("/admin/v1/jobs/{job}?seen={seen}&hold_secs={HOLD_SECS}");
        self.ask(Method::GET, &path, Bytes::new(), TIMEOUT + Duration::from_secs(HOLD_SECS)).await
    }

    /// Changes a job: `cancel`, `suspend`, `resume`, `close`; or makes it `again`.
    pub async fn change_job(&self, job: &str, verb: &str) -> Result<JobMade, LinkError> {
        self.ask(Method::POST, &format!("/admin/v1/jobs/{job}/{verb}"), Bytes::new(), TIMEOUT).await
    }

    /// Tries again what did not end well.
    pub async fn retry(&self, job: &str, failed: bool) -> Result<JobMade, LinkError> {
        self.post(&format!("/admin/v1/jobs/{job}/retry"), &Retry { failed }).await
    }

    /// Why; the parts that are asked about as `(name, value)`.
    pub async fn explain(&self, about: &[(&str, &str)]) -> Result<Explained, LinkError> {
        let query: Vec<String> =
            about.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        self.get(&format!("/admin/v1/explain?{}", query.join("&"))).await
    }

    /// An address for a browser, on this system, and how long that browser may look, in seconds.
    pub async fn page(&self) -> Result<(String, u64), LinkError> {
        let granted: PageGranted = self.ask(Method::POST, "/admin/v1/page", Bytes::new(), TIMEOUT).await?;
        Ok((format!("{}{}", self.url().trim_end_matches('/'), granted.path), granted.looks_secs))
    }

    /// The relays.
    pub async fn relays(&self) -> Result<Vec<RelaySummary>, LinkError> {
        self.get("/admin/v1/relays").await
    }

    /// Lets a relay's administrator do something; answers when the relay has it, or after some seconds.
    pub async fn grant(&self, relay: &str, grant: &Grant) -> Result<GrantView, LinkError> {
        self.post(&format!("/admin/v1/relays/{}/grant", encode(relay)), grant).await
    }

    /// Takes back what was granted.
    pub async fn revoke(&self, relay: &str) -> Result<GrantView, LinkError> {
        let path = format!("/admin/v1/relays/{}/revoke", encode(relay));
        self.ask(Method::POST, &path, Bytes::new(), TIMEOUT).await
    }

    /// A relay is to keep a copy longer or shorter.
    pub async fn keep_copy(&self, relay: &str, order: &KeepCopy) -> Result<CopyOrdered, LinkError> {
        self.post(&format!("/admin/v1/relays/{}/keep", encode(relay)), order).await
    }

    /// A relay is to drop a copy.
    pub async fn drop_copy(&self, relay: &str, order: &DropCopy) -> Result<CopyOrdered, LinkError> {
        self.post(&format!("/admin/v1/relays/{}/drop", encode(relay)), order).await
    }

    /// One relay.
    pub async fn relay(&self, name: &str) -> Result<RelayView, LinkError> {
        self.get(&format!("/admin/v1/relays/{}", encode(name))).await
    }

    /// Sets a relay: `suspend`, `resume`.
    pub async fn set_relay(&self, name: &str, verb: &str) -> Result<ControlMade, LinkError> {
        let path = format!("/admin/v1/relays/{}/{verb}", encode(name));
        self.ask(Method::POST, &path, Bytes::new(), TIMEOUT).await
    }

    /// Sets limits at a relay.
    pub async fn limit_relay(&self, name: &str, limits: &NewLimits) -> Result<ControlMade, LinkError> {
        self.post(&format!("/admin/v1/relays/{}/limit", encode(name)), limits).await
    }
}

fn no_access_file(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("{}: {why}", path.display()))
        .hint("--context and PACKHORSE_CONTEXT name an access file; `server init` writes DATA/admin.toml")
}

/// A URL with `name` in place of `localhost`.
pub fn url_elsewhere(url: &str, name: &str) -> String {
    url.replacen("://localhost:", &format!("://{name}:"), 1)
}

/// The access file that was given.
fn given(context: Option<&PathBuf>) -> Outcome<&Path> {
    let path = context.ok_or_else(|| {
        Failure::usage("no system to ask: neither --context nor PACKHORSE_CONTEXT names an access file")
            .hint("export PACKHORSE_CONTEXT=DATA/admin.toml (`server init` wrote it)")
    })?;
    Ok(path)
}

fn access_file(path: &Path) -> Outcome<AccessFile> {
    let text = std::fs::read_to_string(path).map_err(|error| no_access_file(path, &error.to_string()))?;
    let file: AccessFile = toml::from_str(&text).map_err(|error| no_access_file(path, error.message()))?;
    if file.version != ACCESS_VERSION {
        return Err(Failure::new(format!("{}: version {} is not known", path.display(), file.version)));
    }
    Ok(file)
}

fn link(file: &AccessFile, url: &str, expect: Expect) -> Outcome<Link> {
    let ca = CaCert::from_pem(&file.ca_pem)?;
    let identity = Identity::new(&file.chain_pem, &HostKey::from_pem(&file.key_pem)?)?;
    Ok(Link::new(url, Pinned::Ca { ca, expect }, Some(identity))?)
}

fn read<T: DeserializeOwned>(url: &str, answer: &[u8]) -> Result<T, LinkError> {
    serde_json::from_slice(answer).map_err(|error| LinkError::Protocol {
        url: url.to_owned(),
        why: format!("its answer cannot be read: {error}"),
    })
}
