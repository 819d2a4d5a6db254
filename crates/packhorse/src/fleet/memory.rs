//! Resident memory, as the kernel counts it.

use serde::Serialize;

use crate::args::ProcessPid;

/// A process's memory in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Which process.
    pub name: String,
    /// Resident now; `None`: there is no such process.
    pub resident_bytes: Option<u64>,
    /// The most there was.
    pub peak_bytes: Option<u64>,
}

/// This process and those named.
pub fn of(pids: &[ProcessPid]) -> Vec<Memory> {
    let mut all = vec![read("this process", "self")];
    all.extend(pids.iter().map(|process| read(&process.name, &process.pid.to_string())));
    all
}

fn read(name: &str, pid: &str) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Memory {
        name: name.to_owned(),
        resident_bytes: field(&status, "VmRSS:"),
        peak_bytes: field(&status, "VmHWM:"),
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(field(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(field(status, "VmSwap:"), None);
        let all = of(&[ProcessPid { name: "none".into(), pid: u32::MAX }]);
        assert!(all[0].resident_bytes.is_some_and(|bytes| bytes > 0) && all[1].resident_bytes.is_none());
    }
}
