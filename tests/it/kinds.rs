//! Every kind of spool file that was ever recorded becomes what the contract says of it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int8Array, Int32Array, Int64Array, ListArray,
        RecordBatch, StringArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit},
};
use parquet::arrow::ArrowWriter;

use super::support::{
    archive::{Published, dir, published},
    events::{Claim, DAY, Events, HOUR, Quote, SECOND, Strings, Times, quotes},
    run::Place,
};

const MS: i64 = 1_000_000;

/// Compacts these files of `binance/bbo/btcusdt`, verifies, and returns what was published of
/// 2026-02-03.
#[track_caller]
fn compacted(files: &[(&str, Vec<u8>)]) -> Published {
    let place = Place::new();
    for (name, bytes) in files {
        let _ = place.put_quotes(name, bytes);
    }
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    place.is_tidy();
    published(
        &place.archive(),
        &dir("binance", "bbo", "btcusdt", "20260203"),
    )
}

/// Compacts one file and compares all its rows.
#[track_caller]
fn check(file: &Events, expected: &[Quote]) -> Published {
    let partition = compacted(&[("2026-02-03_00-00-00.parquet", file.bytes())]);
    assert_eq!(partition.quotes(), expected);
    partition
}

/// The quotes as they stand in a file whose times are whole `unit`s, numbered from 0 where qlc
/// numbers.
fn in_unit(rows: &[Quote], unit: i64) -> Vec<Quote> {
    rows.iter()
        .map(|q| Quote {
            ts_event: q.ts_event / unit,
            ..*q
        })
        .collect()
}

fn numbered(rows: &[Quote]) -> Vec<Quote> {
    (0..)
        .zip(rows)
        .map(|(seq, q)| Quote { seq, ..*q })
        .collect()
}

fn rows() -> Vec<Quote> {
    quotes(DAY + HOUR, 250 * MS, 1000, 400)
}

fn columns(partition: &Published) -> Vec<String> {
    partition
        .data
        .batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect()
}

#[test]
fn a_sealed_file_and_its_meta() {
    let partition = check(&Events::sealed(rows()), &rows());
    let sha256 = partition.meta["sha256"].as_str().unwrap();
    let expected = format!(
        r#"{{
  "row_count": 400,
  "schema_version": "v1",
  "ts_event_min": "{}",
  "ts_event_max": "{}",
  "sha256": "{sha256}",
  "created_at": "2026-02-05T06:00:00Z",
  "source_files": 1
}}
"#,
        DAY + HOUR,
        DAY + HOUR + 399 * 250 * MS
    );
    assert_eq!(partition.meta_text, expected);
    let names = [
        "ts_event",
        "seq",
        "ts_recv",
        "exchange",
        "symbol",
        "stream",
        "stream_version",
    ];
    let own = ["bid_price", "bid_qty", "ask_price", "ask_qty"];
    assert_eq!(columns(&partition), [&names[..], &own[..]].concat());
    assert!(!partition.data.footer.contains_key("qlc.time_unit"));
    assert_eq!(partition.receipt["outcome"]["seq"], "source");
}

/// A file of version 2 with these numbers of events of one `(ts_event, seq)`.
fn version_2(rows: Vec<Quote>, sub_seq: ArrayRef) -> Events {
    let version = Arc::new(Int8Array::from(vec![2; rows.len()]));
    Events::sealed(rows)
        .replace("stream_version", version)
        .with("sub_seq", sub_seq)
}

#[test]
fn rows_of_both_versions_stand_in_one_day() {
    let (old, new) = (
        quotes(DAY + HOUR, SECOND, 0, 4),
        quotes(DAY + 2 * HOUR, SECOND, 9, 4),
    );
    let new: Vec<Quote> = new
        .iter()
        .map(|q| Quote {
            ts_event: new[0].ts_event,
            seq: 7,
            ..*q
        })
        .collect();
    let of_1 = (
        "2026-02-03_01-00-00.parquet",
        Events::sealed(old.clone()).bytes(),
    );
    // The order of arrival is kept, though the prices ascend.
    let of_2 = (
        "2026-02-03_02-00-00.parquet",
        version_2(new.clone(), Arc::new(Int32Array::from(vec![3, 2, 1, 0]))).bytes(),
    );
    let alone = compacted(std::slice::from_ref(&of_1));
    assert!(
        !columns(&alone).contains(&"sub_seq".to_owned()),
        "a day of version 1 stays as it was"
    );
    let both = compacted(&[of_1, of_2]);
    assert_eq!(
        columns(&both)[..4],
        ["ts_event", "seq", "sub_seq", "ts_recv"]
    );
    assert_eq!(
        both.quotes(),
        [&old[..], &new.iter().rev().copied().collect::<Vec<_>>()].concat()
    );
    let sub_seq = both.data.batch.column(2).as_primitive::<Int32Type>();
    assert_eq!(
        sub_seq.iter().collect::<Vec<_>>(),
        [None, None, None, None, Some(0), Some(1), Some(2), Some(3)]
    );
    assert_eq!(both.receipt["row_hash_in"], both.receipt["row_hash_out"]);
}

