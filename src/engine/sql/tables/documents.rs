//! `archive.meta` and `archive.quarantine`: one row per `meta.json`, one per entry of every
//! `error.json`. The filters over `exchange`, `stream`, `symbol` and `date` decide which of them
//! are read.
//!
//! One that cannot be read is a row of nulls (of `quarantine`, with the error as its message).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::{
    catalog::{Session, TableProvider, memory::MemorySourceConfig},
    datasource::TableType,
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, TryStreamExt};

use super::prune::{self, Hints};
use crate::{
    model::{
        meta::Meta,
        quarantine::{Entry, ErrorFile},
    },
    storage::{
        by_stream::{Listed, Listing, Side},
        store::Store,
    },
};

/// What is listed of a document, the size of the data beside it, and its bytes, if it could be
/// read.
type Document<'a> = (&'a (Listed, Option<u64>), Option<Bytes>);

/// Documents that are read at a time.
const AT_A_TIME: usize = 32;

/// The table.
#[derive(Debug)]
pub(super) struct Documents {
    store: Store,
    kind: Kind,
    /// The documents; of a `meta.json` also the size of the data beside it.
    listed: Vec<(Listed, Option<u64>)>,
    columns: SchemaRef,
    hints: Hints,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Meta,
    Quarantine,
}

impl Documents {
    /// `archive.meta`
    pub(super) fn meta(store: &Store, listing: &Listing, hints: Hints) -> Self {
        Self::new(store, Kind::Meta, listing.metas.clone(), hints)
    }

    /// `archive.quarantine`
    pub(super) fn quarantine(store: &Store, listing: &Listing, hints: Hints) -> Self {
        Self::new(
            store,
            Kind::Quarantine,
            listing.errors.iter().map(|e| (e.clone(), None)).collect(),
            hints,
        )
    }

    fn new(store: &Store, kind: Kind, listed: Vec<(Listed, Option<u64>)>, hints: Hints) -> Self {
        let mut fields: Vec<Field> = prune::fields(Side::Archive)
            .iter()
            .map(|f| f.as_ref().clone())
            .collect();
        let own: &[(&str, DataType)] = match kind {
            Kind::Meta => &META_COLUMNS,
            Kind::Quarantine => &QUARANTINE_COLUMNS,
        };
        fields.extend(
            own.iter()
                .map(|(name, kind)| Field::new(*name, kind.clone(), true)),
        );
        Self {
            store: store.clone(),
            kind,
            listed,
            columns: Arc::new(Schema::new(fields)),
            hints,
        }
    }

    fn rows(&self, documents: &[Document<'_>]) -> Result<RecordBatch> {
        let (listed, own) = match self.kind {
            Kind::Meta => self.meta_rows(documents),
            Kind::Quarantine => quarantine_rows(documents),
        };
        let mut columns = prune::batch(Side::Archive, &listed)?.columns().to_vec();
        columns.extend(own);
        Ok(RecordBatch::try_new(Arc::clone(&self.columns), columns)?)
    }

    fn meta_rows<'a>(&self, documents: &[Document<'a>]) -> (Vec<&'a Listed>, Vec<ArrayRef>) {
        let metas: Vec<Option<Meta>> = documents
            .iter()
            .map(|((listed, _), bytes)| {
                match Meta::from_json(bytes.as_deref().unwrap_or_default()) {
                    Ok(meta) => Some(meta),
                    Err(error) => {
                        let file = self.store.show(&listed.object.key);
                        tracing::warn!(file, why = error.chain(), "its columns are null");
                        None
                    }
                }
            })
            .collect();
        let own = vec![
            numbers(&metas, |m| i64::try_from(m.row_count).ok()),
            texts(&metas, |m| Some(m.schema_version.clone())),
            numbers(&metas, |m| m.ts_event_min.parse().ok()),
            numbers(&metas, |m| m.ts_event_max.parse().ok()),
            texts(&metas, |m| Some(m.sha256.clone())),
            texts(&metas, |m| Some(m.created_at.clone())),
            numbers(&metas, |m| i64::try_from(m.source_files).ok()),
            Arc::new(
                documents
                    .iter()
                    .map(|((_, size), _)| size.and_then(|n| i64::try_from(n).ok()))
                    .collect::<Int64Array>(),
            ),
        ];
        (
            documents.iter().map(|((listed, _), _)| listed).collect(),
            own,
        )
    }
}

