//! `packhorse package add`: only what the server lacks is sent, and what was sent stays sent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use indicatif::{ProgressBar, ProgressStyle};
use packhorse_content::phk::PhkReader;
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::admin::Registered;
use packhorse_wire::net::LinkError;
use tokio::sync::mpsc;

use crate::api::Api;
use crate::args::AddArgs;
use crate::failure::{Failure, Outcome};
use crate::say;

use super::super::ask;
use super::super::key::signing_key;
use super::build::build_file;

/// How often in a row an upload may be cut without anything more having arrived.
const TRIES_MAX: u32 = 5;
/// Pause after a cut.
const PAUSE: Duration = Duration::from_secs(1);
/// Frames that are read ahead of the network.
const FRAMES_AHEAD: usize = 16;

/// Adds a package file, or builds and adds a folder or a `.deb`.
///
/// # Errors
/// What is wrong with the package, or the server's refusal.
pub fn run(args: &AddArgs) -> Outcome {
    let prepared = prepare(args)?;
    ask(&args.access, async |api| {
        let registered = add_file(&api, &prepared.file, &args.cabinet).await?;
        if registered.already {
            say::note("this very package was there already: nothing was done");
        }
        say::line(&say::clean(&registered.label))
    })
}

/// A package file, with the folder it lies in for as long as it is needed.
struct Prepared {
    file: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

fn prepare(args: &AddArgs) -> Outcome<Prepared> {
    let is_built = args.source.extension().is_some_and(|ext| ext == "phk");
    let source = args.source.display();
    match &args.key {
        None if is_built => Ok(Prepared { file: args.source.clone(), _folder: None }),
        None => Err(Failure::usage(format!(
            "{source} is not a package file yet, and there is no --key to sign it with"
        ))
        .hint("--key PACKAGER.key builds, signs and adds in one")),
        Some(_) if is_built => {
            Err(Failure::usage(format!("{source} is built and signed already")).hint("leave --key out"))
        }
        Some(key) => {
            let key = signing_key(key)?;
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("package.phk");
            build_file(&args.source, &key, &file)?;
            Ok(Prepared { file, _folder: Some(folder) })
        }
    }
}

/// Sends what the server lacks of the package in `file` and registers it in `cabinet`.
///
/// # Errors
/// What is wrong with the file, or the server's refusal.
pub async fn add_file(api: &Api, file: &Path, cabinet: &str) -> Outcome<Registered> {
    let reader = PhkReader::open(file)?;
    let envelope = reader.envelope().clone();
    let bytes_of = |missing: &RangeSet| {
        let manifest = reader.manifest();
        let lengths = missing.ranges().flat_map(|range| range.filter_map(|index| manifest.chunk(index)));
        lengths.map(|chunk| u64::from(chunk.len)).sum::<u64>()
    };
    let mut bar = None;
    let mut tries = 0;
    let mut least = u64::MAX;
    loop {
        let upload = api.begin_upload(cabinet, envelope.clone()).await?;
        if let Some(known) = upload.known {
            return Ok(known);
        }
        let missing = ranges(&upload.missing);
        if missing.is_empty() {
            let registered = api.finish_upload(&upload.package, cabinet).await?;
            if let Some(bar) = bar {
                ProgressBar::finish_and_clear(&bar);
            }
            return Ok(registered);
        }
        let left = bytes_of(&missing);
        tries = if left < least { 0 } else { tries + 1 };
        least = least.min(left);
        let bar = bar.get_or_insert_with(|| new_bar(reader.manifest().unique_bytes()));
        bar.set_position(reader.manifest().unique_bytes().saturating_sub(left));
        let frames = frames(file.to_owned(), missing, bar.clone());
        let sent = api.upload_frames(&upload.package, frames).await;
        pause_or_give_up(sent.map(|_| ()), tries).await?;
    }
}

/// A cut line is gone on with; whatever else is the end.
async fn pause_or_give_up(sent: Result<(), LinkError>, tries: u32) -> Outcome {
    match sent {
        Ok(()) if tries < TRIES_MAX => Ok(()),
        Ok(()) => Err(Failure::new("the server took the bytes and still says that they are missing")),
        Err(error) if error.is_passing() && tries < TRIES_MAX => {
            tokio::time::sleep(PAUSE).await;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn ranges(pairs: &[(u32, u32)]) -> RangeSet {
    let mut set = RangeSet::new();
    for (start, end) in pairs {
        set.insert(*start..*end);
    }
    set
}

fn new_bar(bytes: u64) -> ProgressBar {
    if !say::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("sending [{bar:30.green}] {bytes}/{total_bytes} {bytes_per_sec}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The frames of the chunks that are missing, read on a thread of its own as fast as they are sent.
fn frames(
    file: PathBuf,
    missing: RangeSet,
    bar: ProgressBar,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (to, from) = mpsc::channel(FRAMES_AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_frames(&file, missing, &bar, &to) {
            // Nobody takes it: then the upload has ended already.
            let _ = to.blocking_send(Err(io::Error::other(error)));
        }
    });
    unfold(from, |mut from| async { from.recv().await.map(|item| (item, from)) })
}

fn read_frames(
    file: &Path,
    missing: RangeSet,
    bar: &ProgressBar,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), packhorse_content::phk::PhkError> {
    let mut reader = PhkReader::open(file)?;
    let manifest = reader.manifest().clone();
    for frame in reader.frames(missing)? {
        let frame = frame?;
        let mut bytes = BytesMut::with_capacity(frame.total_len());
        bytes.put_slice(&frame.header.to_bytes());
        bytes.put_slice(&frame.body);
        let plain: u64 =
            frame.header.chunks().filter_map(|i| manifest.chunk(i)).map(|c| u64::from(c.len)).sum();
        if to.blocking_send(Ok(bytes.freeze())).is_err() {
            return Ok(());
        }
        bar.inc(plain);
    }
    Ok(())
}
