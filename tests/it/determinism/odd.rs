//! The same for odd rows: times of several units, added columns of several types, lists, rows of
//! neighbouring days in the same files, late files on top of archived data whose own files have
//! gone. Only the rows of the day decide its bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Schema, TimeUnit},
};
use parquet::{
    arrow::ArrowWriter,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use proptest::prelude::*;
use qlc::{
    compact::{self, Silent, Status, Stop},
    model::row_hash,
    storage::store::Store,
};

use super::{super::support::archive::decode, DAY, options, sha256, wait};

const SERIES: &str = "exchange=binance/stream=depth/symbol=btcusdt";
const DAY_NS: i64 = 86_400_000_000_000;
/// Nanoseconds of the units that times come in.
const UNITS: [i64; 3] = [1, 1_000, 1_000_000];
/// The types that the column `level` comes in; of all of them together the archive makes a
/// `Float64`.
const KINDS: [DataType; 7] = [
    DataType::Int8,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float32,
    DataType::Float64,
];

/// A row of the day, or of a neighbour. The type of `level` is that of the file, so it is a part of
/// the row.
#[derive(Debug, Clone)]
struct Row {
    /// Milliseconds after the beginning of the day.
    at: i64,
    unit: i64,
    received: Option<i64>,
    seq: i64,
    kind: usize,
    level: Option<i64>,
    note: Option<&'static str>,
    bids: Option<Vec<f64>>,
    flag: Option<bool>,
    /// A column that only rows of neighbouring days have.
    alien: bool,
}

fn row(units: &'static [i64], kinds: &'static [usize]) -> impl Strategy<Value = Row> {
    (
        prop_oneof![3 => 0_i64..5, 1 => 0_i64..86_400_000],
        prop::sample::select(units),
        prop::option::weighted(0.8, prop_oneof![4 => 0_i64..4, 1 => Just(-1)]),
        0_i64..3,
        prop::sample::select(kinds),
        prop::option::weighted(0.7, 0_i64..3),
        prop::option::weighted(0.4, prop::sample::select(vec!["", "a", "é"])),
        prop::option::weighted(
            0.4,
            prop::collection::vec(prop::sample::select(vec![0.0, -0.0, 1.5]), 0..3),
        ),
        prop::option::weighted(0.2, any::<bool>()),
    )
        .prop_map(
            |(at, unit, received, seq, kind, level, note, bids, flag)| Row {
                at,
                unit,
                received,
                seq,
                kind,
                level,
                note,
                bids,
                flag,
                alien: false,
            },
        )
}

/// Days whose rows have one unit and one type, and odder ones.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let many = 1..60;
    prop_oneof![
        prop::collection::vec(row(&UNITS[..1], &[2]), many.clone()),
        prop::collection::vec(row(&UNITS[2..], &[1, 2]), many.clone()),
        prop::collection::vec(row(&UNITS[..1], &[0, 3]), many.clone()),
        prop::collection::vec(row(&UNITS, &[0, 1, 2, 3, 4, 5, 6]), many),
    ]
}

/// A way to cut the rows into files, and what else is in these.
#[derive(Debug, Clone)]
struct Way {
    /// For each row, which of the files of its type it goes to.
    cut: Vec<u8>,
    files_of_a_type: usize,
    /// Rows of the days before and after, and the file that each goes to.
    neighbours: Vec<(u8, bool, Row)>,
    /// What the names of files begin with, by which they are ordered.
    names: Vec<u8>,
    statistics: bool,
    hashed: bool,
    /// Columns without a value are left out, or have a type of their own.
    leave_out_nulls: bool,
    rows_per_group: usize,
    /// How many files are compacted first; whether they have gone when the others come.
    first: Option<(usize, bool)>,
    workers: usize,
    memory_limit: u64,
}

