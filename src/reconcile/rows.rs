//! The rows of one side, in the order of what they are known by, as the engine gives them: sorted
//! on disk where they do not fit in memory.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, AsArray, BooleanArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
    },
    compute::cast,
    datatypes::{DataType, Float64Type, Int8Type, Int64Type},
};

use super::{
    compare::{Origin, TradeKey, TradeRow},
    published::Identity,
};
use crate::{
    engine::sql::{self, Means, Rows, Value},
    error::{Error, Kind, Result},
    file::{fault::Problem, reader::Handle},
    model::{layout, partition::Partition, schema::SOURCE, time::to_ns},
    storage::store::Store,
};

/// The rows of one key are held in memory; more than these are no identity.
const GROUP: usize = 65_536;
/// The name of the column of keys.
const KEY: &str = "reconcile_key";
/// The name of the column that tells rows that wait in the spool.
const WAITING: &str = "reconcile_waiting";

/// What reading needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) partition: &'a Partition,
    pub(super) identity: Identity,
    /// Bytes that the process may have resident for it.
    pub(super) memory_limit: u64,
    pub(super) spill_dir: &'a Path,
}

impl Reading<'_> {
    fn means(&self) -> Means<'_> {
        Means {
            memory_limit: self.memory_limit,
            spill_dir: self.spill_dir,
            remote: None,
            all_columns: false,
        }
    }

    fn params(&self) -> BTreeMap<String, Value> {
        let series = &self.partition.series;
        [
            ("exchange", series.exchange.to_string()),
            ("symbol", series.symbol.to_string()),
            ("date", self.partition.date.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::Text(value)))
        .collect()
    }

    /// The key of a row, in SQL. Rows of version 1 have numbers of their collector in `seq`, and
    /// the venue's in `trade_id`.
    fn key(&self) -> &'static str {
        match self.identity {
            Identity::Number => {
                "CASE WHEN stream_version >= 2 THEN seq ELSE coalesce(try_cast(trade_id AS BIGINT), seq) END"
            }
            Identity::TradeId => "coalesce(trade_id, '')",
            Identity::Single => "coalesce(first_id, -1)",
        }
    }

    /// Our rows: those of the archive and, where `waits_in` is the collector whose files hold some,
    /// those that wait in the spool.
    pub(super) async fn ours(
        &self,
        spool: &Store,
        archive: &Store,
        waits_in: Option<&str>,
    ) -> Result<KeyedRows> {
        let mut params = self.params();
        let source = tells_source(archive, self.partition).await?;
        let columns = |source: &str, waiting: &str| {
            format!(
                "SELECT {} AS {KEY}, ts_event, price, qty, side, first_id, last_id, {source} AS source, \
                 {waiting} AS {WAITING}",
                self.key()
            )
        };
        let of_archive = if source {
            "source"
        } else {
            "CAST(NULL AS VARCHAR)"
        };
        let mut text = format!(
            "{} FROM archive.trade WHERE exchange = $exchange AND symbol = $symbol AND date = $date",
            columns(of_archive, "FALSE")
        );
        if let Some(collector) = waits_in {
            let _ = params.insert("collector".to_owned(), Value::Text(collector.to_owned()));
            text = format!(
                "{text} UNION ALL {} FROM spool.trade WHERE exchange = $exchange AND symbol = $symbol \
                 AND date = $date AND collector = $collector",
                columns("CAST(NULL AS VARCHAR)", "TRUE")
            );
        }
        let text = format!("{text} ORDER BY {KEY}");
        let rows = sql::rows(spool, archive, &text, &params, self.means()).await?;
        Ok(KeyedRows::new(rows, self.identity))
    }

    /// Their rows, of the store that holds nothing else; with all their columns.
    pub(super) async fn theirs(&self, published: &Store) -> Result<KeyedRows> {
        let text = format!(
            "SELECT *, {} AS {KEY}, FALSE AS {WAITING} FROM spool.trade ORDER BY {KEY}",
            self.key()
        );
        let rows = sql::rows(published, published, &text, &BTreeMap::new(), self.means()).await?;
        Ok(KeyedRows::new(rows, self.identity))
    }
}

/// Whether the archived rows of the partition say where they are from.
async fn tells_source(archive: &Store, partition: &Partition) -> Result<bool> {
    let Some(data) = archive.head(&layout::data_key(partition)).await? else {
        return Ok(false);
    };
    match Handle::new(archive, &data).footer().await {
        Ok(footer) => Ok(footer
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .any(|column| column.name() == SOURCE)),
        Err(Problem::Storage(error)) => Err(error),
        // What is wrong with it is told when its rows are read.
        Err(_) => Ok(false),
    }
}

/// The columns of one batch.
#[derive(Debug)]
struct Columns {
    keys: Keys,
    ts_event: Int64Array,
    price: Float64Array,
    qty: Float64Array,
    side: Int8Array,
    first_id: Int64Array,
    last_id: Int64Array,
    source: Option<StringArray>,
    waiting: BooleanArray,
}

#[derive(Debug)]
enum Keys {
    Numbers(Int64Array),
    Names(StringArray),
}

