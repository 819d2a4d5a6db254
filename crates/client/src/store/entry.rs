//! How an entry of the journal lies on disk: CBOR with named fields, in the words of the wire.

use packhorse_domain::agent::{Choice, Entry, Kind, LineId};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Id32;
use packhorse_wire::envelope::{CborError, from_cbor_limited, to_cbor};
use packhorse_wire::messages::{OutcomeMsg, ReasonMsg};
use packhorse_wire::signed::KeyDoc;
use serde::{Deserialize, Serialize};

/// More than any entry has, in bytes.
const ENTRY_BYTES_MAX: usize = 64 << 10;

#[derive(Serialize, Deserialize)]
struct EntryDoc {
    report: Option<u64>,
    at: i64,
    job: KeyDoc,
    place: u32,
    package: Id32,
    attempt: u32,
    kind: KindDoc,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindDoc {
    Waits(ReasonMsg),
    /// Written by the version before.
    Delivered,
    DeliveredIn {
        boot: Option<String>,
    },
    Offered,
    Chosen {
        by: String,
        at: Option<i64>,
    },
    Postponed {
        by: String,
        until: i64,
    },
    Intent,
    NotStarted,
    Exited {
        ok: bool,
        code: Option<i32>,
    },
    Interrupted,
    Ended(OutcomeMsg),
}

/// Writes an entry.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, CborError> {
    to_cbor(&EntryDoc {
        report: entry.report,
        at: entry.at.0,
        job: KeyDoc::from(&entry.line.job),
        place: entry.line.place,
        package: entry.line.package.into(),
        attempt: entry.attempt,
        kind: kind_doc(&entry.kind),
    })
}

fn kind_doc(kind: &Kind) -> KindDoc {
    match kind {
        Kind::Waits(reason) => KindDoc::Waits(reason.into()),
        Kind::Delivered { boot } => KindDoc::DeliveredIn { boot: boot.clone() },
        Kind::Offered => KindDoc::Offered,
        Kind::Chosen(choice) => KindDoc::Chosen { by: choice.by.clone(), at: choice.at.map(|at| at.0) },
        Kind::Postponed { by, until } => KindDoc::Postponed { by: by.clone(), until: until.0 },
        Kind::Intent => KindDoc::Intent,
        Kind::NotStarted => KindDoc::NotStarted,
        Kind::Exited { ok, code } => KindDoc::Exited { ok: *ok, code: *code },
        Kind::Interrupted => KindDoc::Interrupted,
        Kind::Ended(outcome) => KindDoc::Ended(outcome.into()),
    }
}

/// Reads an entry.
pub(super) fn decode(bytes: &[u8]) -> Result<Entry, CborError> {
    let doc: EntryDoc = from_cbor_limited(bytes, ENTRY_BYTES_MAX)?;
    let unknown = |what: &str| CborError::Malformed(format!("a journal entry with an unknown {what}"));
    Ok(Entry {
        report: doc.report,
        at: Time(doc.at),
        line: LineId { job: doc.job.into(), place: doc.place, package: doc.package.into() },
        attempt: doc.attempt,
        kind: match doc.kind {
            KindDoc::Waits(reason) => Kind::Waits(reason.to_reason().ok_or_else(|| unknown("reason"))?),
            KindDoc::Delivered => Kind::Delivered { boot: None },
            KindDoc::DeliveredIn { boot } => Kind::Delivered { boot },
            KindDoc::Offered => Kind::Offered,
            KindDoc::Chosen { by, at } => Kind::Chosen(Choice { by, at: at.map(Time) }),
            KindDoc::Postponed { by, until } => Kind::Postponed { by, until: Time(until) },
            KindDoc::Intent => Kind::Intent,
            KindDoc::NotStarted => Kind::NotStarted,
            KindDoc::Exited { ok, code } => Kind::Exited { ok, code },
            KindDoc::Interrupted => Kind::Interrupted,
            KindDoc::Ended(outcome) => Kind::Ended(outcome.to_outcome().ok_or_else(|| unknown("end"))?),
        },
    })
}

/// An error of CBOR as one of the database.
pub(super) fn unreadable(error: CborError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}
