//! What a process of the cluster accepts from others: the tasks and the statements of qlc over the
//! spool and the archive that it is configured with, and nothing else.
//!
//! A plan is refused by its nodes before any of them is executed. What a scan opens it opens in a
//! store that gives away no object outside of spool and archive and changes none.

use std::{collections::HashMap, sync::Arc};

use ballista_core::execution_plans::ShuffleReaderExec;
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    datasource::{
        memory::MemorySourceConfig,
        physical_plan::{FileScanConfig, ParquetSource},
        source::DataSourceExec,
    },
    physical_plan::ExecutionPlan,
};
use object_store::{ObjectStore, path::Path};
use tonic::Status;
use url::Url;

use super::task::Task;
use crate::{
    error::{Error, Result},
    storage::{
        bucket::BucketOptions,
        spools::Spools,
        store::{Overlap, Store},
        within::Within,
    },
};

/// Nodes that compute on rows of others, and open nothing.
const NODES: [&str; 39] = [
    "AggregateExec",
    "AnalyzeExec",
    "BoundedWindowAggExec",
    "BufferExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CompactPartition",
    "CooperativeExec",
    "CrossJoinExec",
    "EmptyExec",
    "ExplainExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "InterleaveExec",
    "LazyMemoryExec",
    "LocalLimitExec",
    "NestedLoopJoinExec",
    "PartialSortExec",
    "PartitionedBoundedWindowAggExec",
    "PartitionedTopKExec",
    "PerPartitionFilterExec",
    "PiecewiseMergeJoinExec",
    "PlaceholderRowExec",
    "PrefixMergeExec",
    "ProjectionExec",
    "RecursiveQueryExec",
    "RepartitionExec",
    "RuntimeStatsExec",
    "ScalarSubqueryExec",
    "SortExec",
    "SortExec(TopK)",
    "SortMergeJoinExec",
    "SortPreservingMergeExec",
    "SymmetricHashJoinExec",
    "UnionExec",
    "UnnestExec",
    "WindowAggExec",
    "WorkTableExec",
];

/// Whether `plan` is made of nodes that only compute, of scans of Parquet files and of what `also`
/// admits.
///
/// # Errors
/// When it is not; the node is named.
pub(super) fn check_nodes(
    plan: &Arc<dyn ExecutionPlan>,
    also: &dyn Fn(&dyn ExecutionPlan) -> DfResult<bool>,
) -> DfResult<()> {
    let node = plan.as_ref();
    let is_accepted = match node.downcast_ref::<DataSourceExec>() {
        Some(scan) => is_accepted(scan),
        None => NODES.contains(&node.name()) || also(node)?,
    };
    if !is_accepted {
        return Err(refused(&format!("{} in a plan", what(node))));
    }
    plan.children()
        .into_iter()
        .try_for_each(|child| check_nodes(child, also))
}

fn is_accepted(scan: &DataSourceExec) -> bool {
    let source = scan.data_source();
    source.downcast_ref::<MemorySourceConfig>().is_some()
        || source
            .downcast_ref::<FileScanConfig>()
            .is_some_and(|config| {
                config
                    .file_source()
                    .downcast_ref::<ParquetSource>()
                    .is_some()
            })
}

fn what(node: &dyn ExecutionPlan) -> String {
    node.downcast_ref::<DataSourceExec>()
        .and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>())
        .map_or_else(
            || node.name().to_owned(),
            |config| format!("a scan of {} files", config.file_source().file_type()),
        )
}

/// The answer to what a process of the cluster does not do.
pub(super) fn refused(what: &str) -> DataFusionError {
    DataFusionError::Plan(format!(
        "refused: {what}; a cluster of qlc executes what qlc sends only"
    ))
}

/// Whether the name of a job is one that Ballista gives: it becomes the name of a folder.
fn is_job(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Refuses what is asked about a job whose name Ballista does not give.
///
/// # Errors
/// When it is none.
pub(super) fn check_job(name: &str) -> std::result::Result<(), Status> {
    if is_job(name) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "refused: {name:?} is not the name of a job"
    )))
}

