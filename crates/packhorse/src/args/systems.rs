//! Servers, relays, clients, keys, tokens, hosts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Access, Format, JsonFlag, ListArgs};
use crate::span;

/// Where a system keeps what it has, if nothing else is said.
pub(super) const DATA: &str = "/var/lib/packhorse";

/// `packhorse server`
#[derive(Debug, Subcommand)]
pub enum ServerVerb {
    /// Make a managing server's data folder: keys, certificate authority, the administrator's access
    Init(InitArgs),
    /// Run the managing server until it is ended (SIGTERM, Ctrl-C)
    Run(ServerRunArgs),
}

/// `packhorse server run`
#[derive(Debug, Args)]
pub struct ServerRunArgs {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// Results are kept in full for so many days, and then as numbers
    #[arg(long, value_name = "DAYS", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(i64::from(packhorse_server::HISTORY_DAYS_MIN)..=36_500))]
    pub history_days: u32,
    /// Machines that were not heard for longer than so many days are shown apart and left out of percentages
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub silent_days: u32,
}

/// `packhorse server init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The data folder to make
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// Address and port to listen at
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8440")]
    pub listen: SocketAddr,
    /// The name by which other machines reach it [default: this machine's name]
    #[arg(long)]
    pub name: Option<String>,
    /// A further name or address by which it is reached; may be repeated
    #[arg(long = "address", value_name = "NAME")]
    pub addresses: Vec<String>,
}

/// `packhorse relay`
#[derive(Debug, Subcommand)]
pub enum RelayVerb {
    /// Make this machine a relay system below the server or another relay
    Join(RelayJoinArgs),
    /// Run the relay and its own agent until they are ended (SIGTERM, Ctrl-C)
    Run(RelayRunArgs),
    /// List the relays
    List(ListArgs),
    /// Show what a relay keeps, until when, its bytes, what is set at it, and what its administrator may do
    Show(NameArgs),
    /// Let transfers to a relay and through it wait; what is there already is still installed
    Suspend(RelayNameArgs),
    /// Let transfers to a suspended relay go on
    Resume(RelayNameArgs),
    /// Set limits of a relay's line and store; they count at once, also while something is coming
    ///
    /// Hours are in the managing server's zone. Of several limits that hold at a time the lowest counts. A relay that is off
    /// gets them when it is back.
    Limit(LimitArgs),
    /// Let a relay's administrator install, offer or register packages below it
    ///
    /// What is granted takes the place of what was granted before. It returns when the relay has it; after ten seconds it
    /// says that it is still on its way.
    Grant(GrantArgs),
    /// Take back what was granted to a relay: what its jobs have not begun stops
    Revoke(NameArgs),
    /// Move the date until which a relay keeps a copy
    Keep(RelayKeepArgs),
    /// Drop a copy; one that open jobs need only with --force: it is fetched again when a machine asks
    Drop(RelayDropArgs),
}

