//! A table over the data files of a store: the columns of the files, then those of the path.
//!
//! A column that a file lacks is null there, one of another physical type is cast (a dictionary of
//! strings to strings, a timestamp to its integer), but only where every value stays what it is.
//! One bad file of the spool does not break a query: a file whose footer cannot be read or whose
//! columns do not fit is left out with a warning. A bad file in the archive is damage, and an
//! error; so is a column that is asked for and has other values in the table's type.
//!
//! Which columns the table has is learned while statements are planned ([`columns`]). A scan that
//! learns of more ends the attempt with [`Learned`], and the statement is planned again.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    compute::SortOptions,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{ScalarValue, Statistics, project_schema, stats::Precision},
    config::TableParquetOptions,
    datasource::{
        TableType,
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::{DataFusionError, Result},
    execution::{memory_pool::MemoryLimit, object_store::ObjectStoreUrl},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{ExecutionPlan, empty::EmptyExec, union::UnionExec},
};
use futures::StreamExt;

use super::{
    bounded::BoundedScan,
    columns::{self, Becomes, FOOTERS_AT_A_TIME, Footer, Known, without_path_columns},
    guard::Guarded,
    prune::{self, Hints},
    trusted::TrustedFooters,
};
use crate::{
    engine::{error::causes, session, sql::claimed::Held},
    error::{Error, Kind},
    file::fault::Problem,
    model::{partition::Stream, schema},
    storage::{
        by_stream::{Listed, Listing, Side},
        store::Store,
    },
};

/// What is learned of a stream's columns while statements are planned; shared with the schema that
/// makes its tables.
#[derive(Debug, Clone)]
pub(super) struct Learning {
    /// The stream.
    pub(super) stream: Stream,
    /// What is known so far.
    pub(super) known: Arc<Mutex<Known>>,
    /// Columns of files whose values may not fit in the table's type, in words.
    pub(super) checked: Arc<Mutex<BTreeSet<String>>>,
}

/// A scan learned of columns that its table does not have: plan again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned;

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table has other columns than were known")
    }
}

impl std::error::Error for Learned {}

impl Learned {
    /// Whether that is what `error` is about.
    #[must_use]
    pub fn caused(error: &DataFusionError) -> bool {
        causes(error).any(<dyn std::error::Error + 'static>::is::<Self>)
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct PartitionedTable {
    store: Store,
    side: Side,
    /// What the files hold, path columns included: what a file's own columns must fit.
    held: SchemaRef,
    columns: TableSchema,
    files: Vec<Listed>,
    /// Of a stream; the table of all streams has the common columns only.
    learning: Option<Learning>,
    left_out: LeftOut,
    hints: Hints,
    sizes: Sizes,
}

/// What the tables of all streams share.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    /// What to tell the user of the statement.
    pub(super) hints: Hints,
    /// How large its rows are.
    pub(super) sizes: Sizes,
    /// What it would read and cannot.
    pub(super) left_out: LeftOut,
}

/// Files of the spool that statements leave out; clones share it.
#[derive(Debug, Clone, Default)]
pub struct LeftOut(Arc<Mutex<BTreeSet<String>>>);

impl LeftOut {
    /// How many there are.
    #[must_use]
    pub fn files(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Notes a file; whether it was not noted before.
    fn note(&self, file: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(file.to_owned())
    }
}

/// How large the rows of the files that statements read are, as far as their footers were looked
/// at; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Sizes(Arc<Mutex<(usize, u64)>>);

impl Default for Sizes {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((columns::BATCH_ROWS, 0))))
    }
}

impl Sizes {
    /// How many rows may be in one batch, and the stored bytes of the largest row group.
    pub(super) fn get(&self) -> (usize, u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, batch_rows: usize, group_bytes: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = (known.0.min(batch_rows.max(1)), known.1.max(group_bytes));
    }
}

impl PartitionedTable {
    /// The table of a stream, with the columns that are known of it.
    pub(super) fn stream(
        store: &Store,
        side: Side,
        learning: Learning,
        files: Vec<Listed>,
        shared: Shared,
    ) -> Self {
        let held = learning
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .columns(&learning.stream);
        Self::new(store, side, held, Some(learning), files, shared)
    }

