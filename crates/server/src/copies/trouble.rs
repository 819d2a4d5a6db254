//! Trouble with getting a package: what it is, in the closed list of reasons, said here and upwards until it goes on. Whoever
//! waits behind this relay is told the same. A transfer to this relay has it on its line, too, which is written down: once for
//! each change, and not more often than [`WRITTEN`], however a line flaps.

use std::time::Duration;

use packhorse_content::fetch::{FetchError, SourceError};
use packhorse_domain::reason::{Code, NextTry, Reason, clear_of};
use packhorse_domain::time::Time;
use tokio::time::Instant;

use super::{CopyError, lock};
use crate::db::DbError;
use crate::db::copies::Wanted;
use crate::db::transfers::Happened;
use crate::system::{System, now};

/// What is written down of one package's trouble is so far apart at least.
const WRITTEN: Duration = Duration::from_secs(10);
/// Most bytes of what exactly is wrong: an answer of another system may be in it.
const DETAIL_BYTES_MAX: usize = 300;

/// What was written down of a package's trouble last.
#[derive(Debug)]
pub(super) struct Written {
    code: Code,
    at: Instant,
}

/// What kind of trouble it is, and what exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    code: Code,
    text: String,
}

impl Trouble {
    fn new(code: Code, text: &dyn std::fmt::Display) -> Trouble {
        Trouble { code, text: text.to_string() }
    }

    /// The line to the higher system, or the higher system itself.
    pub(super) fn of_line(text: &dyn std::fmt::Display) -> Trouble {
        Trouble::new(Code::Network, text)
    }
}

impl From<&FetchError> for Trouble {
    fn from(error: &FetchError) -> Trouble {
        let code = match error {
            // A body that ends early is what a broken line looks like through HTTP.
            FetchError::Content(packhorse_content::frame::FrameError::Truncated(_)) => Code::Network,
            FetchError::Content(_) | FetchError::BadSource { .. } => Code::Content,
            FetchError::Write(_) => Code::Disk,
            FetchError::Source(SourceError::Refused(_) | SourceError::Unavailable(_))
            | FetchError::Line(_)
            | FetchError::Stalled(_)
            | FetchError::ShuttingDown => Code::Network,
        };
        Trouble::new(code, error)
    }
}

impl From<&CopyError> for Trouble {
    fn from(error: &CopyError) -> Trouble {
        let code = match error {
            CopyError::Fetch(error) => return Trouble::from(error),
            CopyError::Link(_) | CopyError::Away(_) | CopyError::NotWanted | CopyError::Held => Code::Network,
            CopyError::Db(_) | CopyError::Store(_) | CopyError::Task(_) => Code::Disk,
            CopyError::TooLarge | CopyError::Manifest(_) => Code::Content,
            CopyError::Envelope(_) | CopyError::Distrust(_) => Code::NotTrusted,
        };
        Trouble::new(code, error)
    }
}

/// Says it. `pause`: how long until it is tried again.
///
/// # Errors
/// The database's.
pub(super) async fn say(
    system: &System,
    wanted: &Wanted,
    trouble: &Trouble,
    pause: Duration,
) -> Result<(), DbError> {
    let (package, at) = (wanted.package, now());
    let before = system.presence.trouble(&system.id, &package).filter(|old| old.code() == trouble.code);
    let since = before.as_ref().map_or(at, Reason::since);
    let next = Time(at.0.saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX)));
    let name = &system.config.name;
    let mut detail = format!("{name} does not get the package: {}", trouble.text);
    if detail.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX).rev().find(|end| detail.is_char_boundary(*end));
        detail.truncate(end.unwrap_or(0));
    }
    let clear = clear_of(trouble.code);
    let reason = Reason::new(trouble.code, name, since, NextTry::At(next), clear, &detail);
    if system.presence.troubled(system.id, package, Some(reason.clone())) {
        system.outbox_news.notify_one();
        system.lines_changed();
    }
    let news = is_news(lock(&system.copies.written).get(&package), trouble.code, Instant::now());
    if wanted.keep && news {
        lock(&system.copies.written).insert(package, Written { code: trouble.code, at: Instant::now() });
        system.db.write(Happened { own: system.id, package, reason: Some(reason), now: at }).await?;
        system.outbox_news.notify_one();
    }
    Ok(())
}

/// Whether it is written down: once for each change, and not too often.
fn is_news(written: Option<&Written>, code: Code, now: Instant) -> bool {
    written.is_none_or(|written| written.code != code && now.duration_since(written.at) >= WRITTEN)
}

/// It goes on, or nobody waits for it any more. Answers whether there was trouble.
pub(super) fn over(system: &System, wanted: &Wanted) -> bool {
    let was = system.presence.troubled(system.id, wanted.package, None);
    if was {
        system.outbox_news.notify_one();
        system.lines_changed();
    }
    was
}

/// Nothing of it is taken in any more: the next trouble is news.
pub(super) fn forget(system: &System, wanted: &Wanted) {
    over(system, wanted);
    lock(&system.copies.written).remove(&wanted.package);
}

#[cfg(test)]
mod tests {
    use packhorse_content::frame::FrameError;

    use super::*;

    #[test]
    fn a_line_that_flaps_writes_little_down() {
        let start = Instant::now();
        let (mut written, mut count): (Option<Written>, u32) = (None, 0);
        // Ten minutes of another trouble each second.
        for second in 0..600 {
            let code = if second % 2 == 0 { Code::Network } else { Code::Content };
            let at = start + Duration::from_secs(second);
            if is_news(written.as_ref(), code, at) {
                (written, count) = (Some(Written { code, at }), count + 1);
            }
        }
        assert!((50..=60).contains(&count), "{count}");
        let same = Written { code: Code::Network, at: start };
        assert!(!is_news(Some(&same), Code::Network, start + Duration::from_secs(86_400)));
    }

    #[test]
    fn every_trouble_is_one_of_the_closed_list() {
        let of = |error: CopyError| Trouble::from(&error).code;
        assert_eq!(of(CopyError::Away(3)), Code::Network);
        assert_eq!(of(CopyError::TooLarge), Code::Content);
        assert_eq!(of(FetchError::Source(SourceError::Refused("404".into())).into()), Code::Network);
        assert_eq!(of(FetchError::BadSource { strikes: 3, last: String::new() }.into()), Code::Content);
        assert_eq!(of(FetchError::Content(FrameError::Header("odd")).into()), Code::Content);
        assert_eq!(of(packhorse_wire::trust::Distrust::NoKeys("own".into()).into()), Code::NotTrusted);
        let io = std::io::Error::other("broken");
        let disk = packhorse_content::store::StoreError::Io { path: "x".into(), source: io };
        assert_eq!(of(disk.into()), Code::Disk);
    }
}
