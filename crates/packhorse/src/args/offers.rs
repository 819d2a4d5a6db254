//! Offers: made by the administrator, decided by the client's user.

use std::path::PathBuf;

use clap::Args;

use super::{Access, JsonFlag};

/// `packhorse offer`
#[derive(Debug, Args)]
#[command(override_usage = "packhorse offer <PACKAGE>... --to <DEST>... [OPTIONS]")]
pub struct OfferArgs {
    /// cabinet/name@version:generation; left out, the cabinet is main, version and generation the newest
    #[arg(value_name = "PACKAGE", required = true, num_args = 1..)]
    pub packages: Vec<String>,
    /// Machines by name, below:RELAY, group:NAME, all (all clients), all+relays
    #[arg(long, value_name = "DEST", required = true, num_args = 1..)]
    pub to: Vec<String>,
    /// Not shown before: "2026-12-01 02:00", "02:00" (the next one), "+3h"
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Then the offer ends [default: after 90 days]
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// From then on it is installed for whoever has not chosen; users see the date from the start
    #[arg(long, value_name = "TIME")]
    pub required_from: Option<String>,
    /// Who may choose: active (has a login session), group:NAME (of the machine's own groups), any; root may always
    #[arg(long, value_name = "WHO")]
    pub choosers: Option<String>,
    /// How long relays keep a copy that a choice brings: 30d, or a date
    #[arg(long, value_name = "KEEP")]
    pub keep: Option<String>,
    /// Let versions go down
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Only say what would happen
    #[arg(long)]
    pub plan: bool,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

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
    #[arg(long, value_name = "TIME", conflicts_with = "withdraw")]
    pub at: Option<String>,
    /// Take a choice back that has not begun
    #[arg(long)]
    pub withdraw: bool,
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
