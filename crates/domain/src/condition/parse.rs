//! From tokens to a condition, by recursive descent.
//!
//! ```text
//! any   := all ('or' all)*
//! all   := not ('and' not)*
//! not   := 'not' not | '(' any ')' | 'below' NAME | 'group' NAME | 'has' FACT | test
//! test  := FACT op value | FACT ['not'] 'in' '(' value (',' value)* ')'
//! value := word | "text" | number [unit]
//! ```

use super::token::{KEYWORDS, Placed, Token, tokens};
use super::value::{size, split_size, unit};
use super::{BadCondition, Bounds, Condition, Named, Value};
use crate::facts;
use crate::ids::Name;

pub(super) fn parse(text: &str, bounds: Bounds) -> Result<Condition, BadCondition> {
    if text.len() > bounds.bytes {
        let message = format!("{} bytes, at most {} are possible", text.len(), bounds.bytes);
        return Err(BadCondition::new(1, message));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, tests: 0, bounds };
    let condition = parser.any()?;
    match parser.next() {
        (_, Token::End) => Ok(condition),
        (column, Token::Close) => Err(BadCondition::new(column, "')' without a '(' before it")),
        found => Err(expected("'and', 'or' or the end", &found)),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    tests: usize,
    bounds: Bounds,
}

fn expected(what: &str, (column, token): &Placed) -> BadCondition {
    BadCondition::new(*column, format!("expected {what}, found {}", token.shown()))
}

impl Parser {
    /// The next token, taken. The last one, the end, is there for ever.
    fn next(&mut self) -> Placed {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn peek(&self) -> &Placed {
        &self.tokens[self.at]
    }

    /// Takes a keyword if it is next.
    fn takes(&mut self, keyword: &str) -> bool {
        let found = matches!(&self.peek().1, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if found {
            self.at += 1;
        }
        found
    }

    fn takes_token(&mut self, token: &Token) -> bool {
        let found = self.peek().1 == *token;
        if found {
            self.next();
        }
        found
    }

    fn any(&mut self) -> Result<Condition, BadCondition> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(Condition::any(parts))
    }

    fn all(&mut self) -> Result<Condition, BadCondition> {
        let mut parts = vec![self.not()?];
        while self.takes("and") {
            parts.push(self.not()?);
        }
        Ok(Condition::all(parts))
    }

    fn not(&mut self) -> Result<Condition, BadCondition> {
        self.depth += 1;
        if self.depth > self.bounds.depth {
            let message = format!("nested more than {} deep", self.bounds.depth);
            return Err(BadCondition::new(self.peek().0, message));
        }
        let found = match () {
            () if self.takes("not") => Condition::Not(Box::new(self.not()?)),
            () if self.takes_token(&Token::Open) => {
                let inner = self.any()?;
                match self.next() {
                    (_, Token::Close) => inner,
                    found => return Err(expected("'and', 'or' or ')'", &found)),
                }
            }
            () => self.test()?,
        };
        self.depth -= 1;
        Ok(found)
    }

    fn test(&mut self) -> Result<Condition, BadCondition> {
        self.tests += 1;
        if self.tests > self.bounds.tests {
            let message = format!("more than {} tests", self.bounds.tests);
            return Err(BadCondition::new(self.peek().0, message));
        }
        if self.takes("below") {
            return self.named("a relay's name after 'below'").map(Condition::Below);
        }
        if self.takes("group") {
            return self.named("a group's name after 'group'").map(Condition::Group);
        }
        if self.takes("has") {
            return self.fact("the name of a fact after 'has'").map(Condition::Has);
        }
        let fact = self.fact("the name of a fact, 'not', 'has', 'below', 'group' or '('")?;
        if self.takes("in") {
            return Ok(Condition::OneOf { fact, values: self.values()? });
        }
        if self.takes("not") {
            return match self.takes("in") {
                true => Ok(Condition::Not(Box::new(Condition::OneOf { fact, values: self.values()? }))),
                false => Err(expected("'in' after 'not'", self.peek())),
            };
        }
        match self.next() {
            (column, Token::Op(op)) => {
                let value = self.value(&format!("a value after '{}'", op.as_str()))?;
                if !op.is_equality() && !value.has_order() {
                    let message =
                        format!("'{}' needs a number, a size or a version, not {value}", op.as_str());
                    return Err(BadCondition::new(column, message));
                }
                Ok(Condition::Compare { fact, op, value })
            }
            found => Err(expected(&format!("a comparison or 'in' after '{fact}'"), &found)),
        }
    }

    fn fact(&mut self, what: &str) -> Result<String, BadCondition> {
        match self.next() {
            (column, Token::Word(word)) if KEYWORDS.iter().any(|key| key.eq_ignore_ascii_case(&word)) => {
                Err(expected(what, &(column, Token::Word(word))))
            }
            (_, Token::Word(word)) if facts::is_name(&word) => Ok(word),
            (column, Token::Word(word)) => Err(BadCondition::new(
                column,
                facts::BadFact::Name(word.chars().take(40).collect()).to_string(),
            )),
            found => Err(expected(what, &found)),
        }
    }

    fn named(&mut self, what: &str) -> Result<Named, BadCondition> {
        match self.next() {
            (column, Token::Word(word)) => match word.strip_prefix('#') {
                Some(id) => id
                    .parse::<crate::ids::HostId>()
                    .map(|id| Named::Id(id.0))
                    .map_err(|error| error.to_string()),
                None => Name::new(&word).map(Named::Name).map_err(|error| error.to_string()),
            }
            .map_err(|message| BadCondition::new(column, message)),
            found => Err(expected(what, &found)),
        }
    }

    fn values(&mut self) -> Result<Vec<Value>, BadCondition> {
        if !self.takes_token(&Token::Open) {
            return Err(expected("'(' after 'in'", self.peek()));
        }
        let mut values = Vec::new();
        loop {
            self.tests += 1;
            values.push(self.value("a value")?);
            match self.next() {
                (_, Token::Comma) => {}
                (_, Token::Close) => break,
                found => return Err(expected("',' or ')'", &found)),
            }
        }
        if self.tests > self.bounds.tests {
            let message = format!("more than {} tests and values", self.bounds.tests);
            return Err(BadCondition::new(self.peek().0, message));
        }
        Ok(values)
    }

    fn value(&mut self, what: &str) -> Result<Value, BadCondition> {
        let (column, token) = self.next();
        let word = match token {
            Token::Quoted(text) => return Ok(Value::Text(text)),
            Token::Word(word) if !KEYWORDS.iter().any(|key| key.eq_ignore_ascii_case(&word)) => word,
            other => return Err(expected(what, &(column, other))),
        };
        let too_much = || BadCondition::new(column, format!("{word} is not a size that can be"));
        if let Some((number, bytes)) = split_size(&word) {
            return size(number, bytes).map(Value::Size).ok_or_else(too_much);
        }
        let begins = word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
        if !begins {
            return Ok(Value::Text(word));
        }
        if let Token::Word(next) = &self.peek().1
            && let Some(bytes) = unit(next)
        {
            self.next();
            return size(&word, bytes).map(Value::Size).ok_or_else(too_much);
        }
        match word.parse() {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) if word.starts_with('-') => Ok(Value::Text(word)),
            Err(_) => Ok(Value::Version(word)),
        }
    }
}
