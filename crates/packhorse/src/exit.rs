//! Exit codes: what a script may rely on. They are written in `--help` and in the README; a number never changes its meaning.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// Not as wished: a job that did not end well, a file that is not in order, anything that went wrong here.
    Failed,
    /// The command line is not right; nothing was done.
    Usage,
    /// The system asked cannot be reached, or one side does not trust the other.
    Unreachable,
    /// The system asked was reached and refused.
    Refused,
    /// Ended by Ctrl-C.
    Interrupted,
}

impl Exit {
    /// Every code with its meaning, as the help shows them.
    pub const TABLE: [(Exit, &'static str); 6] = [
        (Exit::Ok, "done"),
        (
            Exit::Failed,
            "not as wished: a job that did not end well, a file that is not in order, anything else",
        ),
        (Exit::Usage, "the command line is not right; nothing was done"),
        (Exit::Unreachable, "the system asked cannot be reached, or one side does not trust the other"),
        (Exit::Refused, "the system asked was reached and refused"),
        (Exit::Interrupted, "ended by Ctrl-C"),
    ];

    /// The number.
    pub const fn number(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Refused => 4,
            Exit::Interrupted => 130,
        }
    }

    /// The table as the end of `--help`.
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Exit::TABLE {
            text.push_str(&format!("  {:>3}  {meaning}\n", exit.number()));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_scripts_rely_on() {
        let numbers: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 130]);
        assert!(Exit::help().contains("    3  the system asked cannot be reached"));
    }

    #[test]
    fn the_readme_says_the_same() {
        let readme = include_str!("../../../README.md");
        for (exit, meaning) in Exit::TABLE {
            assert!(readme.contains(&format!("| {} | {meaning} |", exit.number())), "{meaning}");
        }
    }
}