const META_COLUMNS: [(&str, DataType); 8] = [
    ("row_count", DataType::Int64),
    ("schema_version", DataType::Utf8),
    ("ts_event_min", DataType::Int64),
    ("ts_event_max", DataType::Int64),
    ("sha256", DataType::Utf8),
    ("created_at", DataType::Utf8),
    ("source_files", DataType::Int64),
    ("data_bytes", DataType::Int64),
];

const QUARANTINE_COLUMNS: [(&str, DataType); 11] = [
    ("error_type", DataType::Utf8),
    ("message", DataType::Utf8),
    ("source_path", DataType::Utf8),
    ("size", DataType::Int64),
    ("sha256", DataType::Utf8),
    ("time", DataType::Utf8),
    ("kept_as", DataType::Utf8),
    ("kept_sha256", DataType::Utf8),
    ("rows", DataType::Int64),
    ("qlc_version", DataType::Utf8),
    ("reproduce", DataType::Utf8),
];

fn quarantine_rows<'a>(documents: &[Document<'a>]) -> (Vec<&'a Listed>, Vec<ArrayRef>) {
    let mut listed = Vec::new();
    let mut entries: Vec<Option<Entry>> = Vec::new();
    let mut messages = Vec::new();
    for ((file, _), bytes) in documents {
        match ErrorFile::from_json(bytes.as_deref().unwrap_or_default()) {
            Ok(found) => {
                for entry in found.files {
                    listed.push(file);
                    messages.push(Some(entry.message.clone()));
                    entries.push(Some(entry));
                }
            }
            Err(error) => {
                listed.push(file);
                messages.push(Some(error.chain()));
                entries.push(None);
            }
        }
    }
    let own = vec![
        texts(&entries, |e| Some(e.error_type.to_string())),
        Arc::new(StringArray::from(messages)) as ArrayRef,
        texts(&entries, |e| Some(e.source_path.clone())),
        numbers(&entries, |e| i64::try_from(e.size).ok()),
        texts(&entries, |e| Some(e.sha256.clone())),
        texts(&entries, |e| Some(e.time.clone())),
        texts(&entries, |e| Some(e.kept_as.clone())),
        texts(&entries, |e| Some(e.kept_sha256.clone())),
        numbers(&entries, |e| e.rows.and_then(|n| i64::try_from(n).ok())),
        texts(&entries, |e| Some(e.qlc_version.clone())),
        texts(&entries, |e| Some(e.reproduce.clone())),
    ];
    (listed, own)
}

fn numbers<T>(rows: &[Option<T>], each: fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(
        rows.iter()
            .map(|row| row.as_ref().and_then(each))
            .collect::<Int64Array>(),
    )
}

fn texts<T>(rows: &[Option<T>], each: fn(&T) -> Option<String>) -> ArrayRef {
    Arc::new(
        rows.iter()
            .map(|row| row.as_ref().and_then(each))
            .collect::<StringArray>(),
    )
}

#[async_trait]
impl TableProvider for Documents {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(prune::pushdown(Side::Archive, filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<&Listed> = self.listed.iter().map(|(listed, _)| listed).collect();
        let kept: std::collections::BTreeSet<&str> =
            prune::keep(Side::Archive, state, filters, &all, &self.hints)?
                .iter()
                .map(|listed| listed.object.key.as_str())
                .collect();
        let mut reads = Vec::new();
        for document in self
            .listed
            .iter()
            .filter(|(listed, _)| kept.contains(listed.object.key.as_str()))
        {
            reads.push(async move {
                self.store
                    .read(&document.0.object.key)
                    .await
                    .map(|bytes| (document, bytes))
            });
        }
        let documents: Vec<_> = futures::stream::iter(reads)
            .buffered(AT_A_TIME)
            .try_collect()
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))?;
        let batch = self.rows(&documents)?;
        Ok(MemorySourceConfig::try_new_exec(
            &[vec![batch]],
            self.schema(),
            projection.cloned(),
        )?)
    }
}
