//! Where a host stands, signed by the managing server.

use packhorse_domain::ids::Name;
use packhorse_domain::job::{HostRole, Place};
use serde::{Deserialize, Serialize};

use super::{BadPayload, limit, version};
use crate::bytes::Id16;

/// Payload type of places.
pub const PLACE_TYPE: &str = "application/vnd.packhorse.place+cbor";
const VERSION: u32 = 1;
/// Most relays above one another.
pub const ROUTE_MAX: usize = 16;

/// A host's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceDoc {
    /// Version of this payload.
    pub v: u32,
    /// The host.
    pub host: Id16,
    /// Its name.
    pub name: String,
    /// `relay` or `client`.
    pub role: String,
    /// The relays above it, from the managing server down; a relay ends its own route.
    pub route: Vec<Id16>,
    /// A newer one counts.
    pub revision: u64,
}

impl From<&Place> for PlaceDoc {
    fn from(place: &Place) -> PlaceDoc {
        PlaceDoc {
            v: VERSION,
            host: place.host.into(),
            name: place.name.clone(),
            role: place.role.as_str().to_owned(),
            route: place.route.iter().map(|id| (*id).into()).collect(),
            revision: place.revision,
        }
    }
}

impl TryFrom<PlaceDoc> for Place {
    type Error = BadPayload;

    fn try_from(doc: PlaceDoc) -> Result<Place, BadPayload> {
        version("the place", doc.v, VERSION)?;
        limit("relays above one another", doc.route.len(), ROUTE_MAX)?;
        let role = HostRole::parse(&doc.role).ok_or_else(|| BadPayload::Word {
            what: "the host's role",
            word: doc.role.chars().take(64).collect(),
        })?;
        Ok(Place {
            host: doc.host.into(),
            name: Name::for_host(&doc.name)?.to_string(),
            role,
            route: doc.route.into_iter().map(Into::into).collect(),
            revision: doc.revision,
        })
    }
}
