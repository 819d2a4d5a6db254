//! How a condition is written: one way for each.

use std::fmt;

use super::Condition;

impl fmt::Display for Condition {
    /// As it can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Compare { fact, op, value } => write!(f, "{fact} {} {value}", op.as_str()),
            Condition::OneOf { fact, values } => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "{fact} in ({})", values.join(", "))
            }
            Condition::Has(fact) => write!(f, "has {fact}"),
            Condition::Below(relay) => write!(f, "below {relay}"),
            Condition::Group(group) => write!(f, "group {group}"),
            Condition::Not(inner) => {
                let bracketed = matches!(**inner, Condition::All(_) | Condition::Any(_));
                if bracketed { write!(f, "not ({inner})") } else { write!(f, "not {inner}") }
            }
            Condition::All(parts) => join(f, parts, " and ", |part| matches!(part, Condition::Any(_))),
            // `and` binds tighter: no brackets are needed.
            Condition::Any(parts) => join(f, parts, " or ", |_| false),
        }
    }
}

fn join(
    f: &mut fmt::Formatter<'_>,
    parts: &[Condition],
    word: &str,
    bracketed: impl Fn(&Condition) -> bool,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i > 0 { word } else { "" })?;
        if bracketed(part) { write!(f, "({part})")? } else { write!(f, "{part}")? }
    }
    Ok(())
}
