//! Sessions: how much memory the operators of a plan may reserve, where they spill, and how Parquet is read.
//!
//! Refuses defaults for limits: whoever opens a session knows them.

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use datafusion::{
    config::ConfigOptions,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::{SessionConfig, SessionContext},
};

use super::error::from_datafusion;
use crate::error::Result;

/// The catalog of all sessions.
pub const CATALOG: &str = "qlc";
/// The schema that a table name without one means.
pub const DEFAULT_SCHEMA: &str = "archive";

/// How many consumers of memory an error about its end names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// A session whose operators reserve at most `memory_bytes` and then spill to `spill_dir`, with plans of
/// `target_partitions` partitions. The memory of Parquet readers is not reserved anywhere: leave room for it.
///
/// # Errors
/// When nothing can be written to `spill_dir`.
pub fn session(memory_bytes: u64, target_partitions: usize, spill_dir: &Path) -> Result<SessionContext> {
    let bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
    // A fair pool: of several sorts in one plan each gets its share and spills, instead of the first one taking all.
    let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), NAMED_CONSUMERS);
    let spill = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill_dir.to_owned()]));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(spill)
        .build_arc()
        .map_err(|e| from_datafusion(e, &format!("{}: a session that spills there", spill_dir.display())))?;
    let mut config = SessionConfig::new()
        .with_target_partitions(target_partitions.max(1))
        .with_information_schema(true)
        .with_collect_statistics(true)
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pruning = true;
    parquet.enable_page_index = true;
    // A filter on time reads the column of times first and of the others only the pages with matching rows.
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// Whether the scans of `session` claim the order that receipts vouch for, from now on, so that its plans count on it. They
/// do not before they are told to.
///
/// Such plans have one partition: several that are kept in order are merged somewhere, and where each has another stretch
/// of time, all but the first wait in memory or on disk. Otherwise plans have `partitions`.
pub fn claim(session: &SessionContext, whether: bool, partitions: usize) {
    let state = session.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.optimizer.prefer_existing_sort = whether;
    options.execution.target_partitions = if whether { 1 } else { partitions };
}

/// Whether the scans of a session with these options claim the order that is vouched for.
#[must_use]
pub fn claims(options: &ConfigOptions) -> bool {
    options.optimizer.prefer_existing_sort
}
