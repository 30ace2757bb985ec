//! Work that does not wait for a server, apart from work that does.

use crate::error::{Error, Result};

/// Work that waits for the disk and needs a processor, on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|lost| Error::lost_task("the reading of a venue's files", lost))?
}