#[test]
fn columns_of_version_2_stand_together_where_a_row_of_the_day_has_one() {
    let rows = quotes(DAY + HOUR, SECOND, 0, 4);
    let nothing = version_2(rows.clone(), Arc::new(Int32Array::from(vec![None; 4])));
    let nothing = nothing.replace("stream_version", Arc::new(Int8Array::from(vec![1; 4])));
    let partition = compacted(&[("2026-02-03_01-00-00.parquet", nothing.bytes())]);
    assert!(
        !columns(&partition).contains(&"sub_seq".to_owned()),
        "no row has one"
    );
    // As a program might write it that has no 32 bits.
    let wide = version_2(rows.clone(), Arc::new(Int64Array::from(vec![1; 4])));
    let partition = compacted(&[("2026-02-03_01-00-00.parquet", wide.bytes())]);
    assert_eq!(
        partition
            .data
            .batch
            .column(2)
            .as_primitive::<Int32Type>()
            .values()[..],
        [1; 4]
    );
    assert_eq!(partition.quotes(), rows);
}

#[test]
fn the_dated_layout_is_read_beside_the_flat_one() {
    let all = rows();
    let partition = compacted(&[
        (
            "date=20260203/part-0.parquet",
            Events::sealed(all[..150].to_vec()).bytes(),
        ),
        (
            "2026-02-03_01-00-00.parquet",
            Events::sealed(all[150..300].to_vec()).bytes(),
        ),
        (
            "date=20260203/part-1.parquet",
            Events::sealed(all[300..].to_vec()).bytes(),
        ),
    ]);
    assert_eq!(partition.quotes(), all);
    assert_eq!(partition.meta["source_files"], 3);
}

#[test]
fn a_file_whose_name_tells_no_day_belongs_where_its_rows_do() {
    let partition = compacted(&[("part-0.parquet", Events::sealed(rows()).bytes())]);
    assert_eq!(partition.quotes(), rows());
}

#[test]
fn rows_without_seq_are_numbered_by_time_file_and_row() {
    // Two rows of each file share every ts_event with two of the other, and rows of one file are
    // not in order.
    let at = |second: i64, mark: i64| Quote {
        ts_event: DAY + second * SECOND,
        ..quotes(DAY, 1, mark, 1)[0]
    };
    let b = vec![at(20, 1), at(10, 2), at(10, 3), at(20, 4)];
    let a = vec![at(10, 5), at(10, 6), at(20, 7), at(20, 8)];
    let file = |rows: Vec<Quote>| Events::older(rows).bytes();
    let partition = compacted(&[
        ("2026-02-03_b.parquet", file(b.clone())),
        ("2026-02-03_a.parquet", file(a.clone())),
    ]);
    let order = [a[0], a[1], b[1], b[2], a[2], a[3], b[0], b[3]];
    assert_eq!(partition.quotes(), numbered(&in_unit(&order, MS)));
    assert_eq!(columns(&partition)[..3], ["ts_event", "seq", "ts_recv"]);
    assert_eq!(partition.receipt["outcome"]["seq"], "assigned");
}

#[test]
fn numbered_rows_go_among_those_that_have_seq() {
    let (own, bare) = (quotes(DAY, SECOND, 5, 3), quotes(DAY, SECOND, 100, 3));
    let partition = compacted(&[
        ("2026-02-03_a.parquet", Events::sealed(own.clone()).bytes()),
        (
            "2026-02-03_b.parquet",
            Events::sealed(bare.clone())
                .without_seq()
                .declared(&["ts_event"])
                .bytes(),
        ),
    ]);
    let mut expected = [own, numbered(&bare)].concat();
    expected.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(partition.quotes(), expected);
    assert_eq!(partition.receipt["outcome"]["seq"], "mixed");
}

