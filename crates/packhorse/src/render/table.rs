//! Listings: one description of the columns for the table, CSV and JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::failure::Outcome;
use crate::{say, when};

/// A cell: what a script gets and what a person sees may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Text from outside.
    Text(String),
    /// A number.
    Number(u64),
    /// Bytes: a plain number in CSV, a size for people.
    Bytes(u64),
    /// A time, RFC 3339; `None`: never.
    Time(Option<String>),
    /// A time, or, for people, a word where there is none.
    TimeOr(Option<String>, &'static str),
    /// How far something is; a plain number in CSV.
    Percent(Option<u8>),
    /// Yes or no.
    Yes(bool),
}

impl Cell {
    /// Text, or nothing.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    fn raw(&self) -> String {
        match self {
            Cell::Text(text) => say::clean(text),
            Cell::Number(number) | Cell::Bytes(number) => number.to_string(),
            Cell::Time(time) | Cell::TimeOr(time, _) => time.clone().unwrap_or_default(),
            Cell::Percent(percent) => percent.map(|percent| percent.to_string()).unwrap_or_default(),
            Cell::Yes(yes) => yes.to_string(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Cell::Text(text) if text.is_empty() => "-".into(),
            Cell::Text(text) => say::clean(text),
            Cell::Number(number) => number.to_string(),
            Cell::Bytes(bytes) => size(*bytes),
            Cell::Time(None) => "never".into(),
            Cell::TimeOr(None, word) => (*word).into(),
            Cell::Time(Some(time)) | Cell::TimeOr(Some(time), _) => when::shown(time),
            Cell::Percent(None) => "-".into(),
            Cell::Percent(Some(percent)) => format!("{percent} %"),
            Cell::Yes(true) => "yes".into(),
            Cell::Yes(false) => "no".into(),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Cell::Number(_) | Cell::Bytes(_))
    }
}

/// Something that stands in a listing.
pub trait Row: Serialize {
    /// The names of the columns, snake_case.
    const COLUMNS: &'static [&'static str];

    /// One cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

impl<R: Row> Row for &R {
    const COLUMNS: &'static [&'static str] = R::COLUMNS;

    fn cells(&self) -> Vec<Cell> {
        (*self).cells()
    }
}

/// Prints a listing as asked; `empty` is said beside an empty table.
///
/// # Errors
/// Whoever reads it has gone.
pub fn print<R: Row>(rows: &[R], format: Format, empty: &str) -> Outcome {
    if format.json {
        return json(rows);
    }
    if format.csv {
        return say::line(csv(rows).trim_end());
    }
    if rows.is_empty() {
        say::note(empty);
        return Ok(());
    }
    say::line(&table(rows))
}

/// Prints anything as JSON.
///
/// # Errors
/// Whoever reads it has gone.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Outcome {
    let text = serde_json::to_string_pretty(value)?;
    say::line(&say::clean_json(&text))
}

/// The rows as a table for people.
pub fn table<R: Row>(rows: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    table.set_header(R::COLUMNS.iter().map(|name| heading(name)).collect::<Vec<_>>());
    for row in rows {
        let cells = row.cells();
        debug_assert_eq!(cells.len(), R::COLUMNS.len());
        table.add_row(cells.iter().map(shown_cell).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn shown_cell(cell: &Cell) -> comfy_table::Cell {
    let alignment = if cell.is_number() { CellAlignment::Right } else { CellAlignment::Left };
    comfy_table::Cell::new(cell.shown()).set_alignment(alignment)
}

fn heading(name: &str) -> String {
    name.trim_end_matches("_bytes").trim_end_matches("_percent").replace('_', " ").to_uppercase()
}

/// The rows as CSV (RFC 4180).
pub fn csv<R: Row>(rows: &[R]) -> String {
    let mut out = R::COLUMNS.join(",");
    out.push('\n');
    for row in rows {
        let fields: Vec<String> = row.cells().iter().map(|cell| quoted(&cell.raw())).collect();
        out.push_str(&fields.join(","));
        out.push('\n');
    }
    out
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// A number of bytes for people: `4.1 MB`.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample(&'static str, u64);

    impl Row for Sample {
        const COLUMNS: &'static [&'static str] = &["host_name", "used_bytes", "seen", "online"];

        fn cells(&self) -> Vec<Cell> {
            vec![Cell::text(self.0), Cell::Bytes(self.1), Cell::Time(None), Cell::Yes(self.1 > 5)]
        }
    }

    #[test]
    fn one_description_three_forms() {
        let rows = [Sample("pc17", 4_100_000), Sample("a\u{1b}[2J,\"b\"", 5)];
        assert_eq!(
            table(&rows),
            "HOST NAME  USED    SEEN   ONLINE\npc17       4.1 MB  never  yes\na [2J,\"b\"     5 B  never  no"
        );
        assert_eq!(
            csv(&rows),
            "host_name,used_bytes,seen,online\npc17,4100000,,true\n\"a [2J,\"\"b\"\"\",5,,false\n"
        );
    }

    #[test]
    fn a_script_gets_plain_values() {
        let time = Some("2026-11-24T09:12:00Z".to_owned());
        let raw = |cell: Cell| cell.raw();
        assert_eq!(raw(Cell::TimeOr(None, "now")), "");
        assert_eq!(raw(Cell::TimeOr(time, "now")), "2026-11-24T09:12:00Z");
        assert_eq!((raw(Cell::Percent(Some(40))), raw(Cell::Percent(None))), ("40".into(), String::new()));
        assert_eq!(
            (Cell::TimeOr(None, "now").shown(), Cell::Percent(Some(40)).shown()),
            ("now".into(), "40 %".into())
        );
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (38_400_000, "38.4 MB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
