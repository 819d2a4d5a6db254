//! What the client's user decides.

use std::path::PathBuf;

use clap::Args;

use super::JsonFlag;

/// Where the agent of this machine is asked.
#[derive(Debug, Args)]
pub struct SocketArgs {
    /// The agent's data folder, whose socket is asked
    #[arg(long, value_name = "DIR", default_value = super::systems::DATA)]
    pub data: PathBuf,
    /// The agent's socket [default: DATA/user.sock; of the default data folder /run/packhorse/user.sock]
    #[arg(long, env = "PACKHORSE_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// Which offer is meant.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// The package: name, cabinet/name, or with @version
    pub package: String,
    /// Of several offers of the package, the one of this job
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    /// Which agent is asked.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `packhorse choose`
#[derive(Debug, Args)]
pub struct ChooseArgs {
    /// Which.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Install it then: "2026-12-01 02:00", "02:00" (the next one), "+3h" [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

/// `packhorse postpone`
#[derive(Debug, Args)]
pub struct PostponeArgs {
    /// Which.
    #[command(flatten)]
    pub which: WhichArgs,
    /// To then [default: 4 hours from now]; at the latest a quarter of an hour before the job ends
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}
