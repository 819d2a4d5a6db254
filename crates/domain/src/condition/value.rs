//! What a fact is compared with. The literal says how: a fact is a text until then.

use std::cmp::Ordering;
use std::fmt;

use super::Op;
use super::token::is_bare;

/// A literal of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Compared without regard to ASCII case; `=`, `!=` and `in` only.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Bytes, written with a unit.
    Size(u64),
    /// Begins with a digit; compared part by part, numbers as numbers, missing parts as 0.
    Version(String),
}

/// Units of sizes, the largest of each kind last.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The bytes of a unit. `b` alone may end a version (`12b`), so only `B` is bytes.
pub(super) fn unit(word: &str) -> Option<u64> {
    let found = UNITS.iter().find(|(unit, _)| match *unit {
        "B" => word == "B",
        unit => word.eq_ignore_ascii_case(unit),
    });
    found.map(|(_, bytes)| *bytes)
}

/// `1.5` of a unit of `bytes`; `None`: not a number, or more than can be.
pub(super) fn size(number: &str, bytes: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(u128::from(bytes))?;
    let tenth = 10u128.pow(part.len() as u32);
    let part = part.parse::<u128>().ok()?.checked_mul(u128::from(bytes))? / tenth;
    u64::try_from(whole.checked_add(part)?).ok()
}

/// `20GB` in one word: number and unit.
pub(super) fn split_size(word: &str) -> Option<(&str, u64)> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = word.split_at(end);
    if number.is_empty() { None } else { unit(rest).map(|bytes| (number, bytes)) }
}

impl Value {
    /// Whether `<` and `>` say something about it.
    pub fn has_order(&self) -> bool {
        !matches!(self, Value::Text(_))
    }

    /// Compares what a host says with this; `None`: it cannot be compared.
    pub(super) fn holds(&self, op: Op, fact: &str) -> Option<bool> {
        let equal = |found: bool| match op {
            Op::Equal => Some(found),
            Op::Unequal => Some(!found),
            _ => None,
        };
        match self.order(fact) {
            Some(order) => Some(op.is(order)),
            None => equal(self.text().eq_ignore_ascii_case(fact)),
        }
    }

    /// How the fact stands to this; `None`: there is no order between them.
    fn order(&self, fact: &str) -> Option<Ordering> {
        let begins = fact.starts_with(|c: char| c.is_ascii_digit());
        match self {
            Value::Text(_) => None,
            Value::Number(number) => match fact.parse::<i64>() {
                Ok(found) => Some(found.cmp(number)),
                // A version against its first part: kernel 6.8.0 > 6.
                Err(_) if begins && *number >= 0 => Some(dotted(fact, &number.to_string())),
                Err(_) => None,
            },
            Value::Size(bytes) => fact.parse::<u64>().ok().map(|found| found.cmp(bytes)),
            Value::Version(version) if begins => Some(dotted(fact, version)),
            Value::Version(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Value::Text(text) | Value::Version(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Size(bytes) => bytes.to_string(),
        }
    }
}

/// A part of a version: digits as a number of any length, or letters.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// `rc1` comes before nothing at all, and nothing counts as 0.
    Letters(String),
    /// Without zeros in front: a longer one is larger.
    Number(usize, &'a str),
}

/// Compares two versions part by part.
fn dotted(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a).into_iter(), parts(b).into_iter());
    loop {
        let zero = || Part::Number(0, "");
        let (left, right) = (a.next(), b.next());
        if left.is_none() && right.is_none() {
            return Ordering::Equal;
        }
        let order = left.unwrap_or_else(zero).cmp(&right.unwrap_or_else(zero));
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let same = |c: char| c.is_ascii_digit() == digit && c.is_alphanumeric() == first.is_alphanumeric();
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        if digit {
            let part = part.trim_start_matches('0');
            parts.push(Part::Number(part.len(), part));
        } else if first.is_alphanumeric() {
            parts.push(Part::Letters(part.to_ascii_lowercase()));
        }
    }
    parts
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Version(version) => f.write_str(version),
            Value::Size(bytes) => {
                let fits = |(_, unit): &&(&str, u64)| bytes % unit == 0 && *bytes >= *unit;
                let (unit, each) =
                    UNITS.iter().filter(fits).max_by_key(|(_, unit)| *unit).unwrap_or(&UNITS[0]);
                write!(f, "{}{unit}", bytes / each)
            }
            Value::Text(text) if is_bare(text) => f.write_str(text),
            Value::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

/// Bytes as people read them: `12.3GB`.
pub(super) fn rough(bytes: u64) -> String {
    let fits = |(unit, each): &&(&str, u64)| bytes >= *each && !unit.contains('i');
    let (unit, each) = UNITS.iter().rfind(fits).unwrap_or(&UNITS[0]);
    let (whole, tenth) = (bytes / each, bytes % each * 10 / each);
    if *each == 1 { format!("{whole}{unit}") } else { format!("{whole}.{tenth}{unit}") }
}
