//! Version 3: transferred to both relays first, installed from there. At the install's time the server's line is still.

use super::super::cast::{CLIENTS, NAMBA, OSAKA};
use super::super::ledger::Ledger;
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::pack::Packed;
use super::{check, check_bytes, check_installed, install_everywhere, label, progress, states};
use crate::failure::Outcome;
use crate::render::table::size;

/// What was found.
#[derive(Debug)]
pub struct Third {
    /// Bytes that left the server while it was transferred.
    pub transferred_bytes: u64,
}

/// Transfers it to the relays, and installs it.
///
/// # Errors
/// Something was not as told.
pub async fn transfer(stage: &mut Stage, narrator: &Narrator, packed: &Packed) -> Outcome<Third> {
    narrator
        .step("6  Version 3: transferred to both relays at night, installed from there in the morning")?;
    let before = Ledger::read(&stage.api()?).await?;
    let (folder, key) = (packed.third.display().to_string(), stage.arg("packager.key"));
    let package =
        stage.command(&["package", "add", &folder, "--key", &key, "--cabinet", packed.cabinet]).await?;
    check(package == label(packed, "3.0"), || format!("the package is registered as {package}"))?;
    let job = stage.command(&["transfer", &package, "--to", "all-relays", "--keep", "30d"]).await?;
    arrived(stage, narrator, &job).await?;
    let there = settled(stage, narrator, before).await?;
    let lines = there.since(before);
    narrator.fact(&format!(
        "osaka and namba keep it for 30 days; server → osaka {}, osaka → namba {}, no client has seen a byte",
        size(lines.osaka_received),
        size(lines.namba_received)
    ))?;
    install(stage, narrator, packed, &package).await?;
    let after = Ledger::read(&stage.api()?).await?.since(there);
    check_bytes("server → osaka at the install's time", after.osaka_received, 0, 0)?;
    check_bytes("osaka → namba at the install's time", after.namba_received, 0, 0)?;
    narrator.fact(&format!("{} clients have version 3; server → osaka: 0 bytes", CLIENTS.len()))?;
    Ok(Third { transferred_bytes: lines.osaka_received })
}

async fn arrived(stage: &mut Stage, narrator: &Narrator, job: &str) -> Outcome {
    let relays = [OSAKA.name, NAMBA.name];
    stage
        .until("transferring", narrator, async |stage| {
            let view = stage.api()?.job(job).await?;
            narrator.progress(&progress(&view));
            let states = states(&view);
            let all = relays.iter().all(|relay| states.get(relay) == Some(&"transferred"));
            Ok(all.then_some(()))
        })
        .await
}

/// The counters once they stand still: they follow within a second or so.
async fn settled(stage: &mut Stage, narrator: &Narrator, before: Ledger) -> Outcome<Ledger> {
    let mut last = before;
    stage
        .until("counting bytes", narrator, async |stage| {
            let ledger = Ledger::read(&stage.api()?).await?;
            let new = ledger.since(before);
            let whole = new.osaka_received > 0 && new.namba_received >= new.osaka_received * 95 / 100;
            let still = whole && ledger == last;
            last = ledger;
            Ok(still.then_some(ledger))
        })
        .await
}

async fn install(stage: &mut Stage, narrator: &Narrator, packed: &Packed, package: &str) -> Outcome {
    let job = install_everywhere(stage, package).await?;
    stage
        .until("installing", narrator, async |stage| {
            let view = stage.api()?.job(&job).await?;
            narrator.progress(&progress(&view));
            let done = states(&view).values().filter(|state| **state == "done").count();
            Ok((done == CLIENTS.len()).then_some(()))
        })
        .await?;
    CLIENTS.into_iter().try_for_each(|client| check_installed(stage, client, &packed.third))
}
