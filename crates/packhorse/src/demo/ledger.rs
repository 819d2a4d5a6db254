//! Bytes of each line, as the relays count them: content bodies since they joined.

use super::cast::{NAMBA, OSAKA};
use crate::api::Api;
use crate::failure::Outcome;
use crate::render::table::size;

/// The counters of both relays at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// From the server to osaka.
    pub osaka_received: u64,
    /// From osaka to namba and its own clients.
    pub osaka_sent: u64,
    /// From osaka to namba, as namba counts it.
    pub namba_received: u64,
    /// From namba to its clients.
    pub namba_sent: u64,
}

impl Ledger {
    /// As the server knows them now.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn read(api: &Api) -> Outcome<Ledger> {
        let osaka = api.relay(OSAKA.name).await?;
        let namba = api.relay(NAMBA.name).await?;
        Ok(Ledger {
            osaka_received: osaka.received_bytes,
            osaka_sent: osaka.sent_bytes,
            namba_received: namba.received_bytes,
            namba_sent: namba.sent_bytes,
        })
    }

    /// What came since.
    pub fn since(self, earlier: Ledger) -> Ledger {
        Ledger {
            osaka_received: self.osaka_received.saturating_sub(earlier.osaka_received),
            osaka_sent: self.osaka_sent.saturating_sub(earlier.osaka_sent),
            namba_received: self.namba_received.saturating_sub(earlier.namba_received),
            namba_sent: self.namba_sent.saturating_sub(earlier.namba_sent),
        }
    }

    /// As one line.
    pub fn line(self) -> String {
        format!(
            "server → osaka {}, osaka → below {}, osaka → namba {}, namba → below {}",
            size(self.osaka_received),
            size(self.osaka_sent),
            size(self.namba_received),
            size(self.namba_sent)
        )
    }

    /// All that went over lines.
    pub fn total(self) -> u64 {
        self.osaka_received + self.osaka_sent + self.namba_sent
    }
}
