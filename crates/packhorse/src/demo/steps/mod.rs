//! The steps. Each checks what it tells; what is not as told ends the demo.

mod end;
mod first;
mod late;
mod offer;
mod pack;
mod second;
mod transfer;
mod up;

use std::collections::BTreeMap;
use std::path::Path;

use packhorse_wire::admin::JobView;

use super::cast::Client;
use super::ledger::Ledger;
use super::narrator::Narrator;
use super::stage::Stage;
use crate::failure::{Failure, Outcome};
use crate::render::table::size;

use pack::Packed;

/// Where the program is installed, in each client's root.
const INSTALLED: &str = "opt/packhorse";

/// Plays all steps.
///
/// # Errors
/// Something was not as told.
pub async fn all(stage: &mut Stage, narrator: &Narrator) -> Outcome {
    let packed = pack::first(stage, narrator).await?;
    up::all(stage, narrator).await?;
    let first = first::install(stage, narrator, &packed).await?;
    let second = second::install(stage, narrator, &packed).await?;
    late::catch_up(stage, narrator, &packed, &second).await?;
    let third = transfer::transfer(stage, narrator, &packed).await?;
    let offered = offer::offer(stage, narrator, &packed).await?;
    let found = end::Found { first, second, third, offered };
    end::summary(stage, narrator, &packed, &found).await
}

/// A claim that has to hold.
fn check(holds: bool, claim: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::new(format!("not as told: {}", claim()))) }
}

/// Bytes have to lie between two numbers.
fn check_bytes(what: &str, bytes: u64, least: u64, most: u64) -> Outcome {
    check((least..=most).contains(&bytes), || {
        format!("{what}: {} ({bytes} B), expected {} to {}", size(bytes), size(least), size(most))
    })
}

/// The ledger, once what was waited for is in it; until then what is in it is told.
fn counted(ledger: Ledger, complete: bool) -> Outcome<Option<Ledger>> {
    if complete { Ok(Some(ledger)) } else { Err(Failure::new(ledger.line())) }
}

/// The states of a job's lines, by host.
fn states(view: &JobView) -> BTreeMap<&str, &str> {
    view.instructions.iter().map(|line| (line.host.as_str(), line.state.as_str())).collect()
}

/// Whether these clients have ended, and how far all are, as one line.
fn progress(view: &JobView) -> String {
    let one = |line: &packhorse_wire::admin::InstructionView| {
        let percent = line.progress_percent.filter(|_| line.reason.is_some());
        match percent {
            Some(percent) => format!("{} {percent} %", line.host),
            None => format!("{} {}", line.host, line.state.replace('_', " ")),
        }
    };
    view.instructions.iter().map(one).collect::<Vec<_>>().join(" · ")
}

/// What a client has installed has to be exactly what was packaged.
fn check_installed(stage: &Stage, client: Client, folder: &Path) -> Outcome {
    for name in ["bin/packhorse", "about.txt"] {
        let installed = std::fs::read(stage.root(client).join(INSTALLED).join(name))?;
        let packaged = std::fs::read(folder.join(name))?;
        check(installed == packaged, || format!("{} has the right {name}", client.name))?;
    }
    Ok(())
}

/// Makes the job that installs `package` on all clients below osaka; answers its number.
async fn install_everywhere(stage: &Stage, package: &str) -> Outcome<String> {
    stage.command(&["install", package, "--to", "below:osaka"]).await
}

/// What packages are called in the demo.
fn label(packed: &Packed, version: &str) -> String {
    format!("{}/{}@{version}:1", packed.cabinet, packed.name)
}
