//! The demo and the simulated fleet.

use std::str::FromStr;

use clap::Args;

use super::{Access, JsonFlag};
use crate::span;

/// `packhorse demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the run, with exit code 0 if everything was as told, else 1, and remove the folder
    #[arg(long)]
    pub once: bool,
}

/// `packhorse fleet`
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// How many clients
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// The systems to join through: https://NAME:PORT; several are shared evenly
    #[arg(long, value_name = "URL", required = true, num_args = 1..)]
    pub to: Vec<String>,
    /// The package to install [default: the only one there is]
    #[arg(long)]
    pub package: Option<String>,
    /// Obtain the package's content too, verify it, and throw it away
    #[arg(long)]
    pub fetch: bool,
    /// How many join, or fetch, at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub at_once: u32,
    /// Give up when results are still missing after this
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = span::seconds)]
    pub patience: u64,
    /// A process of this machine whose memory is shown too, such as hq=1234; may be repeated
    #[arg(long = "pid", value_name = "NAME=PID")]
    pub pids: Vec<ProcessPid>,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// A name for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPid {
    /// As it is shown.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

impl FromStr for ProcessPid {
    type Err = String;

    fn from_str(text: &str) -> Result<ProcessPid, String> {
        let (name, pid) = text.split_once('=').ok_or_else(|| format!("{text:?}: write NAME=PID"))?;
        let pid = pid.parse().map_err(|_| format!("{pid:?} is no process number"))?;
        Ok(ProcessPid { name: name.to_owned(), pid })
    }
}
