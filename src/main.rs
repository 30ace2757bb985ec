//! The program. Everything it does is in the library.
//!
//! The allocator is the system's: with glibc 2.36 a compaction of 10 million rows peaks at 160 MB
//! resident, with mimalloc 2 at 550 MB for the same time. The limit is for resident memory, so that
//! decides.
//!
//! Two of its settings are fixed, because glibc adapts them: once a value of a megabyte was freed,
//! it keeps all such values on its heaps, where they lie between others, and gives nothing back.
//! Compacting rows of a megabyte under 256 MB took 350 MB like that, and takes 220 MB with fixed
//! settings; on usual rows they cost 1 % of the CPU time.

use std::process::ExitCode;

fn main() -> ExitCode {
    settle_allocator();
    qlc::cli::main(give_back)
}

/// Lets blocks from a megabyte on come from the system and go back to it, and the end of the heap
/// stay below 8 MB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "no safe interface to it exists; the calls only set two numbers, before any thread begins"
)]
fn settle_allocator() {
    // SAFETY: mallopt takes two integers and touches no memory of the caller.
    let _ = unsafe {
        (
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20),
            libc::mallopt(libc::M_TRIM_THRESHOLD, 8 << 20),
        )
    };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn settle_allocator() {}

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