#[test]
fn values_of_one_unit_are_kept_as_they_are() {
    for (unit, size) in [
        (TimeUnit::Second, SECOND),
        (TimeUnit::Millisecond, MS),
        (TimeUnit::Microsecond, 1000),
        (TimeUnit::Nanosecond, 1),
    ] {
        let whole = quotes(DAY + HOUR, SECOND, 1, 30);
        let partition = check(
            &Events::sealed(whole.clone()).times(Times::Int64(unit)),
            &in_unit(&whole, size),
        );
        assert!(
            !partition.data.footer.contains_key("qlc.time_unit"),
            "{unit:?}"
        );
        assert_eq!(
            partition.meta["ts_event_min"],
            (DAY + HOUR).to_string(),
            "meta.json is in nanoseconds, {unit:?}"
        );
        assert_eq!(
            partition.meta["ts_event_max"],
            (DAY + HOUR + 29 * SECOND).to_string()
        );
    }
}

#[test]
fn units_that_differ_are_brought_to_nanoseconds_exactly() {
    let ns: Vec<Quote> = quotes(DAY + 7, 1_000_000_001, 0, 40);
    let (ms, us) = (
        quotes(DAY + 500 * MS, SECOND, 100, 40),
        quotes(DAY + 3_000, SECOND, 200, 40),
    );
    let partition = compacted(&[
        ("2026-02-03_a.parquet", Events::sealed(ns.clone()).bytes()),
        (
            "2026-02-03_b.parquet",
            Events::sealed(ms.clone())
                .times(Times::Int64(TimeUnit::Millisecond))
                .bytes(),
        ),
        (
            "2026-02-03_c.parquet",
            Events::sealed(us.clone())
                .times(Times::UInt64(TimeUnit::Microsecond))
                .bytes(),
        ),
    ]);
    let mut expected = [ns, ms, us].concat();
    expected.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(partition.quotes(), expected);
    let received = partition
        .data
        .batch
        .column_by_name("ts_recv")
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    assert_eq!(
        received,
        expected
            .iter()
            .map(|q| q.ts_event + 2 * MS)
            .collect::<Vec<_>>()
    );
    assert_eq!(partition.data.footer["qlc.time_unit"], "ns");
    assert_eq!(partition.receipt["outcome"]["brought_to"], "ns");
}

#[test]
fn strings_are_strings_however_they_are_stored() {
    let plain = check(&Events::sealed(rows()), &rows());
    for strings in [Strings::Dictionary, Strings::LargeUtf8, Strings::Utf8View] {
        let partition = check(&Events::sealed(rows()).strings(strings), &rows());
        assert_eq!(
            partition.data.batch.schema().field(3).data_type(),
            &DataType::Utf8,
            "{strings:?}"
        );
        assert_eq!(partition.bytes, plain.bytes, "{strings:?}");
    }
}

#[test]
fn how_a_file_is_written_does_not_show_in_the_archive() {
    let plain = check(&Events::sealed(rows()), &rows());
    let mut shuffled = rows();
    shuffled.reverse();
    shuffled.swap(7, 300);
    let kinds: BTreeMap<&str, Events> = [
        (
            "unsorted, nothing declared",
            Events::sealed(shuffled.clone()).undeclared(),
        ),
        (
            "unsorted, order falsely declared",
            Events::sealed(shuffled.clone()),
        ),
        (
            "unsorted, falsely declared in several groups",
            Events::sealed(shuffled.clone()).rows_per_group(64),
        ),
        (
            "unsorted, falsely declared, no statistics",
            Events::sealed(shuffled).without_statistics(),
        ),
        (
            "declared by another column",
            Events::sealed(rows()).declared(&["seq"]),
        ),
        (
            "no statistics",
            Events::sealed(rows())
                .without_statistics()
                .undeclared()
                .hash(Claim::None),
        ),
        (
            "data pages of version 2",
            Events::sealed(rows()).pages_v2().rows_per_page(50),
        ),
        (
            "no dictionaries",
            Events::sealed(rows()).without_dictionaries(),
        ),
        (
            "snappy",
            Events::sealed(rows()).compressed(parquet::basic::Compression::SNAPPY),
        ),
        (
            "lz4",
            Events::sealed(rows()).compressed(parquet::basic::Compression::LZ4),
        ),
        (
            "UInt64",
            Events::sealed(rows()).times(Times::UInt64(TimeUnit::Nanosecond)),
        ),
        (
            "Timestamp",
            Events::sealed(rows()).times(Times::Timestamp(TimeUnit::Nanosecond, None)),
        ),
        (
            "Timestamp with a zone",
            Events::sealed(rows()).times(Times::Timestamp(TimeUnit::Nanosecond, Some("UTC"))),
        ),
    ]
    .into();
    for (kind, file) in kinds {
        assert_eq!(check(&file, &rows()).bytes, plain.bytes, "{kind}");
    }
}

