//! Crash points: one between every two steps that change durable state, so that tests can kill the
//! process there.
//!
//! They do nothing unless armed: then the n-th point that is reached ends the process by SIGKILL,
//! which no clean-up code sees, like a power cut.

use std::sync::atomic::{AtomicU64, Ordering};

static REMAINING: AtomicU64 = AtomicU64::new(0);

/// Arms the crash: the `nth` point from now, counted from 1, kills the process. 0 disarms.
pub fn arm(nth: u64) {
    REMAINING.store(nth, Ordering::SeqCst);
}

/// A point between two steps. `step` says for the reader of the code what was done just before.
pub(crate) fn point(step: &'static str) {
    if REMAINING.load(Ordering::Relaxed) == 0 {
        return;
    }
    if REMAINING.fetch_sub(1, Ordering::SeqCst) == 1 {
        tracing::warn!(step, "crash point reached");
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}
