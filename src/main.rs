//! The program. Everything it does is in the library.
//!
//! The allocator is the system's: with glibc 2.36 a compaction of 10 million rows peaks at 160 MB
//! resident, with mimalloc 2 at 550 MB for the same time. The limit is for resident memory, so that
//! decides.
//!
//! Two of its settings are fixed, because glibc adapts them: once a value of a megabyte was freed,
//! it keeps all such values on its heaps, where they lie between others, and gives nothing back.
//! Compacting rows of a megabyte under 256 MB took 350 MB like that, and takes 220 MB with blocks
//! from a megabyte on apart from the heaps. Every such block is made of fresh pages, so with a limit
//! that leaves room only blocks from 32 MB on are apart: a day of 10 million rows that are sorted
//! together touches 60,000 pages instead of 310,000, and takes 0.7 of the wall time and as much memory.

use std::process::ExitCode;

use qlc::cli::Allocator;

fn main() -> ExitCode {
    set_thresholds(SPARING);
    qlc::cli::main(Allocator {
        be_roomy: || set_thresholds(ROOMY),
        give_back,
    })
}

/// From what size on a block comes from the system and goes back to it, and how large the free end
/// of a heap may be, in bytes.
type Thresholds = (i32, i32);

const SPARING: Thresholds = (1 << 20, 8 << 20);
const ROOMY: Thresholds = (32 << 20, 64 << 20);

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "no safe interface to it exists; the calls only set two numbers, under a lock of their own"
)]
fn set_thresholds((apart, end): Thresholds) {
    // SAFETY: mallopt takes two integers and touches no memory of the caller.
    let _ = unsafe {
        (
            libc::mallopt(libc::M_MMAP_THRESHOLD, apart),
            libc::mallopt(libc::M_TRIM_THRESHOLD, end),
        )
    };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set_thresholds(_: Thresholds) {}

/// Gives pages that are free on the heaps to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "no safe interface to it exists; the call takes a number, and locks the heaps itself"
)]
fn give_back() {
    // SAFETY: malloc_trim takes an integer, may be called from any thread, and touches no block
    // that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