fn way() -> impl Strategy<Value = Way> {
    let neighbour = (any::<u8>(), any::<bool>(), row(&UNITS, &[0]));
    (
        (
            prop::collection::vec(any::<u8>(), 16),
            1_usize..4,
            prop::collection::vec(neighbour, 0..6),
            prop::collection::vec(any::<u8>(), 32),
            prop::option::weighted(0.5, (1_usize..6, any::<bool>())),
        ),
        any::<[bool; 3]>(),
        prop::sample::select(vec![2_usize, 20, 1 << 20]),
        1_usize..3,
        prop::sample::select(vec![128_000_000_u64, 2_500_000_000]),
    )
        .prop_map(
            |(
                (cut, files_of_a_type, neighbours, names, first),
                [statistics, hashed, leave_out_nulls],
                rows_per_group,
                workers,
                memory_limit,
            )| Way {
                cut,
                files_of_a_type,
                neighbours,
                names,
                statistics,
                hashed,
                leave_out_nulls,
                rows_per_group,
                first,
                workers,
                memory_limit,
            },
        )
}

const PLAIN: Way = Way {
    cut: Vec::new(),
    files_of_a_type: 1,
    neighbours: Vec::new(),
    names: Vec::new(),
    statistics: true,
    hashed: true,
    leave_out_nulls: false,
    rows_per_group: 1 << 20,
    first: None,
    workers: 1,
    memory_limit: 2_500_000_000,
};

impl Way {
    /// The files' rows with the type of their `level`, by name.
    fn files(&self, rows: &[Row]) -> BTreeMap<String, (usize, Vec<Row>)> {
        let picked = |list: &[u8], nth: usize| {
            list.get(nth % list.len().max(1))
                .map_or(0, |n| usize::from(*n))
        };
        let mut files: BTreeMap<(usize, usize), Vec<Row>> = BTreeMap::new();
        for (nth, row) in rows.iter().enumerate() {
            let file = (picked(&self.cut, nth) + nth / 16) % self.files_of_a_type;
            files.entry((row.kind, file)).or_default().push(row.clone());
        }
        let count = files.len();
        for (file, after, row) in &self.neighbours {
            let (_, rows) = files.iter_mut().nth(usize::from(*file) % count).unwrap();
            let day = if *after { DAY_NS } else { -DAY_NS } / 1_000_000;
            rows.push(Row {
                at: row.at + day,
                alien: true,
                ..row.clone()
            });
        }
        let name = |nth: usize| {
            format!(
                "2026-02-03_{:03}-{nth:02}.parquet",
                picked(&self.names, nth)
            )
        };
        files
            .into_iter()
            .enumerate()
            .map(|(nth, ((kind, _), rows))| (name(nth), (kind, rows)))
            .collect()
    }

    /// Whether two files have the same rows of the day. One of them is then a copy, whose rows are
    /// taken in once.
    fn has_copies(&self, rows: &[Row]) -> bool {
        // The unit of a row's times and the type of its `level` do not make it another row.
        let value = |row: &Row| {
            let row = Row {
                unit: 1,
                kind: 0,
                ..row.clone()
            };
            (!row.alien).then(|| format!("{row:?}"))
        };
        let mut seen = BTreeSet::new();
        self.files(rows).into_values().any(|(_, rows)| {
            let mut values: Vec<String> = rows.iter().filter_map(value).collect();
            values.sort_unstable();
            !seen.insert(values)
        })
    }

    fn bytes(&self, nth: usize, kind: usize, rows: &[Row]) -> Vec<u8> {
        let batch = batch(nth, &KINDS[kind], rows, self.leave_out_nulls);
        let hash = self
            .hashed
            .then(|| row_hash::of_batch(&batch).unwrap().to_string());
        let statistics = if self.statistics {
            EnabledStatistics::Page
        } else {
            EnabledStatistics::None
        };
        let properties = WriterProperties::builder()
            .set_key_value_metadata(
                hash.map(|h| vec![KeyValue::new(row_hash::FOOTER_KEY.to_owned(), h)]),
            )
            .set_statistics_enabled(statistics)
            .set_offset_index_disabled(!self.statistics)
            .set_max_row_group_row_count(Some(self.rows_per_group));
        let mut file = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut file, batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        let _ = writer.close().unwrap();
        file
    }
}

