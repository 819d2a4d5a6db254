//! The sixth client, off until now, comes back and catches up.

use super::super::cast::LATE;
use super::super::ledger::Ledger;
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::pack::Packed;
use super::second::Second;
use super::{check, check_bytes, check_installed, counted, states};
use crate::failure::Outcome;
use crate::render::table::size;

/// Starts it, and waits until it has the newest version.
///
/// # Errors
/// Something was not as told.
pub async fn catch_up(stage: &mut Stage, narrator: &Narrator, packed: &Packed, second: &Second) -> Outcome {
    narrator.step(&format!("5  {} is switched on", LATE.name))?;
    stage.start_client(LATE)?;
    stage
        .until(&format!("{} catches up", LATE.name), narrator, async |stage| {
            let view = stage.api()?.job(&second.job).await?;
            narrator.progress(&super::progress(&view));
            Ok((states(&view).get(LATE.name) == Some(&"done")).then_some(()))
        })
        .await?;
    check_installed(stage, LATE, &packed.second)?;
    let lines = stage
        .until("counting bytes", narrator, async |stage| {
            let lines = Ledger::read(&stage.api()?).await?.since(second.ledger);
            counted(lines, lines.namba_sent >= packed.copy_bytes * 95 / 100)
        })
        .await?;
    // A few kilobytes may still have been on their way when version 2 was counted.
    let nothing = packed.copy_bytes / 100;
    check_bytes("server → osaka for the late one", lines.osaka_received, 0, nothing)?;
    check_bytes("osaka → namba for the late one", lines.namba_received, 0, nothing)?;
    let first = stage.api()?.host(LATE.name).await?;
    let old = first.instructions.iter().find(|line| line.line.package.contains("@1.0:"));
    let state = old.map_or("", |line| line.line.state.as_str());
    check(state == "superseded", || format!("version 1 is superseded for {}, it is {state:?}", LATE.name))?;
    narrator.fact(&format!(
        "{} has version 2, straight from namba: {}; over the lines above {}; version 1 was superseded and not sent",
        LATE.name,
        size(lines.namba_sent),
        size(lines.osaka_received + lines.namba_received)
    ))
}
