//! Bodies: taken in honestly from above, then bent.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hyper::Method;
use packhorse_content::frame::{Codec, Frame, FrameDecoder, FrameHeader};
use packhorse_content::manifest::Manifest;
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::bytes::Id32;
use packhorse_wire::messages::{FRAMES, FramesRequest, MANIFEST, ManifestRequest};
use packhorse_wire::net::{ContentStream, cbor};
use serde_bytes::ByteBuf;

use super::Behaviour;
use super::relay::Inner;

/// Bytes that never end come in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;
/// What a bomb unpacks to, in bytes.
const BOMB_BYTES: usize = 64 << 20;

/// The body of an answer.
pub(super) type Body = BoxStream<'static, io::Result<Bytes>>;

/// A package that was taken in.
pub(super) struct Content {
    envelope: Bytes,
    chunks: Vec<Bytes>,
}

/// The package, taken in from above if it is not here yet.
pub(super) async fn of(inner: &Inner, package: Id32) -> Result<Arc<Content>> {
    if let Some(known) = inner.state().content.get(&package) {
        return Ok(known.clone());
    }
    let capability = inner.state().capability(&package).context("no right to this package")?;
    let capability = ByteBuf::from(capability);
    let request = ManifestRequest { package, capability: capability.clone(), offset: 0 };
    let envelope = whole(inner, MANIFEST, &request).await?;
    let manifest = Manifest::from_stored_envelope(&envelope)?;
    let ranges = vec![(0, manifest.chunk_count())];
    let frames = whole(inner, FRAMES, &FramesRequest { package, capability, ranges }).await?;
    let content = Arc::new(Content { envelope, chunks: chunks(&manifest, &frames)? });
    inner.state().content.insert(package, content.clone());
    Ok(content)
}

async fn whole<T: serde::Serialize>(inner: &Inner, path: &str, request: &T) -> Result<Bytes> {
    let mut stream: ContentStream = inner.link.stream(Method::POST, path, cbor::encode(request)?).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.into())
}

fn chunks(manifest: &Manifest, frames: &[u8]) -> Result<Vec<Bytes>> {
    let mut decoder = FrameDecoder::new(RangeSet::full(manifest.chunk_count()));
    decoder.push(frames);
    let mut chunks = vec![Bytes::new(); manifest.chunk_count() as usize];
    while let Some(frame) = decoder.next_frame()? {
        for (index, plain) in frame.verify(manifest)?.chunks() {
            chunks[index as usize] = plain;
        }
    }
    Ok(chunks)
}

/// The manifest from `offset` on, as the behaviour has it. `other`: another package's.
pub(super) fn manifest(inner: &Inner, content: &Content, other: Option<&Content>, offset: u64) -> Body {
    let behaviour = inner.state().behaviour;
    let mut bytes = content.envelope.to_vec();
    match (behaviour, other) {
        (Behaviour::AltersManifest, _) => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        (Behaviour::SwapsManifest, Some(other)) => bytes = other.envelope.to_vec(),
        (Behaviour::SignsPackageItself, _) => bytes = inner.forge.manifest(&content.envelope),
        (Behaviour::SendsEndlessManifest, _) => {
            inner.did();
            return endless();
        }
        _ => {}
    }
    if bytes != content.envelope {
        inner.did();
    }
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    pieces(vec![Bytes::from(bytes).slice(from..)])
}

/// The chunks asked for, as the behaviour has them.
pub(super) fn frames(inner: &Arc<Inner>, content: &Content, ranges: &[(u32, u32)]) -> Body {
    let behaviour = inner.state().behaviour;
    let wanted: Vec<u32> = ranges.iter().flat_map(|(start, end)| *start..*end).collect();
    let honest: Vec<Frame> = wanted
        .iter()
        .filter_map(|index| Some((*index, content.chunks.get(*index as usize)?)))
        .map(|(index, plain)| Frame::pack(index, plain).expect("a frame"))
        .collect();
    let bent = bend(behaviour, &honest, content);
    let cut = matches!(
        behaviour,
        Behaviour::TruncatesContent | Behaviour::SendsEndlessContent | Behaviour::StallsContent
    );
    if bent != honest || cut {
        inner.did();
    }
    let all: Vec<Bytes> = bent.iter().map(bytes_of).collect();
    match behaviour {
        Behaviour::TruncatesContent => half(&all).chain(stream::once(async { Err(broken()) })).boxed(),
        Behaviour::StallsContent => half(&all).chain(silence(inner.clone())).boxed(),
        Behaviour::SendsEndlessContent => pieces(all).chain(endless()).boxed(),
        _ => pieces(all),
    }
}

fn bend(behaviour: Behaviour, honest: &[Frame], content: &Content) -> Vec<Frame> {
    let mut frames = honest.to_vec();
    let middle = frames.len() / 2;
    match behaviour {
        Behaviour::FlipsChunkBit => flip(&mut frames[middle]),
        Behaviour::SwapsChunks if frames.len() > 1 => {
            let (first, second) = (frames[0].header.first, frames[1].header.first);
            frames[0].header.first = second;
            frames[1].header.first = first;
            frames.swap(0, 1);
        }
        Behaviour::SendsUnaskedChunks => {
            let index = content.chunks.len() as u32 + 5;
            frames.insert(0, Frame::pack(index, b"have this, too").expect("a frame"));
        }
        Behaviour::SendsBomb => {
            let bomb = Frame::pack(frames[middle].header.first, &vec![0; BOMB_BYTES]).expect("a frame");
            frames[middle] = bomb;
        }
        _ => {}
    }
    frames
}

fn flip(frame: &mut Frame) {
    let mut body = frame.body.to_vec();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    let header = FrameHeader { codec: frame.header.codec, ..frame.header };
    // A bit of packed bytes may spoil the unpacking as well as the hash: either way it is not the chunk.
    debug_assert!(matches!(header.codec, Codec::Raw | Codec::Zstd));
    *frame = Frame { header, body: body.into() };
}

fn bytes_of(frame: &Frame) -> Bytes {
    [frame.header.to_bytes().as_slice(), &frame.body].concat().into()
}

fn pieces(all: Vec<Bytes>) -> Body {
    stream::iter(all.into_iter().map(Ok)).boxed()
}

/// The first half, in bytes.
fn half(all: &[Bytes]) -> Body {
    let joined = Bytes::from(all.concat());
    pieces(vec![joined.slice(..joined.len() / 2)])
}

fn endless() -> Body {
    stream::repeat(Bytes::from(vec![7; PIECE_BYTES])).map(Ok).boxed()
}

/// Nothing, until the relay is honest again; then the connection breaks.
fn silence(inner: Arc<Inner>) -> Body {
    let waiting = async move {
        let mut news = inner.news.subscribe();
        while inner.state().behaviour == Behaviour::StallsContent && news.changed().await.is_ok() {}
        Err(broken())
    };
    stream::once(waiting).boxed()
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "as if the line broke")
}
