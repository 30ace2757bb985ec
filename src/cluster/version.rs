//! The version that this process reports.

use std::sync::OnceLock;

static PRETENDED: OnceLock<String> = OnceLock::new();

/// Makes this process say that it is of another version: for tests of what refuses it.
pub fn pretend_version(version: String) {
    let _ = PRETENDED.set(version);
}

/// The version of this process.
pub(super) fn version() -> String {
    PRETENDED
        .get()
        .cloned()
        .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}
