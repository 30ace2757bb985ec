//! Spool files of every kind that was ever recorded: rows, how their columns are stored, how the
//! file is written.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
};
use qlc::model::row_hash;

/// 2026-02-03, 00:00 UTC, in nanoseconds.
pub const DAY: i64 = 1_770_076_800_000_000_000;
pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;

/// A quote; times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Quote {
    pub ts_event: i64,
    pub seq: i64,
    pub bid_price: f64,
    pub bid_qty: f64,
    pub ask_price: f64,
    pub ask_qty: f64,
}

/// `count` quotes from `start`, one every `step` nanoseconds, with `seq` from `seq` on. Their
/// values follow from `seq`, so that no two quotes are alike and each tells where it came from.
pub fn quotes(start: i64, step: i64, seq: i64, count: i64) -> Vec<Quote> {
    let quote = |n: i64| {
        let ticks = (910_000 + (seq + n) % 97) as f64;
        Quote {
            ts_event: start + n * step,
            seq: seq + n,
            bid_price: ticks / 10.0,
            bid_qty: ((seq + n) % 5_000 + 1) as f64 / 1000.0,
            ask_price: (ticks + 1.0) / 10.0,
            ask_qty: ((seq + 7 * n) % 3_000 + 1) as f64 / 1000.0,
        }
    };
    (0..count).map(quote).collect()
}

/// Takes one value out of a quote.
type Value = fn(&Quote) -> f64;

/// How strings are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strings {
    Utf8,
    LargeUtf8,
    Utf8View,
    Dictionary,
}

/// Of what type the time columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// Integers of this unit.
    Int64(TimeUnit),
    UInt64(TimeUnit),
    /// Timestamps of this unit, without and with a time zone.
    Timestamp(TimeUnit, Option<&'static str>),
}

/// What the footer claims about the row hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    None,
    True,
    False,
}

/// A spool file of quotes that is to be made.
#[derive(Debug, Clone)]
pub struct Events {
    rows: Vec<Quote>,
    series: [&'static str; 3],
    seq: bool,
    times: Times,
    strings: Strings,
    replaced: Vec<(String, ArrayRef)>,
    dropped: Vec<String>,
    added: Vec<(String, ArrayRef)>,
    declared: Option<Vec<&'static str>>,
    hash: Claim,
    compression: Compression,
    rows_per_group: Option<usize>,
    rows_per_page: Option<usize>,
    statistics: bool,
    version: WriterVersion,
    dictionaries: bool,
}

impl Events {
    /// As the collector seals them: nanoseconds, `seq`, plain strings, zstd, order declared, row
    /// hash in the footer.
    pub fn sealed(rows: Vec<Quote>) -> Self {
        Self {
            rows,
            series: ["binance", "bbo", "BTCUSDT"],
            seq: true,
            times: Times::Int64(TimeUnit::Nanosecond),
            strings: Strings::Utf8,
            replaced: Vec::new(),
            dropped: Vec::new(),
            added: Vec::new(),
            declared: Some(vec!["ts_event", "seq"]),
            hash: Claim::True,
            compression: Compression::ZSTD(ZstdLevel::default()),
            rows_per_group: None,
            rows_per_page: None,
            statistics: true,
            version: WriterVersion::PARQUET_1_0,
            dictionaries: true,
        }
    }

    /// As older collectors left them: milliseconds, no `seq`, strings as dictionaries, snappy,
    /// nothing declared.
    pub fn older(rows: Vec<Quote>) -> Self {
        let base = Self::sealed(rows)
            .without_seq()
            .undeclared()
            .hash(Claim::None)
            .compressed(Compression::SNAPPY);
        base.times(Times::Int64(TimeUnit::Millisecond))
            .strings(Strings::Dictionary)
    }

    /// Only its first rows.
    pub fn taking(mut self, rows: usize) -> Self {
        self.rows.truncate(rows);
        self
    }

    /// Leaves `seq` out.
    pub fn without_seq(mut self) -> Self {
        self.seq = false;
        self
    }

