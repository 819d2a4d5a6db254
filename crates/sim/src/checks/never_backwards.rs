//! Rule 11: no version goes down unless a job says so.

use std::cmp::Ordering;

use packhorse_domain::agent::LineId;
use packhorse_domain::ids::PackageLabel;
use packhorse_domain::version::{VersionOrder, compare};

use super::{Checked, Ledger, Rule, require};

impl Ledger {
    /// Judges an installer that starts on a host where `installed` is the version of its package that is there in truth.
    ///
    /// # Errors
    /// It would lower the version, and no revision of its job allows that.
    pub fn never_backwards(&self, line: &LineId, label: &PackageLabel, installed: Option<&str>) -> Checked {
        let newer = installed.filter(|version| {
            compare(VersionOrder::Semver, version, &label.version) == Ok(Ordering::Greater)
        });
        let mut revisions = self.signed.range((line.job.clone(), 0)..=(line.job.clone(), u64::MAX));
        let allowed = revisions.any(|(_, job)| job.allow_downgrade);
        require(Rule::NeverBackwards, newer.is_none() || allowed, || {
            format!("{line:?} would lower {} from {} to {}", label.name, newer.unwrap_or("?"), label.version)
        })
    }
}