    /// The table of the common columns of all streams.
    pub(super) fn events(store: &Store, side: Side, listing: &Listing, shared: Shared) -> Self {
        Self::new(
            store,
            side,
            Arc::new(Schema::new(schema::common())),
            None,
            listing.all(),
            shared,
        )
    }

    fn new(
        store: &Store,
        side: Side,
        held: SchemaRef,
        learning: Option<Learning>,
        files: Vec<Listed>,
        Shared {
            hints,
            sizes,
            left_out,
        }: Shared,
    ) -> Self {
        let columns = TableSchema::builder(without_path_columns(side, &held))
            .with_table_partition_cols(prune::fields(side))
            .build();
        Self {
            store: store.clone(),
            side,
            held,
            columns,
            files,
            learning,
            left_out,
            hints,
            sizes,
        }
    }

    /// The columns that a scan reads.
    fn asked<'a>(
        &'a self,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Vec<&'a Arc<Field>> {
        let of_filters: BTreeSet<&str> = filters
            .iter()
            .flat_map(Expr::column_refs)
            .map(|column| column.name.as_str())
            .collect();
        let all = self.columns.table_schema().fields().iter().enumerate();
        let is_asked = |at: usize, field: &Field| {
            projection.is_none_or(|some| some.contains(&at))
                || of_filters.contains(field.name().as_str())
        };
        all.filter(|(at, field)| is_asked(*at, field))
            .map(|(_, field)| field)
            .collect()
    }

    /// Looks at the footers on which it depends which columns there are and whether they can be
    /// read as the table's. Gives the keys of those that are to be read as large files are.
    async fn look(
        &self,
        state: &dyn Session,
        files: &[&Listed],
        asked: &[&Arc<Field>],
    ) -> Result<BTreeSet<String>> {
        let whole = asked.len() == self.columns.table_schema().fields().len();
        let canonical = schema::common();
        let own = self
            .learning
            .as_ref()
            .and_then(|learning| schema::own(&learning.stream))
            .unwrap_or_default();
        let is_known = |name: &str| {
            prune::is_of_path(self.side, name)
                || canonical
                    .iter()
                    .chain(&own)
                    .any(|field| field.name() == name)
        };
        let of_all =
            self.learning.is_some() && (whole || asked.iter().any(|field| !is_known(field.name())));
        // What qlc published has the columns that it must have; of other data only its footer
        // tells.
        let most = held_at_most(state);
        let travels = session::travels(state.config_options());
        let is_looked = |file: &Listed| of_all || !file.vouched;
        // A file may have a row group that is as large as it is. Elsewhere nobody looks at footers
        // before they are decoded.
        let may_be_large = |file: &Listed| travels || file.object.size > most;
        let looked = files
            .iter()
            .copied()
            .filter(|file| is_looked(file) || may_be_large(file));
        let looked: Vec<&Listed> = looked.collect();
        let footers = self.footers(state, &looked).await;
        let (mut read, mut others) = (Vec::with_capacity(looked.len()), Vec::new());
        for (file, footer) in footers {
            let footer = footer.map_err(|e| DataFusionError::External(Box::new(e)))?;
            if is_looked(file) {
                read.push((file, footer));
            } else {
                others.push((file, footer));
            }
        }
        self.learn(&read)?;
        self.check(&read, asked)?;
        let mut large = BTreeSet::new();
        for (file, footer) in read.iter().chain(&others) {
            let rows = footer.rows_at_a_time(&self.store, &file.object).await;
            if footer.is_large(asked, most) {
                let _ = large.insert(file.object.key.clone());
                // Its row groups are not held, but its rows are sorted and joined in batches as
                // others are. What is wrong with it is found when it is read.
                self.sizes.note(rows.unwrap_or(columns::BATCH_ROWS), 0);
                continue;
            }
            let bad = |problem| {
                Error::new(
                    Kind::Damage,
                    format!("{}: {problem}", self.store.show(&file.object.key)),
                )
            };
            let rows = rows.map_err(|problem| DataFusionError::External(Box::new(bad(problem))))?;
            self.sizes.note(rows, footer.group_bytes);
        }
        Ok(large)
    }

