//! The list of lies.

/// What the relay does instead of its work. As long as it is not honest it also keeps to itself what the hosts below it
/// report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Its work.
    Honest,

    // Orders that do not come, or not as they were given.
    /// Passes no job on.
    DropsJobs,
    /// Answers no request for orders, ever.
    StallsOrders,
    /// Answers requests for orders with bytes that are no message.
    GarblesOrders,
    /// Passes orders on in reverse, so that an old revision of a job comes after a newer one.
    ReversesOrders,
    /// Begins its feed in the middle, as if the reader had the rest.
    SkipsOrders,
    /// Says that a host has nothing left to do in a job that it has not begun.
    ClaimsEnded,
    /// Says that it is a year later than it is.
    LiesAboutTime,

    /// Numbers its orders, its lives and the time as high as numbers go.
    SendsAbsurdNumbers,

    // Jobs that were not given so.
    /// Adds a host to the list that a proof proves.
    WidensProof,
    /// Puts a host into the place of another in the list that a proof proves.
    SwapsHostInProof,
    /// Passes another host's job on with that host's own proof.
    PassesJobOfAnother,
    /// Swaps the package's hash in a signed job.
    SwapsPackage,
    /// Changes one bit of a signed job.
    AltersJob,
    /// Takes the signatures off a job.
    StripsSignatures,
    /// Signs a job of its own, for everybody, with its own key.
    SignsJobItself,
    /// Signs a job as the managing server, with its own key.
    SignsAsServer,
    /// Signs a job as the managing server, with its own key under the name of the server's key.
    ForgesKeyName,

    // Trust, places, delegations.
    /// Sends a trust document in which its own key signs jobs.
    InventsTrust,
    /// Sends the first trust document again after a newer one.
    ReplaysOldTrust,
    /// Sends a place, signed by itself, that puts the host below another relay.
    InventsPlace,
    /// Sends another host's place, as the managing server signed it.
    SendsPlaceOfAnother,
    /// Sends a delegation to itself, signed by itself, and a job under it.
    ForgesDelegation,
    /// Has a delegation that has ended, and sends a job under it.
    UsesEndedDelegation,
    /// Has another relay's delegation and key, and sends a job under it to a host that is not below that relay.
    UsesForeignDelegation,

    // With a delegation of its own that is good.
    /// Signs a transfer.
    SignsTransfer,
    /// Signs a job in the name of another relay, to which something was delegated under another key.
    SignsAsOtherRelay,
    /// Its delegation was granted anew without installs; it sends an install.
    UsesNarrowDelegation,
    /// The same; it sends the wider one before again, and an install under that.
    ReplaysWiderDelegation,
    /// Its delegation was revoked; it sends a job under it.
    UsesRevokedDelegation,
    /// Its delegation was revoked; it sends the one before again, and a job under that.
    ReplaysOlderDelegation,
    /// Signs a package of the managing server's cabinet itself, with a key that its delegation names for that cabinet.
    SignsPackageItself,
    /// Signs a good job, and then another package under the same number and revision.
    ReusesJobNumber,

    // Content that is not what it should be.
    /// Flips one bit of a chunk.
    FlipsChunkBit,
    /// Sends two chunks each under the other's number.
    SwapsChunks,
    /// Sends chunks that nobody asked for.
    SendsUnaskedChunks,
    /// Sends a chunk that unpacks to far more than it should.
    SendsBomb,
    /// Ends every body in the middle.
    TruncatesContent,
    /// Goes on for ever after everything has come.
    SendsEndlessContent,
    /// Sends half a body and then nothing, without ending it.
    StallsContent,
    /// Changes one bit of a manifest.
    AltersManifest,
    /// Sends another package's manifest, as its packager signed it.
    SwapsManifest,
    /// Sends a manifest that never ends.
    SendsEndlessManifest,

    // Results that get lost.
    /// Says that reports are stored, and throws them away.
    SwallowsReports,
    /// The same, and says that the managing server has receipted everything, for ever.
    ForgesReceipts,

    // Reports that are not true; what is below works on as ever.
    /// Reports for a host that is not below it.
    ReportsForStranger,
    /// Reports for a host below it.
    ReportsForLower,
    /// Reports for a host below it, with every number as high as numbers go.
    ReportsAbsurdNumbers,
}

impl Behaviour {
    /// Whether the reports of hosts below it are passed on meanwhile.
    pub(super) fn passes_reports(self) -> bool {
        matches!(
            self,
            Behaviour::Honest
                | Behaviour::ReportsForStranger
                | Behaviour::ReportsForLower
                | Behaviour::ReportsAbsurdNumbers
        )
    }

    /// Whether they are thrown away.
    pub(super) fn swallows_reports(self) -> bool {
        matches!(self, Behaviour::SwallowsReports | Behaviour::ForgesReceipts)
    }
}
