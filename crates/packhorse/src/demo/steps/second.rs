//! Version 2, a little different: what is there already is used again, at relays and at clients.

use super::super::cast::{LATE, NAMBA, OSAKA, early, early_below};
use super::super::ledger::Ledger;
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::pack::Packed;
use super::{check, check_bytes, check_installed, counted, install_everywhere, label, progress, states};
use crate::failure::Outcome;
use crate::render::table::size;

/// Of a copy of version 2, this much at most may travel, in percent.
const NEW_PERCENT: u64 = 20;

/// What was found.
#[derive(Debug)]
pub struct Second {
    /// The job's number.
    pub job: String,
    /// What went over the lines.
    pub lines: Ledger,
    /// The counters when all who are on had it.
    pub ledger: Ledger,
}

/// Installs version 2.
///
/// # Errors
/// Something was not as told.
pub async fn install(stage: &mut Stage, narrator: &Narrator, packed: &Packed) -> Outcome<Second> {
    narrator.step("4  Version 2, a few bytes different in the program, another text")?;
    let before = Ledger::read(&stage.api()?).await?;
    let (folder, key) = (packed.second.display().to_string(), stage.arg("packager.key"));
    let added =
        stage.command(&["package", "add", &folder, "--key", &key, "--cabinet", packed.cabinet]).await?;
    let package = label(packed, "2.0");
    check(added == package, || format!("the package is registered as {added}"))?;
    let job = install_everywhere(stage, &package).await?;
    stage
        .until("installing", narrator, async |stage| {
            let view = stage.api()?.job(&job).await?;
            narrator.progress(&progress(&view));
            let states = states(&view);
            let done = early().filter(|client| states.get(client.name) == Some(&"done")).count();
            Ok((done == early().count()).then_some(()))
        })
        .await?;
    for client in early() {
        check_installed(stage, client, &packed.second)?;
    }
    let ledger = settled(stage, narrator, before).await?;
    let lines = ledger.since(before);
    told(narrator, packed, lines)?;
    Ok(Second { job, lines, ledger })
}

/// The counters once every line of this job is in them.
async fn settled(stage: &mut Stage, narrator: &Narrator, before: Ledger) -> Outcome<Ledger> {
    stage
        .until("counting bytes", narrator, async |stage| {
            let ledger = Ledger::read(&stage.api()?).await?;
            let new = ledger.since(before);
            let all = new.osaka_received > 0
                && new.osaka_sent >= new.osaka_received * (1 + early_below(OSAKA)) * 8 / 10
                && new.namba_sent >= new.osaka_received * early_below(NAMBA) * 8 / 10;
            counted(ledger, all)
        })
        .await
}

fn told(narrator: &Narrator, packed: &Packed, lines: Ledger) -> Outcome {
    let most = packed.copy_bytes * NEW_PERCENT / 100;
    let (direct, below) = (early_below(OSAKA), early_below(NAMBA));
    check_bytes("server → osaka, version 2", lines.osaka_received, 1, most)?;
    check_bytes("osaka → namba and its clients, version 2", lines.osaka_sent, 1, most * (1 + direct))?;
    check_bytes("namba → its clients, version 2", lines.namba_sent, 1, most * below)?;
    let reused = 100.0 - lines.osaka_received as f64 * 100.0 / packed.copy_bytes.max(1) as f64;
    narrator.fact(&format!(
        "{} have version 2; server → osaka {}, osaka → namba and {direct} clients {} in all, namba → {below} clients {} in all",
        early().count(),
        size(lines.osaka_received),
        size(lines.osaka_sent),
        size(lines.namba_sent)
    ))?;
    narrator.fact(&format!(
        "{reused:.1} % of it was there already, and nobody sent it again; {} is still off",
        LATE.name
    ))
}