fn batch(nth: usize, kind: &DataType, rows: &[Row], leave_out_nulls: bool) -> RecordBatch {
    let time = |row: &Row| (DAY + row.at * 1_000_000) / row.unit;
    let ints = |of: &dyn Fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let texts = |of: &dyn Fn(&Row) -> Option<&'static str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let bids = rows.iter().map(|row| {
        row.bids
            .as_ref()
            .map(|bids| bids.iter().map(|bid| Some(*bid)))
    });
    // A received time of -1 is no time, and has no unit.
    let received = |row: &Row| {
        row.received.map(|ms| {
            if ms < 0 {
                ms
            } else {
                time(row) + ms * 1_000_000 / row.unit
            }
        })
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("alien", texts(&|row| row.alien.then_some("7"))),
        (
            "bids",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(bids)),
        ),
        (
            "flag",
            Arc::new(
                rows.iter()
                    .map(|row| row.flag)
                    .collect::<arrow::array::BooleanArray>(),
            ),
        ),
        ("level", cast(&ints(&|row| row.level), kind).unwrap()),
        ("note", texts(&|row| row.note)),
        ("seq", ints(&|row| Some(row.seq))),
        ("ts_event", ints(&|row| Some(time(row)))),
        ("ts_recv", ints(&received)),
    ];
    let bare = |array: &ArrayRef| array.null_count() == array.len();
    if leave_out_nulls {
        columns.retain(|(_, array)| !bare(array));
    } else {
        for (name, array) in &mut columns {
            if bare(array) && *name == "note" && nth % 2 == 1 {
                *array = Arc::new(Float64Array::new_null(array.len()));
            }
        }
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, a)| Field::new(*n, a.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, a)| a).collect(),
    )
    .unwrap()
}

fn compact(root: &Path, workers: usize, memory_limit: u64) {
    let store = |name: &str| Store::open(&root.join(name).display().to_string()).unwrap();
    let options = options(root, workers, memory_limit);
    let (spool, archive, stop) = (store("spool"), store("archive"), Stop::default());
    let run = compact::run(&spool, &archive, &options, Arc::new(Silent), &stop);
    for outcome in wait(run).unwrap().outcomes {
        let fine = matches!(outcome.status, Status::Done | Status::UpToDate);
        assert!(fine && outcome.quarantined == 0, "{outcome:?}");
    }
}

/// The data of the day, made in this way.
fn by_way(rows: &[Row], way: &Way) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("spool").join(SERIES);
    fs::create_dir_all(&folder).unwrap();
    let files: Vec<(PathBuf, Vec<u8>)> = way
        .files(rows)
        .into_iter()
        .enumerate()
        .map(|(nth, (name, (kind, rows)))| (folder.join(name), way.bytes(nth, kind, &rows)))
        .collect();
    let (first, gone) = way.first.unwrap_or((files.len(), false));
    let (early, late) = files.split_at(first.min(files.len()));
    for (nth, files) in [early, late]
        .into_iter()
        .enumerate()
        .filter(|(_, files)| !files.is_empty())
    {
        if nth == 1 && gone {
            for (path, _) in early {
                fs::remove_file(path).unwrap();
            }
        }
        for (path, bytes) in files {
            fs::write(path, bytes).unwrap();
        }
        compact(root.path(), way.workers, way.memory_limit);
    }
    fs::read(
        root.path()
            .join("archive")
            .join(SERIES)
            .join("date=20260203/data.parquet"),
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn only_the_rows_of_the_day_decide_its_bytes(rows in rows(), ways in prop::collection::vec(way(), 3)) {
        prop_assume!(![&[PLAIN], ways.as_slice()].concat().iter().any(|way| way.has_copies(&rows)));
        let expected = by_way(&rows, &PLAIN);
        let plain = decode(&expected).unwrap();
        prop_assert_eq!(plain.batch.num_rows(), rows.len());
        for way in &ways {
            let got = by_way(&rows, way);
            if got != expected {
                let other = decode(&got).unwrap();
                prop_assert_eq!(&other.footer, &plain.footer, "{:?}", way);
                prop_assert_eq!(&other.batch, &plain.batch, "{:?}", way);
                prop_assert_eq!(sha256(&got), sha256(&expected), "the same rows in other bytes: {:?}", way);
            }
        }
    }
}

