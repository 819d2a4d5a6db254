//! Where a host stands, signed by the managing server.

use packhorse_domain::ids::{GroupId, Name};
use packhorse_domain::place::{ABOVE_MAX, Above, GROUPS_MAX, HostRole, Membership, Place};
use packhorse_domain::time::Time;
use serde::{Deserialize, Serialize};

use super::{BadPayload, limit, version_up_to};
use crate::bytes::{Fixed, Id16};

/// Payload type of places.
pub const PLACE_TYPE: &str = "application/vnd.packhorse.place+cbor";
/// The newest version. A place without memberships is written as [`PLAIN`], which systems of the version before read.
const VERSION: u32 = 2;
/// The version that says only where a host stands.
const PLAIN: u32 = 1;
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
    /// What it belongs to; since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belongs: Option<BelongsDoc>,
    /// The systems it may call, in the order in which it prefers them; since version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<AboveDoc>,
    /// Up to which of the host's own changes of whom it calls the managing server knew of them; since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<u64>,
}

/// A system that a host may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboveDoc {
    /// It.
    pub id: Id16,
    /// A relay; else the managing server.
    pub relay: bool,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub urls: Vec<String>,
}

/// Most addresses of one system, and most bytes of one.
const URLS_MAX: (usize, usize) = packhorse_domain::report::ADDRESSES_MAX;

impl From<&Above> for AboveDoc {
    fn from(above: &Above) -> AboveDoc {
        let Above { id, relay, name, urls } = above.clone();
        AboveDoc { id: id.into(), relay, name, urls }
    }
}

impl TryFrom<AboveDoc> for Above {
    type Error = BadPayload;

    fn try_from(doc: AboveDoc) -> Result<Above, BadPayload> {
        limit("addresses of a system", doc.urls.len(), URLS_MAX.0)?;
        if let Some(long) = doc.urls.iter().find(|url| url.len() > URLS_MAX.1) {
            limit("bytes of an address", long.len(), URLS_MAX.1)?;
        }
        limit("bytes of a name", doc.name.len(), URLS_MAX.1)?;
        Ok(Above { id: doc.id.into(), relay: doc.relay, name: doc.name, urls: doc.urls })
    }
}

/// What a host belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BelongsDoc {
    /// The fixed groups, each with when it became a member, microseconds.
    pub groups: Vec<(Id16, i64)>,
    /// They count until then, microseconds.
    pub until: i64,
    /// When the host joined, microseconds; 0: before everything that matters.
    pub joined: i64,
}

impl BelongsDoc {
    fn of(place: &Place) -> Option<BelongsDoc> {
        let plain = place.groups.is_empty() && place.joined == Time(0);
        (!plain).then(|| BelongsDoc {
            groups: place.groups.iter().map(|m| (Fixed(m.group.0), m.since.0)).collect(),
            until: place.groups_until.0,
            joined: place.joined.0,
        })
    }
}

impl From<&Place> for PlaceDoc {
    fn from(place: &Place) -> PlaceDoc {
        let belongs = BelongsDoc::of(place);
        PlaceDoc {
            v: if belongs.is_some() || !place.above.is_empty() || place.called > 0 { VERSION } else { PLAIN },
            host: place.host.into(),
            name: place.name.clone(),
            role: place.role.as_str().to_owned(),
            route: place.route.iter().map(|id| (*id).into()).collect(),
            revision: place.revision,
            belongs,
            above: place.above.iter().map(AboveDoc::from).collect(),
            called: Some(place.called).filter(|called| *called > 0),
        }
    }
}

impl TryFrom<PlaceDoc> for Place {
    type Error = BadPayload;

    fn try_from(doc: PlaceDoc) -> Result<Place, BadPayload> {
        version_up_to("the place", doc.v, VERSION)?;
        limit("relays above one another", doc.route.len(), ROUTE_MAX)?;
        let role = HostRole::parse(&doc.role).ok_or_else(|| BadPayload::Word {
            what: "the host's role",
            word: doc.role.chars().take(64).collect(),
        })?;
        let belongs = doc.belongs.unwrap_or(BelongsDoc { groups: Vec::new(), until: 0, joined: 0 });
        limit("groups of a host", belongs.groups.len(), GROUPS_MAX)?;
        limit("systems above a host", doc.above.len(), ABOVE_MAX)?;
        let above = doc.above.into_iter().map(Above::try_from).collect::<Result<_, _>>()?;
        let member = |(group, since): (Id16, i64)| Membership { group: GroupId(group.0), since: Time(since) };
        Ok(Place {
            groups: belongs.groups.into_iter().map(member).collect(),
            groups_until: Time(belongs.until),
            joined: Time(belongs.joined),
            above,
            called: doc.called.unwrap_or(0),
            host: doc.host.into(),
            name: Name::for_host(&doc.name)?.to_string(),
            role,
            route: doc.route.into_iter().map(Into::into).collect(),
            revision: doc.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::HostId;

    use super::*;
    use crate::envelope::{from_cbor_limited, to_cbor};

    #[test]
    fn a_place_without_memberships_is_written_as_the_version_before_reads_it() {
        let mut place = Place::new(HostId([1; 16]), "pc1", HostRole::Client);
        let doc = PlaceDoc::from(&place);
        assert_eq!((doc.v, doc.belongs.is_none()), (PLAIN, true));
        assert!(!to_cbor(&doc).unwrap().windows(7).any(|name| name == b"belongs"));
        place.groups = vec![Membership { group: GroupId([3; 16]), since: Time(5) }];
        (place.groups_until, place.joined) = (Time(9), Time(4));
        place.route = vec![HostId([7; 16])];
        let above = |n: u8, relay| Above {
            id: HostId([n; 16]),
            relay,
            name: "x".into(),
            urls: vec!["https://x:1".into()],
        };
        place.above = vec![above(7, true), above(9, false)];
        assert_eq!(place.calls(), Some(&above(7, true)));
        assert_eq!(Place { route: vec![], ..place.clone() }.calls(), Some(&above(9, false)));
        assert_eq!(PlaceDoc::from(&place).called, None);
        place.called = 7;
        let bytes = to_cbor(&PlaceDoc::from(&place)).unwrap();
        let doc: PlaceDoc = from_cbor_limited(&bytes, 1 << 16).unwrap();
        assert_eq!(doc.v, VERSION);
        assert_eq!(Place::try_from(doc.clone()).unwrap(), place);
        assert!(Place::try_from(PlaceDoc { v: 3, ..doc }).is_err());
    }
}
