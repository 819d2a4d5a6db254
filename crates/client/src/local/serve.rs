//! Answering the user. Anybody on the host may ask; who asks is taken from the socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use packhorse_wire::local::{LINE_BYTES_MAX, LocalRequest, LocalResponse};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::short;
use super::users::{Peer, Users};
use crate::ClientError;
use crate::control::feed::Sync;
use crate::driver::Event;
use crate::error::file_error;
use crate::executor::Tools;

/// Most callers at a time; further ones are closed.
const CALLERS_MAX: usize = 32;
/// How long a caller may take for its line, and for taking the answer.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long `Sync` waits for the higher system.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// The socket, bound.
pub(crate) struct Local {
    listener: UnixListener,
    path: PathBuf,
    /// The driver.
    pub driver: mpsc::Sender<Event>,
    /// What manifests are read with.
    pub tools: Arc<Tools>,
    /// Who may ask what.
    pub users: Users,
    /// The feed.
    pub syncs: mpsc::Sender<Sync>,
    /// Whoever sends reports.
    pub wake: Arc<Notify>,
}

impl Local {
    /// Binds the socket, which anybody on the host may use. What an agent left there that is gone is replaced.
    ///
    /// # Errors
    /// It cannot be bound, or another agent listens there.
    pub fn bind(
        path: &Path,
        driver: mpsc::Sender<Event>,
        tools: Arc<Tools>,
        users: Users,
        syncs: mpsc::Sender<Sync>,
        wake: Arc<Notify>,
    ) -> Result<Local, ClientError> {
        if let Some(folder) =
            path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        {
            std::fs::create_dir_all(folder).map_err(file_error(folder))?;
            let open = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(folder, open).map_err(file_error(folder))?;
        }
        let (address, _folder) = short(path).map_err(file_error(path))?;
        match std::os::unix::net::UnixStream::connect(&address) {
            Ok(_) => return Err(ClientError::Running(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&address).map_err(file_error(path))?;
            }
            // Nothing there, or something that is no socket: binding says so.
            Err(_) => {}
        }
        let listener = UnixListener::bind(&address).map_err(file_error(path))?;
        let all = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, all).map_err(file_error(path))?;
        Ok(Local { listener, path: path.to_owned(), driver, tools, users, syncs, wake })
    }

    /// Answers until the agent ends.
    pub async fn run(self) {
        let callers = Arc::new(Semaphore::new(CALLERS_MAX));
        let asked = Asked {
            driver: self.driver.clone(),
            tools: Arc::clone(&self.tools),
            users: self.users.clone(),
            telling: Arc::new(Semaphore::new(1)),
            syncs: self.syncs.clone(),
            wake: Arc::clone(&self.wake),
        };
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the user's socket");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&callers).try_acquire_owned() else {
                tracing::warn!(limit = CALLERS_MAX, "too many callers at the user's socket");
                continue;
            };
            let asked = asked.clone();
            tokio::spawn(async move {
                if let Err(error) = asked.serve(stream).await {
                    tracing::debug!(%error, "a caller at the user's socket");
                }
                drop(slot);
            });
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The next agent replaces it too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whoever answers callers.
#[derive(Clone)]
pub(super) struct Asked {
    pub driver: mpsc::Sender<Event>,
    pub tools: Arc<Tools>,
    pub users: Users,
    /// One answer at a time is made of manifests: they may be large, and anybody on the machine may ask.
    pub telling: Arc<Semaphore>,
    syncs: mpsc::Sender<Sync>,
    wake: Arc<Notify>,
}

impl Asked {
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?;
        let line = timeout(LINE_TIMEOUT, read_line(&mut stream)).await??;
        tracing::debug!(uid = peer.uid(), gid = peer.gid(), pid = peer.pid(), "asked at the user's socket");
        let response = match serde_json::from_str(&line) {
            Ok(request) => self.answer(Peer { uid: peer.uid(), gid: peer.gid() }, request).await,
            Err(error) => refused(&format!("the request cannot be understood: {error}")),
        };
        let mut answer = serde_json::to_vec(&response)?;
        answer.push(b'\n');
        timeout(LINE_TIMEOUT, stream.write_all(&answer)).await?
    }

    async fn answer(&self, peer: Peer, request: LocalRequest) -> LocalResponse {
        match request {
            LocalRequest::Status => {
                let (answer, answered) = oneshot::channel();
                let sent = self.driver.send(Event::Status(answer)).await.is_ok();
                match answered.await {
                    Ok(status) if sent => LocalResponse::Status(Box::new(status)),
                    _ => refused("the agent is shutting down"),
                }
            }
            LocalRequest::Offers => self.offers(peer).await,
            LocalRequest::Stopping => self.stopping(peer).await,
            decision @ (LocalRequest::Choose { .. }
            | LocalRequest::Reject { .. }
            | LocalRequest::Postpone { .. }) => self.decide(peer, decision).await,
            LocalRequest::Sync => {
                self.wake.notify_one();
                let (answer, answered) = oneshot::channel();
                if self.syncs.send(answer).await.is_err() {
                    return refused("the agent is shutting down");
                }
                match timeout(SYNC_TIMEOUT, answered).await {
                    Ok(Ok(Ok(orders))) => LocalResponse::Synced { orders, error: None },
                    Ok(Ok(Err(error))) => LocalResponse::Synced { orders: 0, error: Some(error) },
                    Ok(Err(_)) => refused("the agent is shutting down"),
                    Err(_) => {
                        let error = format!("no answer within {} s", SYNC_TIMEOUT.as_secs());
                        LocalResponse::Synced { orders: 0, error: Some(error) }
                    }
                }
            }
        }
    }
}

async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    // One byte more than allowed shows that a line is too long.
    let mut limited = BufReader::new(stream.take(LINE_BYTES_MAX as u64 + 1));
    limited.read_line(&mut line).await?;
    if line.len() > LINE_BYTES_MAX {
        return Err(io::Error::other("the line is too long"));
    }
    Ok(line)
}

pub(super) fn refused(message: &str) -> LocalResponse {
    LocalResponse::Refused { message: message.to_owned(), hint: None }
}

pub(super) fn refused_with(message: &str, hint: &str) -> LocalResponse {
    LocalResponse::Refused { message: message.to_owned(), hint: Some(hint.to_owned()) }
}