/// Compacts files of given batches, for a day each; gives the day's data.
fn of_batches(files: &[(&str, RecordBatch)]) -> RecordBatch {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("spool").join(SERIES);
    fs::create_dir_all(&folder).unwrap();
    for (name, batch) in files {
        let mut writer = ArrowWriter::try_new(
            fs::File::create(folder.join(name)).unwrap(),
            batch.schema(),
            None,
        )
        .unwrap();
        writer.write(batch).unwrap();
        let _ = writer.close().unwrap();
    }
    compact(root.path(), 1, 2_500_000_000);
    decode(
        &fs::read(
            root.path()
                .join("archive")
                .join(SERIES)
                .join("date=20260203/data.parquet"),
        )
        .unwrap(),
    )
    .unwrap()
    .batch
}

fn with(first: i64, column: &str, values: ArrayRef) -> RecordBatch {
    let rows = values.len() as i64;
    let at: ArrayRef = Arc::new(
        (first..first + rows)
            .map(|n| DAY + n)
            .collect::<Int64Array>(),
    );
    let seq: ArrayRef = Arc::new((first..first + rows).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([
        ("ts_event", at, true),
        ("seq", seq, true),
        (column, values, true),
    ])
    .unwrap()
}

#[test]
fn an_added_column_has_the_smallest_type_that_holds_all_its_values() {
    let ints =
        |kind: &DataType, values: &[i64]| cast(&Int64Array::from(values.to_vec()), kind).unwrap();
    let millis = |unit: TimeUnit, value: i64| {
        cast(
            &Int64Array::from(vec![value]),
            &DataType::Timestamp(unit, None),
        )
        .unwrap()
    };
    for (one, other, expected) in [
        (
            ints(&DataType::Int8, &[1]),
            ints(&DataType::UInt8, &[200]),
            ints(&DataType::Int16, &[1, 200]),
        ),
        (
            ints(&DataType::Int32, &[1]),
            ints(&DataType::Int64, &[1 << 40]),
            ints(&DataType::Int64, &[1, 1 << 40]),
        ),
        (
            ints(&DataType::Float32, &[1]),
            ints(&DataType::Float64, &[2]),
            ints(&DataType::Float64, &[1, 2]),
        ),
        (
            ints(&DataType::Int64, &[1]),
            ints(&DataType::Float64, &[2]),
            ints(&DataType::Float64, &[1, 2]),
        ),
        (
            ints(&DataType::UInt64, &[1]),
            ints(&DataType::Int8, &[-2]),
            ints(&DataType::Int64, &[1, -2]),
        ),
        (
            millis(TimeUnit::Millisecond, 1_770_076_800_000),
            millis(TimeUnit::Nanosecond, 1_770_076_800_000_000_001),
            cast(
                &Int64Array::from(vec![1_770_076_800_000_000_000, 1_770_076_800_000_000_001]),
                &DataType::Timestamp(TimeUnit::Nanosecond, None),
            )
            .unwrap(),
        ),
    ] {
        let what = format!("{} and {}", one.data_type(), other.data_type());
        let files = [
            ("2026-02-03_a.parquet", with(0, "level", one)),
            ("2026-02-03_b.parquet", with(1, "level", other)),
        ];
        assert_eq!(
            of_batches(&files).column_by_name("level").unwrap(),
            &expected,
            "{what}"
        );
    }
}

#[test]
fn maps_and_structs_are_kept_whoever_wrote_them() {
    let mut builder = arrow::array::MapBuilder::new(
        None,
        arrow::array::StringBuilder::new(),
        arrow::array::Int32Builder::new(),
    );
    builder.keys().append_value("a");
    builder.values().append_value(1);
    builder.append(true).unwrap();
    builder.append(false).unwrap();
    let map: ArrayRef = Arc::new(builder.finish());
    let got = of_batches(&[("2026-02-03_a.parquet", with(0, "tags", map))]);
    let tags = got.column_by_name("tags").unwrap();
    assert_eq!(
        (tags.len(), tags.null_count(), tags.as_map().entries().len()),
        (2, 1, 1)
    );
}

#[test]
fn rows_in_the_archive_are_not_outvoted_by_late_files() {
    for gone in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spool").join(SERIES);
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, batch: &RecordBatch| {
            let file = fs::File::create(folder.join(name)).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(batch).unwrap();
            let _ = writer.close().unwrap();
        };
        put(
            "2026-02-03_b.parquet",
            &with(0, "level", Arc::new(Int64Array::from(vec![7; 10]))),
        );
        compact(root.path(), 1, 2_500_000_000);
        if gone {
            fs::remove_file(folder.join("2026-02-03_b.parquet")).unwrap();
        }
        put(
            "2026-02-03_a.parquet",
            &with(10, "level", Arc::new(StringArray::from(vec!["x"; 100]))),
        );
        put(
            "2026-02-03_c.parquet",
            &with(110, "level", Arc::new(Float64Array::from(vec![0.5; 5]))),
        );
        let store =
            |name: &str| Store::open(&root.path().join(name).display().to_string()).unwrap();
        let (spool, archive, stop) = (store("spool"), store("archive"), Stop::default());
        let options = options(root.path(), 1, 2_500_000_000);
        let outcomes = wait(compact::run(
            &spool,
            &archive,
            &options,
            Arc::new(Silent),
            &stop,
        ))
        .unwrap()
        .outcomes;
        assert_eq!(
            (outcomes[0].rows, outcomes[0].quarantined),
            (15, 1),
            "{gone}: {outcomes:?}"
        );
        let data = root
            .path()
            .join("archive")
            .join(SERIES)
            .join("date=20260203/data.parquet");
        let levels = decode(&fs::read(data).unwrap()).unwrap().batch;
        let levels = levels
            .column_by_name("level")
            .unwrap()
            .as_primitive::<Float64Type>()
            .values()
            .to_vec();
        assert_eq!(
            levels,
            [vec![7.0; 10], vec![0.5; 5]].concat(),
            "the archived integers widen, {gone}"
        );
    }
}

