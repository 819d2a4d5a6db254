//! Who the agent is, whom it asks, and what it was first told.

use std::path::{Path, PathBuf};

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{HostRole, Place};
use packhorse_domain::place::Above;
use packhorse_wire::enroll::{Higher, HostIdentity, IdentityFolder};
use packhorse_wire::net::{Expect, Link, Pinned, is_address};
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
    /// Its higher system's id.
    pub higher_id: String,
    /// Whether the agent renews the certificate itself.
    pub renews: bool,
    /// Where the identity is kept.
    pub folder: IdentityFolder,
    /// What it is installed below, absolute.
    pub root: PathBuf,
    /// Its certificate's generation at this start.
    pub generation: u64,
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
        let higher = (identity.higher.name.clone(), identity.higher.id.clone());
        Who::of(identity, folder, link, higher, root, true)
    }

    fn relay(folder: &Path, url: &str, root: Option<&Path>) -> Result<Who, ClientError> {
        let folder = IdentityFolder::at(folder);
        let identity = folder.load()?;
        // Nobody else can listen there in the relay's name: its own id and role are pinned.
        let expect = Expect { roles: vec![Role::Relay], id: Some(identity.id.to_string()), name: None };
        let pinned = Pinned::Ca { ca: identity.ca.clone(), expect };
        let link = Link::new(url, pinned, Some(identity.tls()?))?;
        let higher = (identity.name.clone(), identity.id.to_string());
        Who::of(identity, folder, link, higher, root.map(Path::to_owned), false)
    }

    fn of(
        identity: HostIdentity,
        folder: IdentityFolder,
        link: Link,
        (higher, higher_id): (String, String),
        root: Option<PathBuf>,
        renews: bool,
    ) -> Result<Who, ClientError> {
        Ok(Who {
            generation: identity.info()?.identity.generation,
            me: identity.id,
            name: identity.name,
            role: identity.role,
            higher,
            higher_id,
            link,
            renews,
            folder,
            root: root.unwrap_or_else(|| PathBuf::from("/")),
        })
    }

    /// Whether the managing server says by a place that another system is to be called. A relay's agent calls its relay.
    pub fn is_moved(renews: bool, higher_id: &str, place: &Place) -> bool {
        renews
            && place
                .calls()
                .is_some_and(|above| above.id.to_string() != higher_id && address(above).is_some())
    }

    /// Calls the system that a place says from now on, also after the next start.
    ///
    /// # Errors
    /// It cannot be written down, or its address cannot be used.
    pub fn follow(&mut self, place: &Place) -> Result<(), ClientError> {
        let Some(above) = place.calls().filter(|_| Who::is_moved(self.renews, &self.higher_id, place)) else {
            return Ok(());
        };
        let higher = Higher {
            url: address(above).unwrap_or_default().to_owned(),
            role: if above.relay { Role::Relay } else { Role::Server },
            id: above.id.to_string(),
            name: above.name.clone(),
        };
        let identity = HostIdentity { higher: higher.clone(), ..self.folder.load()? };
        let link = identity.link()?;
        self.folder.save_higher(&higher)?;
        tracing::info!(
            from = self.higher,
            to = higher.name,
            url = higher.url,
            "calls another system from now on"
        );
        (self.link, self.higher, self.higher_id) = (link, higher.name, higher.id);
        Ok(())
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

/// The first address of a system that can be one: what was written into a place wrongly stops nobody.
fn address(above: &Above) -> Option<&str> {
    above.urls.iter().map(String::as_str).find(|url| is_address(url))
}
