//! The end that was asked for.

use crate::error::{Error, Kind, Result};

/// Fails where the run is to stop.
pub(super) fn stopped(stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    if stop() {
        return Err(Error::new(
            Kind::Interrupted,
            "stopped as asked, before all days were compared",
        ));
    }
    Ok(())
}
