//! Panics: a defect of qlc becomes an error like any other, in one line and with an exit code.
//!
//! Panics that other code catches are not printed: a damaged file can make a Parquet reader panic,
//! which is reported with that file.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook},
    sync::{Mutex, PoisonError},
};

use crate::error::{Error, Kind, Result};

/// Where the last panic was and what it said. Only a hook learns the place.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Does `work`; a panic in it is an error of [`Kind::Internal`].
///
/// # Errors
/// The work's own, or the panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        tracing::debug!("{text}");
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }));
    // On top of it: a panic of the decoder is told with its file, place included.
    crate::file::fault::install_panic_hook();
    // Nothing of `work` is looked at after a panic, so nothing half changed can be seen.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let text = LAST
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default();
        Err(Error::new(
            Kind::Internal,
            format!(
                "this is a defect of qlc {}; please report it: {text}",
                env!("CARGO_PKG_VERSION")
            ),
        ))
    })
}
