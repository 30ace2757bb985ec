//! A table over the data files of a store: the columns of the files, then those of the path.
//!
//! A column that a file lacks is null there, one of another physical type is cast (a dictionary of strings to strings, a
//! timestamp to its integer). Refuses to let one bad file of the spool break a query: a file whose footer cannot be read or
//! whose columns do not fit is left out with a warning. A bad file in the archive is damage, and an error.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    compute::SortOptions,
    datatypes::{DataType, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{ScalarValue, Statistics, project_schema, stats::Precision},
    config::TableParquetOptions,
    datasource::{
        TableType,
        file_format::{FileFormat, parquet::ParquetFormat},
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        table_schema::TableSchema,
    },
    error::Result,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};
use futures::StreamExt;

use super::{
    columns::{self, FOOTERS_AT_A_TIME, Footer, without_path_columns},
    listing::{Listed, Listing, Side},
    prune,
};
use crate::{
    engine::{claimed::Held, session},
    model::schema,
    storage::store::Store,
};

/// The table.
#[derive(Debug)]
pub(super) struct PartitionedTable {
    store: Store,
    side: Side,
    /// What the files hold, path columns included: what a file's own columns must fit.
    held: SchemaRef,
    columns: TableSchema,
    files: Vec<Listed>,
    /// Keys of files that were left out and told of: a statement is planned more than once.
    told: Mutex<BTreeSet<String>>,
}

impl PartitionedTable {
    /// The table of one stream.
    pub(super) fn stream(store: &Store, side: Side, held: SchemaRef, files: Vec<Listed>) -> Self {
        let columns =
            TableSchema::builder(without_path_columns(&held)).with_table_partition_cols(prune::fields()).build();
        Self { store: store.clone(), side, held, columns, files, told: Mutex::default() }
    }

    /// The table of the common columns of all streams.
    pub(super) fn events(store: &Store, side: Side, listing: &Listing) -> Self {
        Self::stream(store, side, Arc::new(Schema::new(schema::common())), listing.all())
    }

    /// The order of an archive's rows: files by their path, rows in a file by `(ts_event, seq)`, as receipts vouch. The rows
    /// of a single file are in the second order by itself.
    fn orders(&self, one: bool) -> Vec<LexOrdering> {
        let columns = self.columns.table_schema();
        // Only seq may be null; where nulls stand is said of the others as a statement says it that does not say.
        let by = |name: &str| {
            let usual = |at: &usize| matches!(columns.field(*at).data_type(), DataType::Int64 | DataType::Utf8View);
            let at = columns.index_of(name).ok().filter(usual)?;
            let options = SortOptions { descending: false, nulls_first: name == schema::SEQ };
            Some(PhysicalSortExpr::new(Arc::new(Column::new(name, at)), options))
        };
        let order = |names: &[&str]| LexOrdering::new(names.iter().map(|name| by(name)).collect::<Option<Vec<_>>>()?);
        let rows = [schema::TS_EVENT, schema::SEQ];
        let all = order(&[&prune::COLUMNS[..], &rows].concat());
        let alone = if one { order(&rows) } else { None };
        alone.into_iter().chain(all).collect()
    }

    /// What must be told of every file for its order to be believed next to that of others. Their paths tell them apart
    /// already, so that nothing needs to be known of their columns.
    fn spans(&self) -> Arc<Statistics> {
        let mut statistics = Statistics::new_unknown(self.columns.file_schema());
        for (field, column) in self.columns.file_schema().fields().iter().zip(&mut statistics.column_statistics) {
            if [schema::TS_EVENT, schema::SEQ].contains(&field.name().as_str()) {
                column.min_value = Precision::Inexact(ScalarValue::from(i64::MIN));
                column.max_value = Precision::Inexact(ScalarValue::from(i64::MAX));
            }
        }
        Arc::new(statistics)
    }

    /// The files of the spool that can be read, and how many rows they have.
    async fn readable<'a>(&self, state: &dyn Session, files: Vec<&'a Listed>) -> (Vec<&'a Listed>, u64) {
        let runtime = state.runtime_env();
        let mut reads = Vec::new();
        for file in files {
            reads.push(async move { (file, columns::footer(&self.store, runtime, &file.object).await) });
        }
        let mut footers = futures::stream::iter(reads).buffered(FOOTERS_AT_A_TIME);
        let (mut good, mut rows) = (Vec::new(), 0);
        while let Some((file, footer)) = footers.next().await {
            let why = match footer.map(|f: Footer| (f.rows, schema::misfit(&f.schema, &self.held))) {
                Ok((n, None)) => {
                    rows += n;
                    good.push(file);
                    continue;
                }
                Ok((_, Some(why))) => why,
                Err(error) => error.chain(),
            };
            if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(file.object.key.clone()) {
                tracing::warn!(file = self.store.show(&file.object.key), why, "left out of the query");
            }
        }
        (good, rows)
    }
}

#[async_trait]
impl TableProvider for PartitionedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(prune::pushdown(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<&Listed> = self.files.iter().collect();
        let mut files = prune::keep(state, filters, &all)?;
        let mut statistics = Statistics::new_unknown(self.columns.table_schema());
        if self.side == Side::Spool {
            let (good, rows) = self.readable(state, files).await;
            files = good;
            statistics = statistics.with_num_rows(usize::try_from(rows).map_or(Precision::Absent, Precision::Exact));
        }
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let vouched = session::claims(state.config_options()) && files.iter().all(|file| file.vouched);
        let orders = if vouched { self.orders(files.len() == 1) } else { Vec::new() };
        if !orders.is_empty() {
            files.sort_by(|a, b| (&a.series, a.date).cmp(&(&b.series, b.date)));
        }
        let spans = (!orders.is_empty()).then(|| self.spans());
        let partitioned = files.into_iter().map(|file| {
            let part = PartitionedFile::new_from_meta(columns::object_meta(&self.store, &file.object))
                .with_partition_values(prune::values(file));
            match &spans {
                Some(spans) => part.with_statistics(Arc::clone(spans)),
                None => part,
            }
        });
        let groups = FileGroup::new(partitioned.collect()).split_files(state.config().target_partitions());
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(self.columns.clone()).with_table_parquet_options(options.clone());
        let url = ObjectStoreUrl::parse(self.store.base_url())?;
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_output_ordering(orders)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        // Through the format, because it puts the session's cache of footers in front of the reader.
        ParquetFormat::default().with_options(options).create_physical_plan(state, scan).await.map(Held::over)
    }
}
