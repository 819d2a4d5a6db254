//! Brings everything up: the server, two relays, six clients of which one stays off.

use packhorse_wire::admin::TreeNode;

use super::super::cast::{CLIENTS, LATE, RELAYS, SERVER, early};
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use super::check;
use crate::failure::Outcome;
use crate::render::host;

/// Starts all, and shows the tree of systems.
///
/// # Errors
/// One does not come up.
pub async fn all(stage: &mut Stage, narrator: &Narrator) -> Outcome {
    narrator.step("2  A managing server, two relays one below the other, six clients")?;
    server(stage, narrator).await?;
    relays(stage, narrator).await?;
    clients(stage, narrator).await?;
    let tree = stage
        .until("waiting until all are connected", narrator, async |stage| {
            let tree = stage.api()?.tree().await?;
            let all = 1 + RELAYS.len() + early().count();
            Ok((online(&tree) >= all).then_some(tree))
        })
        .await?;
    narrator.text(&host::tree(&tree))?;
    narrator.fact(&format!("{} has joined but is off; all others are connected", LATE.name))
}

async fn server(stage: &mut Stage, narrator: &Narrator) -> Outcome {
    let (data, listen) = (stage.arg(SERVER), stage.listen(SERVER));
    stage.command(&["server", "init", "--data", &data, "--listen", &listen, "--name", "localhost"]).await?;
    stage.start_server()?;
    stage
        .until("waiting for the server", narrator, async |stage| Ok(Some(stage.api()?.tree().await?)))
        .await?;
    let key = stage.arg("packager.pub");
    stage.command(&["cabinet", "new", "tools", "--key", &key]).await?;
    let added =
        stage.command(&["package", "add", &stage.arg("packhorse-1.phk"), "--cabinet", "tools"]).await?;
    check(added == "tools/packhorse@1.0:1", || format!("the package is registered as {added}"))?;
    Ok(())
}

async fn relays(stage: &mut Stage, narrator: &Narrator) -> Outcome {
    for relay in RELAYS {
        narrator.progress(&format!("{} joins through {}", relay.name, relay.higher));
        let token = stage.command(&["token", "new", "--relay"]).await?;
        let (data, url, listen) = (stage.arg(relay.name), stage.url(relay.higher), stage.listen(relay.name));
        let root = stage.arg(&format!("{}-root", relay.name));
        let mut args = vec!["relay", "join", "--data", &data, "--server", &url, "--token", &token];
        args.extend(["--name", relay.name, "--listen", &listen, "--root", &root]);
        stage.command(&args).await?;
        stage.start_relay(relay)?;
        stage
            .until("waiting for the relay", narrator, async |stage| {
                let relays = stage.api()?.relays().await?;
                Ok(relays.into_iter().find(|known| known.name == relay.name && known.online))
            })
            .await?;
    }
    Ok(())
}

async fn clients(stage: &mut Stage, narrator: &Narrator) -> Outcome {
    let uses = CLIENTS.len().to_string();
    let token = stage.command(&["token", "new", "--uses", &uses]).await?;
    for client in CLIENTS {
        narrator.progress(&format!("{} joins through {}", client.name, client.higher));
        let (data, url) = (stage.arg(client.name), stage.url(client.higher));
        let root = stage.root(client).display().to_string();
        let mut args = vec!["client", "join", "--data", &data, "--server", &url, "--token", &token];
        args.extend(["--name", client.name, "--root", &root]);
        stage.command(&args).await?;
    }
    early().try_for_each(|client| stage.start_client(client))
}

/// Systems that are connected, the server among them.
fn online(node: &TreeNode) -> usize {
    usize::from(node.online) + node.lower.iter().map(online).sum::<usize>()
}
