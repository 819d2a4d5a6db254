//! What a run may be told beside its seed.

/// A fault built in on purpose, to see that the checks find it. For tests only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A relay forgets after a restart what it has staged.
    ForgetStaging,
    /// The installer is started before INTENT is durable.
    InstallBeforeIntent,
    /// A host takes "stored at the higher system" for the managing server's receipt.
    SkipReceipt,
    /// A relay forgets its outbox when it restarts.
    ForgetOutbox,
    /// A relay says "stored" before it is.
    AnswerBeforeSync,
    /// Report cursors are kept without the sender's incarnation.
    DropIncarnation,
    /// Reports are taken whoever they are about.
    TrustEverySender,
    /// Orders are taken without looking at the signature.
    SkipSignature,
    /// An older revision is taken for news.
    TakeOlder,
    /// A newer version that is installed is taken for an older one.
    LowerVersions,
    /// Versions are compared as texts: 9 is newer than 10.
    CompareAsText,
    /// A reader whose cursor means nothing is not given a new feed.
    NeverRebuild,
}

/// How large and how rough a run is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most relays.
    pub relays_max: usize,
    /// Most clients.
    pub clients_max: usize,
    /// How long faults and new jobs go on, in seconds of virtual time.
    pub rough_secs: i64,
    /// How long everything may take to end after that.
    pub calm_secs: i64,
    /// Whether anything goes wrong at all.
    pub faults: bool,
    /// A fault built in on purpose.
    pub plant: Option<Plant>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            relays_max: 5,
            clients_max: 14,
            rough_secs: 1500,
            calm_secs: 4 * 3600,
            faults: true,
            plant: None,
        }
    }
}
