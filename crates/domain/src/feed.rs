//! Orders down: each system keeps for each direct lower system a numbered feed. The reader asks "after n", stores what it
//! gets, and acknowledges by asking after the new n (design section 6, "Feeds and outboxes").

use crate::ids::Incarnation;

/// A place in a feed. Worth something only with the incarnation of the feed it was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which life of the feed.
    pub incarnation: Incarnation,
    /// The last entry that is stored at the reader.
    pub n: u64,
}

/// What the sender knows of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which life of the feed.
    pub incarnation: Incarnation,
    /// Entries up to here were acknowledged and are gone.
    pub pruned: u64,
    /// The newest entry; equal to `pruned` if there is none.
    pub last: u64,
}

/// What the sender does when the reader asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Send the entries after `after`, and forget those up to it.
    After {
        /// The reader has stored up to here.
        after: u64,
    },
    /// The reader knows nothing of this feed, or lost what was acknowledged: make a new feed that holds all that is open.
    Rebuild,
}

/// Answers a reader that asks with `cursor`.
pub fn answer(head: Head, cursor: Option<Cursor>) -> Answer {
    match cursor {
        Some(Cursor { incarnation, n })
            if incarnation == head.incarnation && (head.pruned..=head.last).contains(&n) =>
        {
            Answer::After { after: n }
        }
        // A feed of which nothing was ever forgotten can be read from its start by whoever knows nothing of it. Were it made
        // anew for each such request, two requests on their way at once would take it from each other for ever.
        None if head.pruned == 0 => Answer::After { after: 0 },
        Some(cursor) if cursor.incarnation != head.incarnation && head.pruned == 0 => {
            Answer::After { after: 0 }
        }
        _ => Answer::Rebuild,
    }
}

/// A run of entries as the reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T> {
    /// Which life of the feed.
    pub incarnation: Incarnation,
    /// The entries begin after this number.
    pub after: u64,
    /// Number and entry, rising.
    pub entries: Vec<(u64, T)>,
}

/// Why a batch is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBatch {
    /// It begins beyond what is stored: entries are missing.
    Gap {
        /// Stored up to here.
        have: u64,
        /// The batch begins after this.
        after: u64,
    },
    /// Its numbers do not rise.
    Order,
}

impl std::fmt::Display for BadBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadBatch::Gap { have, after } => {
                write!(f, "orders after {have} are stored, these begin after {after}")
            }
            BadBatch::Order => f.write_str("orders are not in the order of their numbers"),
        }
    }
}

impl std::error::Error for BadBatch {}

/// What the reader stores: the entries it does not have, and the cursor that acknowledges them, in one transaction.
///
/// A feed of another life is read from its start. Entries may come more than once; what they ask is the same each time.
///
/// # Errors
/// The batch has a gap or is out of order; the cursor stays.
pub fn receive<T>(cursor: Option<Cursor>, batch: Batch<T>) -> Result<(Vec<T>, Cursor), BadBatch> {
    let have = match cursor {
        Some(cursor) if cursor.incarnation == batch.incarnation => cursor.n,
        _ => 0,
    };
    if batch.after > have {
        return Err(BadBatch::Gap { have, after: batch.after });
    }
    let mut newest = batch.after;
    let mut fresh = Vec::new();
    for (n, entry) in batch.entries {
        if n <= newest {
            return Err(BadBatch::Order);
        }
        newest = n;
        if n > have {
            fresh.push(entry);
        }
    }
    Ok((fresh, Cursor { incarnation: batch.incarnation, n: newest.max(have) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Incarnation = Incarnation(1);
    const B: Incarnation = Incarnation(2);

    #[test]
    fn a_reader_is_answered_by_what_it_has() {
        let head = Head { incarnation: A, pruned: 3, last: 7 };
        let at = |incarnation, n| Some(Cursor { incarnation, n });
        assert_eq!(answer(head, at(A, 5)), Answer::After { after: 5 });
        assert_eq!(answer(head, at(A, 3)), Answer::After { after: 3 });
        assert_eq!(answer(head, at(A, 2)), Answer::Rebuild);
        assert_eq!(answer(head, at(A, 8)), Answer::Rebuild);
        assert_eq!(answer(head, at(B, 5)), Answer::Rebuild);
        assert_eq!(answer(head, None), Answer::Rebuild);
        assert_eq!(answer(Head { pruned: 0, ..head }, None), Answer::After { after: 0 });
        assert_eq!(answer(Head { pruned: 0, ..head }, at(B, 5)), Answer::After { after: 0 });
        assert_eq!(answer(Head { pruned: 0, ..head }, at(A, 8)), Answer::Rebuild);
    }

    #[test]
    fn repeats_are_skipped_and_gaps_refused() {
        let have = Some(Cursor { incarnation: A, n: 5 });
        let batch = |incarnation, after, ns: &[u64]| Batch {
            incarnation,
            after,
            entries: ns.iter().map(|n| (*n, *n)).collect(),
        };
        let (fresh, cursor) = receive(have, batch(A, 3, &[4, 5, 6])).unwrap();
        assert_eq!((fresh, cursor.n), (vec![6], 6));
        assert_eq!(receive(have, batch(A, 6, &[7])), Err(BadBatch::Gap { have: 5, after: 6 }));
        assert_eq!(receive(have, batch(A, 5, &[7, 6])), Err(BadBatch::Order));
        let (fresh, cursor) = receive(have, batch(B, 0, &[1, 2])).unwrap();
        assert_eq!((fresh, cursor), (vec![1, 2], Cursor { incarnation: B, n: 2 }));
        assert!(receive(have, batch(B, 2, &[3])).is_err());
        assert_eq!(receive(have, batch(A, 5, &[])).unwrap().1.n, 5);
    }
}
