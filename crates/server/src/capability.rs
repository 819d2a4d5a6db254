//! What a locator carries: the right to ask this system for one package's bytes, for one lower system, until a time. A keyed
//! hash that only this system can make and check; nothing is stored for it.

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::time::Time;

/// Days a capability outlasts its job's end: a host that was off may still be taking in what it began.
const GRACE_DAYS: i64 = 7;

/// Makes and checks capabilities.
#[derive(Clone)]
pub struct Capabilities {
    key: [u8; 32],
}

/// Why a capability does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCapability {
    /// Not made by this system for this package and lower system.
    Wrong,
    /// It has ended.
    Ended,
}

impl Capabilities {
    /// With the system's secret, of which the key is derived.
    pub fn new(secret: &[u8]) -> Capabilities {
        Capabilities { key: blake3::derive_key("packhorse 2026-11 content capability", secret) }
    }

    /// The right of `lower` to `package`, for as long as a job that ends at `until` may need it.
    pub fn grant(&self, package: &PackageId, lower: &HostId, until: Time) -> Vec<u8> {
        let ends = until.plus_days(GRACE_DAYS);
        let mut bytes = ends.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.mac(package, lower, ends).as_bytes());
        bytes
    }

    /// Checks it.
    ///
    /// # Errors
    /// It does not count.
    pub fn check(
        &self,
        capability: &[u8],
        package: &PackageId,
        lower: &HostId,
        now: Time,
    ) -> Result<(), BadCapability> {
        let (Some(ends), Some(mac)) = (capability.first_chunk::<8>(), capability.get(8..)) else {
            return Err(BadCapability::Wrong);
        };
        let ends = Time(i64::from_be_bytes(*ends));
        let Ok(mac) = <[u8; 32]>::try_from(mac) else { return Err(BadCapability::Wrong) };
        // blake3::Hash compares in constant time.
        if self.mac(package, lower, ends) != blake3::Hash::from_bytes(mac) {
            return Err(BadCapability::Wrong);
        }
        if ends <= now { Err(BadCapability::Ended) } else { Ok(()) }
    }

    fn mac(&self, package: &PackageId, lower: &HostId, ends: Time) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&package.0);
        hasher.update(&lower.0);
        hasher.update(&ends.0.to_be_bytes());
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_for_one_package_one_host_and_a_time() {
        let own = Capabilities::new(b"secret");
        let (package, lower) = (PackageId([1; 32]), HostId([2; 16]));
        let good = own.grant(&package, &lower, Time(0));
        let later = Time(0).plus_days(GRACE_DAYS);
        assert_eq!(own.check(&good, &package, &lower, Time(1)), Ok(()));
        assert_eq!(own.check(&good, &package, &lower, later), Err(BadCapability::Ended));
        assert_eq!(own.check(&good, &PackageId([3; 32]), &lower, Time(1)), Err(BadCapability::Wrong));
        assert_eq!(own.check(&good, &package, &HostId([3; 16]), Time(1)), Err(BadCapability::Wrong));
        assert_eq!(
            Capabilities::new(b"other").check(&good, &package, &lower, Time(1)),
            Err(BadCapability::Wrong)
        );
        for cut in 0..good.len() {
            assert_eq!(own.check(&good[..cut], &package, &lower, Time(1)), Err(BadCapability::Wrong));
        }
    }
}
