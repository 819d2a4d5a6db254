//! The only place that writes to the terminal: results to stdout, everything else to stderr, colour only where it is seen.
//! Whatever comes from outside is freed from control characters first, so that no name and no installer's output can steer
//! the terminal.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Outcome;

/// How often it is looked whether somebody still reads.
const LOOK: Duration = Duration::from_millis(500);
/// Style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Style of what did not.
pub const BAD: Style = AnsiColor::Red.on_default();
/// Style of what is being done.
pub const BUSY: Style = AnsiColor::Cyan.on_default();
/// Style of a heading.
pub const HEAD: Style = Style::new().bold();

/// Text in a style; [`line()`] and [`note`] take the style away where it is not seen.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// One line, or several, of the result.
///
/// # Errors
/// Whoever reads it has gone.
pub fn line(text: &str) -> Outcome {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// A line beside the result, on stderr. Nobody is told if it cannot be written.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// `error: …`
pub fn error(text: &str) {
    note(&format!("{}: {}", styled(BAD.bold(), "error"), clean(text)));
}

/// `hint: …`
pub fn hint(text: &str) {
    note(&format!("{}: {}", styled(BUSY.bold(), "hint"), clean(text)));
}

/// Whether a person looks at the result.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Completes when nobody reads the result any more: a command that waits for news would never notice by writing.
pub async fn reader_gone() {
    // Asked for nothing, `poll` still tells that the other end of a pipe is closed.
    while !hung_up(io::stdout()) {
        tokio::time::sleep(LOOK).await;
    }
}

fn hung_up(file: impl AsFd) -> bool {
    let mut asked = [PollFd::new(&file, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether a person looks at what goes beside it: only then a progress bar is of use.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// One line without control characters and without marks that turn the direction of text.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// As [`clean`], but lines stay lines.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON text in which also those control characters are escaped that JSON itself lets pass. Outside of strings JSON has
/// none of them, so every one that is met stands in a string.
pub fn clean_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && steers(c) {
            // All of them lie below U+10000, so one escape is enough.
            out.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_noticed_without_writing() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!hung_up(&writer));
        drop(reader);
        assert!(hung_up(&writer));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}x\u{202e}y"), "a [2Jb c x y");
        assert_eq!(clean_lines("a\u{7}\nb\r\n"), "a \nb");
        assert_eq!(clean_json("{\n \"a\u{7f}\u{9b}\"}"), "{\n \"a\\u007f\\u009b\"}");
    }
}
