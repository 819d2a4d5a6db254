//! Groups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Access, ListArgs, NameArgs};

/// `packhorse group`
#[derive(Debug, Subcommand)]
pub enum GroupVerb {
    /// Make a group: of these hosts, or of all where a condition holds
    ///
    /// A condition compares what hosts say of themselves (`packhorse host show HOST`): os, os_id, os_version, arch, kernel,
    /// hostname, cpus, memory, disk_size, disk_free, zone, virtual, packhorse_version, facts of your own from facts.conf in the
    /// agent's data folder, and name and role. With = != < <= > >=, in (A, B), has FACT, below RELAY, group NAME, and, or,
    /// not. What a host has not said is neither true nor false. Example:
    /// --where "os = linux and disk_free > 20GB and below osaka"
    New {
        /// Its name
        name: String,
        /// Hosts, or other groups as group:NAME
        #[arg(value_name = "HOST|group:NAME")]
        members: Vec<String>,
        /// Who is in it: a condition on what hosts say of themselves
        #[arg(long = "where", value_name = "CONDITION", conflicts_with = "members")]
        condition: Option<String>,
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
    },
    /// List the groups
    List(ListArgs),
    /// Show a group: who is in it, and why
    Show(NameArgs),
    /// Put hosts or groups into a group; open jobs to it take them in
    Add(GroupMembersArgs),
    /// Take hosts or groups out of a group; jobs go on for whom they took in
    Leave(GroupMembersArgs),
    /// Put the hosts of a CSV file into a group: all of them or none; makes the group if there is none
    Import {
        /// The group
        name: String,
        /// The file; its first line names the columns, one of them `host` (or `name`)
        #[arg(value_name = "FILE.csv")]
        file: PathBuf,
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
    },
    /// Remove a group; the hosts stay
    Remove {
        /// Its name
        name: String,
        /// Also if an open job is to it
        #[arg(long)]
        anyway: bool,
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
    },
}

/// A group and members.
#[derive(Debug, Args)]
pub struct GroupMembersArgs {
    /// The group
    pub name: String,
    /// Hosts, or other groups as group:NAME
    #[arg(value_name = "HOST|group:NAME", required = true)]
    pub members: Vec<String>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}
