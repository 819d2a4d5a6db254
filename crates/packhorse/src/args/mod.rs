//! The command line as it is written: the one definition behind parsing, help, completions and manual pages.

mod demo;
mod groups;
mod jobs;
mod make;
mod offers;
mod packages;
mod systems;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use demo::{DemoArgs, FleetArgs, ProcessPid};
pub use groups::{GroupMembersArgs, GroupVerb};
pub use jobs::{ExplainArgs, JobAddressArgs, JobVerb};
pub use make::{AskArgs, InstallArgs, OfferArgs, TransferArgs, WhatArgs};
pub use offers::{ChooseArgs, PostponeArgs, SocketArgs, WhichArgs};
pub use packages::{
    AddArgs, BuildArgs, CabinetKeyArgs, CabinetVerb, CheckArgs, PackageNameArgs, PackageVerb,
};
pub use systems::{
    AgentArgs, ClientJoinArgs, ClientRunArgs, ClientVerb, GrantArgs, HostNamesArgs, HostVerb, InitArgs,
    KeyVerb, LimitArgs, NameArgs, PageArgs, RelayDropArgs, RelayJoinArgs, RelayRunArgs, RelayVerb,
    ServerRunArgs, ServerVerb, TokenNewArgs, TokenVerb,
};

use crate::exit::Exit;

/// Brings software over relay systems to many machines, and tells where it is, where not, and why not.
///
/// A managing server keeps packages in cabinets. Relay systems at the sites store them as they pass: one copy in, many
/// out. Clients install, check and report back. `packhorse demo` shows all of it on this machine.
#[derive(Debug, Parser)]
#[command(name = "packhorse", version, after_help = Exit::help(), after_long_help = Exit::help())]
#[command(max_term_width = 100, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Nouns and verbs.
#[derive(Debug, Subcommand)]
#[command(next_display_order = 0)]
pub enum Command {
    /// Show the whole system on this machine: server, two relays, six clients
    ///
    /// Starts in one temporary folder a managing server, the relay osaka, the relay namba below it and six clients, as
    /// real processes on loopback ports, without root; packages packhorse itself and brings it to them. Then it stays up
    /// until Ctrl-C, so that you can try things out.
    Demo(DemoArgs),
    /// Make and run the managing server
    #[command(subcommand)]
    Server(ServerVerb),
    /// Join, run and look at relay systems
    #[command(subcommand)]
    Relay(RelayVerb),
    /// Join and run a client, and ask it how it is
    #[command(subcommand)]
    Client(ClientVerb),
    /// Make a packager's key
    #[command(subcommand)]
    Key(KeyVerb),
    /// Make, list and revoke the tokens with which machines join
    #[command(subcommand)]
    Token(TokenVerb),
    /// See machines, and move them
    #[command(subcommand)]
    Host(HostVerb),
    /// Make, fill and see groups of machines
    #[command(subcommand)]
    Group(GroupVerb),
    /// Make and see cabinets, and say whose packages they take
    #[command(subcommand)]
    Cabinet(CabinetVerb),
    /// Build, check, add and see packages
    #[command(subcommand)]
    Package(PackageVerb),
    /// Install packages on machines: everyone at the destination gets them
    ///
    /// Prints the job's number. Without --at it starts now; without --until it ends after 90 days. Machines that are off
    /// get it when they are back; machines that come to `all`, `below:` or a group meanwhile are taken in.
    Install(InstallArgs),
    /// Offer packages to the users of machines, who choose or reject them
    ///
    /// Prints the job's number. Only the offer travels: the package is brought to a machine when its user chooses it. Must
    /// everyone at the destination have it: packhorse install.
    Offer(OfferArgs),
    /// Bring packages to relay systems, where they wait: for thin lines, and for a switch-over at one moment
    ///
    /// Prints the job's number. What a relay keeps is not sent to it again, whatever job asks. Transferred again with --keep,
    /// only its date moves. `install --stage-at` makes a transfer and an install in one.
    Transfer(TransferArgs),
    /// See, follow, suspend, cancel and retry jobs
    #[command(subcommand)]
    Job(JobVerb),
    /// Say why: of a job, of a machine, of a relay
    ///
    /// Whatever has not ended has a reason: where it waits, since when, when it is tried again, and what would clear it.
    Explain(ExplainArgs),
    /// Print an address at which a browser shows systems, jobs and why things wait, live
    ///
    /// The address opens once, within ten minutes; the browser that opens it may look for twelve hours. Browsers do not know
    /// this system's certificate authority: let yours know DATA/ca.pem, or compare the fingerprint it warns of.
    Page(PageArgs),
    /// On a client, as its user: list what you may choose, and what you may put off
    Offers(SocketArgs),
    /// On a client, as its user: have an offered package installed, now or at a time
    Choose(ChooseArgs),
    /// On a client, as its user: say that you do not want an offered package; you may choose it later
    Reject(WhichArgs),
    /// On a client, as its user: take back a choice that has not begun
    Withdraw(WhichArgs),
    /// On a client, as its user: put an install off, if its job allows that
    Postpone(PostponeArgs),
    /// Many simulated clients in one process, for sizing and tests
    ///
    /// They speak the real protocol over real TLS, each with its own key and certificate; they install nothing. They join
    /// through the given systems in turn, a job is made for all of them, and what it took is printed. Exit code 0 if every
    /// result came and was good.
    Fleet(FleetArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder
    Man {
        /// The folder; made if it is not there
        dir: PathBuf,
    },
}

/// Which system is asked, and as whom.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// The access file of the system to ask (`server init` and `relay join` write DATA/admin.toml)
    #[arg(long, env = "PACKHORSE_CONTEXT", value_name = "FILE")]
    pub context: Option<PathBuf>,
}

