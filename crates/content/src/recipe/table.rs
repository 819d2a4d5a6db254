//! Reading TOML with the line of everything: a refusal must say where.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A line, from 1, and what is wrong there.
pub(super) type Line = (usize, String);

/// Parses a document. Errors: not TOML, with its line.
pub(super) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, Line> {
    DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        (line, error.message().trim().to_owned())
    })
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

/// A table of the document, with its name for messages.
pub(super) struct Table<'a> {
    text: &'a str,
    name: &'a str,
    start: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn root(text: &'a str, table: &'a DeTable<'a>) -> Self {
        Self { text, name: "", start: 0, table }
    }

    /// The line the table begins at.
    pub(super) fn line(&self) -> usize {
        line_at(self.text, self.start)
    }

    /// The line of a key, or of the table if the key is not there.
    pub(super) fn line_of(&self, key: &str) -> usize {
        let found = self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key);
        line_at(self.text, found.map_or(self.start, |(name, _)| name.span().start))
    }

    fn full_name(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Refuses the first key, by line, that is not understood.
    pub(super) fn check_keys(&self, known: &[&str], not_yet: &[&str]) -> Result<(), Line> {
        let unknown = self.table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = unknown.min_by_key(|(key, _)| key.span().start) else {
            return Ok(());
        };
        let name = self.full_name(key.get_ref());
        let problem = if not_yet.contains(&key.get_ref().as_ref()) {
            format!("`{name}` is not supported yet by this version; remove it")
        } else {
            format!("unknown key `{name}`; possible here: {}", known.join(", "))
        };
        Err((line_at(self.text, key.span().start), problem))
    }

    fn value(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let value = self.table.get(key)?;
        Some((line_at(self.text, value.span().start), value.get_ref()))
    }

    /// A table inside this one. Errors: it is something else.
    pub(super) fn table(&self, key: &'a str) -> Result<Option<Table<'a>>, Line> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let start = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(Table { text: self.text, name: key, start, table })),
            _ => Err((line_at(self.text, start), format!("`{}` must be a table", self.full_name(key)))),
        }
    }

    /// A text, parsed by `read`. Errors: not a text, or what `read` says, at its line.
    pub(super) fn text<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Line> {
        match self.value(key) {
            None => Ok(None),
            Some((line, DeValue::String(text))) => read(text)
                .map(Some)
                .map_err(|problem| (line, format!("`{}`: {problem}", self.full_name(key)))),
            Some((line, _)) => Err((line, format!("`{}` must be a text in quotes", self.full_name(key)))),
        }
    }

    /// As [`Table::text`], and the key must be there.
    pub(super) fn required<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, Line> {
        self.text(key, read)?.ok_or_else(|| (self.line(), format!("`{}` is missing", self.full_name(key))))
    }

    /// A whole number from 0 to `max`.
    pub(super) fn number(&self, key: &str, max: u32) -> Result<Option<u32>, Line> {
        let Some((line, value)) = self.value(key) else {
            return Ok(None);
        };
        let number = value.as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(number) if number <= max => Ok(Some(number)),
            _ => Err((line, format!("`{}` must be a whole number from 0 to {max}", self.full_name(key)))),
        }
    }
}
