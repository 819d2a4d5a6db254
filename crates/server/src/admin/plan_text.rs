//! A plan as the command line prints it.

use jiff::tz::TimeZone;
use packhorse_domain::job::{JobType, VALID_DAYS};
use packhorse_domain::lease::Keep;
use packhorse_domain::time::Time;
use packhorse_wire::admin::PlanView;

use super::around::Around;
use super::destinations::FOR;
use super::format::{clock, count, day, size};
use super::plan::{Drafted, RelayPlan};
use super::plan_time::{self, End};
use crate::authority::timestamp;
use crate::db::rates::Way;

/// Width of the first column of lines.
const COLUMN: usize = 44;
/// A line on which something takes longer than this is thin, in seconds.
const THIN_SECS: u64 = 15 * 60;
/// Relays named in one row.
const NAMES_SHOWN: usize = 3;

/// The whole plan.
pub fn text(
    around: &Around<'_>,
    draft: &Drafted,
    relays: &[RelayPlan],
    view: &PlanView,
    end: &End,
) -> String {
    let mut rows = vec![head(draft, view)];
    rows.extend(out(view));
    rows.push(when(around, draft));
    rows.extend(keep(around, draft));
    rows.extend(lines(view));
    rows.push(room(around, draft, relays));
    rows.push(ends(around, draft, end));
    rows.extend(hints(around, draft, relays, view).into_iter().map(|hint| format!("  hint  {hint}")));
    rows.join("\n") + "\n"
}

fn head(draft: &Drafted, view: &PlanView) -> String {
    let what = format!("{} {} {}", draft.wish.job_type.as_str(), view.packages.join(" "), to(view));
    let outside = view.hosts - view.within;
    let who = if draft.wish.job_type == JobType::Transfer { "relay" } else { "host" };
    // As wide as the label and the first column of the rows below.
    format!("{what:<52}  {}: {} in, {outside} out", count(view.hosts, who), view.within)
}

/// As it was asked: `to osaka for below:sendai`.
fn to(view: &PlanView) -> String {
    let (meant, named): (Vec<&str>, Vec<&str>) =
        view.to.iter().map(String::as_str).partition(|word| word.starts_with(FOR));
    let meant: Vec<&str> = meant.into_iter().filter_map(|word| word.strip_prefix(FOR)).collect();
    let part =
        |word: &str, names: &[&str]| (!names.is_empty()).then(|| format!("{word} {}", names.join(" ")));
    part("to", &named).into_iter().chain(part("for", &meant)).collect::<Vec<_>>().join(" ")
}

fn out(view: &PlanView) -> Option<String> {
    let parts: Vec<String> = view.out.iter().map(|out| format!("{} {}", out.hosts, out.why)).collect();
    (!parts.is_empty()).then(|| format!("  out   {}", parts.join(" · ")))
}

fn when(around: &Around<'_>, draft: &Drafted) -> String {
    let (wish, terms) = (&draft.wish, &draft.wish.terms);
    let offer = wish.job_type == JobType::Offer;
    let starts = match wish.at {
        // Written as if in UTC: the same digits on every clock.
        Some(at) if terms.host_time => format!("{} by each host's own clock", civil(at)),
        Some(at) => format!("{} server time", clock(at, around.now)),
        None => "now".to_owned(),
    };
    let starts = match (offer, terms.required_from) {
        (true, None) => format!("shown from {starts}; installed when its user chooses"),
        (true, Some(from)) => {
            format!("shown from {starts}; required from {}", clock(from, around.now))
        }
        (false, _) => format!("{starts}; no window: any time"),
    };
    let closes = if wish.until == wish.now.plus_days(VALID_DAYS) {
        format!("closes after {VALID_DAYS} days")
    } else {
        format!("closes {}", clock(wish.until, around.now))
    };
    let joiners = if draft.resolved.destinations.grows() { "; late joiners are taken in" } else { "" };
    let postpone = match terms.postpone {
        0 => String::new(),
        1 => "; its user may put it off once".to_owned(),
        times => format!("; its user may put it off {times} times"),
    };
    format!("  when  {starts:<COLUMN$}  {closes}{joiners}{postpone}")
}

