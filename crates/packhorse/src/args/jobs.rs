//! Jobs and questions about them.

use clap::{Args, Subcommand};

use super::{Access, Format, JsonFlag, ListArgs};

/// `packhorse job`
#[derive(Debug, Subcommand)]
pub enum JobVerb {
    /// List the jobs, the newest first
    List {
        /// Only of this type
        #[arg(long = "type", value_name = "TYPE", value_parser = ["install", "transfer", "offer"])]
        job_type: Option<String>,
        /// Which system is asked, and how it is shown.
        #[command(flatten)]
        args: ListArgs,
    },
    /// Show a job and its lines; with a machine, what happened to its part of the job
    Show {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
        /// One machine: its attempts and states with their times at each system, who chose, what was said
        #[arg(value_name = "HOST")]
        host: Option<String>,
        /// How it is shown.
        #[command(flatten)]
        format: Format,
    },
    /// Follow a job until all its lines have ended, an offer until every machine shows it; exit code 0 if all ended well, 1 if not
    Watch {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
        /// Follow an offer until all its lines have ended
        #[arg(long)]
        to_end: bool,
    },
    /// Cancel what has not begun
    Cancel {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
    },
    /// Let what has not begun wait until the job is resumed; also on machines that are off now
    Suspend {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
    },
    /// Let a suspended job go on
    Resume {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
    },
    /// Take in no machines that join from now on; what is there goes on
    Close {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
    },
    /// Make a new job with the same packages, destinations and options; prints its number
    Again {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
    },
    /// Try again what did not end well
    Retry {
        /// The job.
        #[command(flatten)]
        job: JobAddressArgs,
        /// Only what failed; not what was missed or cancelled
        #[arg(long)]
        failed: bool,
    },
}

/// A job by its address.
#[derive(Debug, Args)]
pub struct JobAddressArgs {
    /// Its number, or RELAY/NUMBER for a job issued there
    pub job: String,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// `packhorse explain`
#[derive(Debug, Args)]
#[command(override_usage = "packhorse explain <JOB> [HOST]\n       packhorse explain --host <HOST>\n       \
                            packhorse explain --relay <RELAY> [PACKAGE]")]
pub struct ExplainArgs {
    /// A job: its lines by reason, with counts and what would clear each
    #[arg(value_name = "JOB", required_unless_present_any = ["host", "relay"], conflicts_with = "host")]
    pub job: Option<String>,
    /// With a job: one machine's line of it
    #[arg(value_name = "HOST")]
    pub job_host: Option<String>,
    /// A machine: what waits there, and why
    #[arg(long, value_name = "HOST", conflicts_with = "relay")]
    pub host: Option<String>,
    /// A relay, or with a package that package there
    #[arg(long, value_name = "RELAY", num_args = 1..=2, value_names = ["RELAY", "PACKAGE"], conflicts_with = "job")]
    pub relay: Vec<String>,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}