    /// What stands in the columns `exchange`, `stream` and `symbol`.
    pub fn series(
        mut self,
        exchange: &'static str,
        stream: &'static str,
        symbol: &'static str,
    ) -> Self {
        self.series = [exchange, stream, symbol];
        self
    }

    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    pub fn strings(mut self, strings: Strings) -> Self {
        self.strings = strings;
        self
    }

    /// Puts other values, of whatever type, into a column.
    pub fn replace(mut self, column: &str, values: ArrayRef) -> Self {
        self.replaced.push((column.to_owned(), values));
        self
    }

    /// Leaves a column out.
    pub fn without(mut self, column: &str) -> Self {
        self.dropped.push(column.to_owned());
        self
    }

    /// Adds a column at the end.
    pub fn with(mut self, column: &str, values: ArrayRef) -> Self {
        self.added.push((column.to_owned(), values));
        self
    }

    /// Declares this order in the footer, true or not.
    pub fn declared(mut self, columns: &[&'static str]) -> Self {
        self.declared = Some(columns.to_vec());
        self
    }

    pub fn undeclared(mut self) -> Self {
        self.declared = None;
        self
    }

    pub fn hash(mut self, claim: Claim) -> Self {
        self.hash = claim;
        self
    }

    pub fn compressed(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    pub fn rows_per_group(mut self, rows: usize) -> Self {
        self.rows_per_group = Some(rows);
        self
    }

    pub fn rows_per_page(mut self, rows: usize) -> Self {
        self.rows_per_page = Some(rows);
        self
    }

    pub fn without_statistics(mut self) -> Self {
        self.statistics = false;
        self
    }

    /// Data pages of version 2, with the encodings that come with it.
    pub fn pages_v2(mut self) -> Self {
        self.version = WriterVersion::PARQUET_2_0;
        self
    }

    pub fn without_dictionaries(mut self) -> Self {
        self.dictionaries = false;
        self
    }

    /// The rows as the file will hold them.
    pub fn batch(&self) -> RecordBatch {
        let mut columns: Vec<(String, ArrayRef)> =
            vec![("ts_event".into(), self.time(|q| q.ts_event))];
        if self.seq {
            let seq = self.rows.iter().map(|q| q.seq);
            columns.push(("seq".into(), Arc::new(Int64Array::from_iter_values(seq))));
        }
        columns.push(("ts_recv".into(), self.time(|q| q.ts_event + 2_000_000)));
        let [exchange, stream, symbol] = self.series;
        for (name, text) in [
            ("exchange", exchange),
            ("symbol", symbol),
            ("stream", stream),
        ] {
            columns.push((name.into(), self.text(text)));
        }
        columns.push((
            "stream_version".into(),
            Arc::new(Int8Array::from_value(1, self.rows.len())),
        ));
        let values: [(&str, Value); 4] = [
            ("bid_price", |q| q.bid_price),
            ("bid_qty", |q| q.bid_qty),
            ("ask_price", |q| q.ask_price),
            ("ask_qty", |q| q.ask_qty),
        ];
        for (name, of) in values {
            columns.push((
                name.into(),
                Arc::new(Float64Array::from_iter_values(self.rows.iter().map(of))),
            ));
        }
        for (name, values) in &self.replaced {
            let column = columns
                .iter_mut()
                .find(|(n, _)| n == name)
                .expect("a column to replace");
            column.1 = Arc::clone(values);
        }
        columns.retain(|(name, _)| !self.dropped.contains(name));
        columns.extend(self.added.iter().cloned());
        let fields: Vec<Field> = columns
            .iter()
            .map(|(n, a)| Field::new(n, a.data_type().clone(), true))
            .collect();
        RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns.into_iter().map(|(_, a)| a).collect(),
        )
        .unwrap()
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let batch = self.batch();
        let declared = self.declared.as_ref().map(|columns| {
            // A column that the file does not have cannot be declared.
            let by = |name: &&str| {
                let column_idx = batch.schema().index_of(name).ok()? as i32;
                Some(SortingColumn {
                    column_idx,
                    descending: false,
                    nulls_first: false,
                })
            };
            columns.iter().filter_map(by).collect()
        });
        let hash = match self.hash {
            Claim::None => None,
            Claim::True => Some(row_hash::of_batch(&batch).unwrap().to_string()),
            Claim::False => Some("1:0123456789abcdef".to_owned()),
        };
        let mut properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_sorting_columns(declared)
            .set_key_value_metadata(
                hash.map(|h| vec![KeyValue::new(row_hash::FOOTER_KEY.to_owned(), h)]),
            )
            .set_writer_version(self.version)
            .set_dictionary_enabled(self.dictionaries);
        if !self.statistics {
            properties = properties
                .set_statistics_enabled(EnabledStatistics::None)
                .set_offset_index_disabled(true);
        }
        if let Some(rows) = self.rows_per_group {
            properties = properties.set_max_row_group_row_count(Some(rows));
        }
        if let Some(rows) = self.rows_per_page {
            // The writer looks at the limit between batches of values, so these must be as small.
            properties = properties
                .set_data_page_row_count_limit(rows)
                .set_write_batch_size(rows);
        }
        let mut file = Vec::new();
        let properties = properties.build();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let _ = writer.close().unwrap();
        file
    }

    fn time(&self, of: fn(&Quote) -> i64) -> ArrayRef {
        let (Times::Int64(unit) | Times::UInt64(unit) | Times::Timestamp(unit, _)) = &self.times;
        let scale = match unit {
            TimeUnit::Second => SECOND,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        };
        let integers: ArrayRef = Arc::new(Int64Array::from_iter_values(
            self.rows.iter().map(|q| of(q) / scale),
        ));
        let target = match &self.times {
            Times::Int64(_) => DataType::Int64,
            Times::UInt64(_) => DataType::UInt64,
            Times::Timestamp(unit, zone) => DataType::Timestamp(*unit, zone.map(Into::into)),
        };
        cast(&integers, &target).unwrap()
    }

    fn text(&self, text: &str) -> ArrayRef {
        let plain: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            text,
            self.rows.len(),
        )));
        let target = match self.strings {
            Strings::Utf8 => DataType::Utf8,
            Strings::LargeUtf8 => DataType::LargeUtf8,
            Strings::Utf8View => DataType::Utf8View,
            Strings::Dictionary => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
        };
        cast(&plain, &target).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use parquet::basic::{BrotliLevel, GzipLevel, PageType};

