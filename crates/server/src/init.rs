//! A new managing server, and a new relay.

use std::net::SocketAddr;
use std::path::PathBuf;

use packhorse_content::store::Store;
use packhorse_domain::ids::Name;
use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use packhorse_wire::admin::AccessFile;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::enroll::{IdentityFolder, join, private_folder};
use packhorse_wire::envelope::SigningKey;
use packhorse_wire::pki::{Ca, CertIdentity, HostKey, Role, Usage, new_id, write_private};
use packhorse_wire::signed::{KeySet, TRUST_VERSION, TrustDoc, root_pin};

use crate::authority::{Authority, timestamp};
use crate::db::packages::MakeCabinet;
use crate::db::{Command, Db};
use crate::error::ServerError;
use crate::folder::{Config, Folder};
use crate::system::now;

/// The cabinet that exists from the start.
pub const MAIN_CABINET: &str = "main";
/// How long a trust document counts, in days.
pub const TRUST_DAYS: i64 = 3650;
/// How long the first administrator's certificate counts, in days.
const ADMIN_DAYS: u64 = 3650;

/// What a new managing server is made of.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Its data folder.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its name.
    pub name: String,
    /// Further names and addresses it is called by.
    pub addresses: Vec<String>,
}

/// A managing server that was made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// Its address.
    pub url: String,
    /// The administrator's access file.
    pub access_file: PathBuf,
    /// The certificate authority's fingerprint.
    pub fingerprint: String,
}

/// Makes a managing server's data folder: root key, certificate authority, job key, trust document, the administrator's
/// access file. `system.json` comes last: without it there is no server, and it can be tried again.
///
/// # Errors
/// There is one already, or a file cannot be written.
pub fn init(options: &InitOptions) -> Result<Initialised, ServerError> {
    let name = Name::new(&options.name)?;
    let folder = Folder::at(&options.data);
    if folder.is_set_up() {
        return Err(ServerError::Exists(options.data.clone()));
    }
    private_folder(folder.root())?;
    let at = now();
    let (root, jobs) = (SigningKey::generate()?, SigningKey::generate()?);
    let root_keys = KeySet::one(root.public());
    // The authority's subject names the root keys: a token's fingerprint pins both.
    let ca = Ca::create(&Fixed(root_pin(&root_keys)).to_string(), timestamp(at.plus_secs(-300)))?;
    let trust = TrustDoc {
        v: TRUST_VERSION,
        version: 1,
        issued: at.0,
        expires: at.plus_days(TRUST_DAYS).0,
        previous: None,
        root: root_keys,
        jobs: KeySet::one(jobs.public()),
        cabinets: [(MAIN_CABINET.to_owned(), KeySet { threshold: 1, keys: Vec::new() })].into(),
        revoked: Vec::new(),
    };
    write_private(&folder.path("root.key"), &root.to_text()?)?;
    write_private(&folder.path("job.key"), &jobs.to_text()?)?;
    ca.save(&folder.path("ca.pem"), &folder.path("ca.key"))?;
    let authority = Authority::new(ca, jobs, Some(root));
    let config = Config::new("server", name.as_str(), &new_id()?, options.listen, &options.addresses);
    certify_server(&folder, &authority, &config, at)?;
    let access_file = access(&folder, &authority, &config, at)?;
    let envelope = authority.sign_trust(&trust)?.unwrap_or_default();
    first_state(&folder, &envelope, at)?;
    folder.write_config(&config)?;
    Ok(Initialised { url: config.url(), access_file, fingerprint: authority.ca().fingerprint() })
}

/// The database and the store, with the trust document and the cabinet `main` in them.
fn first_state(folder: &Folder, trust: &[u8], at: Time) -> Result<(), ServerError> {
    let path = folder.path("trust.env");
    // Synced: `system.json`, which comes last, says that it is there.
    private_file(&path)
        .and_then(|mut file| {
            file.set_len(0)?;
            std::io::Write::write_all(&mut file, trust)?;
            file.sync_all()
        })
        .map_err(|error| ServerError::File { path: path.clone(), error })?;
    let path = private_database(folder)?;
    let connection = rusqlite::Connection::open(&path).map_err(crate::db::DbError::from)?;
    let made = MakeCabinet { name: MAIN_CABINET.to_owned(), now: at }.apply(&connection);
    if let Err(error) = made {
        // A second try after a first that was cut off finds the cabinet made.
        tracing::debug!(%error, "the cabinet main");
    }
    Store::open(&folder.path("store"))?;
    Ok(())
}

