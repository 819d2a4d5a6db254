//! Proofs that a host is in a signed list: Merkle trees as in RFC 9162 section 2.1 with BLAKE3 in place of SHA-256; a leaf
//! is a host's id.
//!
//! A job to a list of hosts signs only the root. A relay gets the leaves below it (contiguous, since the list is in route
//! order) and, once, the hashes of the subtrees beside them; from these it makes each lower system's proof itself.

use std::collections::HashMap;

use crate::ids::HostId;

/// A node of the tree.
pub type Hash = [u8; 32];

/// Most leaves a list may have.
pub const LEAVES_MAX: u32 = 10_000_000;

fn leaf_hash(id: &HostId) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]);
    hasher.update(&id.0);
    *hasher.finalize().as_bytes()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[1]);
    hasher.update(left);
    hasher.update(right);
    *hasher.finalize().as_bytes()
}

/// The largest power of two smaller than `n` (n > 1): where RFC 9162 splits a tree of `n` leaves.
fn split(n: u32) -> u32 {
    1 << (31 - (n - 1).leading_zeros())
}

/// The root over `leaves`; the hash of nothing if there are none.
pub fn root(leaves: &[HostId]) -> Hash {
    match leaves {
        [] => *blake3::hash(b"").as_bytes(),
        [one] => leaf_hash(one),
        many => {
            // `leaves` never holds more than LEAVES_MAX, so the length fits.
            let (left, right) = many.split_at(split(many.len() as u32) as usize);
            node_hash(&root(left), &root(right))
        }
    }
}

/// A run of leaves together with what is needed to compute the root from them. The root alone does not bind `size`; jobs
/// sign both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Leaves in the whole list.
    pub size: u32,
    /// Where the run starts in the list.
    pub start: u32,
    /// The run.
    pub leaves: Vec<HostId>,
    /// Hashes of the largest subtrees wholly beside the run, from left to right.
    pub siblings: Vec<Hash>,
}

impl Slice {
    /// The run `start..end` of a whole list.
    ///
    /// The caller keeps `start < end <= list.len()`; an empty or overlong run is answered with `None`.
    pub fn of(list: &[HostId], start: u32, end: u32) -> Option<Slice> {
        let whole = Slice { size: list.len() as u32, start: 0, leaves: list.to_vec(), siblings: Vec::new() };
        whole.narrow(start, end)
    }

    /// A shorter run of this run, with its own proof. For many runs of one slice make one [`Prover`].
    pub fn narrow(&self, start: u32, end: u32) -> Option<Slice> {
        Prover::new(self.clone())?.narrow(start, end)
    }

    /// The root this slice proves itself against, or `None` if its shape is not that of a slice.
    pub fn root(&self) -> Option<Hash> {
        let end = self.start.checked_add(u32::try_from(self.leaves.len()).ok()?)?;
        if self.leaves.is_empty() || end > self.size || self.size > LEAVES_MAX {
            return None;
        }
        let mut given = self.siblings.iter();
        let hash = self.hash(0, self.size, &mut given)?;
        given.next().is_none().then_some(hash)
    }

    /// Whether `id` is in the run.
    pub fn contains(&self, id: &HostId) -> bool {
        self.leaves.contains(id)
    }

    fn overlaps(&self, from: u32, to: u32) -> bool {
        from < self.start + self.leaves.len() as u32 && to > self.start
    }

    /// Hash of the subtree `from..to`, taking what lies wholly beside the run from `given`.
    fn hash<'a>(&self, from: u32, to: u32, given: &mut impl Iterator<Item = &'a Hash>) -> Option<Hash> {
        if !self.overlaps(from, to) {
            return given.next().copied();
        }
        if to - from == 1 {
            return Some(leaf_hash(&self.leaves[(from - self.start) as usize]));
        }
        let middle = from + split(to - from);
        let left = self.hash(from, middle, given)?;
        let right = self.hash(middle, to, given)?;
        Some(node_hash(&left, &right))
    }
}

/// Makes the proofs of many runs of one slice: how a relay serves each of its lower systems. Every subtree is hashed once.
#[derive(Debug, Clone)]
pub struct Prover {
    slice: Slice,
    nodes: HashMap<(u32, u32), Hash>,
}