    use super::{
        super::{archive::decode, pages},
        *,
    };

    fn rows() -> Vec<Quote> {
        quotes(DAY + HOUR, 250_000_000, 100, 400)
    }

    #[test]
    fn what_is_written_is_decoded_whatever_the_codec() {
        for codec in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::BROTLI(BrotliLevel::default()),
            Compression::LZ4,
            Compression::LZ4_RAW,
            Compression::ZSTD(ZstdLevel::default()),
        ] {
            let file = Events::sealed(rows()).compressed(codec);
            for file in [
                file.clone(),
                file.clone().pages_v2(),
                file.without_dictionaries(),
            ] {
                let read = decode(&file.bytes()).unwrap();
                assert_eq!(read.batch, file.batch(), "{codec:?}");
                assert_eq!(read.metadata.row_group(0).column(0).compression(), codec);
            }
        }
    }

    #[test]
    fn columns_have_the_asked_types() {
        let types = |file: Events| {
            let read = decode(&file.bytes()).unwrap();
            assert_eq!(read.batch, file.batch());
            let type_of = |n: &str| {
                read.batch
                    .schema()
                    .field_with_name(n)
                    .map(|f| f.data_type().to_string())
            };
            [
                type_of("ts_event").unwrap(),
                type_of("symbol").unwrap(),
                type_of("seq").unwrap_or_default(),
            ]
        };
        assert_eq!(types(Events::sealed(rows())), ["Int64", "Utf8", "Int64"]);
        assert_eq!(
            types(Events::older(rows())),
            ["Int64", "Dictionary(Int32, Utf8)", ""]
        );
        let seconds = Events::sealed(rows())
            .times(Times::UInt64(TimeUnit::Second))
            .strings(Strings::LargeUtf8);
        assert_eq!(types(seconds), ["UInt64", "LargeUtf8", "Int64"]);
        let stamps = Times::Timestamp(TimeUnit::Microsecond, Some("UTC"));
        let stamps = Events::sealed(rows())
            .times(stamps)
            .strings(Strings::Utf8View);
        assert_eq!(
            types(stamps),
            ["Timestamp(µs, \"UTC\")", "Utf8View", "Int64"]
        );
        let named = Events::sealed(rows())
            .series("okx", "depth", "ETHUSDT")
            .batch();
        let texts: Vec<_> = (3..6)
            .map(|c| named.column(c).as_string::<i32>().value(0).to_owned())
            .collect();
        assert_eq!(texts, ["okx", "ETHUSDT", "depth"]);
        let older = Events::older(rows()).batch();
        let ms = older
            .column(0)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap()
            .value(1);
        assert_eq!(ms, (DAY + HOUR + 250_000_000) / 1_000_000);
    }

    #[test]
    fn columns_can_be_replaced_added_and_left_out() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["91000"; 400]));
        let file = Events::sealed(rows())
            .replace("bid_price", Arc::clone(&text))
            .without("ask_qty")
            .with("venue", text);
        let names: Vec<_> = file
            .batch()
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(
            names[6..],
            [
                "stream_version",
                "bid_price",
                "bid_qty",
                "ask_price",
                "venue"
            ]
        );
        assert_eq!(decode(&file.bytes()).unwrap().batch, file.batch());
    }

    #[test]
    fn footers_claim_what_was_asked() {
        let read = |file: Events| decode(&file.bytes()).unwrap();
        let sealed = read(Events::sealed(rows()));
        assert_eq!(
            sealed.footer[row_hash::FOOTER_KEY],
            row_hash::of_batch(&sealed.batch).unwrap().to_string()
        );
        let by = |file: Events| {
            let read = read(file);
            let sorting = read
                .metadata
                .row_group(0)
                .sorting_columns()
                .cloned()
                .unwrap_or_default();
            sorting
                .iter()
                .map(|c| {
                    read.batch
                        .schema()
                        .field(c.column_idx as usize)
                        .name()
                        .clone()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(by(Events::sealed(rows())), ["ts_event", "seq"]);
        assert_eq!(by(Events::sealed(rows()).declared(&["seq"])), ["seq"]);
        assert_eq!(by(Events::older(rows())), Vec::<String>::new());
        assert!(
            !read(Events::older(rows()))
                .footer
                .contains_key(row_hash::FOOTER_KEY)
        );
        let liar = read(Events::sealed(rows()).hash(Claim::False));
        assert_ne!(
            liar.footer[row_hash::FOOTER_KEY],
            sealed.footer[row_hash::FOOTER_KEY]
        );
    }

    #[test]
    fn files_have_the_asked_groups_pages_and_statistics() {
        let file = Events::sealed(rows()).rows_per_group(150).rows_per_page(50);
        let bytes = file.bytes();
        let read = decode(&bytes).unwrap();
        assert_eq!(read.batch, file.batch());
        assert_eq!(read.metadata.num_row_groups(), 3);
        assert!(read.metadata.row_group(0).column(0).statistics().is_some());
        let of_seq = pages::of(&bytes, "seq");
        assert_eq!(
            of_seq
                .iter()
                .filter(|p| p.kind != PageType::DICTIONARY_PAGE)
                .count(),
            3 + 3 + 2
        );
        let bare = decode(&Events::sealed(rows()).without_statistics().bytes()).unwrap();
        assert!(bare.metadata.row_group(0).column(0).statistics().is_none());
        assert!(
            bare.metadata
                .row_group(0)
                .column(0)
                .offset_index_offset()
                .is_none()
        );
        let v2 = Events::sealed(rows()).pages_v2().bytes();
        assert!(
            pages::of(&v2, "bid_qty")
                .iter()
                .any(|p| p.kind == PageType::DATA_PAGE_V2)
        );
    }
}
