//! Sessions: how much memory the operators of a plan may reserve, where they spill, and how Parquet
//! is read.
//!
//! No limit has a default: the caller sets each of them.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    common::{DataFusionError, Result as DfResult},
    config::ConfigOptions,
    execution::{
        disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::RuntimeEnvBuilder,
        spill_file::{SpillFile, TempFileFactory},
    },
    prelude::{SessionConfig, SessionContext},
};

use super::error::from_datafusion;
use crate::{error::Result, storage::scratch::Scratch};

/// The catalog of all sessions.
pub const CATALOG: &str = "qlc";
/// The schema that a table name without one means.
pub const DEFAULT_SCHEMA: &str = "archive";

/// How many consumers of memory an error about its end names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// A session whose operators reserve at most `memory_bytes` and then spill to `spill_dir`, with
/// plans of `target_partitions` partitions. The memory of Parquet readers is not reserved anywhere:
/// leave room for it.
///
/// # Errors
/// When nothing can be written to `spill_dir`.
pub fn session(
    memory_bytes: u64,
    target_partitions: usize,
    spill_dir: &Path,
) -> Result<SessionContext> {
    let spill = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_owned()]));
    with_spill(memory_bytes, target_partitions, spill, spill_dir)
}

/// The same, but a scratch folder is made in `parent` only when something is spilled. It goes with
/// the last plan of the session.
///
/// # Errors
/// Never in practice: nothing is made yet.
pub fn session_that_may_spill(
    memory_bytes: u64,
    target_partitions: usize,
    parent: &Path,
) -> Result<SessionContext> {
    let files = WhenNeeded {
        parent: parent.to_owned(),
        made: Mutex::new(None),
    };
    let spill = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(files));
    with_spill(memory_bytes, target_partitions, spill, parent)
}

/// Makes a scratch folder when the first file is spilled.
struct WhenNeeded {
    parent: PathBuf,
    made: Mutex<Option<Spilled>>,
}

/// Where files are spilled.
struct Spilled {
    files: Arc<DiskManager>,
    /// After the files, which lie in it.
    _scratch: Scratch,
}

impl Spilled {
    fn below(parent: &Path) -> DfResult<Self> {
        let scratch = Scratch::new(parent).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let mode = DiskManagerMode::Directories(vec![scratch.path().to_owned()]);
        Ok(Self {
            files: Arc::new(DiskManager::builder().with_mode(mode).build()?),
            _scratch: scratch,
        })
    }
}

impl TempFileFactory for WhenNeeded {
    fn create_temp_file(&self, what_for: &str) -> DfResult<Arc<dyn SpillFile>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let spilled = match made.take() {
            Some(spilled) => spilled,
            None => Spilled::below(&self.parent)?,
        };
        made.insert(spilled).files.create_tmp_file(what_for)
    }
}

fn with_spill(
    memory_bytes: u64,
    target_partitions: usize,
    spill: DiskManagerBuilder,
    spill_dir: &Path,
) -> Result<SessionContext> {
    let bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
    // A fair pool: of several sorts in one plan each gets its share and spills, instead of the
    // first one taking all.
    let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), NAMED_CONSUMERS);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(spill)
        .build_arc()
        .map_err(|e| {
            from_datafusion(
                e,
                &format!("{}: a session that spills there", spill_dir.display()),
            )
        })?;
    let mut config = SessionConfig::new()
        .with_target_partitions(target_partitions.max(1))
        .with_information_schema(true)
        .with_collect_statistics(true)
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pruning = true;
    parquet.enable_page_index = true;
    // qlc writes none, and nobody has held those of others against their rows.
    parquet.bloom_filter_on_read = false;
    // A filter on time reads the column of times first and of the others only the pages with
    // matching rows.
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// Lets the scans of `session` skip nothing by statistics: for those that are carried out where
/// nobody looks at who wrote a file.
pub fn trust_no_statistics(session: &SessionContext) {
    let state = session.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.execution.parquet.pruning = false;
    options.execution.parquet.enable_page_index = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
}

/// Lets batches have at most `rows` rows, in plans that are made from now on; returns whether they
/// had more.
#[must_use]
pub fn narrow(session: &SessionContext, rows: usize) -> bool {
    let state = session.state_ref();
    let mut state = state.write();
    let narrower = rows < state.config().batch_size();
    if narrower {
        let config = state.config().clone().with_batch_size(rows.max(1));
        *state.config_mut() = config;
    }
    narrower
}

/// What the plans of a session count on, to save sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountsOn {
    /// No order.
    Nothing,
    /// The order that receipts vouch for, which scans claim.
    Receipts,
    /// Files that are read one after the other, as `engine::sql::file_rows` knows.
    FileRows,
}

/// Says what the plans of `session` count on from now on. They count on nothing before.
///
/// A plan that counts on an order has one partition: several that are kept in order are merged
/// somewhere, and where each has another stretch of time, all but the first wait in memory or on
/// disk. Otherwise plans have `partitions`.
pub fn count_on(session: &SessionContext, on: CountsOn, partitions: usize) {
    let state = session.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.optimizer.prefer_existing_sort = on == CountsOn::Receipts;
    options.execution.target_partitions = if on == CountsOn::Nothing {
        partitions
    } else {
        1
    };
}

/// Whether the scans of a session with these options claim the order that is vouched for.
/// DataFusion's option stands for it: only [`count_on`] sets it.
#[must_use]
pub fn claims(options: &ConfigOptions) -> bool {
    options.optimizer.prefer_existing_sort
}

/// Whether scans of a session with these options are carried out elsewhere. These two options stand
/// for it: only [`trust_no_statistics`] turns both off.
#[must_use]
pub fn travels(options: &ConfigOptions) -> bool {
    !options.execution.parquet.pruning && !options.execution.parquet.enable_page_index
}