impl Prover {
    /// Hashes the slice's subtrees; `None` if its shape is not that of a slice.
    pub fn new(slice: Slice) -> Option<Prover> {
        slice.root()?;
        let mut nodes = HashMap::with_capacity(slice.leaves.len() * 2);
        let mut given = slice.siblings.iter();
        remember(&slice, 0, slice.size, &mut given, &mut nodes)?;
        Some(Prover { slice, nodes })
    }

    /// A whole list.
    pub fn whole(list: Vec<HostId>) -> Option<Prover> {
        let size = u32::try_from(list.len()).ok()?;
        Prover::new(Slice { size, start: 0, leaves: list, siblings: Vec::new() })
    }

    /// The run that can be proved.
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// The run `start..end`, with its own proof; `None` if it is empty or reaches beyond the slice.
    pub fn narrow(&self, start: u32, end: u32) -> Option<Slice> {
        let own = &self.slice;
        let own_end = own.start + own.leaves.len() as u32;
        if start >= end || start < own.start || end > own_end {
            return None;
        }
        let mut siblings = Vec::new();
        self.collect(0, own.size, (start, end), &mut siblings)?;
        let from = (start - own.start) as usize;
        let leaves = own.leaves[from..from + (end - start) as usize].to_vec();
        Some(Slice { size: own.size, start, leaves, siblings })
    }

    /// Collects the hashes beside `wanted` within the subtree `from..to`.
    fn collect(&self, from: u32, to: u32, wanted: (u32, u32), out: &mut Vec<Hash>) -> Option<()> {
        if from >= wanted.1 || to <= wanted.0 {
            out.push(*self.nodes.get(&(from, to))?);
            return Some(());
        }
        if to - from == 1 {
            return Some(());
        }
        let middle = from + split(to - from);
        self.collect(from, middle, wanted, out)?;
        self.collect(middle, to, wanted, out)
    }
}

fn remember<'a>(
    slice: &Slice,
    from: u32,
    to: u32,
    given: &mut impl Iterator<Item = &'a Hash>,
    nodes: &mut HashMap<(u32, u32), Hash>,
) -> Option<Hash> {
    let hash = if !slice.overlaps(from, to) {
        *given.next()?
    } else if to - from == 1 {
        leaf_hash(&slice.leaves[(from - slice.start) as usize])
    } else {
        let middle = from + split(to - from);
        let left = remember(slice, from, middle, given, nodes)?;
        let right = remember(slice, middle, to, given, nodes)?;
        node_hash(&left, &right)
    };
    nodes.insert((from, to), hash);
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(n: u32) -> Vec<HostId> {
        (0..n).map(|i| HostId(*blake3::hash(&i.to_le_bytes()).as_bytes().first_chunk().unwrap())).collect()
    }

    #[test]
    fn every_run_of_every_small_list_proves_itself() {
        for n in 1..20 {
            let all = list(n);
            let whole = root(&all);
            for start in 0..n {
                for end in start + 1..=n {
                    let slice = Slice::of(&all, start, end).unwrap();
                    assert_eq!(slice.root(), Some(whole), "{n} {start}..{end}");
                    for one in start..end {
                        let narrow = slice.narrow(one, one + 1).unwrap();
                        assert_eq!(narrow, Slice::of(&all, one, one + 1).unwrap());
                        assert_eq!(narrow.root(), Some(whole));
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_changed_proves_nothing() {
        let all = list(11);
        let whole = root(&all);
        let good = Slice::of(&all, 3, 6).unwrap();
        let mut other = good.clone();
        other.leaves[1] = HostId([7; 16]);
        assert_ne!(other.root(), Some(whole));
        for change in [
            |s: &mut Slice| s.start = 4,
            |s: &mut Slice| s.leaves.clear(),
            |s: &mut Slice| s.siblings.push([0; 32]),
            |s: &mut Slice| s.siblings.truncate(1),
            |s: &mut Slice| s.start = u32::MAX,
            |s: &mut Slice| s.size = u32::MAX,
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert_ne!(bad.root(), Some(whole));
        }
        assert_eq!(good.narrow(2, 4), None);
        assert_eq!(good.narrow(3, 3), None);
    }

    #[test]
    fn a_proof_grows_with_the_logarithm() {
        let all = list(2000);
        assert!(Slice::of(&all, 999, 1000).unwrap().siblings.len() <= 11);
    }
}
