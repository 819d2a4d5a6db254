//! Figures of a run: proof that what is checked has happened.

use std::fmt;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What happened in a run, or in many.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Adds another run's figures. The trace hashes are mixed.
            pub fn add(&mut self, other: &Stats) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
            }

            /// The figures with their names, without the trace's hash.
            pub fn figures(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
                    .into_iter()
                    .filter(|(name, _)| *name != "trace_hash")
                    .collect()
            }
        }
    };
}

stats! {
    /// Hash over the whole trace: equal for two runs of one seed.
    trace_hash,
    /// Events handled.
    events,
    /// Checks made.
    checks,
    /// Processes killed, of which the machine went on.
    kills,
    /// Machines that lost power.
    power_losses,
    /// Transactions that a crash took away.
    lost_transactions,
    /// Crashes between a commit and what follows from it.
    crashes_after_commit,
    /// Clients off for long.
    long_absences,
    /// Links cut.
    cuts,
    /// Relays replaced by empty ones.
    replaced_relays,
    /// Relays that lied.
    evil_relays,
    /// Lies told.
    lies,
    /// Messages lost.
    lost,
    /// Messages that came twice.
    doubled,
    /// Messages that overtook another.
    reordered,
    /// Chunks whose bytes were flipped on the way.
    flipped,
    /// Jobs made.
    jobs,
    /// Jobs that a list of hosts was signed for.
    listed_jobs,
    /// Jobs to the group, or to whoever says something.
    growing_jobs,
    /// Hosts put into the group.
    put_in,
    /// Jobs that took in hosts later.
    taken_in_late,
    /// Jobs that were handed to hosts where their condition did not hold any more.
    unfit,
    /// What was set at relays, and how often.
    controls,
    /// Downloads that stopped since a relay's line carries nothing at the hour, or it is suspended.
    shut_lines,
    /// Jobs that were closed.
    closed_jobs,
    /// Copies dropped by relays.
    dropped_copies,
    /// Chunks that passed through relays without room.
    passed_chunks,
    /// Transfers that waited for room.
    waited_for_room,
    /// Packages transferred to relays.
    transferred,
    /// Jobs cancelled.
    cancelled_jobs,
    /// Retry rounds.
    retries,
    /// Installers started.
    installs,
    /// Starts that nobody saw end.
    interrupted,
    /// Installers found running or ended after a restart.
    adopted,
    /// Documents refused for their signature.
    bad_signatures,
    /// Revisions refused for their age.
    older_refused,
    /// Reports refused since they are not about hosts below the sender.
    not_below,
    /// Batches of reports sent back for a gap.
    rewinds,
    /// Feeds made anew.
    rebuilds,
    /// Batches of a feed refused for a gap.
    feed_gaps,
    /// Reports the table of states refuses.
    odd_reports,
    /// Pieces that a relay served while its own copy was arriving.
    served_while_arriving,
    /// Copies that became whole at relays.
    copies,
    /// Lines ended as done.
    done,
    /// Lines ended as already installed.
    already_installed,
    /// Lines ended as not applicable.
    not_applicable,
    /// Lines ended as failed.
    failed,
    /// Lines ended as cancelled.
    cancelled,
    /// Lines ended as missed.
    missed,
    /// Lines ended as superseded.
    superseded,
    /// Lines ended as rejected.
    rejected,
    /// Offers that ended unchosen.
    offers_ended,
    /// Wishes of users that were granted.
    wishes,
    /// Jobs suspended.
    suspended_jobs,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.figures().iter().try_for_each(|(name, figure)| writeln!(f, "{name:>24} {figure}"))
    }
}
