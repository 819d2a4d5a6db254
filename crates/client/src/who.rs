//! Who the agent is, whom it asks, and what it was first told.

use std::path::{Path, PathBuf};

use packhorse_domain::ids::HostId;
use packhorse_domain::job::HostRole;
use packhorse_wire::enroll::{HostIdentity, IdentityFolder};
use packhorse_wire::net::{Expect, Link, Pinned};
use packhorse_wire::pki::Role;
use packhorse_wire::trust::Trust;

use crate::options::Settings;
use crate::{ClientError, IdentitySource, RunOptions};

/// The agent's identity and its link to its higher system.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// Its id.
    pub me: HostId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: HostRole,
    /// Its higher system's name; a relay's agent asks the relay itself.
    pub higher: String,
    /// The link there.
    pub link: Link,
    /// Whether the agent renews the certificate itself.
    pub renews: bool,
    /// Where the identity is kept.
    pub folder: IdentityFolder,
    /// What it is installed below, absolute.
    pub root: PathBuf,
}

impl Who {
    /// Reads the identity and makes the link; nothing is sent.
    ///
    /// # Errors
    /// It is no host, or its identity cannot be used.
    pub fn load(options: &RunOptions) -> Result<Who, ClientError> {
        match &options.identity {
            IdentitySource::Own => Who::own(&options.data),
            IdentitySource::Relay { folder, url, root } => Who::relay(folder, url, root.as_deref()),
        }
    }

    fn own(data: &Path) -> Result<Who, ClientError> {
        let folder = IdentityFolder::at(data);
        let identity = folder.load()?;
        let link = identity.link()?;
        let root = Settings::load(data)?.root;
        let higher = identity.higher.name.clone();
        Ok(Who::of(identity, folder, link, higher, root, true))
    }

    fn relay(folder: &Path, url: &str, root: Option<&Path>) -> Result<Who, ClientError> {
        let folder = IdentityFolder::at(folder);
        let identity = folder.load()?;
        // Nobody else can listen there in the relay's name: its own id and role are pinned.
        let expect = Expect { roles: vec![Role::Relay], id: Some(identity.id.to_string()), name: None };
        let pinned = Pinned::Ca { ca: identity.ca.clone(), expect };
        let link = Link::new(url, pinned, Some(identity.tls()?))?;
        let higher = identity.name.clone();
        Ok(Who::of(identity, folder, link, higher, root.map(Path::to_owned), false))
    }

    fn of(
        identity: HostIdentity,
        folder: IdentityFolder,
        link: Link,
        higher: String,
        root: Option<PathBuf>,
        renews: bool,
    ) -> Who {
        Who {
            me: identity.id,
            name: identity.name,
            role: identity.role,
            higher,
            link,
            renews,
            folder,
            root: root.unwrap_or_else(|| PathBuf::from("/")),
        }
    }

    /// The trust document and the place of joining, verified: what an agent begins with.
    ///
    /// # Errors
    /// They cannot be read, or are not what they were.
    pub fn first_words(&self) -> Result<(Vec<u8>, Vec<u8>), ClientError> {
        let (trust, place) = self.folder.first_words()?;
        Trust::own(&trust)?.place(&place)?;
        Ok((trust, place))
    }
}
