//! What went wrong, for the person who reads it: `error: …: cause`, then `hint: …`, and the exit code that goes with it.

use std::error::Error;
use std::io;
use std::path::Path;

use packhorse_wire::enroll::EnrollError;
use packhorse_wire::net::LinkError;

use crate::exit::Exit;
use crate::say;

/// An error on its way to the person.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// Empty: nothing is said (whoever reads our output has gone).
    message: String,
    hint: Option<String>,
}

/// What a command answers.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Something went wrong here.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// The command line is not right.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, ..Failure::new(message) }
    }

    /// Ends with this code and says nothing more.
    pub fn silent(exit: Exit) -> Failure {
        Failure { exit, message: String::new(), hint: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With what to do about it, where nothing better is known.
    #[must_use]
    pub fn or_hint(mut self, hint: &str) -> Failure {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// A file cannot be had.
    pub fn file(path: &Path, error: &io::Error) -> Failure {
        let hint = file_hint(error).map(Into::into);
        Failure { hint, ..Failure::new(format!("{}: {error}", path.display())) }
    }

    /// With another exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Failure {
        self.exit = exit;
        self
    }

    /// What was being done: `context: message`.
    #[must_use]
    pub fn within(mut self, context: &str) -> Failure {
        if !self.message.is_empty() {
            self.message = format!("{context}: {}", self.message);
        }
        self
    }

    /// The exit code.
    pub fn code(&self) -> Exit {
        self.exit
    }

    /// The message without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it on stderr.
    pub fn print(&self) {
        if self.message.is_empty() {
            return;
        }
        say::error(&self.message);
        if let Some(hint) = &self.hint {
            say::hint(hint);
        }
    }
}

/// Says what was being done when something failed.
pub trait Within<T> {
    /// As [`Failure::within`].
    ///
    /// # Errors
    /// The failure, with its context.
    fn within(self, context: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Within<T> for Result<T, E> {
    fn within(self, context: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| error.into().within(&context()))
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let (exit, hint) = judge(&error);
        if exit == Exit::Ok {
            return Failure::silent(exit);
        }
        Failure { exit, message: packhorse_wire::net::with_causes(&error), hint }
    }
}

/// Exit code and hint of an error, by the first cause that is known.
fn judge(error: &(dyn Error + 'static)) -> (Exit, Option<String>) {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(link) = as_link(cause) {
            return judge_link(link);
        }
        if let Some(EnrollError::Role { .. } | EnrollError::Token(_)) = cause.downcast_ref() {
            return (Exit::Failed, Some("packhorse token new (with --relay for a relay) makes one".into()));
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let broken = io.kind() == io::ErrorKind::BrokenPipe;
            return if broken { (Exit::Ok, None) } else { (Exit::Failed, file_hint(io).map(Into::into)) };
        }
        next = cause.source();
    }
    (Exit::Failed, None)
}

/// What helps with a file that cannot be had.
fn file_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::NotFound => Some("a relative path is looked for in the current folder"),
        io::ErrorKind::PermissionDenied => Some("run it as the user who may, or as root"),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => Some("choose another path"),
        _ => None,
    }
}

/// A transparent variant hides itself from `source`, so it is looked into by name.
fn as_link<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LinkError> {
    match error.downcast_ref::<EnrollError>() {
        Some(EnrollError::Link(link)) => Some(link),
        _ => error.downcast_ref(),
    }
}

fn judge_link(error: &LinkError) -> (Exit, Option<String>) {
    match error {
        LinkError::Refused { status: 502..=504, refusal, .. } => (Exit::Unreachable, refusal.hint.clone()),
        LinkError::Refused { refusal, .. } => (Exit::Refused, refusal.hint.clone()),
        LinkError::Unreachable { .. } | LinkError::Timeout { .. } => {
            (Exit::Unreachable, Some("is the system running there, and is the address right?".into()))
        }
        LinkError::TlsRefused { .. } => (
            Exit::Unreachable,
            Some("it is another system, or this access or token is for another one".into()),
        ),
        LinkError::Address { .. } => (Exit::Usage, Some("write it like https://localhost:8440".into())),
        _ => (Exit::Failed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packhorse_wire::net::Refusal;

    fn refused(status: u16) -> LinkError {
        let refusal = Refusal::new("unknown_host", "no host is named x").with_hint("packhorse host list");
        LinkError::Refused { url: "https://h:1".into(), status, refusal }
    }

    #[test]
    fn links_give_their_codes_and_hints() {
        let failure = Failure::from(refused(404));
        assert_eq!((failure.code(), failure.hint.as_deref()), (Exit::Refused, Some("packhorse host list")));
        assert_eq!(Failure::from(EnrollError::Link(refused(503))).code(), Exit::Unreachable);
        let gone = LinkError::Unreachable { url: "https://h:1".into(), why: "refused".into() };
        let failure = Failure::from(gone).within("listing hosts");
        assert_eq!(failure.code(), Exit::Unreachable);
        assert_eq!(failure.message(), "listing hosts: https://h:1 cannot be reached: refused");
    }

    #[test]
    fn a_broken_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.message()), (Exit::Ok, ""));
    }
}
