//! The signed payloads. Named fields; of a known version no unknown field is taken. What a type says is parsed into
//! `domain`'s types, which judge it.

mod control;
mod delegation;
mod job;
mod place;
mod retired;
mod trust_doc;

pub use control::{
    CONTROL_TYPE, CONTROL_VERSION, COPY_ORDERS_MAX, ControlDoc, CopyOrder, DAY_MINUTES, LIMITS_MAX, LineLimit,
};
pub use delegation::{
    DELEGATED_CABINETS_MAX, DELEGATION_TYPE, DELEGATION_VERSION, DelegatedCabinet, DelegationDoc,
};
pub use job::{ClauseDoc, JOB_TYPE, JobDoc, JobPackageDoc, KeepDoc, KeyDoc, LabelDoc, RoundDoc, TermsDoc};
pub use place::{AboveDoc, BelongsDoc, PLACE_TYPE, PlaceDoc, ROUTE_MAX};
pub use retired::{RETIRED_TYPE, RETIRED_VERSION, RetiredDoc};
pub use trust_doc::{KeySet, TRUST_TYPE, TRUST_VERSION, TrustDoc, root_pin};

use thiserror::Error;

/// Why a payload, though well signed, is not what it should be.
#[derive(Debug, Error)]
pub enum BadPayload {
    /// Not CBOR of this shape.
    #[error(transparent)]
    Cbor(#[from] crate::envelope::CborError),
    /// A version this program does not know.
    #[error("{what} has version {version}, this program knows {known}; update this system")]
    Version {
        /// Which payload.
        what: &'static str,
        /// Its version.
        version: u32,
        /// The newest known.
        known: u32,
    },
    /// A word that is not in its list.
    #[error("{what} '{word}' is not known")]
    Word {
        /// Which field.
        what: &'static str,
        /// The word.
        word: String,
    },
    /// A job that is none.
    #[error(transparent)]
    Job(#[from] packhorse_domain::job::BadJob),
    /// A condition that is none.
    #[error("a condition: {0}")]
    Condition(#[from] packhorse_domain::condition::BadCondition),
    /// A name that is none.
    #[error("{0}")]
    Name(#[from] packhorse_domain::ids::BadId),
    /// A limit.
    #[error("{what}: {count}, at most {limit} are allowed")]
    Limit {
        /// Which field.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
}

pub(crate) fn version(what: &'static str, version: u32, known: u32) -> Result<(), BadPayload> {
    if version == known { Ok(()) } else { Err(BadPayload::Version { what, version, known }) }
}

/// A payload that grew: any version up to `known` is read.
pub(crate) fn version_up_to(what: &'static str, version: u32, known: u32) -> Result<(), BadPayload> {
    if (1..=known).contains(&version) { Ok(()) } else { Err(BadPayload::Version { what, version, known }) }
}

pub(crate) fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), BadPayload> {
    if count <= limit { Ok(()) } else { Err(BadPayload::Limit { what, count, limit }) }
}
