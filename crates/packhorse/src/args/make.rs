//! The three ways to make a job, and what they share.

use clap::Args;

use super::{Access, JsonFlag};

/// What and when, of any job.
#[derive(Debug, Args)]
pub struct WhatArgs {
    /// cabinet/name@version:generation; left out, the cabinet is main, version and generation the newest
    #[arg(value_name = "PACKAGE", required = true, num_args = 1..)]
    pub packages: Vec<String>,
    /// Not before: "2026-12-01 02:00", "02:00" (the next one), "+3h"
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// What has not begun by then ends as missed
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How long relays keep their copies: 30d from the arrival, or a day 2026-12-31
    #[arg(long, value_name = "KEEP")]
    pub keep: Option<String>,
}

/// Whether it is done or only planned, who is asked, and how the answer is shown.
#[derive(Debug, Args)]
pub struct AskArgs {
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

/// `packhorse install`
#[derive(Debug, Args)]
#[command(override_usage = "packhorse install <PACKAGE>... --to <DEST>... [OPTIONS]")]
pub struct InstallArgs {
    /// Machines by name, group:NAME, below:RELAY, all (all clients), all+relays
    #[arg(long, value_name = "DEST", required = true, num_args = 1..)]
    pub to: Vec<String>,
    /// What and when.
    #[command(flatten)]
    pub what: WhatArgs,
    /// --at is what each machine's own clock shows, in its own zone
    #[arg(long, requires = "at")]
    pub host_time: bool,
    /// How often its user may put it off
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub postpone: u32,
    /// Bring the packages to the relays on the way at this time: makes a transfer, too
    #[arg(long, value_name = "TIME")]
    pub stage_at: Option<String>,
    /// Let versions go down
    #[arg(long)]
    pub allow_downgrade: bool,
    /// How it is asked.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `packhorse transfer`
#[derive(Debug, Args)]
#[command(override_usage = "packhorse transfer <PACKAGE>... --to <RELAY>...|--for <DEST>... [OPTIONS]")]
pub struct TransferArgs {
    /// Relay systems by name, or all-relays
    #[arg(long, value_name = "RELAY", required_unless_present = "for_hosts", num_args = 1..)]
    pub to: Vec<String>,
    /// The relays on the way to these destinations: machines by name, group:NAME, below:RELAY, all
    #[arg(long = "for", value_name = "DEST", num_args = 1..)]
    pub for_hosts: Vec<String>,
    /// What and when.
    #[command(flatten)]
    pub what: WhatArgs,
    /// How it is asked.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `packhorse offer`
#[derive(Debug, Args)]
#[command(override_usage = "packhorse offer <PACKAGE>... --to <DEST>... [OPTIONS]")]
#[command(mut_arg("at", |at| at.help("Not shown before: \"2026-12-01 02:00\", \"02:00\" (the next one), \"+3h\"")))]
#[command(mut_arg("until", |until| until.help("Then the offer ends [default: after 90 days]")))]
pub struct OfferArgs {
    /// Machines by name, group:NAME, below:RELAY, all (all clients), all+relays
    #[arg(long, value_name = "DEST", required = true, num_args = 1..)]
    pub to: Vec<String>,
    /// What and when.
    #[command(flatten)]
    pub what: WhatArgs,
    /// From then on it is installed for whoever has not chosen; users see the date from the start
    #[arg(long, value_name = "TIME")]
    pub required_from: Option<String>,
    /// Who may choose: active (has a login session), group:NAME (of the machine's own groups), any; root may always
    #[arg(long, value_name = "WHO")]
    pub choosers: Option<String>,
    /// Let versions go down
    #[arg(long)]
    pub allow_downgrade: bool,
    /// How it is asked.
    #[command(flatten)]
    pub ask: AskArgs,
}
