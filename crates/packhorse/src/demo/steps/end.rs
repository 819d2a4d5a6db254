//! At most eight lines: who has what, what it cost, and what to try next.

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
    let package = label(packed, "2.0");
    let view = api.job(&second.job).await?;
    let done = view.instructions.iter().filter(|line| line.state == "done").count();
    check(done == CLIENTS.len(), || format!("all have {package}: {done}"))?;
    let ledger = Ledger::read(&api).await?;
    let kept = api.package(&package).await?.relays;
    let kept_by = |relay: &str| {
        kept.iter().find(|copy| copy.relay == relay).map(|copy| when::shown_day(&copy.keep_until))
    };
    let (osaka, namba) = (kept_by(OSAKA.name), kept_by(NAMBA.name));
    check(osaka.is_some() && namba.is_some(), || "both relays keep version 2".into())?;
    // Every client gets every version whole from the server; the late one only the newest.
    let naive = packed.copy_bytes * (2 * CLIENTS.len() as u64 - 1);
    check(ledger.osaka_received < naive / 5, || {
        "the server's line carried less than a fifth of that".into()
    })?;

    narrator.step("And so")?;
    let lines = [
        format!(
            "who      {done} of {} clients have {package}; {} was off and caught up",
            CLIENTS.len(),
            LATE.name
        ),
        format!(
            "lines    server → osaka {} instead of {} (everything to everybody); all lines together {}",
            size(ledger.osaka_received),
            size(naive),
            size(ledger.total())
        ),
        format!(
            "reused   version 2 took {} on the server's line, {} was there already",
            size(second.lines.osaka_received),
            size(packed.copy_bytes.saturating_sub(second.lines.osaka_received))
        ),
        format!("cut      namba was killed with {} of its copy and went on there", size(first.cut_bytes)),
        format!(
            "kept     at osaka until {}, at namba until {}",
            osaka.unwrap_or_default(),
            namba.unwrap_or_default()
        ),
        format!("explain  while {} was off: {}", LATE.name, first.explained),
        format!("try      export PACKHORSE_CONTEXT={}", shell_quoted(&stage.access())),
        format!(
            "         {} host tree   (also: job show {}, relay show namba, explain --host {})",
            shell_quoted(&std::env::current_exe()?),
            first.job,
            LATE.name
        ),
    ];
    narrator.text(&lines.join("\n"))
}
