//! Commands as an administrator types them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binary;
use crate::net::namespace::Namespace;

/// Runs commands with one administrator's access.
#[derive(Debug, Clone)]
pub struct Cli {
    context: Option<PathBuf>,
    folder: PathBuf,
    inside: Option<Namespace>,
}

impl Cli {
    /// Commands in `folder`, with the access file `context`.
    pub fn new(folder: &Path, context: Option<&Path>) -> Cli {
        Cli { context: context.map(Path::to_owned), folder: folder.to_owned(), inside: None }
    }

    /// The same, run in a network of its own.
    pub fn inside(mut self, inside: Option<&Namespace>) -> Cli {
        self.inside = inside.cloned();
        self
    }

    /// Runs one command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(binary::path());
        command.args(args).current_dir(&self.folder).stdin(Stdio::null());
        command.env_remove("PACKHORSE_SOCKET").env_remove("PACKHORSE_CONTEXT");
        if let Some(context) = &self.context {
            command.env("PACKHORSE_CONTEXT", context);
        }
        let output = within(self.inside.as_ref(), || command.output()).expect("the program starts");
        Ran::new(args, &output)
    }

    /// Runs one command that has to succeed; answers what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// Runs one command with `--json` that has to succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        let text = self.run(&args).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: no JSON ({error}): {text}"))
    }
}

/// Does something in a network of its own, if there is one.
pub fn within<T>(inside: Option<&Namespace>, work: impl FnOnce() -> T) -> T {
    match inside {
        Some(inside) => inside.enter(work),
        None => work(),
    }
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ran {
    line: String,
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

impl Ran {
    fn new(args: &[&str], output: &Output) -> Ran {
        Ran {
            line: args.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, without the last end of line.
    ///
    /// # Panics
    /// It failed.
    pub fn ok(&self) -> String {
        assert_eq!(self.code, 0, "packhorse {}\n{}{}", self.line, self.stdout, self.stderr);
        self.stdout.trim_end().to_owned()
    }

    /// Checks that it failed with this code, printed nothing, and said all of this.
    ///
    /// # Panics
    /// It did not.
    pub fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "packhorse {}\n{}{}", self.line, self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "packhorse {}: a failure prints no result", self.line);
        for part in says {
            assert!(self.stderr.contains(part), "packhorse {}: no {part:?} in\n{}", self.line, self.stderr);
        }
    }

    /// The sentence of a failure, without `error: ` and without the hint.
    pub fn error(&self) -> &str {
        let line = self.stderr.lines().find_map(|line| line.strip_prefix("error: "));
        line.unwrap_or_else(|| panic!("packhorse {}: no error in\n{}", self.line, self.stderr))
    }

    /// The hint of a failure.
    pub fn hint(&self) -> Option<&str> {
        self.stderr.lines().find_map(|line| line.strip_prefix("hint: "))
    }
}
