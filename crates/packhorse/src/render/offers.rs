//! What the user of this machine may decide on.

use packhorse_wire::local::LocalOffer;
use serde::Serialize;

use super::table::{self, Cell, Row};
use crate::{say, when};

#[derive(Debug, Serialize)]
struct Offered<'a>(&'a LocalOffer);

impl Row for Offered<'_> {
    const COLUMNS: &'static [&'static str] =
        &["package", "what", "size", "to_come", "takes", "from", "state", "until", "required_from", "job"];

    fn cells(&self) -> Vec<Cell> {
        let offer = self.0;
        vec![
            Cell::text(&offer.package),
            Cell::text(&offer.summary),
            Cell::Bytes(offer.size_bytes),
            offer.missing_bytes.map_or(Cell::text("?"), Cell::Bytes),
            Cell::text(takes(offer)),
            Cell::text(&offer.from),
            Cell::text(state(offer)),
            Cell::TimeOr(Some(offer.until.clone()), "-"),
            Cell::TimeOr(offer.required_from.clone(), "-"),
            Cell::text(offer.job.strip_prefix("server/").unwrap_or(&offer.job)),
        ]
    }
}

/// About how long: only what was measured is said.
fn takes(offer: &LocalOffer) -> String {
    match offer.takes_secs {
        None => "not measured yet".to_owned(),
        Some(secs) if secs < 2 => "a moment".to_owned(),
        Some(secs) if secs < 120 => format!("about {secs} s"),
        Some(secs) if secs < 7200 => format!("about {} min", secs / 60),
        Some(secs) => format!("about {} h", secs / 3600),
    }
}

fn state(offer: &LocalOffer) -> String {
    let state = offer.state.replace('_', " ");
    match (&offer.chosen_for, offer.kind.as_str()) {
        (Some(at), _) if offer.state == "chosen" => format!("chosen for {}", when::shown(at)),
        (_, "install") => match offer.postpones_left {
            0 => format!("{state}; not to be put off any more"),
            1 => format!("{state}; may be put off once"),
            left => format!("{state}; may be put off {left} times"),
        },
        _ => state,
    }
}

/// `packhorse offers`
pub fn list(offers: &[LocalOffer]) -> String {
    if offers.is_empty() {
        return "nothing is offered".to_owned();
    }
    let rows: Vec<Offered<'_>> = offers.iter().map(Offered).collect();
    let mut text = table::table(&rows);
    for offer in offers.iter().filter(|offer| !offer.may_choose) {
        let why = offer.reason.clone().unwrap_or_default();
        text.push_str(&format!("\n{}: {}", say::clean(&offer.package), say::clean(&why)));
    }
    text
}

/// How something stands after a decision.
pub fn changed(offer: &LocalOffer) -> String {
    let why = offer.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    say::clean(&format!("{}: {}{why}", offer.package, state(offer)))
}
