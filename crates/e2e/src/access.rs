//! The administrator's API, asked directly: for what the command line does not show, and for requests it would never make.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::Method;
use packhorse_wire::admin::{AccessFile, AlarmView};
use packhorse_wire::net::{Expect, Identity, Link, LinkError, Pinned};
use packhorse_wire::pki::{CaCert, Role};
use tokio::runtime::Runtime;

/// Most bytes of an answer.
const LIMIT_BYTES: usize = 8 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls the API with an access file.
pub struct Access<'a> {
    runtime: &'a Runtime,
    link: Link,
}

impl<'a> Access<'a> {
    /// With the access file `path`.
    pub fn new(runtime: &'a Runtime, path: &Path) -> Access<'a> {
        let file = read(path);
        let expect = Expect { roles: vec![Role::Server, Role::Relay], id: None, name: None };
        let ca = CaCert::from_pem(&file.ca_pem).expect("the authority");
        let identity = Identity::from_pem(&file.chain_pem, &file.key_pem).expect("the administrator's key");
        let link = Link::new(&file.url, Pinned::Ca { ca, expect }, Some(identity)).expect("a link");
        Access { runtime, link }
    }

    /// One request.
    ///
    /// # Errors
    /// The link's, with what the server refused.
    pub fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Bytes, LinkError> {
        let answer = self.link.request(method, path, body, LIMIT_BYTES, PATIENCE);
        self.runtime.block_on(answer)
    }

    /// One request whose body is made while it is sent.
    ///
    /// # Errors
    /// The link's, with what the server refused.
    pub fn upload<S>(&self, path: &str, body: S) -> Result<Bytes, LinkError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let answer = self.link.upload(Method::POST, path, body, None, LIMIT_BYTES);
        self.runtime.block_on(answer)
    }

    /// All alarms.
    pub fn alarms(&self) -> Vec<AlarmView> {
        let answer = self.request(Method::GET, "/admin/v1/alarms", Bytes::new()).expect("alarms");
        serde_json::from_slice(&answer).expect("alarms as JSON")
    }

    /// The alarms of one host with one code.
    pub fn alarms_of(&self, host: &str, code: &str) -> Vec<AlarmView> {
        self.alarms().into_iter().filter(|alarm| alarm.host == host && alarm.code == code).collect()
    }
}

/// Reads an access file.
pub fn read(path: &Path) -> AccessFile {
    let text = fs::read_to_string(path).expect("the access file");
    toml::from_str(&text).expect("an access file")
}
