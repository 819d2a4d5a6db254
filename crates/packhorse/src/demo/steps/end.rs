//! A few lines: who has what, what it cost, where it is to be seen, and what to try next.

use super::super::cast::{CLIENTS, LATE, NAMBA, OSAKA};
use super::super::ledger::Ledger;
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::first::First;
use super::offer::Offered;
use super::pack::Packed;
use super::second::Second;
use super::transfer::Third;
use super::{check, label};
use crate::commands::shell_quoted;
use crate::failure::Outcome;
use crate::render::table::size;
use crate::when;

/// What the steps found.
pub struct Found {
    /// Version 1.
    pub first: First,
    /// Version 2.
    pub second: Second,
    /// Version 3.
    pub third: Third,
    /// The offer.
    pub offered: Offered,
}

/// Sums it up.
///
/// # Errors
/// Something was not as told.
pub async fn summary(stage: &mut Stage, narrator: &Narrator, packed: &Packed, found: &Found) -> Outcome {
    let Found { first, second, third, offered } = found;
    let api = stage.api()?;
    let package = label(packed, "3.0");
    let ledger = Ledger::read(&api).await?;
    let kept = api.package(&package).await?.relays;
    let kept_by = |relay: &str| {
        kept.iter().find(|copy| copy.relay == relay).map(|copy| when::shown_day(&copy.keep_until))
    };
    let (osaka, namba) = (kept_by(OSAKA.name), kept_by(NAMBA.name));
    check(osaka.is_some() && namba.is_some(), || "both relays keep version 3".into())?;
    // Every client gets every version whole from the server; the late one not the first.
    let naive = packed.copy_bytes * (3 * CLIENTS.len() as u64 - 1);
    check(ledger.osaka_received < naive / 5, || {
        "the server's line carried less than a fifth of that".into()
    })?;

    let page = stage.command(&["page"]).await?;
    check(page.starts_with("https://"), || format!("the page has an address: {page}"))?;

    narrator.step("And so")?;
    let lines = [
        format!("who      {} clients have {package}; {} was off and caught up", CLIENTS.len(), LATE.name),
        format!(
            "lines    server → osaka {} instead of {} (everything to everybody); all lines together {}",
            size(ledger.osaka_received),
            size(naive),
            size(ledger.total())
        ),
        format!(
            "reused   version 2 took {} on the server's line, version 3 {}; installing that one took 0 bytes",
            size(second.lines.osaka_received),
            size(third.transferred_bytes)
        ),
        format!("cut      namba was killed with {} of its copy and went on there", size(first.cut_bytes)),
        format!(
            "kept     at osaka until {}, at namba until {}",
            osaka.unwrap_or_default(),
            namba.unwrap_or_default()
        ),
        format!("explain  while {} was off: {}", LATE.name, first.explained),
        format!("page     {page}"),
        format!("try      export PACKHORSE_CONTEXT={}", shell_quoted(&stage.access())),
        format!(
            "         {} host tree   (also: job show {}, job show {}, relay show namba, explain --host {})",
            shell_quoted(&std::env::current_exe()?),
            first.job,
            offered.job,
            LATE.name
        ),
    ];
    narrator.text(&lines.join("\n"))
}
