//! Asking the agent of this machine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use packhorse_wire::local::{LINE_BYTES_MAX, LocalRequest, LocalResponse};

use super::short;
use crate::ClientError;

/// How long the agent may take to answer. `Sync` waits for the higher system, connecting included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// Asks the agent that listens at `socket`; blocks until it has answered, for 40 s at most.
///
/// # Errors
/// No agent answers there, or not in time, or something else.
pub fn ask(socket: &Path, request: &LocalRequest) -> Result<LocalResponse, ClientError> {
    let away = |error| ClientError::NoAgent { path: socket.to_owned(), error };
    let odd = |why: String| ClientError::Answer { path: socket.to_owned(), why };
    let (path, _folder) = short(socket).map_err(away)?;
    let mut stream = UnixStream::connect(path).map_err(away)?;
    let mut line = serde_json::to_string(request).map_err(|error| odd(error.to_string()))?;
    line.push('\n');
    let answer = talk(&mut stream, &line).map_err(away)?;
    serde_json::from_str(&answer).map_err(|error| odd(error.to_string()))
}

fn talk(stream: &mut UnixStream, line: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    // One byte more than allowed shows that a line is too long.
    BufReader::new(stream.take(LINE_BYTES_MAX as u64 + 1)).read_line(&mut answer)?;
    Ok(answer)
}
