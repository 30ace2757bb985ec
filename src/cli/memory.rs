//! Gives freed memory back to the system while the process comes near its limit.
//!
//! The limit is for resident memory. What is freed stays with the allocator, between blocks that
//! are still in use: after a sort of wide rows, whose columns are thousands of small blocks, that
//! is as much again as what is in use. Giving it back costs time, so it is done where more than
//! half of the limit is resident, and again when more has become resident since: a quarter of what
//! is left, so that it is done more often the nearer the limit is.

use std::{io, sync::Once, thread, time::Duration};

/// What the program can ask of its allocator.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Lets it keep more of what is freed, which costs less time than fresh pages.
    pub be_roomy: fn(),
    /// Gives what is free to the system.
    pub give_back: fn(),
}

/// With a limit from here on, in bytes, the allocator may be roomy.
const ROOMY: u64 = 1_000_000_000;

/// How often the resident memory is looked at. A process makes some tens of megabytes resident
/// meanwhile, at most.
const EVERY: Duration = Duration::from_millis(20);
/// The part of the limit that may be resident before anything is given back.
const EASY: u64 = 2;
/// The part of what is left that must have become resident since the last time, and the part of the
/// limit at least.
const MORE: u64 = 4;
const LEAST_MORE: u64 = 64;

/// Watches over the resident memory from now on until the process ends. Does nothing where the
/// system does not tell what is resident.
pub(super) fn keep_within(limit: u64, allocator: Allocator) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        if limit >= ROOMY {
            (allocator.be_roomy)();
        }
        let mut pressure = Pressure::of(limit);
        let watch = move || {
            while let Some(bytes) = resident() {
                if pressure.is_due(bytes) {
                    (allocator.give_back)();
                    pressure.eased(resident().unwrap_or(bytes));
                }
                thread::sleep(EVERY);
            }
        };
        // Without the thread more stays resident; nothing else depends on it.
        let begun: io::Result<_> = thread::Builder::new()
            .name("qlc-memory".to_owned())
            .spawn(watch);
        if let Err(error) = begun {
            tracing::debug!(%error, "nobody watches over the memory");
        }
    });
}

/// Decides when memory is given back.
#[derive(Debug)]
struct Pressure {
    limit: u64,
    /// What was resident after the last time, or less since.
    least: u64,
}

impl Pressure {
    fn of(limit: u64) -> Self {
        Self { limit, least: 0 }
    }

    fn is_due(&mut self, resident: u64) -> bool {
        self.least = self.least.min(resident);
        let left = self.limit.saturating_sub(resident);
        resident > self.limit / EASY
            && resident - self.least > (left / MORE).max(self.limit / LEAST_MORE)
    }

    fn eased(&mut self, resident: u64) {
        self.least = resident;
    }
}

/// What this process has resident, in bytes; `None` where the system does not tell.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_near_the_limit_and_when_there_is_more_of_it() {
        let mut pressure = Pressure::of(640);
        assert!(!pressure.is_due(320), "half of the limit is no trouble");
        assert!(pressure.is_due(321));
        pressure.eased(321);
        assert!(!pressure.is_due(370), "what is in use cannot be given back");
        assert!(pressure.is_due(400));
        pressure.eased(390);
        assert!(!pressure.is_due(300));
        assert!(pressure.is_due(390), "it had become less meanwhile");
        pressure.eased(600);
        assert!(!pressure.is_due(610));
        assert!(pressure.is_due(611), "near the limit a little is enough");
        pressure.eased(700);
        assert!(pressure.is_due(711), "and beyond it");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_what_is_resident() {
        assert!(resident().unwrap() > 1_000_000);
    }
}
