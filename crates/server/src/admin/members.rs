//! Who is put into a group: words and files, read and checked.

use packhorse_domain::ids::NAME_BYTES_MAX;

use crate::db::DbError;
use crate::db::groups::{self, GroupRow, Groups};
use crate::db::hosts::{Fleet, HostRow};
use crate::db::retire;

/// Most members put in at once.
pub const MEMBERS_MAX: usize = 100_000;
/// Most bytes of a CSV file.
pub const CSV_BYTES_MAX: usize = 8 << 20;
/// Names and lines shown of what was not understood.
const SHOWN: usize = 5;
/// Headings under which a host's name stands, the first that is there.
const HEADINGS: [&str; 3] = ["host", "name", "hostname"];

/// Members that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Hosts.
    pub hosts: Vec<HostRow>,
    /// Groups.
    pub groups: Vec<GroupRow>,
}

impl Found {
    /// How many.
    pub fn len(&self) -> u64 {
        (self.hosts.len() + self.groups.len()) as u64
    }
}

/// A word, and where it stands if it came from a file.
pub struct Word {
    text: String,
    line: Option<usize>,
}

impl From<&String> for Word {
    fn from(text: &String) -> Word {
        Word { text: text.clone(), line: None }
    }
}

/// Finds all members, each once. All or nothing: everything that is not there is named.
///
/// # Errors
/// A refusal that names it.
pub fn find(fleet: &Fleet, all: &Groups, words: &[Word]) -> Result<Found, DbError> {
    if words.len() > MEMBERS_MAX {
        let message = format!("{} members at once, at most {MEMBERS_MAX} are possible", words.len());
        return Err(DbError::refused("limit", message, Some("put them in bit by bit")));
    }
    for host in words.iter().filter_map(|word| fleet.any_named(&word.text)) {
        retire::in_use(host)?;
    }
    let mut found = Found::default();
    let mut unknown: Vec<&Word> = Vec::new();
    for word in words {
        let member = match word.text.strip_prefix("group:") {
            Some(name) => all.named(name).map(|group| found.groups.push(group.row)),
            None => fleet.named(&word.text).map(|host| found.hosts.push(host.row)),
        };
        if member.is_none() {
            unknown.push(word);
        }
    }
    refuse_unknown(&unknown)?;
    found.hosts.sort_unstable();
    found.hosts.dedup();
    found.groups.sort_unstable();
    found.groups.dedup();
    Ok(found)
}

fn refuse_unknown(unknown: &[&Word]) -> Result<(), DbError> {
    let Some(first) = unknown.first() else { return Ok(()) };
    if let ([one], Some(name)) = (unknown, first.text.strip_prefix("group:"))
        && one.line.is_none()
    {
        return Err(groups::unknown(name));
    }
    let shown: Vec<String> = unknown
        .iter()
        .take(SHOWN)
        .map(|word| {
            let text: String = word.text.chars().take(NAME_BYTES_MAX + 10).collect();
            word.line.map_or_else(|| text.clone(), |line| format!("{text} (line {line})"))
        })
        .collect();
    let more = match unknown.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!("there is no {}{more}; nobody was put in", shown.join(", "));
    Err(DbError::refused("unknown_host", message, Some("packhorse host list shows the names")))
}

/// Reads a CSV file (RFC 4180): a heading, of which the column `host`, `name` or `hostname` counts; other columns and empty
/// lines are passed over.
///
/// # Errors
/// A refusal that says the line.
pub fn read_csv(bytes: &[u8]) -> Result<Vec<Word>, DbError> {
    let hint = Some("the first line names the columns; one of them is host");
    let refuse = |message: String| Err(DbError::refused("bad_csv", message, hint));
    let Ok(text) = std::str::from_utf8(bytes) else { return refuse("the file is not UTF-8".to_owned()) };
    let mut records = records(text.strip_prefix('\u{feff}').unwrap_or(text))?.into_iter();
    let Some((_, headings)) = records.next() else { return refuse("the file is empty".to_owned()) };
    let named = |heading: &str| headings.iter().position(|cell| cell.trim().eq_ignore_ascii_case(heading));
    let Some(column) = HEADINGS.iter().find_map(|heading| named(heading)) else {
        let shown: String = headings.join(", ").chars().take(80).collect();
        return refuse(format!("line 1: no column is named host (found: {shown})"));
    };
    let mut words = Vec::new();
    for (line, cells) in records {
        if cells.len() != headings.len() {
            let (has, wanted) = (cells.len(), headings.len());
            return refuse(format!("line {line}: {has} columns, the heading has {wanted}"));
        }
        let text = cells[column].trim().to_owned();
        if text.is_empty() {
            return refuse(format!("line {line}: no host"));
        }
        words.push(Word { text, line: Some(line) });
    }
    if words.is_empty() {
        return refuse("the file names no hosts".to_owned());
    }
    Ok(words)
}

