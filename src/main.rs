//! The program. Everything it does is in the library; here are only the allocator and the call.

use std::process::ExitCode;

/// `DataFusion` allocates from many threads, and mimalloc gives freed memory back: both the speed and the resident size
/// of a merge depend on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    qlc::cli::main()
}