#[test]
fn timestamps_of_every_unit_are_their_integer() {
    for (unit, size) in [(TimeUnit::Millisecond, MS), (TimeUnit::Microsecond, 1000)] {
        let _ = check(
            &Events::sealed(rows()).times(Times::Timestamp(unit, None)),
            &in_unit(&rows(), size),
        );
    }
}

#[test]
fn a_false_order_is_found_on_the_way_among_files_that_tell_the_truth() {
    let mut liar = quotes(DAY + HOUR, SECOND, 0, 500);
    liar[100..400].reverse();
    let honest: Vec<_> = (0..4)
        .map(|n| quotes(DAY + HOUR + n * 7, 2 * SECOND, 1000 * (n + 1), 300))
        .collect();
    let mut files = vec![("2026-02-03_0.parquet", Events::sealed(liar.clone()).bytes())];
    for (name, rows) in [
        "2026-02-03_1.parquet",
        "2026-02-03_2.parquet",
        "2026-02-03_3.parquet",
    ]
    .iter()
    .zip(&honest)
    {
        files.push((name, Events::sealed(rows.clone()).bytes()));
    }
    let mut expected = [liar, honest[..3].concat()].concat();
    expected.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(compacted(&files).quotes(), expected);
}

#[test]
fn missing_columns_are_null_and_added_ones_stand_last_by_name() {
    let all = rows();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"; 200]));
    let levels: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
    let partition = compacted(&[
        (
            "2026-02-03_0.parquet",
            Events::sealed(all[..200].to_vec())
                .without("ask_qty")
                .with("venue", Arc::clone(&texts))
                .bytes(),
        ),
        (
            "2026-02-03_1.parquet",
            Events::sealed(all[200..].to_vec())
                .with("level", levels)
                .with("venue", texts)
                .bytes(),
        ),
    ]);
    assert_eq!(
        columns(&partition)[7..],
        [
            "bid_price",
            "bid_qty",
            "ask_price",
            "ask_qty",
            "level",
            "venue"
        ]
    );
    let nulls = |name: &str| {
        partition
            .data
            .batch
            .column_by_name(name)
            .unwrap()
            .null_count()
    };
    assert_eq!(
        ["ask_qty", "level", "venue", "bid_qty"].map(nulls),
        [200, 200, 0, 0]
    );
    let quantities = partition.data.batch.column_by_name("ask_qty").unwrap();
    let last = quantities
        .as_primitive::<arrow::datatypes::Float64Type>()
        .value(399);
    assert_eq!(last.to_bits(), all[399].ask_qty.to_bits());
}