    /// Notes the columns of these files.
    fn learn(&self, read: &[(&Listed, Footer)]) -> Result<()> {
        let Some(learning) = &self.learning else {
            return Ok(());
        };
        let mut known = learning
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (file, footer) in read {
            known.asked.add(&file.object.key, footer);
        }
        let same = known.columns(&learning.stream) == self.held;
        if same {
            Ok(())
        } else {
            Err(DataFusionError::External(Box::new(Learned)))
        }
    }

    /// Refuses columns that are asked for and whose values would not be those of a file.
    fn check(&self, read: &[(&Listed, Footer)], asked: &[&Arc<Field>]) -> Result<()> {
        for (file, footer) in read {
            for field in asked {
                let Ok(stored) = footer.schema.field_with_name(field.name()) else {
                    continue;
                };
                if prune::is_of_path(self.side, field.name()) {
                    continue;
                }
                let (name, shown) = (field.name(), field.data_type());
                let place = self.store.show(&file.object.key);
                match columns::becomes(name, stored.data_type(), shown) {
                    Becomes::Exact => {}
                    Becomes::Checked => {
                        if let Some(learning) = &self.learning {
                            let text =
                                format!("column {name} is {} in {place}", stored.data_type());
                            let mut checked = learning
                                .checked
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner);
                            let _ = checked.insert(text);
                        }
                    }
                    Becomes::Other => {
                        let other = self.other(read, name, shown);
                        return Err(DataFusionError::External(Box::new(Error::usage(format!(
                            "column {name} is {} in {place}, but {shown} {other}; no type holds the values of both \
                             exactly: read these files apart, with a filter on exchange, stream, symbol or date, or \
                             leave the column out",
                            stored.data_type(),
                        )))));
                    }
                }
            }
        }
        Ok(())
    }

    /// Where a column has the type that it has in the table.
    fn other(&self, read: &[(&Listed, Footer)], name: &str, shown: &DataType) -> String {
        let is_so = |schema: &Schema| {
            schema
                .field_with_name(name)
                .is_ok_and(|f| schema::logical(f.data_type()) == *shown)
        };
        let file = read
            .iter()
            .find(|(_, footer)| is_so(&footer.schema))
            .map(|(file, _)| &file.object.key);
        file.map_or_else(
            || "in the table".to_owned(),
            |key| format!("in {}", self.store.show(key)),
        )
    }

    /// The footers of files, or what is wrong with each.
    async fn footers<'a>(
        &self,
        state: &dyn Session,
        files: &[&'a Listed],
    ) -> Vec<(&'a Listed, crate::error::Result<Footer>)> {
        let runtime = state.runtime_env();
        let mut reads = Vec::new();
        for file in files.iter().copied() {
            reads.push(async move {
                (
                    file,
                    columns::footer(&self.store, runtime, &file.object).await,
                )
            });
        }
        futures::stream::iter(reads)
            .buffered(FOOTERS_AT_A_TIME)
            .collect()
            .await
    }

    /// The order of an archive's rows: files by their path, rows in a file by `(ts_event, seq,
    /// sub_seq)`, as receipts vouch. The rows of a single file are in the second order by itself.
    fn orders(&self, one: bool) -> Vec<LexOrdering> {
        let columns = self.columns.table_schema();
        // Only seq and sub_seq may be null; where nulls stand is said of the others as a statement
        // says it that does not say.
        let by = |name: &str| {
            let usual = |at: &usize| {
                matches!(
                    columns.field(*at).data_type(),
                    DataType::Int64 | DataType::Int32 | DataType::Utf8View
                )
            };
            let at = columns.index_of(name).ok().filter(usual)?;
            let nulls_first = [schema::SEQ, schema::SUB_SEQ].contains(&name);
            let options = SortOptions {
                descending: false,
                nulls_first,
            };
            Some(PhysicalSortExpr::new(
                Arc::new(Column::new(name, at)),
                options,
            ))
        };
        let order = |names: &[&str]| {
            LexOrdering::new(
                names
                    .iter()
                    .map(|name| by(name))
                    .collect::<Option<Vec<_>>>()?,
            )
        };
        let rows = [schema::TS_EVENT, schema::SEQ, schema::SUB_SEQ];
        let all = order(&[&prune::names(self.side)[..], &rows].concat());
        let alone = if one { order(&rows) } else { None };
        alone.into_iter().chain(all).collect()
    }

    /// What must be told of every file for its order to be believed next to that of others. Their
    /// paths tell them apart already, so that nothing needs to be known of their columns.
    fn spans(&self) -> Arc<Statistics> {
        let mut statistics = Statistics::new_unknown(self.columns.file_schema());
        for (field, column) in self
            .columns
            .file_schema()
            .fields()
            .iter()
            .zip(&mut statistics.column_statistics)
        {
            if [schema::TS_EVENT, schema::SEQ].contains(&field.name().as_str()) {
                column.min_value = Precision::Inexact(ScalarValue::from(i64::MIN));
                column.max_value = Precision::Inexact(ScalarValue::from(i64::MAX));
            } else if field.name() == schema::SUB_SEQ {
                column.min_value = Precision::Inexact(ScalarValue::from(i32::MIN));
                column.max_value = Precision::Inexact(ScalarValue::from(i32::MAX));
            }
        }
        Arc::new(statistics)
    }

    /// The files of the spool that can be read.
    async fn readable<'a>(
        &self,
        state: &dyn Session,
        files: Vec<&'a Listed>,
        asked: &[&Arc<Field>],
    ) -> Result<Readable<'a>> {
        let (mut read, mut faults) = (Vec::new(), Vec::new());
        for (file, footer) in self.footers(state, &files).await {
            match footer {
                Ok(footer) => read.push((file, footer)),
                Err(error) => faults.push((file, error.chain())),
            }
        }
        self.learn(&read)?;
        let most = held_at_most(state);
        let mut readable = Readable::default();
        for (file, footer) in read {
            if let Some(why) = unfit(&footer.schema, &self.held, asked) {
                faults.push((file, why));
                continue;
            }
            match footer.rows_at_a_time(&self.store, &file.object).await {
                Ok(fit) if footer.is_large(asked, most) => {
                    self.sizes.note(fit, 0);
                    let _ = readable.large.insert(file.object.key.clone());
                    readable.files.push(file);
                }
                Ok(fit) => {
                    self.sizes.note(fit, footer.group_bytes);
                    readable.rows += footer.rows;
                    readable.files.push(file);
                }
                Err(Problem::Storage(error)) => {
                    return Err(DataFusionError::External(Box::new(error)));
                }
                Err(problem) => faults.push((file, problem.to_string())),
            }
        }
        for (file, why) in faults {
            if self.left_out.note(&file.object.key) {
                let shown = self.store.show(&file.object.key);
                let named = format!("{shown}: ");
                let why = why.strip_prefix(&named).unwrap_or(&why);
                tracing::warn!("{shown}: left out of the query: {why}");
            }
        }
        Ok(readable)
    }
}

