//! The memory of the program as the kernel counts it.

use std::{fs, process::Child, time::Duration};

use super::run::{Place, Ran};

/// The smallest limit that is taken.
const LEAST: &str = "256MB";
const LEAST_BYTES: u64 = 256_000_000;

/// Runs `qlc` under the smallest limit; fails when it has more resident.
#[track_caller]
pub fn within_the_least_limit(place: &Place, args: &[&str]) -> Ran {
    resident(place, args, LEAST_BYTES)
}

/// The same where a quarter more is allowed.
#[track_caller]
pub fn near_the_least_limit(place: &Place, args: &[&str]) -> Ran {
    resident(place, args, LEAST_BYTES / 4 * 5)
}

#[track_caller]
fn resident(place: &Place, args: &[&str], allowed: u64) -> Ran {
    // What is put aside goes to the folder for that, and not to one that may lie in memory.
    let mut child = place.spawn(args, &[("QLC_MEMORY_LIMIT", LEAST), ("TMPDIR", "/nonexistent")]);
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak(&child).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let ran = Ran::of_child(child);
    assert!(most <= allowed, "{most} bytes resident\n{ran}");
    ran
}

/// The most that the process had resident until now, in bytes.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
