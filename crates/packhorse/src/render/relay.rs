//! One relay.

use packhorse_wire::admin::{ControlView, GrantView, LimitView, RelayPackage, RelayView};
use serde::Serialize;

use super::facts;
use super::table::{self, Cell, Row, size};
use crate::{say, when};

#[derive(Debug, Serialize)]
struct Kept<'a>(&'a RelayPackage);

impl Row for Kept<'_> {
    const COLUMNS: &'static [&'static str] = &["package", "size_bytes", "kept_until", "needed_by"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.0.package),
            Cell::Bytes(self.0.size_bytes),
            Cell::text(when::shown_day(&self.0.keep_until)),
            Cell::Number(self.0.needed_by),
        ]
    }
}

/// What a relay's administrator may do, in one line.
pub fn granted(view: &GrantView) -> String {
    if view.revoked {
        return "nothing any more: it was revoked".to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    parts.extend(view.install.then(|| "install".to_owned()));
    parts.extend(view.offer.then(|| "offer".to_owned()));
    parts.extend(view.cabinets.iter().map(|cabinet| format!("cabinet {}", cabinet.name)));
    format!("{}, until {}", parts.join(", "), when::shown_day(&view.ends))
}

/// `relay show`
pub fn show(view: &RelayView) -> String {
    let granted = view.granted.as_ref().map_or_else(|| "nothing".to_owned(), granted);
    let head = say::clean_lines(&facts(&[
        ("relay", view.name.clone()),
        ("received", format!("{} from its higher system since it joined", size(view.received_bytes))),
        ("sent", format!("{} to its lower systems", size(view.sent_bytes))),
        ("store", format!("{} used, {} free", size(view.used_bytes), size(view.free_bytes))),
        ("granted", granted),
        ("suspended", suspended(view)),
        ("limit", limits(&view.control)),
        ("set", set(&view.control)),
    ]));
    let kept: Vec<Kept<'_>> = view.packages.iter().map(Kept).collect();
    if kept.is_empty() {
        format!("{head}\n\nkeeps no package")
    } else {
        format!("{head}\n\n{}", table::table(&kept))
    }
}

fn suspended(view: &RelayView) -> String {
    let since = view.control.suspended_since.as_deref().map(when::shown);
    since.map_or_else(String::new, |since| format!("since {since}; packhorse relay resume {}", view.name))
}

fn limits(control: &ControlView) -> String {
    let mut parts: Vec<String> = control.limits.iter().map(limit).collect();
    if control.limits.iter().any(|limit| limit.hours.is_some()) && !control.zone.is_empty() {
        parts.push(format!("({})", control.zone));
    }
    let line = parts.join(", ").replace(", (", " (");
    match control.store_bytes {
        Some(bytes) if line.is_empty() => format!("store {}", size(bytes)),
        Some(bytes) => format!("{line}; store {}", size(bytes)),
        None => line,
    }
}

fn limit(limit: &LimitView) -> String {
    let rate = match limit.bits_per_sec {
        0 => "nothing".to_owned(),
        bits if bits % 1_000_000 == 0 => format!("{} Mbit/s", bits / 1_000_000),
        bits => format!("{} kbit/s", bits as f64 / 1000.0),
    };
    limit.hours.as_ref().map_or_else(|| rate.clone(), |hours| format!("{rate} {hours}"))
}

fn set(control: &ControlView) -> String {
    match (control.revision, control.applied) {
        (0, _) => String::new(),
        (_, true) => "taken in by the relay".to_owned(),
        (_, false) => "on its way to the relay".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_and_what_it_keeps() {
        let view = RelayView {
            name: "osaka".into(),
            packages: vec![RelayPackage {
                package: "office/editor@2.1:1".into(),
                keep_until: "2027-03-03T12:00:00Z".into(),
                size_bytes: 38_000_000,
                needed_by: 12,
            }],
            received_bytes: 38_000_000,
            sent_bytes: 180_000_000,
            used_bytes: 38_000_000,
            free_bytes: 1_200_000_000,
            granted: None,
            control: ControlView {
                suspended_since: None,
                store_bytes: Some(40_000_000_000),
                limits: vec![
                    LimitView { bits_per_sec: 20_000_000, hours: None },
                    LimitView { bits_per_sec: 0, hours: Some("06:00-22:00".into()) },
                ],
                zone: "Asia/Tokyo".into(),
                revision: 3,
                applied: false,
            },
        };
        assert_eq!(
            show(&view),
            "relay     osaka\n\
             received  38.0 MB from its higher system since it joined\n\
             sent      180.0 MB to its lower systems\n\
             store     38.0 MB used, 1.2 GB free\n\
             granted   nothing\n\
             limit     20 Mbit/s, nothing 06:00-22:00 (Asia/Tokyo); store 40.0 GB\n\
             set       on its way to the relay\n\n\
             PACKAGE              SIZE     KEPT UNTIL  NEEDED BY\n\
             office/editor@2.1:1  38.0 MB  3 Mar 2027         12"
        );
    }
}
