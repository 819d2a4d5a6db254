//! From text to words and signs, each with the column it begins at.

use super::{BadCondition, Op};

/// Words that mean something by themselves.
pub(super) const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "has", "below", "group"];

/// What a text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a keyword or a value without quotes.
    Word(String),
    /// A text in quotes.
    Quoted(String),
    /// A comparison.
    Op(Op),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// Nothing more.
    End,
}

impl Token {
    /// As it is shown in errors.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => format!("'{}'", word.chars().take(40).collect::<String>()),
            Token::Quoted(text) => format!("the text \"{}\"", text.chars().take(40).collect::<String>()),
            Token::Op(op) => format!("'{}'", op.as_str()),
            Token::Open => "'('".to_owned(),
            Token::Close => "')'".to_owned(),
            Token::Comma => "','".to_owned(),
            Token::End => "the end".to_owned(),
        }
    }
}

/// A token and where it begins, in characters from 1.
pub(super) type Placed = (usize, Token);

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-+:/~#@".contains(c)
}

/// Whether a text means itself without quotes.
pub(super) fn is_bare(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_word_char)
        && !KEYWORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Cuts a text into tokens; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, BadCondition> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars[at].is_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = one(&chars[at..], at + 1)?;
        found.push((at + 1, token));
        at += length;
    }
    found.push((chars.len() + 1, Token::End));
    Ok(found)
}

/// The token that `rest` begins with, and its length.
fn one(rest: &[char], column: usize) -> Result<(Token, usize), BadCondition> {
    let next = rest.get(1).copied();
    Ok(match (rest[0], next) {
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        (',', _) => (Token::Comma, 1),
        ('=', Some('=')) => (Token::Op(Op::Equal), 2),
        ('=', _) => (Token::Op(Op::Equal), 1),
        ('!', Some('=')) => (Token::Op(Op::Unequal), 2),
        ('<', Some('=')) => (Token::Op(Op::AtMost), 2),
        ('<', _) => (Token::Op(Op::Less), 1),
        ('>', Some('=')) => (Token::Op(Op::AtLeast), 2),
        ('>', _) => (Token::Op(Op::More), 1),
        ('"', _) => quoted(rest, column)?,
        (c, _) if is_word_char(c) => {
            let length = rest.iter().take_while(|c| is_word_char(**c)).count();
            (Token::Word(rest[..length].iter().collect()), length)
        }
        ('!', _) => return Err(BadCondition::new(column, "'!' is written 'not'")),
        ('&', _) => return Err(BadCondition::new(column, "'&' is written 'and'")),
        ('|', _) => return Err(BadCondition::new(column, "'|' is written 'or'")),
        ('\'', _) => return Err(BadCondition::new(column, "a text stands in double quotes")),
        (c, _) => {
            return Err(BadCondition::new(
                column,
                format!("{c:?} does not belong here; a text stands in \"…\""),
            ));
        }
    })
}

fn quoted(rest: &[char], column: usize) -> Result<(Token, usize), BadCondition> {
    let mut text = String::new();
    let mut at = 1;
    loop {
        match (rest.get(at), rest.get(at + 1)) {
            (Some('"'), _) => return Ok((Token::Quoted(text), at + 1)),
            (Some('\\'), Some(c @ ('"' | '\\'))) => {
                text.push(*c);
                at += 2;
            }
            (Some(c), _) if c.is_control() => {
                return Err(BadCondition::new(column + at, "a text holds only what can be shown"));
            }
            (Some(c), _) => {
                text.push(*c);
                at += 1;
            }
            (None, _) => return Err(BadCondition::new(column, "the text that begins here does not end")),
        }
    }
}
