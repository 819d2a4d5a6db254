//! How fast content came from the higher system: what is said of how long something takes is measured, or not said.

use rusqlite::Connection;

use super::schema::{get, put};

const KEY: &str = "bytes_per_sec";
/// How much a new measurement counts beside those before, in parts of ten.
const NEWS_TENTHS: u64 = 3;

/// Bytes per second; `None`: nothing measured yet.
pub(crate) fn rate(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    Ok(get(connection, KEY)?.and_then(|text| text.parse().ok()))
}

/// Takes in a measurement.
pub(crate) fn note_rate(connection: &Connection, measured: u64) -> rusqlite::Result<()> {
    let part = |rate: u64, tenths: u64| rate / 10 * tenths + rate % 10 * tenths / 10;
    let mixed = match rate(connection)? {
        Some(before) => part(before, 10 - NEWS_TENTHS).saturating_add(part(measured, NEWS_TENTHS)),
        None => measured,
    };
    put(connection, KEY, &mixed.max(1).to_string())
}
