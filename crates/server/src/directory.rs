//! Who is below this system and who was retired, as every request needs to know it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use packhorse_domain::ids::HostId;

use crate::db::retired::Gone;
use crate::system::Listed;

/// Hosts as they were read at one moment.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Those that are below this system.
    pub listed: HashMap<HostId, Listed>,
    /// Those that were retired.
    pub retired: HashMap<HostId, Gone>,
    /// Whether this system is one of these itself, with the certificate it has.
    pub retired_itself: bool,
}

/// The newest reading. Many may read at once, and who began first may be done last.
#[derive(Debug, Default)]
pub struct Directory {
    tickets: AtomicU64,
    newest: RwLock<(u64, Arc<Hosts>)>,
}

impl Directory {
    /// To be taken before reading: whoever takes a later one reads at least as much.
    pub fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Takes in what was read after the ticket was taken, unless there is something newer already.
    pub fn put(&self, ticket: u64, hosts: Hosts) {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        if ticket > newest.0 {
            *newest = (ticket, Arc::new(hosts));
        }
    }

    /// The newest.
    pub fn hosts(&self) -> Arc<Hosts> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

#[cfg(test)]
mod tests {
    use packhorse_domain::time::Time;

    use super::*;

    #[test]
    fn who_read_before_and_is_done_later_changes_nothing() {
        let directory = Directory::default();
        let (early, late) = (directory.ticket(), directory.ticket());
        let gone = Gone { generation: 1, at: Time(1), removed: false };
        let retired = HashMap::from([(HostId([1; 16]), gone)]);
        directory.put(late, Hosts { retired, ..Hosts::default() });
        directory.put(early, Hosts::default());
        assert_eq!(directory.hosts().retired.len(), 1);
        directory.put(directory.ticket(), Hosts::default());
        assert!(directory.hosts().retired.is_empty());
    }
}
