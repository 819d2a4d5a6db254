//! An offer: one user takes it, another does not want it, and nothing is installed for whoever says nothing.

use super::super::cast::{CLIENTS, Client};
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::pack::Packed;
use super::{check, states};
use crate::failure::{Failure, Outcome};

/// Whose user takes it.
const TAKES: Client = CLIENTS[0];
/// Whose user does not want it.
const REJECTS: Client = CLIENTS[1];
/// Whose user says nothing.
const SILENT: Client = CLIENTS[2];

/// What was found.
#[derive(Debug)]
pub struct Offered {
    /// The job's number.
    pub job: String,
}

/// Offers a second package, and plays the users.
///
/// # Errors
/// Something was not as told.
pub async fn offer(stage: &mut Stage, narrator: &Narrator, packed: &Packed) -> Outcome<Offered> {
    narrator.step("7  An offer: the users of three clients may have the notes, or not")?;
    let key = stage.arg("packager.key");
    let folder = packed.notes.display().to_string();
    let package =
        stage.command(&["package", "add", &folder, "--key", &key, "--cabinet", packed.cabinet]).await?;
    let mut args = vec!["offer", package.as_str(), "--choosers", "any", "--to"];
    args.extend([TAKES.name, REJECTS.name, SILENT.name]);
    let job = stage.command(&args).await?;
    stage
        .until("showing the offer", narrator, async |stage| {
            let view = stage.api()?.job(&job).await?;
            let states = states(&view);
            Ok((states.len() == 3 && states.values().all(|state| *state == "offered")).then_some(()))
        })
        .await?;
    let name = format!("{}/notes", packed.cabinet);
    user(stage, TAKES, &["choose", &name]).await?;
    user(stage, REJECTS, &["reject", &name]).await?;
    stage
        .until("a user has chosen", narrator, async |stage| {
            let view = stage.api()?.job(&job).await?;
            let states = states(&view);
            let ended =
                states.get(TAKES.name) == Some(&"done") && states.get(REJECTS.name) == Some(&"rejected");
            Ok(ended.then_some(()))
        })
        .await?;
    let has = |client: Client| stage.root(client).join("opt/notes/notes.txt").exists();
    check(has(TAKES) && !has(REJECTS) && !has(SILENT), || "only who chose has the notes".into())?;
    narrator.fact(&format!(
        "{} chose it and has it; {} rejected it; {} says nothing and nothing is installed",
        TAKES.name, REJECTS.name, SILENT.name
    ))?;
    Ok(Offered { job })
}

/// What a client's user types.
async fn user(stage: &Stage, client: Client, command: &[&str]) -> Outcome {
    let socket = stage.path(client.name).join("user.sock");
    let socket = socket.to_str().ok_or_else(|| Failure::new("the demo's folder has an odd name"))?;
    let mut args = command.to_vec();
    args.extend(["--socket", socket]);
    stage.command(&args).await.map(|_| ())
}
