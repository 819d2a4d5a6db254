//! Conditions on hosts: `os = linux and disk_free > 20GB and below osaka`.
//!
//! A host judges them on its own facts; the managing server and relays on what the host told last. What is not known of a
//! host is neither true nor false: `not` of it is not known either, and only what is true counts. A condition as it is
//! written names relays and groups; the one that is signed carries their ids ([`Condition::resolve`]).

mod judge;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod token;
mod value;

use std::cmp::Ordering;
use std::fmt;

pub use judge::{Host, Truth};
pub use value::Value;

use crate::ids::{HostId, Name};

/// Limits of a condition's text and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of its text.
    pub bytes: usize,
    /// How deep it is nested.
    pub depth: usize,
    /// Tests and values in it.
    pub tests: usize,
}

impl Bounds {
    /// Of what somebody writes.
    pub const WRITTEN: Bounds = Bounds { bytes: 4096, depth: 32, tests: 256 };
    /// Of what is signed: the conditions of the groups it names are written out in it.
    pub const SIGNED: Bounds = Bounds { bytes: 64 << 10, depth: 128, tests: 4096 };
}

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCondition {
    /// Where, in characters from 1.
    pub column: usize,
    /// What was expected there.
    pub message: String,
}

impl BadCondition {
    fn new(column: usize, message: impl Into<String>) -> BadCondition {
        BadCondition { column, message: message.into() }
    }
}

impl fmt::Display for BadCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for BadCondition {}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Op {
    /// All of them.
    pub const ALL: [Op; 6] = [Op::Equal, Op::Unequal, Op::Less, Op::AtMost, Op::More, Op::AtLeast];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Equal => "=",
            Op::Unequal => "!=",
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::More => ">",
            Op::AtLeast => ">=",
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Op::Equal | Op::Unequal)
    }

    fn is(self, order: Ordering) -> bool {
        match self {
            Op::Equal => order.is_eq(),
            Op::Unequal => order.is_ne(),
            Op::Less => order.is_lt(),
            Op::AtMost => order.is_le(),
            Op::More => order.is_gt(),
            Op::AtLeast => order.is_ge(),
        }
    }
}

/// A relay or a group in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// As it is written.
    Name(Name),
    /// As it is signed: `#` and the id.
    Id([u8; 16]),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Name(name) => name.fmt(f),
            Named::Id(id) => write!(f, "#{}", HostId(*id)),
        }
    }
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A fact compared with a value.
    Compare {
        /// The fact's name.
        fact: String,
        /// How.
        op: Op,
        /// With what.
        value: Value,
    },
    /// A fact equals one of these.
    OneOf {
        /// The fact's name.
        fact: String,
        /// At least one.
        values: Vec<Value>,
    },
    /// A fact is known.
    Has(String),
    /// The host stands below this relay.
    Below(Named),
    /// The host is in this group.
    Group(Named),
    /// It does not hold.
    Not(Box<Condition>),
    /// All of them hold: two or more, none of them `All`.
    All(Vec<Condition>),
    /// One of them holds: two or more, none of them `Any`.
    Any(Vec<Condition>),
}

impl Condition {
    /// Reads what somebody wrote.
    ///
    /// # Errors
    /// Where and what is wrong.
    pub fn parse(text: &str) -> Result<Condition, BadCondition> {
        parse::parse(text, Bounds::WRITTEN)
    }

    /// Reads what was signed.
    ///
    /// # Errors
    /// What is wrong; names where ids should be, too.
    pub fn parse_signed(text: &str) -> Result<Condition, BadCondition> {
        let condition = parse::parse(text, Bounds::SIGNED)?;
        let name = condition.named().find(|named| matches!(named, Named::Name(_))).cloned();
        match name {
            Some(name) => Err(BadCondition::new(1, format!("{name} is a name where an id belongs"))),
            None => Ok(condition),
        }
    }

    /// All of these hold. Of none of them: that is for the caller to avoid; one is itself.
    pub fn all(parts: Vec<Condition>) -> Condition {
        let flat = parts.into_iter().flat_map(|part| match part {
            Condition::All(inner) => inner,
            other => vec![other],
        });
        one_or(flat.collect(), Condition::All)
    }

    /// One of these holds.
    pub fn any(parts: Vec<Condition>) -> Condition {
        let flat = parts.into_iter().flat_map(|part| match part {
            Condition::Any(inner) => inner,
            other => vec![other],
        });
        one_or(flat.collect(), Condition::Any)
    }

    /// The same with ids in place of names; a group may be a condition itself.
    ///
    /// # Errors
    /// What `relay` or `group` answers: there is none of that name, or what comes of it is too large.
    pub fn resolve<E>(
        &self,
        relay: &mut impl FnMut(&Name) -> Result<HostId, E>,
        group: &mut impl FnMut(&Name) -> Result<Condition, E>,
    ) -> Result<Condition, E> {
        let mut each = |parts: &[Condition]| {
            parts.iter().map(|part| part.resolve(relay, group)).collect::<Result<Vec<_>, E>>()
        };
        Ok(match self {
            Condition::Below(Named::Name(name)) => Condition::Below(Named::Id(relay(name)?.0)),
            Condition::Group(Named::Name(name)) => group(name)?,
            Condition::Not(inner) => Condition::Not(Box::new(inner.resolve(relay, group)?)),
            Condition::All(parts) => Condition::all(each(parts)?),
            Condition::Any(parts) => Condition::any(each(parts)?),
            other => other.clone(),
        })
    }

    /// Its tests, each by itself, in the order they are written.
    pub fn tests(&self) -> Vec<&Condition> {
        match self {
            Condition::Not(inner) => inner.tests(),
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().flat_map(Condition::tests).collect()
            }
            test => vec![test],
        }
    }

    /// The relays and groups it names.
    pub fn named(&self) -> impl Iterator<Item = &Named> {
        self.tests().into_iter().filter_map(|test| match test {
            Condition::Below(named) | Condition::Group(named) => Some(named),
            _ => None,
        })
    }

    /// The facts it asks for.
    pub fn facts(&self) -> impl Iterator<Item = &str> {
        self.tests().into_iter().filter_map(Condition::fact)
    }

    fn fact(&self) -> Option<&str> {
        match self {
            Condition::Compare { fact, .. } | Condition::OneOf { fact, .. } | Condition::Has(fact) => {
                Some(fact)
            }
            _ => None,
        }
    }
}

fn one_or(mut parts: Vec<Condition>, make: impl Fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.len() {
        1 => parts.remove(0),
        _ => make(parts),
    }
}