#[test]
fn a_file_that_brings_what_no_archive_can_hold_goes_alone() {
    let interval = cast(
        &StringArray::from(vec!["5 seconds"]),
        &DataType::Interval(arrow::datatypes::IntervalUnit::DayTime),
    );
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("spool").join(SERIES);
    fs::create_dir_all(&folder).unwrap();
    let good = |nth: i64| with(nth, "level", Arc::new(Int64Array::from(vec![nth])));
    let files = [good(0), good(1), with(2, "lag", interval.unwrap()), good(3)];
    for (nth, batch) in files.iter().enumerate() {
        let file = fs::File::create(folder.join(format!("2026-02-03_{nth}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        let _ = writer.close().unwrap();
    }
    let store = |name: &str| Store::open(&root.path().join(name).display().to_string()).unwrap();
    let (spool, archive, stop) = (store("spool"), store("archive"), Stop::default());
    let options = options(root.path(), 1, 2_500_000_000);
    let outcomes = wait(compact::run(
        &spool,
        &archive,
        &options,
        Arc::new(Silent),
        &stop,
    ))
    .unwrap()
    .outcomes;
    assert_eq!(
        (outcomes[0].rows, outcomes[0].quarantined),
        (3, 1),
        "{outcomes:?}"
    );
    assert!(
        outcomes[0].message.contains("2026-02-03_2.parquet"),
        "{outcomes:?}"
    );
}

#[test]
fn a_file_without_a_row_of_the_day_has_no_say() {
    let ends = [DAY - 1_000_000_000, DAY + DAY_NS + 1_000_000_000].map(|ns| ns / 1_000_000);
    let around = RecordBatch::try_from_iter([
        (
            "ts_event",
            Arc::new(Int64Array::from(ends.to_vec())) as ArrayRef,
        ),
        ("seq", Arc::new(Int64Array::from(vec![1, 2]))),
        ("level", Arc::new(StringArray::from(vec!["x", "y"]))),
        ("venue", Arc::new(StringArray::from(vec!["x", "y"]))),
    ])
    .unwrap();
    let own = with(0, "level", Arc::new(Int64Array::from(vec![7])));
    let alone = of_batches(&[("2026-02-03_a.parquet", own.clone())]);
    assert_eq!(
        of_batches(&[
            ("2026-02-03_a.parquet", own),
            ("2026-02-03_b.parquet", around)
        ]),
        alone
    );
}
