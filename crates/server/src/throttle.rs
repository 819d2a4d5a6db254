//! Paces the content a system sends: at most so many bytes a second, over all its lower systems.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The environment variable that limits what a system sends, in bytes a second; 0 or unset: no limit.
pub const VARIABLE: &str = "PACKHORSE_SEND_BYTES_PER_SEC";

/// A pace.
pub struct Throttle {
    bytes_per_sec: Option<u64>,
    /// When the line is free again.
    free_at: Mutex<Instant>,
}

impl Throttle {
    /// As [`VARIABLE`] says.
    pub fn from_environment() -> Throttle {
        let limit =
            std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).filter(|limit| *limit > 0);
        Throttle { bytes_per_sec: limit, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may be sent.
    pub async fn pass(&self, bytes: usize) {
        let Some(limit) = self.bytes_per_sec else { return };
        let wait = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let start = (*free_at).max(now);
            *free_at = start + Duration::from_secs_f64(bytes as f64 / limit as f64);
            start - now
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}
