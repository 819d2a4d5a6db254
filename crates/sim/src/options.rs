//! What a run may be told beside its seed.

macro_rules! plants {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A fault built in on purpose, to see that the checks find it. For tests only; in the order of the rules they break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Plant {
            $($(#[$doc])* $name,)*
        }

        impl Plant {
            /// All of them.
            pub const ALL: &[Plant] = &[$(Plant::$name),*];
        }
    };
}

plants! {
    /// A relay forgets after a restart what it has staged.
    ForgetStaging,
    /// A relay asks again for what it keeps.
    FetchKept,
    /// A relay forgets what it let go, and takes it in again for the jobs there were.
    FetchGone,
    /// A relay forgets what passes through it once one of those who wait has it.
    PassForEach,
    /// The installer is started before INTENT is durable.
    InstallBeforeIntent,
    /// After a restart an agent takes an installer that still runs for one of which nothing is left.
    TakeRunningForGone,
    /// A host takes "stored at the higher system" for the managing server's receipt.
    SkipReceipt,
    /// A relay forgets its outbox when it restarts.
    ForgetOutbox,
    /// A relay says "stored" before it is.
    AnswerBeforeSync,
    /// Report cursors are kept without the sender's incarnation.
    DropIncarnation,
    /// An offer that is shown is taken for required at once.
    RequireAtOnce,
    /// A user's choice is taken for one of another offer.
    ChooseAnother,
    /// Reports are taken whoever they are about.
    TrustEverySender,
    /// A system hands on all proofs it has, also those of hosts that are not below the one it tells.
    TellOfStrangers,
    /// An order is taken without looking at the signature.
    SkipSignature,
    /// An older revision is taken for news.
    TakeOlder,
    /// A relay writes without asking the space ledger.
    WriteUnasked,
    /// A relay takes copies within their date for past ones.
    PushOutKept,
    /// A change is told to those only who ask at the moment.
    TellThosePresent,
    /// A new feed tells of jobs only that are open: who knows more is not told what was cancelled.
    RebuildOpen,
    /// A relay takes no notice of what is set there after the first time.
    KeepFirstControl,
    /// A reader whose cursor means nothing is not given a new feed.
    NeverRebuild,
    /// Who asked for orders waits for the answer, however long that takes.
    AskOnce,
    /// An agent forgets at a restart that jobs are suspended.
    ForgetSuspended,
    /// An agent forgets at a restart what was put off, and for when something was chosen.
    ForgetWhen,
    /// A host takes a time that is meant on its own clock for one of the server's.
    ServersClock,
    /// An agent does not look when a package is to be installed.
    InstallAtOnce,
    /// A newer version that is installed is taken for an older one.
    LowerVersions,
    /// Versions are compared as texts: 9 is newer than 10.
    CompareAsText,
}

/// How large and how rough a run is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most relays.
    pub relays_max: usize,
    /// Most clients.
    pub clients_max: usize,
    /// Hosts of a run, relays included, if that is fixed: then there are three levels of relays.
    pub hosts: Option<usize>,
    /// Faults of a run, if that is fixed.
    pub fault_count: Option<usize>,
    /// Jobs of a run, if that is fixed.
    pub job_count: Option<usize>,
    /// How much longer than otherwise everything takes that an administrator or a user has in mind, and how much more rarely
    /// systems ask while nothing happens.
    pub pace: i64,
    /// How often all lines are looked at, and after the faults whether all is well, in seconds. Each line is looked at whenever
    /// it changes, too.
    pub sweep_secs: i64,
    /// How long faults and new jobs go on, in seconds of virtual time.
    pub rough_secs: i64,
    /// How long everything may take to end after that.
    pub calm_secs: i64,
    /// Whether anything goes wrong at all.
    pub faults: bool,
    /// A fault built in on purpose.
    pub plant: Option<Plant>,
}

impl Options {
    /// A week of an organisation: 60 hosts under three levels of relays, 200 faults.
    pub fn week() -> Options {
        Options {
            relays_max: 9,
            clients_max: 51,
            hosts: Some(60),
            fault_count: Some(200),
            job_count: Some(60),
            pace: 45,
            sweep_secs: 1800,
            rough_secs: 7 * 24 * 3600,
            calm_secs: 2 * 24 * 3600,
            ..Options::default()
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            relays_max: 5,
            clients_max: 14,
            hosts: None,
            fault_count: None,
            job_count: None,
            pace: 1,
            sweep_secs: 10,
            rough_secs: 1500,
            calm_secs: 4 * 3600,
            faults: true,
            plant: None,
        }
    }
}