/// The files of the spool that can be read.
#[derive(Debug, Default)]
struct Readable<'a> {
    files: Vec<&'a Listed>,
    /// The keys of those that are to be read as large files are.
    large: BTreeSet<String>,
    /// The rows of the others.
    rows: u64,
}

/// The part of what operators may reserve that a scan may hold of a file: its readers are not
/// counted there.
const SCAN_SHARE: usize = 4;
/// What a scan may hold of a file whatever operators may reserve.
const LEAST_HELD: u64 = 24 << 20;

/// Bytes that a scan may hold of a file.
fn held_at_most(state: &dyn Session) -> u64 {
    match state.runtime_env().memory_pool.memory_limit() {
        MemoryLimit::Finite(bytes) => (bytes / SCAN_SHARE) as u64,
        _ => 0,
    }
    .max(LEAST_HELD)
}

/// Why the columns of a spool file that are asked for cannot be read as those of its table, in
/// words for a person. Less is refused than by a compaction: a table may have to hold the columns
/// of several days.
fn unfit(file: &Schema, held: &Schema, asked: &[&Arc<Field>]) -> Option<String> {
    let why = schema::misfit(file, held)?;
    let names: BTreeSet<&String> = file.fields().iter().map(|field| field.name()).collect();
    let is_other = |field: &Arc<Field>| {
        if !asked.iter().any(|asked| asked.name() == field.name()) {
            return false;
        }
        let shown = held.field_with_name(field.name());
        shown.is_ok_and(|shown| {
            columns::becomes(field.name(), field.data_type(), shown.data_type()) == Becomes::Other
        })
    };
    let fits = names.len() == file.fields().len()
        && file.column_with_name(schema::TS_EVENT).is_some()
        && !file.fields().iter().any(is_other);
    if fits { None } else { Some(why) }
}