/// Whether `inputs` are what an executor is given to write the results of: nodes that only compute,
/// scans, qlc's tasks and readers of earlier stages.
///
/// # Errors
/// When they are not.
pub(super) fn check_stage(inputs: &[Arc<dyn ExecutionPlan>]) -> DfResult<()> {
    inputs
        .iter()
        .try_for_each(|input| check_nodes(input, &reads_results))
}

/// Whether a node reads the results of earlier stages. The reader of ranges is not admitted: qlc
/// never turns it on, and it validates nothing that it reads.
fn reads_results(node: &dyn ExecutionPlan) -> DfResult<bool> {
    let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() else {
        return Ok(false);
    };
    match reader
        .partition
        .iter()
        .flatten()
        .find(|place| !is_job(place.partition_id.job_id.as_str()))
    {
        Some(place) => Err(refused(&format!(
            "results of a job called {:?}",
            place.partition_id.job_id.as_str()
        ))),
        None => Ok(true),
    }
}

/// The spool and the archive of an executor.
#[derive(Debug)]
pub(super) struct Accepted {
    spool: Store,
    archive: Store,
    options: BucketOptions,
}

impl Accepted {
    /// These places; `options` say how buckets are spoken to.
    ///
    /// # Errors
    /// When they are no places.
    pub(super) fn new(spool: &Spools, archive: &str, options: &BucketOptions) -> Result<Self> {
        Ok(Self {
            spool: Store::of_spools(spool, options)?,
            archive: Store::open_with(archive, options)?,
            options: options.clone(),
        })
    }

    /// The spools and the archive of a task.
    ///
    /// # Errors
    /// When they are others than the configured ones, and do not lie in them.
    pub(super) fn of_task(&self, task: &Task) -> Result<(Store, Store)> {
        let spool = Store::of_spools(&task.spool, &self.options)?;
        for (_, root) in spool.roots() {
            within(root, &self.spool, "spool")?;
        }
        Ok((spool, self.archive(&task.archive)?))
    }

    /// The spool of one collector.
    ///
    /// # Errors
    /// When it is another than the configured one, and does not lie in it.
    pub(super) fn spool(&self, place: &str) -> Result<Store> {
        let store = Store::open_with(place, &self.options)?;
        within(&store, &self.spool, "spool")?;
        Ok(store)
    }

    /// The archive.
    ///
    /// # Errors
    /// As [`Self::spool`].
    pub(super) fn archive(&self, place: &str) -> Result<Store> {
        let store = Store::open_with(place, &self.options)?;
        within(&store, &self.archive, "archive")?;
        Ok(store)
    }

    /// What scans can open, by the scheme and the bucket of a URL: the folders of spool and
    /// archive, only to be read.
    pub(super) fn stores(&self) -> HashMap<String, Arc<dyn ObjectStore>> {
        let mut found: HashMap<String, (Arc<dyn ObjectStore>, Vec<Path>)> = HashMap::new();
        let several = self.spool.roots().any(|(folder, _)| !folder.is_empty());
        // Scans know several spools as one store, whose keys begin with the collectors.
        let whole = several.then_some(&self.spool);
        let roots = self.spool.roots().chain(self.archive.roots());
        for store in roots.map(|(_, store)| store).chain(whole) {
            let (_, folders) = found
                .entry(origin(store.base_url()))
                .or_insert_with(|| (Arc::clone(store.object_store()), Vec::new()));
            folders.push(store.object_path(""));
        }
        found
            .into_iter()
            .map(|(url, (store, folders))| (url, Within::folders(store, folders)))
            .collect()
    }
}

fn within(store: &Store, own: &Store, what: &str) -> Result<()> {
    match store.overlap(own) {
        Some(Overlap::Same | Overlap::Inside) => Ok(()),
        _ => Err(Error::usage(format!(
            "{}: refused: the {what} of this executor is {}",
            store.show(""),
            own.show("")
        ))),
    }
}

/// Scheme and bucket of a URL.
pub(super) fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}