/// A command that lists.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: Format,
}

/// How a listing is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Format {
    /// Print JSON: snake_case, times in RFC 3339
    #[arg(long)]
    pub json: bool,
    /// Print CSV with a line of headings
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// How one thing is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct JsonFlag {
    /// Print JSON: snake_case, times in RFC 3339
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_line_of_help() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands() {
                assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
                for arg in sub.get_arguments() {
                    assert!(arg.get_help().is_some(), "{} {} has no help", sub.get_name(), arg.get_id());
                }
                walk(sub);
            }
        }
        walk(&Cli::command());
    }

    #[test]
    fn the_first_hour_parses() {
        for line in [
            "demo --once",
            "server init --data hq --listen 127.0.0.1:8440 --name localhost",
            "server run --data hq",
            "server run --data hq --history-days 200 --silent-days 30",
            "job show 3 pc17 --json",
            "key new --out packager.key",
            "cabinet new office --key packager.pub",
            "cabinet trust office packager.pub",
            "package build ./office-editor --key packager.key --out editor.phk",
            "package add editor.phk --cabinet office",
            "package add ./office-editor --key packager.key --cabinet office",
            "relay join --data osaka --server https://localhost:8440 --token x --name osaka --listen 127.0.0.1:8441",
            "relay run --data osaka",
            "relay grant osaka --install --offer --cabinet own --key packager.pub --days 30",
            "relay revoke osaka --json",
            "client join --data pc17 --server https://localhost:8441 --token x --name pc17 --root ./pc17-root",
            "client run --data pc17",
            "client status --data pc17 --json",
            "install office/editor --to pc17",
            "install office/editor base/runtime@1 --to pc17 below:osaka --to all --at 02:00 --until +3d --plan",
            "job watch 3",
            "job watch 3 --to-end",
            "job list --type offer --json",
            "offer office/editor --to group:sales --until +3d --required-from +2d --choosers group:sales --keep 30d --plan",
            "install office/editor --to all --at 02:00 --host-time --postpone 3",
            "offers --json",
            "choose editor --at 18:00 --socket x",
            "withdraw editor --job 3",
            "reject office/editor@2.1 --data pc17",
            "postpone editor --until +2h",
            "client stopping --data pc17",
            "job show osaka/3 --json",
            "job list --csv",
            "job retry 3 --failed",
            "job suspend 3",
            "job resume 3",
            "job close osaka/3",
            "job again 3",
            "explain 3 pc17",
            "explain 3",
            "explain --host pc17",
            "explain --relay osaka office/editor",
            "relay suspend osaka",
            "relay resume osaka --json",
            "relay limit osaka --down 20Mbit --hours 22:00-06:00 --hours 12:00-13:00 --store 40GB",
            "relay limit osaka --none",
            "token new --relay --uses 3 --ends 2h",
            "token list",
            "token revoke 3",
            "host tree",
            "host list --all --json",
            "host retire pc17 pc18",
            "host remove pc17 --json",
            "host move pc17 --to namba --then osaka server",
            "group new sales pc1 pc2 group:office",
            "group new big --where disk_free>20GB",
            "group list --csv",
            "group show sales --json",
            "group add sales pc3",
            "group leave sales pc3 group:office",
            "group import sales hosts.csv",
            "group remove sales --anyway",
            "install office/editor --to group:sales",
            "page",
            "page --relay https://osaka:8441",
            "fleet --clients 10 --to https://localhost:1 https://localhost:2 --pid hq=12",
            "completions bash",
            "man out",
        ] {
            let words = std::iter::once("packhorse").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "install office/editor",
            "install --to pc17",
            "explain",
            "explain 3 --host pc17",
            "explain --host a --relay b",
            "job list --json --csv",
            "fleet --clients 0 --to https://localhost:1",
            "fleet --clients 5",
            "relay limit osaka --hours 22:00-06:00",
            "server run --history-days 10",
            "server run --silent-days 0",
            "host retire",
            "token new --uses 0",
            "group new sales pc1 --where os=linux",
            "group add sales",
            "group import sales",
            "server init --listen nowhere",
            "transfer a",
            "offer office/editor",
            "offers editor",
            "choose",
            "choose editor --withdraw",
            "install a --to b --postpone x",
            "install a --to b --host-time",
        ] {
            let words = std::iter::once("packhorse").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
