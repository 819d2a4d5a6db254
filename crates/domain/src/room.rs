//! The space ledger of a relay: who may write how much, and which copies give way (design section 3, rule 7).
//!
//! Room is reserved before bytes are asked for. Copies that are past their date give way, those that nobody needs first,
//! then by last use; a copy within its date is never pushed out by another. What does not fit and may pass through passes
//! through; what is to be kept waits, and the reason says for how much and until when.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::PackageId;
use crate::time::Time;

/// Without a limit of its own, a relay leaves this part of its disk free, in percent.
pub const FREE_PERCENT: u64 = 10;

/// The disk under a store, as measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// Its size, bytes.
    pub total_bytes: u64,
    /// Free for the store's user, bytes.
    pub free_bytes: u64,
    /// Taken by the store, bytes.
    pub used_bytes: u64,
}

/// A copy as the ledger sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The package.
    pub package: PackageId,
    /// Kept until.
    pub keep_until: Time,
    /// When a byte of it was last read or written.
    pub last_used: Time,
    /// Somebody reads it now, or what is arriving builds on it: unlinking it would free nothing.
    pub pinned: bool,
    /// An open job below needs it.
    pub needed: bool,
    /// The packs its chunks lie in: one that several copies share goes with the last of them.
    pub packs: BTreeSet<u64>,
}

/// What space is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// For hosts below that wait for it: where there is no room it passes through.
    Pass,
    /// To be kept, whoever waits: a transfer.
    Keep,
}

/// What the ledger says to somebody who wants to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The room is reserved, after these copies have gone, in this order.
    Granted {
        /// Copies that give way.
        drop: Vec<PackageId>,
    },
    /// There is no room: the bytes pass through to those who wait, once for all of them, and are not kept.
    StreamThrough,
    /// There is no room, and it is to be kept: it waits.
    Wait(NoRoom),
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes needed.
    pub needed_bytes: u64,
    /// Bytes that could be had, with all that may give way.
    pub free_bytes: u64,
    /// When the next copy reaches its date.
    pub next_goes: Option<Time>,
}

/// The ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// What the store may take at most; `None`: what leaves [`FREE_PERCENT`] of the disk free.
    pub limit_bytes: Option<u64>,
    /// As measured last.
    pub disk: Disk,
    /// What is kept.
    pub copies: Vec<Copy>,
    /// The size of each pack, bytes.
    pub packs: BTreeMap<u64, u64>,
    /// Reserved and not written yet, by package, in bytes.
    reserved: BTreeMap<PackageId, u64>,
}

impl Ledger {
    /// What the store may take at most, in bytes.
    pub fn limit(&self) -> u64 {
        let spare = self.disk.total_bytes / 100 * FREE_PERCENT;
        let by_disk = self.disk.used_bytes + self.disk.free_bytes.saturating_sub(spare);
        self.limit_bytes.unwrap_or(by_disk)
    }

    /// Bytes that may be written now and are promised to nobody.
    pub fn available(&self) -> u64 {
        let within = self.limit().saturating_sub(self.disk.used_bytes).min(self.disk.free_bytes);
        within.saturating_sub(self.reserved.values().sum())
    }

    /// What is reserved for a package and not written yet, in bytes.
    pub fn reserved(&self, package: &PackageId) -> Option<u64> {
        self.reserved.get(package).copied()
    }

    /// Measured anew. What was written of the reservations is in the measure: `left` says what is still to be written of
    /// each; reservations that are not in it are given back.
    pub fn measured(&mut self, disk: Disk, left: &BTreeMap<PackageId, u64>) {
        self.disk = disk;
        self.reserved.retain(|package, _| left.contains_key(package));
        for (package, bytes) in &mut self.reserved {
            *bytes = left.get(package).copied().unwrap_or(0).min(*bytes);
        }
    }

    /// Somebody wants to write `bytes` of a package. Granted without anything to drop, they are reserved; with something
    /// to drop, the caller drops, measures and asks again.
    pub fn reserve(&mut self, package: PackageId, bytes: u64, want: Want, now: Time) -> Answer {
        self.reserved.remove(&package);
        let available = self.available();
        if bytes <= available {
            self.reserved.insert(package, bytes);
            return Answer::Granted { drop: Vec::new() };
        }
        let (drop, freed) = self.give_way(&package, bytes - available, now);
        if available + freed >= bytes {
            return Answer::Granted { drop };
        }
        match want {
            Want::Pass => Answer::StreamThrough,
            Want::Keep => Answer::Wait(NoRoom {
                needed_bytes: bytes,
                free_bytes: available + freed,
                next_goes: self.next_goes(now),
            }),
        }
    }

    /// Gives a reservation back: written, or given up.
    pub fn release(&mut self, package: &PackageId) {
        self.reserved.remove(package);
    }

    /// The fewest copies, in the order of giving way, that free `bytes`; and what they free.
    fn give_way(&self, wanted: &PackageId, bytes: u64, now: Time) -> (Vec<PackageId>, u64) {
        let mut past: Vec<&Copy> = self
            .copies
            .iter()
            .filter(|copy| copy.keep_until <= now && !copy.pinned && copy.package != *wanted)
            .collect();
        past.sort_by_key(|copy| (copy.needed, copy.last_used, copy.package));
        let mut users: BTreeMap<u64, usize> = BTreeMap::new();
        for pack in self.copies.iter().flat_map(|copy| &copy.packs) {
            *users.entry(*pack).or_default() += 1;
        }
        let (mut drop, mut freed) = (Vec::new(), 0);
        for copy in past {
            if freed >= bytes {
                break;
            }
            drop.push(copy.package);
            for pack in &copy.packs {
                let left = users.entry(*pack).or_insert(1);
                *left -= 1;
                if *left == 0 {
                    freed += self.packs.get(pack).copied().unwrap_or(0);
                }
            }
        }
        (drop, freed)
    }