impl Columns {
    fn of(batch: &RecordBatch, identity: Identity) -> Result<Self> {
        let column = |name: &str, kind: &DataType| {
            let found = batch.column_by_name(name).ok_or_else(|| {
                Error::new(
                    Kind::Internal,
                    format!("the comparison has no column {name}"),
                )
            })?;
            cast(found, kind)
                .map_err(|e| Error::caused(Kind::Internal, format!("the column {name}"), e))
        };
        let ints = |name: &str| {
            column(name, &DataType::Int64).map(|found| found.as_primitive::<Int64Type>().clone())
        };
        let floats = |name: &str| {
            column(name, &DataType::Float64)
                .map(|found| found.as_primitive::<Float64Type>().clone())
        };
        let texts = |name: &str| {
            column(name, &DataType::Utf8).map(|found| found.as_string::<i32>().clone())
        };
        Ok(Self {
            keys: match identity {
                Identity::TradeId => Keys::Names(texts(KEY)?),
                Identity::Number | Identity::Single => Keys::Numbers(ints(KEY)?),
            },
            ts_event: ints("ts_event")?,
            price: floats("price")?,
            qty: floats("qty")?,
            side: column("side", &DataType::Int8)?
                .as_primitive::<Int8Type>()
                .clone(),
            first_id: ints("first_id")?,
            last_id: ints("last_id")?,
            source: batch
                .column_by_name(SOURCE)
                .map(|_| texts(SOURCE))
                .transpose()?,
            waiting: column(WAITING, &DataType::Boolean)?.as_boolean().clone(),
        })
    }

    fn row(&self, at: usize) -> Option<TradeRow> {
        let some = |is_there: bool| is_there && at < self.ts_event.len();
        let int = |from: &Int64Array| some(from.is_valid(at)).then(|| from.value(at));
        let float = |from: &Float64Array| some(from.is_valid(at)).then(|| from.value(at));
        if at >= self.ts_event.len() {
            return None;
        }
        let key = match &self.keys {
            Keys::Numbers(numbers) => TradeKey::Number(int(numbers).unwrap_or(0)),
            Keys::Names(names) => TradeKey::Name(names.value(at).into()),
        };
        let is_published = self
            .source
            .as_ref()
            .is_some_and(|source| source.is_valid(at));
        Some(TradeRow {
            key,
            ts_ns: int(&self.ts_event).and_then(to_ns).unwrap_or(0),
            price: float(&self.price),
            qty: float(&self.qty),
            side: self.side.is_valid(at).then(|| self.side.value(at)),
            first_id: int(&self.first_id),
            last_id: int(&self.last_id),
            origin: if self.waiting.value(at) {
                Origin::Waiting
            } else if is_published {
                Origin::Published
            } else {
                Origin::Recorded
            },
        })
    }
}

/// Where a row stands: its batch, and its place there.
pub(super) type Spot = (Arc<RecordBatch>, usize);

/// Rows in the order of their keys.
#[derive(Debug)]
pub(super) struct KeyedRows {
    rows: Rows,
    identity: Identity,
    batch: Option<(Arc<RecordBatch>, Columns)>,
    at: usize,
    /// The first row of the next key.
    next: Option<(TradeRow, Spot)>,
    has_begun: bool,
}

impl KeyedRows {
    fn new(rows: Rows, identity: Identity) -> Self {
        Self {
            rows,
            identity,
            batch: None,
            at: 0,
            next: None,
            has_begun: false,
        }
    }

    /// The key of the next rows; `None` after the last.
    pub(super) async fn key(&mut self) -> Result<Option<&TradeKey>> {
        if !self.has_begun {
            self.has_begun = true;
            self.next = self.read().await?;
        }
        Ok(self.next.as_ref().map(|(row, _)| &row.key))
    }

    async fn read(&mut self) -> Result<Option<(TradeRow, Spot)>> {
        loop {
            if let Some((batch, columns)) = &self.batch
                && let Some(row) = columns.row(self.at)
            {
                let spot = (Arc::clone(batch), self.at);
                self.at += 1;
                return Ok(Some((row, spot)));
            }
            let Some(batch) = self.rows.next().await? else {
                self.batch = None;
                return Ok(None);
            };
            let columns = Columns::of(&batch, self.identity)?;
            self.batch = Some((Arc::new(batch), columns));
            self.at = 0;
        }
    }

    /// All rows of the next key, in place of what `rows` and `spots` hold.
    pub(super) async fn group(
        &mut self,
        rows: &mut Vec<TradeRow>,
        spots: &mut Vec<Spot>,
    ) -> Result<()> {
        rows.clear();
        spots.clear();
        let _ = self.key().await?;
        while let Some((row, spot)) = self.next.take() {
            if rows.first().is_some_and(|first| first.key != row.key) {
                self.next = Some((row, spot));
                break;
            }
            if rows.len() == GROUP {
                return Err(Error::new(
                    Kind::BadInput,
                    format!(
                        "more than {GROUP} rows have one identity, so that they cannot be told apart"
                    ),
                ));
            }
            rows.push(row);
            spots.push(spot);
            self.next = self.read().await?;
        }
        Ok(())
    }
}

/// The columns of a batch of theirs that are those of a row, and not of its place.
pub(super) fn is_own_column(name: &str) -> bool {
    ![
        KEY,
        WAITING,
        "exchange",
        "stream",
        "symbol",
        "date",
        "collector",
    ]
    .contains(&name)
}
