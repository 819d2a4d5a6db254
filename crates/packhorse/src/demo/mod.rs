//! The whole system on one machine: real processes of this same binary on loopback, without root.
//!
//! | file | what |
//! |---|---|
//! | `cast` | who plays: names and where each stands |
//! | `processes` | the processes: started, killed, ended by their numbers |
//! | `stage` | the folder, the ports, the command line as the demo itself uses it |
//! | `narrator` | what is told while it happens |
//! | `steps` | the steps, one file each; every claim is checked there before it is told |
//! | `ledger` | bytes of each line, as the relays count them |

mod cast;
mod ledger;
mod narrator;
mod processes;
mod stage;
mod steps;

use std::path::Path;
use std::time::Instant;

use crate::args::DemoArgs;
use crate::commands::small_runtime;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::{logs, say, signals};

use narrator::Narrator;
use stage::Stage;

/// Shows everything; ends every process it started, whatever happens.
///
/// # Errors
/// Something was not as told.
pub fn run(args: &DemoArgs) -> Outcome {
    logs::of_command();
    let folder = tempfile::Builder::new().prefix("packhorse-demo-").tempdir()?;
    // One thread: the processes are to die with the thread that started them.
    let outcome = small_runtime()?.block_on(play(args, folder.path()));
    if outcome.as_ref().is_err_and(|failure| failure.code() == Exit::Failed) && !args.once {
        let kept = folder.keep();
        say::note(&format!("what the processes logged is in {}", kept.display()));
    }
    outcome
}

/// Where a browser may look at it.
async fn page(stage: &Stage) -> Outcome<String> {
    Ok(stage.api()?.page().await?.0)
}

async fn play(args: &DemoArgs, folder: &Path) -> Outcome {
    let ended = signals::ended()?;
    tokio::pin!(ended);
    let started = Instant::now();
    let narrator = Narrator::new();
    let mut stage = Stage::new(folder.to_owned())?;
    let told = tokio::select! {
        told = steps::all(&mut stage, &narrator) => told,
        () = &mut ended => Err(Failure::silent(Exit::Interrupted)),
    };
    narrator.end();
    if let Err(failure) = &told {
        stage.explain_failure(failure);
    } else {
        say::note(&format!("everything was as told, in {:.1} s", started.elapsed().as_secs_f64()));
    }
    if told.is_ok() && !args.once {
        match page(&stage).await {
            Ok(address) => {
                say::note(&format!("to look at it in a browser (opens once): {}", say::clean(&address)))
            }
            Err(failure) => stage.explain_failure(&failure),
        }
        say::note("it all stays up until you press Ctrl-C");
        ended.await;
    }
    stage.end().await;
    told
}