    /// What dropping one copy would free, in bytes: packs it shares with others stay.
    pub fn frees(&self, package: &PackageId) -> u64 {
        let Some(copy) = self.copies.iter().find(|copy| copy.package == *package) else { return 0 };
        let shared = |pack: &u64| {
            self.copies.iter().any(|other| other.package != *package && other.packs.contains(pack))
        };
        let own = copy.packs.iter().filter(|pack| !shared(pack));
        own.filter_map(|pack| self.packs.get(pack)).sum()
    }

    fn next_goes(&self, now: Time) -> Option<Time> {
        self.copies.iter().map(|copy| copy.keep_until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(n: u8) -> PackageId {
        PackageId([n; 32])
    }

    fn copy(n: u8, keep_until: i64, last_used: i64) -> Copy {
        Copy {
            package: package(n),
            keep_until: Time(keep_until),
            last_used: Time(last_used),
            pinned: false,
            needed: false,
            packs: BTreeSet::from([u64::from(n)]),
        }
    }

    /// A store of 100 bytes in which each copy has a pack of 20.
    fn ledger(copies: Vec<Copy>) -> Ledger {
        let packs: BTreeMap<u64, u64> =
            copies.iter().flat_map(|copy| &copy.packs).map(|pack| (*pack, 20)).collect();
        let used_bytes = packs.len() as u64 * 20;
        let disk = Disk { total_bytes: 1000, free_bytes: 1000 - used_bytes, used_bytes };
        Ledger { limit_bytes: Some(100), disk, copies, packs, ..Ledger::default() }
    }

    fn granted(drop: &[u8]) -> Answer {
        Answer::Granted { drop: drop.iter().map(|n| package(*n)).collect() }
    }

    #[test]
    fn without_a_limit_a_tenth_of_the_disk_stays_free() {
        let disk = Disk { total_bytes: 1000, free_bytes: 300, used_bytes: 50 };
        let mut ledger = Ledger { disk, ..Ledger::default() };
        assert_eq!((ledger.limit(), ledger.available()), (250, 200));
        ledger.disk.free_bytes = 80;
        assert_eq!(ledger.available(), 0);
        ledger.limit_bytes = Some(1_000_000);
        assert_eq!(ledger.available(), 80);
    }

    #[test]
    fn room_is_promised_once() {
        let mut ledger = ledger(vec![]);
        assert_eq!(ledger.reserve(package(1), 60, Want::Pass, Time(0)), granted(&[]));
        assert_eq!(ledger.reserve(package(2), 60, Want::Pass, Time(0)), Answer::StreamThrough);
        // 50 of the 60 were written.
        let disk = Disk { used_bytes: 50, free_bytes: 950, ..ledger.disk };
        ledger.measured(disk, &BTreeMap::from([(package(1), 10)]));
        assert_eq!(ledger.available(), 40);
        assert_eq!(ledger.reserve(package(2), 41, Want::Pass, Time(0)), Answer::StreamThrough);
        ledger.release(&package(1));
        assert_eq!(ledger.reserve(package(2), 41, Want::Pass, Time(0)), granted(&[]));
    }

    #[test]
    fn past_copies_give_way_by_last_use_and_those_needed_last() {
        let mut ledger = ledger(vec![copy(1, 5, 9), copy(2, 5, 3), copy(3, 99, 1), copy(4, 5, 1)]);
        ledger.copies[3].needed = true;
        let now = Time(10);
        assert_eq!(ledger.reserve(package(9), 20, Want::Keep, now), granted(&[]));
        ledger.release(&package(9));
        assert_eq!(ledger.reserve(package(9), 30, Want::Keep, now), granted(&[2]));
        assert_eq!(ledger.reserve(package(9), 60, Want::Keep, now), granted(&[2, 1]));
        assert_eq!(ledger.reserve(package(9), 80, Want::Keep, now), granted(&[2, 1, 4]));
    }

    #[test]
    fn a_kept_copy_is_never_pushed_out() {
        let mut ledger = ledger(vec![copy(1, 50, 1), copy(2, 40, 1), copy(3, 5, 1), copy(4, 50, 1)]);
        let now = Time(10);
        let no_room = NoRoom { needed_bytes: 50, free_bytes: 40, next_goes: Some(Time(40)) };
        assert_eq!(ledger.reserve(package(9), 50, Want::Keep, now), Answer::Wait(no_room));
        assert_eq!(ledger.reserve(package(9), 50, Want::Pass, now), Answer::StreamThrough);
        assert_eq!(ledger.available(), 20);
        // One that is being read stays, past its date too.
        ledger.copies[2].pinned = true;
        assert_eq!(ledger.reserve(package(9), 40, Want::Pass, now), Answer::StreamThrough);
    }

    #[test]
    fn what_is_shared_is_freed_with_the_last_copy() {
        let mut ledger = ledger(vec![copy(1, 5, 1), copy(2, 5, 2), copy(3, 99, 3)]);
        ledger.copies[0].packs = BTreeSet::from([1, 2]);
        ledger.copies[1].packs = BTreeSet::from([1, 2, 3]);
        assert_eq!(
            (ledger.frees(&package(1)), ledger.frees(&package(2)), ledger.frees(&package(3))),
            (0, 0, 0)
        );
        // 40 are free; both must go for 40 more, and what the third uses stays.
        assert_eq!(ledger.reserve(package(9), 80, Want::Keep, Time(10)), granted(&[1, 2]));
        assert!(matches!(ledger.reserve(package(9), 81, Want::Keep, Time(10)), Answer::Wait(_)));
    }
}
