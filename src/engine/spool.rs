//! A partition's chosen files as a table of the engine: a `ListingTable` with qlc's own file
//! format.
//!
//! The store that the table lists has the chosen files and nothing else: which these are is
//! decided, and must not change by a second look. The format plans the scan of all of them at once,
//! as the layout says: chains of files that do not overlap, merges of bounded width, runs on disk.
//! To the optimizer that is one leaf that is in order: its rules know neither the files' claims nor
//! the memory that the layout was made for.

use std::{fmt, path::PathBuf, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result as DfResult, Statistics, stats::Precision},
    datasource::{
        file_format::{FileFormat, file_compression_type::FileCompressionType},
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
        physical_plan::{FileGroup, FileScanConfig, FileSource},
        table_schema::TableSchema,
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, displayable,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
    },
    prelude::SessionContext,
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{GetOptions, GetResult, ListResult, ObjectMeta, ObjectStore, path::Path};

use super::{
    order::ordering,
    plan::{Layouts, rows},
    source::SpoolSource,
};
use crate::{
    job::Job,
    storage::read_only::{ReadOnly, Readable, refused},
};

/// Where the table lists its files.
const URL: &str = "chosen://files/";
/// The end of their names there.
const EXTENSION: &str = ".parquet";

/// How the files of one partition are read.
#[derive(Clone)]
pub struct SpoolFormat {
    /// The files, and what becomes of their rows.
    pub job: Arc<Job>,
    /// In which order and how many at a time.
    pub layouts: Layouts,
    /// Where runs are spilled.
    pub spill: PathBuf,
    /// Sorts that go on in memory at a time.
    pub cores: usize,
}

impl fmt::Debug for SpoolFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolFormat")
            .field("partition", &self.job.partition)
            .finish_non_exhaustive()
    }
}

impl SpoolFormat {
    /// The table of the files, whose store becomes one of `session`.
    ///
    /// # Errors
    /// Never in practice: the URL and the schema are given.
    pub fn table(self, session: &SessionContext) -> DfResult<Arc<dyn TableProvider>> {
        let url = ListingTableUrl::parse(URL)?;
        let sizes = self.job.sources.iter().map(|source| source.handle.size());
        let files = ReadOnly(ChosenFiles(
            sizes
                .enumerate()
                .map(|(nth, size)| chosen(nth, size))
                .collect(),
        ));
        let _ = session
            .runtime_env()
            .register_object_store(url.object_store().as_ref(), Arc::new(files));
        let schema = Arc::clone(&self.job.shape.carried);
        let options = ListingOptions::new(Arc::new(self));
        let config = ListingTableConfig::new(url)
            .with_listing_options(options)
            .with_schema(schema);
        Ok(Arc::new(ListingTable::try_new(config)?))
    }
}

#[async_trait]
impl FileFormat for SpoolFormat {
    fn get_ext(&self) -> String {
        EXTENSION.to_owned()
    }

    fn get_ext_with_compression(&self, _: &FileCompressionType) -> DfResult<String> {
        Ok(self.get_ext())
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        None
    }

    async fn infer_schema(
        &self,
        _: &dyn Session,
        _: &Arc<dyn ObjectStore>,
        _: &[ObjectMeta],
    ) -> DfResult<SchemaRef> {
        Ok(Arc::clone(&self.job.shape.carried))
    }

    async fn infer_stats(
        &self,
        _: &dyn Session,
        _: &Arc<dyn ObjectStore>,
        schema: SchemaRef,
        _: &ObjectMeta,
    ) -> DfResult<Statistics> {
        // Claims are of the files as a whole, and so are the plan's statistics.
        Ok(Statistics::new_unknown(&schema))
    }

    async fn create_physical_plan(
        &self,
        _: &dyn Session,
        config: FileScanConfig,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let listed: usize = config.file_groups.iter().map(FileGroup::len).sum();
        if listed != self.job.sources.len() {
            let what = format!(
                "{listed} of {} chosen files were listed",
                self.job.sources.len()
            );
            return Err(DataFusionError::Internal(what));
        }
        let rows = rows(&self.job, &self.layouts, &self.spill, self.cores)?;
        Ok(Arc::new(SpoolScan::new(rows, &self.job)?))
    }

    fn file_source(&self, _: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(SpoolSource::new(Arc::clone(&self.job)))
    }
}

/// The scan of a partition's files: the rows of the day in their final order.
#[derive(Debug)]
struct SpoolScan {
    rows: Arc<dyn ExecutionPlan>,
    files: usize,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
}

impl SpoolScan {
    fn new(rows: Arc<dyn ExecutionPlan>, job: &Job) -> DfResult<Self> {
        let order = ordering(&job.shape)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(rows.schema(), [order]),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        // The scans below yield to others, batch by batch.
        let properties = properties.with_scheduling_type(SchedulingType::Cooperative);
        let claimed: u64 = job.sources.iter().map(|source| source.claims.rows).sum();
        let bytes: u64 = job.sources.iter().map(|source| source.handle.size()).sum();
        let inexact =
            |value: u64| usize::try_from(value).map_or(Precision::Absent, Precision::Inexact);
        let mut statistics = Statistics::new_unknown(&rows.schema());
        (statistics.num_rows, statistics.total_byte_size) = (inexact(claimed), inexact(bytes));
        let files = job.sources.len();
        Ok(Self {
            rows,
            files,
            statistics: Arc::new(statistics),
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for SpoolScan {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolScan: files={}, order=[ts_event, seq]", self.files)?;
        if kind == DisplayFormatType::TreeRender {
            return Ok(());
        }
        for line in displayable(self.rows.as_ref())
            .indent(false)
            .to_string()
            .lines()
        {
            write!(f, "\n      {line}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SpoolScan {
    fn name(&self) -> &'static str {
        "SpoolScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    // What the layout planned stays as it is.
    crate::engine::leaf!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        self.rows.execute(partition, context)
    }

    fn partition_statistics(&self, _: Option<usize>) -> DfResult<Arc<Statistics>> {
        Ok(Arc::clone(&self.statistics))
    }
}

/// A store that lists the chosen files, and gives none: they are read through their handles.
#[derive(Debug)]
struct ChosenFiles(Vec<ObjectMeta>);

/// The name is not that of the file: names of spools are not always names of URLs.
fn chosen(nth: usize, size: u64) -> ObjectMeta {
    let location = Path::from(format!("{nth:08}{EXTENSION}"));
    ObjectMeta {
        location,
        last_modified: chrono::DateTime::default(),
        size,
        e_tag: None,
        version: None,
    }
}

impl fmt::Display for ChosenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} chosen files", self.0.len())
    }
}

#[async_trait]
impl Readable for ChosenFiles {
    async fn get(&self, _: &Path, _: GetOptions) -> object_store::Result<GetResult> {
        refused("get")
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        stream::iter(self.0.clone().into_iter().map(Ok)).boxed()
    }

    async fn list_folder(&self, _: Option<&Path>) -> object_store::Result<ListResult> {
        refused("list by folder")
    }
}
