//! Who the agent is, whom it asks, and what it was first told.

use std::path::{Path, PathBuf};

use packhorse_domain::calling::Call;
use packhorse_domain::ids::HostId;
use packhorse_domain::job::{HostRole, Place};
use packhorse_domain::place::Above;
use packhorse_domain::time::Time;
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

    /// The place with the systems of its list that can be called: of those with an address. A relay's agent calls its relay.
    pub fn callable(renews: bool, place: &Place) -> Place {
        let listed = place.above.iter().filter(|above| renews && addresses(above).next().is_some());
        Place { above: listed.cloned().collect(), ..place.clone() }
    }

    /// Whom it calls, by what was kept and by its place.
    pub fn call(&self, place: &Place, kept: Option<Call>) -> Call {
        let place = Who::callable(self.renews, place);
        let listed = |call: &Call| place.above.iter().any(|above| above.id == call.to);
        kept.filter(listed).unwrap_or_else(|| {
            // What joining wrote down is always an id.
            let joined = self.higher_id.parse().unwrap_or(HostId([0; 16]));
            let to = place.calls().map_or(joined, |above| above.id);
            Call { to, number: place.called, since: Time(0), relapses: 0 }
        })
    }

    /// Calls this system of its place from now on, also after the next start; `url`: by this one of its addresses.
    ///
    /// # Errors
    /// It cannot be written down, or its address cannot be used.
    pub fn follow(&mut self, place: &Place, to: HostId, url: Option<&str>) -> Result<(), ClientError> {
        let place = Who::callable(self.renews, place);
        let Some(above) = place.above.iter().find(|above| above.id == to) else { return Ok(()) };
        let same = to.to_string() == self.higher_id;
        let Some(url) = url.or_else(|| addresses(above).next().filter(|_| !same)) else { return Ok(()) };
        let higher = higher(above, url);
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

/// The addresses of a system that can be ones: what was written into a place wrongly stops nobody.
pub(crate) fn addresses(above: &Above) -> impl Iterator<Item = &str> {
    above.urls.iter().map(String::as_str).filter(|url| is_address(url))
}

/// A system of a place as the one that is called, by one of its addresses.
pub(crate) fn higher(above: &Above, url: &str) -> Higher {
    Higher {
        url: url.to_owned(),
        role: if above.relay { Role::Relay } else { Role::Server },
        id: above.id.to_string(),
        name: above.name.clone(),
    }
}
