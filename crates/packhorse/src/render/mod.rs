//! What is shown, and how. Everything here makes text from values of the administrator's API and does nothing else.

pub mod explain;
pub mod group;
pub mod history;
pub mod host;
pub mod job;
pub mod listing;
pub mod offers;
pub mod package;
pub mod relay;
pub mod status;
pub mod table;

/// `1 host`, `3 hosts`.
pub fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Lines of `name  value`, the values below one another; what has no value is left out.
pub fn facts(pairs: &[(&str, String)]) -> String {
    let told = || pairs.iter().filter(|(_, value)| !value.is_empty());
    let width = told().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> =
        told().map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned()).collect();
    lines.join("\n")
}
