//! Version 1 to everybody below osaka, and namba killed in the middle of its copy.

use super::super::cast::{LATE, NAMBA, OSAKA, early, early_below};
use super::super::ledger::Ledger;
use super::super::narrator::Narrator;
use super::super::stage::{Stage, folder_bytes};
use super::pack::Packed;
use super::{check, check_bytes, check_installed, counted, install_everywhere, label, progress, states};
use crate::failure::{Failure, Outcome};
use crate::render::table::size;

/// How much of the copy namba has when it is killed, in percent.
const CUT_PERCENT: u64 = 40;
/// At most one piece in flight may come twice.
const PIECE_BYTES: u64 = 1 << 20;
/// Beside the pieces a copy has a manifest and headers: this much on top is still one copy.
const SLACK_PERCENT: u64 = 3;

/// What was found.
#[derive(Debug)]
pub struct First {
    /// The job's number.
    pub job: String,
    /// What namba had when it was killed.
    pub cut_bytes: u64,
    /// What `explain` said of the client that was off.
    pub explained: String,
}

/// Installs version 1.
///
/// # Errors
/// Something was not as told.
pub async fn install(stage: &mut Stage, narrator: &Narrator, packed: &Packed) -> Outcome<First> {
    narrator.step(
        "3  Version 1 to all six clients below osaka; namba is killed (kill -9) in the middle of its copy",
    )?;
    let package = label(packed, "1.0");
    let job = install_everywhere(stage, &package).await?;
    let cut_bytes = cut(stage, narrator, packed).await?;
    all_done(stage, narrator, &job).await?;
    for client in early() {
        check_installed(stage, client, &packed.first)?;
    }
    narrator.fact(&format!("{} have version 1 installed, byte for byte", names()))?;
    bytes(stage, narrator, packed, cut_bytes).await?;
    let explained = explain_late(stage, &job).await?;
    narrator.fact(&format!("packhorse explain {job} {}: {explained}", LATE.name))?;
    Ok(First { job, cut_bytes, explained })
}

/// Waits until namba is in the middle of its copy, kills it, and starts it again.
async fn cut(stage: &mut Stage, narrator: &Narrator, packed: &Packed) -> Outcome<u64> {
    // What a relay has of a package that is still arriving.
    let data = stage.path(NAMBA.name).join("store/staging");
    let before = folder_bytes(&data);
    let enough = packed.copy_bytes * CUT_PERCENT / 100;
    stage
        .until("namba takes its copy in", narrator, async |_| {
            let there = folder_bytes(&data).saturating_sub(before);
            narrator.progress(&format!("namba has {} of {}", size(there), size(packed.copy_bytes)));
            Ok((there >= enough).then_some(()))
        })
        .await?;
    stage.kill(NAMBA.name)?;
    let there = folder_bytes(&data).saturating_sub(before);
    check(there < packed.copy_bytes * 9 / 10, || {
        format!("namba was in the middle of its copy: it had {} of {}", size(there), size(packed.copy_bytes))
    })?;
    narrator.fact(&format!(
        "namba was killed with {} of {}, and is started again",
        size(there),
        size(packed.copy_bytes)
    ))?;
    stage.start_relay(NAMBA)?;
    Ok(there)
}

/// Waits until all clients that are on have it installed.
async fn all_done(stage: &mut Stage, narrator: &Narrator, job: &str) -> Outcome {
    let path = job.to_owned();
    stage
        .until("installing", narrator, async |stage| {
            let view = stage.api()?.job(&path).await?;
            narrator.progress(&progress(&view));
            let states = states(&view);
            let done = early().filter(|client| states.get(client.name) == Some(&"done")).count();
            Ok((done == early().count()).then_some(()))
        })
        .await
}

/// Counts what went over each line.
async fn bytes(stage: &mut Stage, narrator: &Narrator, packed: &Packed, cut_bytes: u64) -> Outcome {
    let copy = packed.copy_bytes;
    let (direct, below) = (early_below(OSAKA), early_below(NAMBA));
    // The relays' counters follow within a second or so.
    let ledger = stage
        .until("counting bytes", narrator, async |stage| {
            let ledger = Ledger::read(&stage.api()?).await?;
            let there = |bytes: u64, copies: u64| bytes >= copy * copies * 95 / 100;
            // A relay writes its counters down every second; namba lost the last one when it was killed.
            let there_at_namba = |bytes: u64, copies: u64| bytes >= copy * copies * 70 / 100;
            let all = there(ledger.osaka_received, 1)
                && there(ledger.osaka_sent, 1 + direct)
                && there_at_namba(ledger.namba_received, 1)
                && there_at_namba(ledger.namba_sent, below);
            counted(ledger, all)
        })
        .await?;
    let most = |copies: u64| copy * copies * (100 + SLACK_PERCENT) / 100;
    check_bytes("server → osaka, one copy", ledger.osaka_received, copy * 95 / 100, most(1))?;
    check_bytes("osaka → namba and its clients", ledger.osaka_sent, 0, most(1 + direct) + 2 * PIECE_BYTES)?;
    check_bytes("osaka → namba, as namba counts", ledger.namba_received, 0, most(1) + PIECE_BYTES)?;
    check_bytes("namba → its clients", ledger.namba_sent, 0, most(below) + below * PIECE_BYTES)?;
    let to_namba = ledger.osaka_sent.saturating_sub(direct * copy);
    narrator.fact(&format!(
        "server → osaka {}, one copy; osaka → namba {} and {direct} clients {} each; namba → {below} clients {} (without its last second before the kill)",
        size(ledger.osaka_received),
        size(to_namba),
        size(copy),
        size(ledger.namba_sent)
    ))?;
    narrator.fact(&format!(
        "namba went on at the same piece: {} before the kill and {} after it are one copy",
        size(cut_bytes),
        size(to_namba.saturating_sub(cut_bytes))
    ))
}

/// Asks why the client that is off has nothing.
async fn explain_late(stage: &Stage, job: &str) -> Outcome<String> {
    let answer = stage.api()?.explain(&[("job", job), ("host", LATE.name)]).await?;
    let entry =
        answer.entries.first().ok_or_else(|| Failure::new("not as told: explain says why pc6 waits"))?;
    check(entry.text.contains("off") || entry.text.contains("never"), || {
        format!("explain says that pc6 is off: {}", entry.text)
    })?;
    Ok(entry.text.clone())
}

fn names() -> String {
    early().map(|client| client.name).collect::<Vec<_>>().join(", ")
}