#[test]
fn a_stream_that_nobody_knows_keeps_its_columns() {
    let place = Place::new();
    let times: ArrayRef = Arc::new(Int64Array::from(vec![DAY + 3, DAY + 1, DAY + 2]));
    let zeta: ArrayRef = Arc::new(Float64Array::from(vec![Some(3.0), None, Some(2.0)]));
    let alpha: ArrayRef = Arc::new(StringArray::from(vec!["c", "a", "b"]));
    let fields = [("zeta", &zeta), ("ts_event", &times), ("alpha", &alpha)];
    let schema = Schema::new(
        fields
            .map(|(n, a)| Field::new(n, a.data_type().clone(), true))
            .to_vec(),
    );
    let batch = RecordBatch::try_new(Arc::new(schema), vec![zeta, times, alpha]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let _ = writer.close().unwrap();
    let _ = place.put(
        "exchange=okx/stream=auction/symbol=ethusdt/2026-02-03_00-00-00.parquet",
        &bytes,
    );
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let partition = published(
        &place.archive(),
        &dir("okx", "auction", "ethusdt", "20260203"),
    );
    assert_eq!(columns(&partition)[7..], ["alpha", "zeta"]);
    assert_eq!(partition.keys(), [(DAY + 1, 0), (DAY + 2, 1), (DAY + 3, 2)]);
    let texts = partition
        .data
        .batch
        .column_by_name("alpha")
        .unwrap()
        .as_string::<i32>()
        .clone();
    assert_eq!(texts, StringArray::from(vec!["a", "b", "c"]));
    assert!(
        partition
            .data
            .batch
            .column_by_name("zeta")
            .unwrap()
            .is_null(0)
    );
}

#[test]
fn unfinished_and_hidden_files_are_no_input() {
    let place = Place::new();
    let good = Events::sealed(rows()).bytes();
    for name in [
        "2026-02-03_00-00-00.parquet.tmp",
        ".2026-02-03_00-00-00.parquet",
        "._2026-02-03_00-00-00.parquet",
    ] {
        let _ = place.put_quotes(name, &good);
    }
    let _ = place.put_quotes("notes.txt", b"none");
    let _ = place.put_quotes("date=20260203/.part-0.parquet", &good);
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    // One that is finished and belongs to no series is no input either, but it is told.
    let left = place.put("left.parquet", &good);
    let _ = place.compact(&[]).ended(3).says("ignored left.parquet");
    std::fs::remove_file(left).unwrap();
    assert!(!place.archive().join("QUARANTINE").exists());
    let _ = place.put_quotes("2026-02-03_00-00-00.parquet", &good);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let partition = published(
        &place.archive(),
        &dir("binance", "bbo", "btcusdt", "20260203"),
    );
    assert_eq!(
        (partition.quotes(), &partition.meta["source_files"]),
        (rows(), &1.into())
    );
}

#[test]
fn a_file_without_rows_harms_nobody() {
    let empty = || Events::sealed(Vec::new()).bytes();
    let place = Place::new();
    let _ = place.put_quotes("2026-02-03_00-00-00.parquet", &empty());
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    place.is_tidy();
    let files = [
        ("2026-02-03_00-00-00.parquet", empty()),
        (
            "2026-02-03_01-00-00.parquet",
            Events::sealed(rows()).bytes(),
        ),
        ("2026-02-03_02-00-00.parquet", empty()),
    ];
    let partition = compacted(&files);
    assert_eq!(partition.quotes(), rows());
    assert_eq!(
        partition.bytes,
        check(&Events::sealed(rows()), &rows()).bytes
    );
    assert_eq!(partition.meta["source_files"], 1);
}

/// The column `took`, a duration in this unit.
fn took(values: Vec<i64>, unit: TimeUnit) -> ArrayRef {
    let ints: ArrayRef = Arc::new(Int64Array::from(values));
    arrow::compute::cast(&ints, &DataType::Duration(unit)).unwrap()
}

#[test]
fn durations_keep_their_unit_and_two_units_never_meet() {
    let file = |at: i64, column: ArrayRef| {
        let rows = quotes(DAY + at * HOUR, SECOND, 100 * at, 2);
        Events::sealed(rows)
            .hash(Claim::None)
            .with("took", column)
            .bytes()
    };
    let put = |place: &Place, name: &str, bytes: &[u8]| drop(place.put_quotes(name, bytes));
    let archived = |place: &Place| {
        let partition = published(
            &place.archive(),
            &dir("binance", "bbo", "btcusdt", "20260203"),
        );
        let values = partition
            .data
            .batch
            .column_by_name("took")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec();
        (values, partition.data.footer.get("qlc.durations").cloned())
    };
    let noted = |unit: &str| Some(format!(r#"{{"took":"{unit}"}}"#));
    let place = Place::new();
    put(
        &place,
        "2026-02-03_01.parquet",
        &file(1, took(vec![5, 7], TimeUnit::Millisecond)),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), (vec![5, 7], noted("ms")));
    place.verify();
    // A late file of a finer unit: what is archived is brought to it, to the same time.
    put(
        &place,
        "2026-02-03_02.parquet",
        &file(2, took(vec![9, 11], TimeUnit::Microsecond)),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), (vec![5000, 7000, 9, 11], noted("us")));
    place.verify();
    // A number has no unit, so it can be no duration.
    put(
        &place,
        "2026-02-03_03.parquet",
        &file(3, Arc::new(Int64Array::from(vec![1, 2]))),
    );
    let _ = place
        .compact(&[])
        .ended(3)
        .says("SCHEMA_MISMATCH")
        .says("took");
    assert_eq!(archived(&place), (vec![5000, 7000, 9, 11], noted("us")));
    place.verify();
    // Together in one run they come to the same.
    let at_once = Place::new();
    put(
        &at_once,
        "2026-02-03_01.parquet",
        &file(1, took(vec![5, 7], TimeUnit::Millisecond)),
    );
    put(
        &at_once,
        "2026-02-03_02.parquet",
        &file(2, took(vec![9, 11], TimeUnit::Microsecond)),
    );
    let _ = at_once.compact(&[]).ended(0);
    let bytes = |place: &Place| {
        published(
            &place.archive(),
            &dir("binance", "bbo", "btcusdt", "20260203"),
        )
        .bytes
    };
    assert_eq!(bytes(&at_once), bytes(&place));
    let _ = at_once.qlc(&["verify", "--rebuild"]).ended(0);
    let _ = at_once
        .qlc(&["query", "SELECT sum(took) FROM archive.bbo"])
        .ended(0)
        .says("12020");
}

/// A column of lists of one value each.
fn lists(values: ArrayRef) -> ArrayRef {
    let field = Field::new_list_field(values.data_type().clone(), true);
    let offsets = OffsetBuffer::from_lengths(vec![1; values.len()]);
    Arc::new(ListArray::new(Arc::new(field), offsets, values, None))
}

#[test]
fn durations_in_lists_keep_their_unit() {
    let file = |at: i64, unit: TimeUnit| {
        let rows = quotes(DAY + at * HOUR, SECOND, 100 * at, 2);
        Events::sealed(rows)
            .hash(Claim::None)
            .with("took", lists(took(vec![5, 7], unit)))
            .bytes()
    };
    let place = Place::new();
    let _ = place.put_quotes("2026-02-03_01.parquet", &file(1, TimeUnit::Millisecond));
    let _ = place.compact(&[]).ended(0);
    let partition = published(
        &place.archive(),
        &dir("binance", "bbo", "btcusdt", "20260203"),
    );
    assert_eq!(
        partition.data.footer["qlc.durations"],
        r#"{"took":{"element":"ms"}}"#
    );
    let _ = place
        .qlc(&["query", "SELECT sum(took[1]) FROM archive.bbo"])
        .ended(0)
        .says("12");
    place.verify();
    let _ = place.put_quotes("2026-02-03_02.parquet", &file(2, TimeUnit::Millisecond));
    let _ = place.compact(&[]).ended(0);
    // What is nested is not brought to another unit: it does not fit.
    let _ = place.put_quotes("2026-02-03_03.parquet", &file(3, TimeUnit::Microsecond));
    let _ = place
        .compact(&[])
        .ended(3)
        .says("SCHEMA_MISMATCH")
        .says("took");
    assert_eq!(
        published(
            &place.archive(),
            &dir("binance", "bbo", "btcusdt", "20260203")
        )
        .quotes()
        .len(),
        4
    );
    place.verify();
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
}

#[test]
fn lists_of_nulls_fit_beside_any_lists() {
    let file = |at: i64, values: ArrayRef| {
        let rows = quotes(DAY + at * HOUR, SECOND, 100 * at, 2);
        Events::sealed(rows)
            .hash(Claim::None)
            .with("levels", lists(values))
            .bytes()
    };
    let nulls = || arrow::array::new_null_array(&DataType::Null, 2);
    let partition = compacted(&[
        ("2026-02-03_01.parquet", file(1, nulls())),
        (
            "2026-02-03_02.parquet",
            file(2, Arc::new(Int64Array::from(vec![5, 7]))),
        ),
        ("2026-02-03_03.parquet", file(3, nulls())),
    ]);
    assert_eq!(partition.quotes().len(), 6);
    let levels = partition
        .data
        .batch
        .column_by_name("levels")
        .unwrap()
        .as_list::<i32>()
        .clone();
    assert_eq!(levels.value_type(), DataType::Int64);
    assert_eq!(
        (
            levels.null_count(),
            levels.values().null_count(),
            levels.values().len()
        ),
        (0, 4, 6)
    );
}
