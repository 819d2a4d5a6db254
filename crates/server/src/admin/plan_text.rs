//! A plan as the command line prints it.

use packhorse_domain::job::VALID_DAYS;
use packhorse_wire::admin::PlanView;

use super::around::Around;
use super::format::{clock, count, size};
use super::plan::{Drafted, RelayPlan};

/// Width of the first column of lines.
const COLUMN: usize = 44;
/// Relays named in one row.
const NAMES_SHOWN: usize = 3;

/// The whole plan.
pub fn text(around: &Around<'_>, draft: &Drafted, relays: &[RelayPlan], view: &PlanView) -> String {
    let mut rows = vec![head(draft, view)];
    rows.extend(out(view));
    rows.push(when(around, draft));
    rows.extend(lines(view));
    rows.push(room(around, draft, relays));
    rows.push("  end   unknown: nothing was measured yet".to_owned());
    rows.extend(hints(around, draft, relays, view).into_iter().map(|hint| format!("  hint  {hint}")));
    rows.join("\n") + "\n"
}

fn head(draft: &Drafted, view: &PlanView) -> String {
    let what =
        format!("{} {} to {}", draft.wish.job_type.as_str(), view.packages.join(" "), view.to.join(" "));
    let outside = view.hosts - view.within;
    // As wide as the label and the first column of the rows below.
    format!("{what:<52}  {}: {} in, {outside} out", count(view.hosts, "host"), view.within)
}

fn out(view: &PlanView) -> Option<String> {
    let parts: Vec<String> = view.out.iter().map(|out| format!("{} {}", out.hosts, out.why)).collect();
    (!parts.is_empty()).then(|| format!("  out   {}", parts.join(" · ")))
}

fn when(around: &Around<'_>, draft: &Drafted) -> String {
    let wish = &draft.wish;
    let starts = match wish.at {
        Some(at) => format!("{} server time; no window: any time", clock(at, around.now)),
        None => "now; no window: any time".to_owned(),
    };
    let closes = if wish.until == wish.now.plus_days(VALID_DAYS) {
        format!("closes after {VALID_DAYS} days")
    } else {
        format!("closes {}", clock(wish.until, around.now))
    };
    let joiners = if draft.resolved.destinations.grows() { "; late joiners are taken in" } else { "" };
    format!("  when  {starts:<COLUMN$}  {closes}{joiners}")
}

/// One row for each relay: what comes to it, and what goes out of it.
fn lines(view: &PlanView) -> Vec<String> {
    let mut cells: Vec<(String, String)> = Vec::new();
    for line in &view.lines {
        let note = match (line.note.as_str(), line.bytes) {
            ("", _) => String::new(),
            ("each at most", _) => " each at most".to_owned(),
            (note, _) => format!(" ({note})"),
        };
        let cell = format!("{} → {}  {}{note}", line.from, line.to, size(line.bytes));
        match cells.last_mut() {
            // What a relay sends stands beside what it receives.
            Some((to, row)) if *to == line.from => {
                let padding = " ".repeat(COLUMN.saturating_sub(row.chars().count()));
                *row = format!("{row}{padding}  {cell}");
                to.clear();
            }
            _ => cells.push((line.to.clone(), cell)),
        }
    }
    let label = |i: usize| if i == 0 { "  line  " } else { "        " };
    cells.into_iter().enumerate().map(|(i, (_, row))| format!("{}{row}", label(i))).collect()
}

fn room(around: &Around<'_>, draft: &Drafted, relays: &[RelayPlan]) -> String {
    if relays.is_empty() {
        return "  room  no relay on the way".to_owned();
    }
    let receiving: Vec<&RelayPlan> = relays.iter().filter(|relay| relay.bytes > 0).collect();
    if receiving.is_empty() {
        return "  room  all relays have it".to_owned();
    }
    let short: Vec<String> = receiving
        .iter()
        .filter_map(|plan| {
            let free = *draft.free_bytes.get(&plan.row)?;
            let name = &around.host(plan.row)?.name;
            let text = format!("{name} has no room: {} needed, {} free", size(plan.bytes), size(free));
            (free < plan.bytes).then_some(text)
        })
        .collect();
    if !short.is_empty() {
        return format!("  room  {}", short.join(" · "));
    }
    let untold = receiving.iter().filter(|plan| !draft.free_bytes.contains_key(&plan.row));
    let untold: Vec<&str> =
        untold.filter_map(|plan| around.host(plan.row)).map(|relay| relay.name.as_str()).collect();
    match untold.as_slice() {
        [] => "  room  all relays have room for it".to_owned(),
        names => format!("  room  not told yet by {}", few(names)),
    }
}

/// The first few names.
fn few(names: &[&str]) -> String {
    let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
    format!("{}{more}", names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", "))
}

fn hints(around: &Around<'_>, draft: &Drafted, relays: &[RelayPlan], view: &PlanView) -> Vec<String> {
    let mut hints = Vec::new();
    if view.within == 0 {
        hints.push("nobody is left to do anything".to_owned());
    }
    let off: Vec<&str> = relays
        .iter()
        .filter_map(|plan| around.host(plan.row))
        .filter(|relay| !around.present(relay).online)
        .map(|relay| relay.name.as_str())
        .collect();
    if !off.is_empty() {
        hints.push(format!("off now: {}; what is behind begins when they are back", few(&off)));
    }
    let away = draft.within().filter_map(|row| around.host(row));
    let away = away.filter(|host| !around.present(host).online).count() as u64;
    if away > 0 {
        hints.push(format!("{} of {} off now: they begin when they are back", away, view.within));
    }
    hints
}
