//! Reports up: each system numbers what it has to say and sends it to its higher system, which says how far it has stored
//! it. The place reached counts only for one pair of lives, the higher system's and the managing server's: is either new,
//! everything that is still kept is sent again (design section 6).

use crate::ids::Incarnation;

/// How far a sender's outbox is stored at its higher system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The managing server's life, as last heard.
    pub server: Incarnation,
    /// The higher system's life, as last heard.
    pub higher: Incarnation,
    /// Everything up to this number is stored there.
    pub stored: u64,
}

impl Hop {
    /// Takes in which lives answer now. Is one of them new, the outbox is sent from its start.
    #[must_use]
    pub fn meet(hop: Option<Hop>, server: Incarnation, higher: Incarnation) -> Hop {
        match hop {
            Some(hop) if hop.server == server && hop.higher == higher => hop,
            _ => Hop { server, higher, stored: 0 },
        }
    }

    /// The higher system says it has stored up to `cursor`: further on, or less than we believed (it was restored).
    pub fn stored(&mut self, cursor: u64) {
        self.stored = cursor;
    }
}

/// What a receiver does with a batch that covers the numbers `after + 1 ..= through` of a sender's outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Store what is numbered above `from`; then everything up to `through` is stored.
    Store {
        /// Stored before.
        from: u64,
        /// Stored then.
        through: u64,
    },
    /// It begins beyond what is stored: the sender goes back to `stored`.
    Rewind {
        /// Stored up to here.
        stored: u64,
    },
}

/// Judges a batch. `stored` is 0 for a sender, or a life of it, never heard of.
pub fn accept(stored: u64, after: u64, through: u64) -> Accept {
    if after > stored {
        return Accept::Rewind { stored };
    }
    Accept::Store { from: stored, through: through.max(stored) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_above_hears_everything_again() {
        let (a, b, c) = (Incarnation(1), Incarnation(2), Incarnation(3));
        let mut hop = Hop::meet(None, a, b);
        hop.stored(9);
        assert_eq!(Hop::meet(Some(hop), a, b).stored, 9);
        assert_eq!(Hop::meet(Some(hop), c, b).stored, 0);
        assert_eq!(Hop::meet(Some(hop), a, c).stored, 0);
    }

    #[test]
    fn a_gap_is_sent_back() {
        assert_eq!(accept(5, 5, 8), Accept::Store { from: 5, through: 8 });
        assert_eq!(accept(5, 2, 4), Accept::Store { from: 5, through: 5 });
        assert_eq!(accept(5, 6, 8), Accept::Rewind { stored: 5 });
    }
}