#[async_trait]
impl TableProvider for PartitionedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(prune::pushdown(self.side, filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<&Listed> = self.files.iter().collect();
        let mut files = prune::keep(self.side, state, filters, &all, &self.hints)?;
        let mut statistics = Statistics::new_unknown(self.columns.table_schema());
        let asked = self.asked(projection, filters);
        let large = if self.side == Side::Spool {
            let readable = self.readable(state, files, &asked).await?;
            files = readable.files;
            let rows = usize::try_from(readable.rows).map_or(Precision::Absent, Precision::Exact);
            statistics = statistics.with_num_rows(rows);
            readable.large
        } else {
            self.look(state, &files, &asked).await?
        };
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(
                &self.schema(),
                projection,
            )?)));
        }
        let (large, mut files): (Vec<&Listed>, Vec<&Listed>) = files
            .into_iter()
            .partition(|file| large.contains(&file.object.key));
        let bounded = if large.is_empty() {
            None
        } else {
            Some(BoundedScan::of(
                &self.store,
                self.side,
                &large,
                project_schema(&self.schema(), projection)?,
            ))
        };
        if files.is_empty()
            && let Some(bounded) = bounded
        {
            return Ok(bounded);
        }
        let claims = session::claims(state.config_options()) && bounded.is_none();
        let vouched = claims && files.iter().all(|file| file.vouched);
        let orders = if vouched {
            self.orders(files.len() == 1)
        } else {
            Vec::new()
        };
        files.sort_by(|a, b| (&a.series, a.date).cmp(&(&b.series, b.date)));
        let spans = (!orders.is_empty()).then(|| self.spans());
        let partitioned = files.into_iter().map(|file| {
            let part =
                PartitionedFile::new_from_meta(columns::object_meta(&self.store, &file.object))
                    .with_partition_values(prune::values(self.side, file));
            match &spans {
                Some(spans) => part.with_statistics(Arc::clone(spans)),
                None => part,
            }
        });
        let groups =
            FileGroup::new(partitioned.collect()).split_files(state.config().target_partitions());
        let mut options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        if self.side == Side::Spool {
            // What its files claim was not proven by anyone yet.
            options.global.pruning = false;
            options.global.enable_page_index = false;
        }
        let url = ObjectStoreUrl::parse(self.store.base_url())?;
        let runtime = state.runtime_env();
        // The session's cache of footers is in front of the reader, so that each is read once.
        let footers = Guarded::new(&self.store, runtime);
        let hint = options.global.metadata_size_hint;
        let mut source = ParquetSource::new(self.columns.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(TrustedFooters(footers)));
        if let Some(bytes) = hint {
            source = source.with_metadata_size_hint(bytes);
        }
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_output_ordering(orders)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        let scan = Held::over(DataSourceExec::from_data_source(scan));
        match bounded {
            None => Ok(scan),
            Some(bounded) => UnionExec::try_new(vec![scan, bounded]),
        }
    }
}