/// Makes the database. Its file is there with its mode before SQLite opens it, which gives what it makes beside it the same.
fn private_database(folder: &Folder) -> Result<PathBuf, ServerError> {
    let path = folder.path("server.db");
    private_file(&path).map_err(|error| ServerError::File { path: path.clone(), error })?;
    Db::open(&path)?;
    Ok(path)
}

/// Opens a file that is ours alone, made if it is not there.
fn private_file(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = std::fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// A new key and certificate for the managing server's own listener.
///
/// # Errors
/// They cannot be made or written.
pub fn certify_server(
    folder: &Folder,
    authority: &Authority,
    config: &Config,
    at: Time,
) -> Result<(), ServerError> {
    let key = HostKey::generate()?;
    let identity = CertIdentity {
        role: Role::Server,
        id: config.id.clone(),
        name: config.name.clone(),
        generation: u64::try_from(at.0 / 1_000_000).unwrap_or(1),
    };
    let mut addresses = match Usage::server(&config.name, config.listen, &config.addresses) {
        Usage::Server { addresses } => addresses,
        Usage::Client => Vec::new(),
    };
    addresses.retain(|address| address != &config.name);
    let issued = authority.issue(&key.csr_pem(&config.name)?, &identity, &addresses, at)?;
    key.save(&folder.path("host.key"))?;
    Ok(write_private(&folder.path("host.pem"), &issued.chain_pem)?)
}

/// The administrator's access file.
fn access(folder: &Folder, authority: &Authority, config: &Config, at: Time) -> Result<PathBuf, ServerError> {
    let key = HostKey::generate()?;
    let identity = CertIdentity { role: Role::Admin, id: new_id()?, name: "admin".to_owned(), generation: 1 };
    let lifetime = std::time::Duration::from_secs(ADMIN_DAYS * 86_400);
    let from = timestamp(at.plus_secs(-300));
    let issued = authority.ca().issue(&key.csr_pem("admin")?, &identity, &Usage::Client, from, lifetime)?;
    let access = AccessFile {
        version: 1,
        url: config.url(),
        system: config.name.clone(),
        system_id: config.id.clone(),
        ca_pem: authority.ca().cert().to_pem(),
        chain_pem: issued.chain_pem,
        key_pem: key.to_secret_pem(),
    };
    let path = folder.path("admin.toml");
    let text = toml::to_string(&access)
        .map_err(|error| ServerError::Format { path: path.clone(), why: error.to_string() })?;
    write_private(&path, &text)?;
    Ok(path)
}

/// What a new relay is made of.
#[derive(Debug, Clone)]
pub struct RelayJoinOptions {
    /// Its data folder.
    pub data: PathBuf,
    /// Its higher system's address.
    pub url: String,
    /// The token.
    pub token: String,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Further names and addresses it is called by.
    pub addresses: Vec<String>,
}

/// A relay that was let in.
#[derive(Debug, Clone)]
pub struct RelayJoined {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its higher system's name.
    pub higher: String,
    /// Its own address.
    pub url: String,
    /// Its administrator's access file; `None`: it is written when the relay runs.
    pub access_file: Option<PathBuf>,
}

/// Joins as a relay. What is refused leaves nothing behind.
///
/// # Errors
/// Why it was not let in, or a file that cannot be written.
pub async fn relay_join(options: &RelayJoinOptions) -> Result<RelayJoined, ServerError> {
    let name = Name::for_host(&options.name)?;
    let folder = Folder::at(&options.data);
    let identity_folder = IdentityFolder::at(&options.data);
    if folder.is_set_up() || identity_folder.exists() {
        return Err(ServerError::Exists(options.data.clone()));
    }
    let addresses = match Usage::server(name.as_str(), options.listen, &options.addresses) {
        Usage::Server { addresses } => {
            addresses.into_iter().filter(|address| address != name.as_str()).collect()
        }
        Usage::Client => Vec::new(),
    };
    let enrolled = join(&options.url, &options.token, HostRole::Relay, &name, &addresses).await?;
    identity_folder.save(&enrolled)?;
    let id = enrolled.identity.id.to_string();
    let config = Config::new("relay", name.as_str(), &id, options.listen, &options.addresses);
    private_database(&folder)?;
    Store::open(&folder.path("store"))?;
    // A higher system of the version before knows nothing of it: the running relay asks again.
    let asked = crate::upper::ask_access(&folder, &config, &enrolled.identity).await;
    if let Err(error) = &asked {
        tracing::warn!(%error, "the administrator's access comes when the relay runs");
    }
    folder.write_config(&config)?;
    let access_file = asked.is_ok().then(|| folder.path(crate::upper::ACCESS_FILE));
    let higher = enrolled.identity.higher.name;
    Ok(RelayJoined { name: name.to_string(), id, higher, url: config.url(), access_file })
}
