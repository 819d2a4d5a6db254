//! A store that loses what was not synced. Writes are typed; those of one step are one transaction, which becomes durable
//! as a whole or not at all. A crash keeps a first part of the transactions that were on their way, from none to all.

use std::collections::VecDeque;

/// State that changes by typed writes only.
pub trait Durable: Clone {
    /// One change.
    type Write;
    /// Makes the change.
    fn apply(&mut self, write: &Self::Write);
}

/// A node's store.
#[derive(Debug)]
pub struct Store<S: Durable> {
    durable: S,
    current: S,
    open: Vec<S::Write>,
    unsynced: VecDeque<Vec<S::Write>>,
}

impl<S: Durable> Store<S> {
    /// A store that holds `state`, durably.
    pub fn new(state: S) -> Store<S> {
        Store { durable: state.clone(), current: state, open: Vec::new(), unsynced: VecDeque::new() }
    }

    /// What the node sees: everything it has written.
    pub fn now(&self) -> &S {
        &self.current
    }

    /// What would be left after a crash that keeps nothing.
    pub fn durable(&self) -> &S {
        &self.durable
    }

    /// Adds a write to the transaction of this step.
    pub fn put(&mut self, write: S::Write) {
        self.current.apply(&write);
        self.open.push(write);
    }

    /// Closes the transaction of this step; answers whether anything is on its way to the disk.
    pub fn close(&mut self) -> bool {
        if !self.open.is_empty() {
            self.unsynced.push_back(std::mem::take(&mut self.open));
        }
        !self.unsynced.is_empty()
    }

    /// How many transactions are not durable yet.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Makes everything durable and answers what that was.
    pub fn sync(&mut self) -> Vec<S::Write> {
        self.keep(usize::MAX)
    }

    /// A crash of which `keep` transactions had still reached the disk; answers their writes.
    pub fn crash(&mut self, keep: usize) -> Vec<S::Write> {
        let kept = self.keep(keep);
        // Where nothing is lost both are the same already.
        if !self.unsynced.is_empty() || !self.open.is_empty() {
            self.unsynced.clear();
            self.open.clear();
            self.current = self.durable.clone();
        }
        kept
    }

    fn keep(&mut self, transactions: usize) -> Vec<S::Write> {
        let count = transactions.min(self.unsynced.len());
        let kept: Vec<S::Write> = self.unsynced.drain(..count).flatten().collect();
        kept.iter().for_each(|write| self.durable.apply(write));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Sum(Vec<u8>);
    impl Durable for Sum {
        type Write = u8;
        fn apply(&mut self, write: &u8) {
            self.0.push(*write);
        }
    }

    #[test]
    fn a_crash_keeps_whole_transactions_from_the_first() {
        let mut store = Store::new(Sum(vec![]));
        store.put(1);
        store.put(2);
        assert!(store.close());
        store.put(3);
        store.close();
        assert_eq!((store.now().0.len(), store.durable().0.len()), (3, 0));
        assert_eq!(store.crash(1), vec![1, 2]);
        assert_eq!((store.now(), store.unsynced()), (&Sum(vec![1, 2]), 0));
        store.put(4);
        store.close();
        assert_eq!(store.sync(), vec![4]);
        assert_eq!(store.durable(), &Sum(vec![1, 2, 4]));
    }
}
