//! Whether a condition holds: true, false, or not known.

use super::{Condition, Named, Op, Value, value};
use crate::ids::{GroupId, HostId};

/// Whether a condition holds at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// The host has not said what it takes.
    Unknown,
}

impl Truth {
    /// Of something that is known.
    pub fn of(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }

    /// Whether it holds, for sure.
    pub fn is_true(self) -> bool {
        self == Truth::True
    }
}

/// A host as a condition sees it.
pub trait Host {
    /// A fact, if it is known.
    fn fact(&self, name: &str) -> Option<&str>;
    /// Whether it stands below a relay.
    fn is_below(&self, relay: &HostId) -> bool;
    /// Whether it is a member of a fixed group.
    fn is_member(&self, group: &GroupId) -> bool;
}

impl std::ops::Not for Truth {
    type Output = Truth;

    /// The opposite; of what is not known nothing is known.
    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

impl Condition {
    /// Whether it holds at a host.
    pub fn judge(&self, host: &impl Host) -> Truth {
        match self {
            Condition::Compare { fact, op, value } => known(host, fact, |found| value.holds(*op, found)),
            Condition::OneOf { fact, values } => known(host, fact, |found| {
                Some(values.iter().any(|value| value.holds(Op::Equal, found) == Some(true)))
            }),
            Condition::Has(fact) => Truth::of(host.fact(fact).is_some()),
            Condition::Below(Named::Id(relay)) => Truth::of(host.is_below(&HostId(*relay))),
            Condition::Group(Named::Id(group)) => Truth::of(host.is_member(&GroupId(*group))),
            Condition::Below(Named::Name(_)) | Condition::Group(Named::Name(_)) => Truth::Unknown,
            Condition::Not(inner) => !inner.judge(host),
            Condition::All(parts) => decided(parts.iter().map(|part| part.judge(host)), Truth::False),
            Condition::Any(parts) => decided(parts.iter().map(|part| part.judge(host)), Truth::True),
        }
    }

    /// What was found at a host: each fact the condition asks for, once.
    pub fn found(&self, host: &impl Host) -> String {
        let mut said: Vec<String> = Vec::new();
        for test in self.tests() {
            let Some(fact) = test.fact() else { continue };
            let shown = match (host.fact(fact), test) {
                (None, _) => format!("{fact} is not known"),
                (Some(found), Condition::Compare { value: Value::Size(_), .. }) => {
                    format!("{fact} {}", found.parse().map_or_else(|_| found.to_owned(), value::rough))
                }
                (Some(found), _) => format!("{fact} {found}"),
            };
            if !said.contains(&shown) {
                said.push(shown);
            }
        }
        said.join(", ")
    }
}

fn known(host: &impl Host, fact: &str, judge: impl Fn(&str) -> Option<bool>) -> Truth {
    host.fact(fact).and_then(judge).map_or(Truth::Unknown, Truth::of)
}

/// `decides` from any of them decides; else what is not known of any leaves it open.
fn decided(truths: impl Iterator<Item = Truth>, decides: Truth) -> Truth {
    let mut open = false;
    for truth in truths {
        if truth == decides {
            return decides;
        }
        open |= truth == Truth::Unknown;
    }
    if open { Truth::Unknown } else { !decides }
}
