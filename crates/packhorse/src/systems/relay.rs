//! A relay system. It is also a client: its own agent runs in the same process and asks the relay like any other client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use packhorse_client::{IdentitySource, RunOptions};
use packhorse_server::RelayJoinOptions;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Joined;
use crate::args::RelayJoinArgs;
use crate::failure::{Failure, Outcome};
use crate::signals;

/// What a relay's own agent is started with, beside the relay's identity.
const AGENT_FILE: &str = "agent.json";
/// The agent's data folder, within the relay's.
const AGENT_FOLDER: &str = "agent";
const AGENT_VERSION: u32 = 1;
/// How often it is looked whether the relay listens.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize, Deserialize)]
struct AgentFile {
    version: u32,
    /// Absolute; `None`: `/`.
    root: Option<PathBuf>,
}

/// Makes this machine a relay.
///
/// # Errors
/// Why it was not let in.
pub async fn join_relay(args: &RelayJoinArgs, name: &str) -> Outcome<Joined> {
    let options = RelayJoinOptions {
        data: args.data.clone(),
        url: args.server.clone(),
        token: args.token.clone(),
        name: name.to_owned(),
        listen: args.listen,
        addresses: args.addresses.clone(),
    };
    crate::patience::until_it_listens(&args.server).await;
    let joined = packhorse_server::relay_join(&options).await.map_err(super::server::failure)?;
    // Only now: what is refused leaves nothing behind.
    save_agent(&args.data, args.root.as_deref())?;
    Ok(Joined { name: joined.name, id: joined.id, higher: joined.higher })
}

fn save_agent(data: &Path, root: Option<&Path>) -> Outcome {
    let root = root
        .map(|root| {
            std::fs::create_dir_all(root)?;
            std::fs::canonicalize(root)
        })
        .transpose()?;
    let text = serde_json::to_string_pretty(&AgentFile { version: AGENT_VERSION, root })?;
    Ok(packhorse_wire::pki::write_private(&data.join(AGENT_FILE), &text)?)
}

fn load_agent(data: &Path) -> Outcome<AgentFile> {
    let path = data.join(AGENT_FILE);
    let bad = |why: String| Failure::new(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(&path)
        .map_err(|error| bad(error.to_string()).hint("`packhorse relay join` makes a relay's folder"))?;
    let file: AgentFile = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if file.version != AGENT_VERSION {
        return Err(bad(format!("version {} is not known", file.version)));
    }
    Ok(file)
}

/// Runs the relay and its own agent until they are asked to end. Ends one of them by itself, the other ends too.
///
/// # Errors
/// What stops them.
pub async fn run_relay(data: &Path, store_bytes: Option<u64>) -> Outcome {
    let ended = signals::ended()?;
    let agent_url = packhorse_server::relay_url(data).map_err(super::server::failure)?;
    let agent_options = RunOptions {
        data: data.join(AGENT_FOLDER),
        socket: Some(packhorse_client::default_socket(data)),
        identity: IdentitySource::Relay {
            folder: data.to_owned(),
            url: agent_url.clone(),
            root: load_agent(data)?.root,
        },
    };
    let (stop, stopped) = watch::channel(false);
    let relay = async {
        let outcome = packhorse_server::run_relay(data, store_bytes, told(stopped.clone())).await;
        stop.send_replace(true);
        outcome.map_err(super::server::failure)
    };
    let agent = async {
        tokio::select! {
            () = listening(&agent_url) => {}
            () = told(stopped.clone()) => return Ok(()),
        }
        let outcome = packhorse_client::run(agent_options, told(stopped.clone())).await;
        stop.send_replace(true);
        outcome.map_err(|error| super::client::failure(error).within("the relay's own agent"))
    };
    let signal = async {
        tokio::select! {
            () = ended => {}
            () = told(stopped.clone()) => {}
        }
        stop.send_replace(true);
    };
    let (relay, agent, ()) = tokio::join!(relay, agent, signal);
    relay.and(agent)
}

/// Completes when the relay listens: an agent that starts before it would only complain and pause.
async fn listening(url: &str) {
    let address = url.trim_start_matches("https://");
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Completes when everything is to end.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that whoever tells has gone: that is the end, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_is_started_with_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load_agent(dir.path()).is_err());
        save_agent(dir.path(), None).unwrap();
        assert_eq!(load_agent(dir.path()).unwrap().root, None);
        let root = dir.path().join("root");
        save_agent(dir.path(), Some(&root)).unwrap();
        assert_eq!(load_agent(dir.path()).unwrap().root, Some(root.canonicalize().unwrap()));
    }
}