type Record = (usize, Vec<String>);

/// The records of a CSV text, each with the line it begins in.
fn records(text: &str) -> Result<Vec<Record>, DbError> {
    let mut records: Vec<Record> = Vec::new();
    let (mut line, mut chars) = (1, text.chars().peekable());
    while chars.peek().is_some() {
        let begin = line;
        let mut cells = Vec::new();
        loop {
            let (cell, ends) = cell(&mut chars, &mut line)?;
            cells.push(cell);
            if ends {
                break;
            }
        }
        let empty = cells.len() == 1 && cells[0].trim().is_empty();
        if !empty {
            records.push((begin, cells));
        }
    }
    Ok(records)
}

/// One cell, and whether its record ends with it.
fn cell(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    line: &mut usize,
) -> Result<(String, bool), DbError> {
    let begin = *line;
    let refuse = |what: &str| DbError::refused("bad_csv", format!("line {begin}: {what}"), None);
    let mut text = String::new();
    if chars.peek() == Some(&'"') {
        chars.next();
        loop {
            match chars.next() {
                Some('"') if chars.peek() == Some(&'"') => text.extend(chars.next()),
                Some('"') => break,
                Some(c) => {
                    *line += usize::from(c == '\n');
                    text.push(c);
                }
                None => return Err(refuse("a quote that begins here does not end")),
            }
        }
        return match chars.next() {
            None => Ok((text, true)),
            Some(',') => Ok((text, false)),
            Some('\r') if chars.peek() == Some(&'\n') => {
                chars.next();
                *line += 1;
                Ok((text, true))
            }
            Some('\n') => {
                *line += 1;
                Ok((text, true))
            }
            Some(_) => Err(refuse("something stands behind a quote")),
        };
    }
    for c in chars.by_ref() {
        match c {
            ',' => return Ok((text, false)),
            '\n' => {
                *line += 1;
                let end = text.trim_end_matches('\r').len();
                text.truncate(end);
                return Ok((text, true));
            }
            c => text.push(c),
        }
    }
    Ok((text, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, usize)>, String> {
        let words = read_csv(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(words.into_iter().map(|word| (word.text, word.line.unwrap_or(0))).collect())
    }

    #[test]
    fn the_column_that_names_hosts_is_read() {
        let found = |names: &[(&str, usize)]| {
            Ok(names.iter().map(|(name, line)| ((*name).to_owned(), *line)).collect::<Vec<_>>())
        };
        assert_eq!(read("host\npc1\npc2\n"), found(&[("pc1", 2), ("pc2", 3)]));
        assert_eq!(
            read("\u{feff}Room,Name\r\n\"a, \"\"b\"\"\nc\",pc1\r\n\r\n3,pc2"),
            found(&[("pc1", 2), ("pc2", 5)])
        );
        assert_eq!(read("name,host\nx,pc1\n"), found(&[("pc1", 2)]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, says) in [
            ("", "the file is empty"),
            ("host\n\n", "names no hosts"),
            ("pc1\npc2\n", "line 1: no column is named host (found: pc1)"),
            ("host,room\npc1,2\npc2\n", "line 3: 1 columns, the heading has 2"),
            ("host,room\n,2\n", "line 2: no host"),
            ("host\n\"pc1\n", "line 2: a quote that begins here does not end"),
            ("host\n\"pc1\"x\n", "line 2: something stands behind a quote"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text:?}: {error}");
        }
        assert!(read_csv(&[0xff, 0xfe]).is_err());
    }
}