/// A time of hosts: what their clocks show.
fn civil(at: Time) -> String {
    timestamp(at).to_zoned(TimeZone::UTC).strftime("%-d %b %H:%M").to_string()
}

/// How long relays keep what comes, where the job says so, or is about nothing else.
fn keep(around: &Around<'_>, draft: &Drafted) -> Option<String> {
    let package = || draft.resolved.packages.iter().map(|package| package.keep_until).min();
    match (draft.wish.terms.keep, draft.wish.job_type) {
        (Some(Keep::Until(until)), _) => Some(format!("  keep  at relays until {}", day(until, around.now))),
        (Some(Keep::Days(days)), _) => {
            Some(format!("  keep  at relays {} from arrival", count(u64::from(days), "day")))
        }
        (None, JobType::Transfer) => {
            let until = day(package()?, around.now);
            Some(format!("  keep  at relays until {until}, as the package says; --keep moves it"))
        }
        (None, _) => None,
    }
}

fn ends(around: &Around<'_>, draft: &Drafted, end: &End) -> String {
    match end {
        End::Expected(at, last) => {
            let what = if draft.wish.job_type == JobType::Transfer { "there" } else { "delivered" };
            format!("  end   {what} by {} ({last} last), by measured rates", clock(*at, around.now))
        }
        End::Unmeasured(lines) => {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            format!("  end   unknown, nothing measured yet: {}", few(&lines))
        }
        End::Nothing => "  end   at once: nothing has to be carried".to_owned(),
        End::OnChoice => "  end   when its users have chosen".to_owned(),
    }
}

/// One row for each relay: what comes to it, and what goes out of it.
fn lines(view: &PlanView) -> Vec<String> {
    let mut cells: Vec<(String, String)> = Vec::new();
    for line in &view.lines {
        let note = match (line.note.as_str(), line.bytes) {
            ("", _) => String::new(),
            (each, _) if each.starts_with("each ") => format!(" {each}"),
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
        let staged = relays.iter().any(|relay| relay.staged);
        let text = if staged { "what the transfer needs" } else { "all relays have it" };
        return format!("  room  {text}");
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

fn advice(draft: &Drafted, relays: &[RelayPlan], view: &PlanView, now: Time) -> Vec<String> {
    let mut hints = Vec::new();
    let everybody = view.to.iter().any(|word| word.starts_with("all"));
    match draft.wish.job_type {
        JobType::Install => {
            if everybody && view.within > 1 {
                let all = view.hosts;
                hints.push(format!("not needed on all {all}? `packhorse offer` sends only what is chosen"));
            }
            for (which, starts) in &draft.later {
                let starts = clock(*starts, now);
                hints.push(format!("due before its transfer: {which} begins {starts}; these bytes go now"));
            }
            let thin = |plan: &&RelayPlan| {
                let rate = draft.rates.get(&(plan.row, Way::In));
                rate.is_some_and(|rate| plan_time::secs(plan.bytes, *rate) > THIN_SECS)
            };
            if draft.wish.at.is_none() && relays.iter().any(|plan| thin(&plan)) {
                hints.push("a thin line: --stage-at brings it to the relays before".to_owned());
            }
        }
        JobType::Transfer => {
            hints.push("it stops at the relays: packhorse install or offer spreads it from there".to_owned());
        }
        JobType::Offer if draft.wish.terms.required_from.is_none() => {
            hints.push("must everyone have it? packhorse install, or --required-from".to_owned());
        }
        JobType::Offer => {}
    }
    hints
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
    if draft.wish.job_type == JobType::Transfer {
        hints.extend(advice(draft, relays, view, around.now));
        return hints;
    }
    let away = draft.within().filter_map(|row| around.host(row));
    let away = away.filter(|host| !around.present(host).online).count() as u64;
    if away > 0 {
        hints.push(format!("{} of {} off now: they begin when they are back", away, view.within));
    }
    hints.extend(advice(draft, relays, view, around.now));
    hints
}