/// `packhorse relay grant`
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// The relay's name
    pub name: String,
    /// Let it install packages below it
    #[arg(long)]
    pub install: bool,
    /// Let it offer packages below it
    #[arg(long)]
    pub offer: bool,
    /// Give it a cabinet of its own, valid below it; may be repeated
    #[arg(long = "cabinet", value_name = "NAME")]
    pub cabinets: Vec<String>,
    /// A packager whose packages its cabinets take (.pub); may be repeated; left out, a cabinet keeps the keys it has
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// How many days it counts [default: 365]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// A relay by its name.
#[derive(Debug, Args)]
pub struct RelayNameArgs {
    /// The relay
    #[arg(value_name = "RELAY")]
    pub name: String,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// `packhorse relay limit`
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// The relay
    #[arg(value_name = "RELAY")]
    pub name: String,
    /// What its line to its higher system may carry: 20Mbit, 512kbit; 0: nothing
    #[arg(long, value_name = "RATE")]
    pub down: Option<String>,
    /// When --down holds, if not always: 22:00-06:00; may be repeated
    #[arg(long, value_name = "FROM-TO", requires = "down")]
    pub hours: Vec<String>,
    /// What its store may take: 40GB
    #[arg(long, value_name = "SIZE")]
    pub store: Option<String>,
    /// Take away what was set before
    #[arg(long, conflicts_with_all = ["down", "hours", "store"])]
    pub none: bool,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// `packhorse relay run`
#[derive(Debug, Args)]
pub struct RelayRunArgs {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// What its store may take: 20GB, 500MB [default: what leaves a tenth of the disk free]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub store: Option<bytesize::ByteSize>,
}

/// `packhorse relay keep`
#[derive(Debug, Args)]
pub struct RelayKeepArgs {
    /// The relay
    pub relay: String,
    /// The package: cabinet/name@version:generation
    pub package: String,
    /// How long: 30d from now, or a day 2026-12-31
    #[arg(long, value_name = "KEEP")]
    pub keep: String,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// `packhorse relay drop`
#[derive(Debug, Args)]
#[command(override_usage = "packhorse relay drop <RELAY>... <PACKAGE> [OPTIONS]")]
pub struct RelayDropArgs {
    /// The relays, and last the package: cabinet/name@version:generation
    #[arg(value_name = "RELAY PACKAGE", required = true, num_args = 2..)]
    pub words: Vec<String>,
    /// Also where open jobs need it
    #[arg(long)]
    pub force: bool,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// `packhorse relay join`
#[derive(Debug, Args)]
pub struct RelayJoinArgs {
    /// The data folder to make
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// The higher system's address: https://NAME:PORT
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// A token from `packhorse token new --relay`
    #[arg(long, value_name = "TOKEN")]
    pub token: String,
    /// The relay's name [default: this machine's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Address and port to listen at for what is below
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8441")]
    pub listen: SocketAddr,
    /// A further name or address by which it is reached; may be repeated
    #[arg(long = "address", value_name = "NAME")]
    pub addresses: Vec<String>,
    /// Install what is for this machine below this folder instead of /
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// `packhorse page`
#[derive(Debug, Args)]
pub struct PageArgs {
    /// The relay system to look at, by its address: https://NAME:PORT [default: the system of the access file]
    #[arg(long, value_name = "URL")]
    pub relay: Option<String>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// `packhorse client`
#[derive(Debug, Subcommand)]
pub enum ClientVerb {
    /// Make this machine a client of the server or of a relay
    Join(ClientJoinArgs),
    /// Run the client until it is ended (SIGTERM, Ctrl-C)
    Run(ClientRunArgs),
    /// Show who this machine is, its higher system, and what waits and why
    Status(AgentArgs),
    /// Ask the higher system now
    Sync(AgentArgs),
    /// Say that this machine is about to stop: what is to be installed then is, and the command ends when it is done
    ///
    /// As root, from a unit or script that runs at shutdown, before the agent is ended: ExecStop=packhorse client stopping
    Stopping(AgentArgs),
}

/// `packhorse client join`
#[derive(Debug, Args)]
pub struct ClientJoinArgs {
    /// The data folder to make
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// The higher system's address: https://NAME:PORT
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// A token from `packhorse token new`
    #[arg(long, value_name = "TOKEN")]
    pub token: String,
    /// The client's name [default: this machine's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Install below this folder instead of /; needs no root
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// `packhorse client run`
#[derive(Debug, Args)]
pub struct ClientRunArgs {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// Where its user's commands find it [default: DATA/user.sock, of the default folder /run/packhorse/user.sock]
    #[arg(long, env = "PACKHORSE_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,
}

/// A question to the agent on this machine.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The agent's data folder
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// The agent's socket [default: DATA/user.sock, of the default folder /run/packhorse/user.sock]
    #[arg(long, env = "PACKHORSE_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// `packhorse key`
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a packager's key, and its public half beside it (.pub); prints the public file's name
    New {
        /// The file to write; refused if it is there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `packhorse token`
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token with which a machine may join; prints it
    New(TokenNewArgs),
    /// List the tokens
    List(ListArgs),
    /// Make a token worthless
    Revoke {
        /// Its number in the list
        id: u64,
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
    },
}

/// `packhorse token new`
#[derive(Debug, Args)]
pub struct TokenNewArgs {
    /// For a relay; without it, for a client
    #[arg(long)]
    pub relay: bool,
    /// How many machines may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// How long it is good: 30m, 2h, 7d
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = span::seconds)]
    pub ends: u64,
    /// Let a re-imaged machine take this name over; the old machine's certificate ends
    #[arg(long, value_name = "HOST")]
    pub replace: Option<String>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// `packhorse host`
#[derive(Debug, Subcommand)]
pub enum HostVerb {
    /// List the machines; those that were not heard for very long stand apart
    List(HostListArgs),
    /// Show one machine, its lines of all jobs and what happened there; also one that was retired
    Show(NameArgs),
    /// Let a machine call another system from now on; what it has to do and to say goes along
    Move(MoveArgs),
    /// Retire machines: their certificates count no more anywhere, their history is kept
    ///
    /// What is open for them ends as cancelled; no job takes them in any more, and they are in no count. A relay system with
    /// machines below it is not retired: move these first. A machine that joins with a token from `packhorse token new
    /// --replace HOST` is the host again, under a new certificate. Of several machines all are retired or none.
    Retire(HostNamesArgs),
    /// Retire machines and forget them: their names are free
    ///
    /// What they did stays in their jobs as numbers: counts are what they were, the machines' lines are gone, as of results
    /// that are old. A machine that joins later under such a name is another one, and inherits nothing.
    Remove(HostNamesArgs),
    /// Show the systems as a tree; machines that were not heard for very long stand last
    Tree {
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
        /// How it is shown.
        #[command(flatten)]
        format: Format,
    },
}

/// `packhorse host list`
#[derive(Debug, Args)]
pub struct HostListArgs {
    /// Also those that were retired
    #[arg(long)]
    pub all: bool,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: Format,
}

/// `packhorse host retire`, `packhorse host remove`
#[derive(Debug, Args)]
pub struct HostNamesArgs {
    /// The machines
    #[arg(value_name = "HOST", required = true, num_args = 1..)]
    pub names: Vec<String>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: Format,
}

/// `packhorse host move`
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The machine
    #[arg(value_name = "HOST")]
    pub name: String,
    /// The system it is to call: a relay, or server
    #[arg(long, value_name = "RELAY")]
    pub to: String,
    /// Systems it calls, in this order, when the ones before could not be reached for 60 to 90 s; it returns by itself when one
    /// it prefers answers steadily
    #[arg(long, value_name = "RELAY", num_args = 1..)]
    pub then: Vec<String>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// One thing by its name.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its name
    pub name: String,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// A size as people write it.
fn size(text: &str) -> Result<bytesize::ByteSize, String> {
    text.parse().map_err(|_| "write it like 20GB or 500MB".to_owned())
}
