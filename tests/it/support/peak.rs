//! The memory of the program as the kernel counts it.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

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
    let child = place.spawn(
        args,
        &[("QLC_MEMORY_LIMIT", LEAST), ("TMPDIR", "/nonexistent")],
    );
    let (pid, ended) = (child.id(), AtomicBool::new(false));
    // Beside it what the program says is read: one that waits for its reader never ends.
    let (ran, most) = std::thread::scope(|scope| {
        let sampled = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::SeqCst) {
                most = most.max(peak(pid).unwrap_or(0));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let ran = Ran::of_child(child);
        ended.store(true, Ordering::SeqCst);
        (ran, sampled.join().unwrap())
    });
    assert!(most <= allowed, "{most} bytes resident\n{ran}");
    ran
}

/// The most that the process had resident until now, in bytes.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
