//! The archive is a pure function of the set of rows: however they are cut into files, written and
//! declared, with any number of workers and any memory limit, the same bytes come out, and their
//! rows are those of a plain sort.
//!
//! Through the library, because a process for each of some hundred runs would take most of the
//! time.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Int8Type, Int64Type, Schema},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
};
use proptest::prelude::*;
use qlc::{
    compact::{self, Mode, Options, Outcome, Silent, Status, Stop},
    model::{partition::Selection, row_hash},
    storage::store::Store,
    verify,
};

use super::support::archive::{decode, sha256};

mod odd;

const DAY: i64 = super::support::events::DAY;
const SERIES: [&str; 2] = [
    "exchange=binance/stream=trade/symbol=btcusdt",
    "exchange=binance/stream=trade/symbol=ethusdt",
];

/// A trade. The fields are in the order of the contract's columns, and `Ord` is the contract's
/// order: nulls first, floats in IEEE total order, strings by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    ts_event: i64,
    seq: Option<i64>,
    ts_recv: Option<i64>,
    price: Option<Total>,
    qty: Option<Total>,
    side: Option<i8>,
    trade_id: Option<String>,
    note: Option<String>,
}

/// A float by its bits, in IEEE total order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Total(u64);

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        f64::from_bits(self.0).total_cmp(&f64::from_bits(other.0))
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Few values of each kind, so that rows tie in many ways and some are equal in all columns.
fn row() -> impl Strategy<Value = Row> {
    let float = || {
        prop_oneof![
            4 => prop::sample::select(vec![1.5, 2.5]),
            1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 5e-324]),
        ]
        .prop_map(|f| Total(f.to_bits()))
    };
    let text = || {
        prop::sample::select(vec!["", "a", "B", "é", "aa", "\u{10000}", "\u{ffff}"])
            .prop_map(str::to_owned)
    };
    let time = prop_oneof![4 => 0_i64..6, 1 => 0_i64..86_400_000];
    (
        time.prop_map(|ms| DAY + ms * 1_000_000),
        prop::option::weighted(0.9, -2_i64..4),
        prop::option::weighted(0.9, (0_i64..3).prop_map(|ms| DAY + ms)),
        prop::option::weighted(0.8, float()),
        prop::option::weighted(0.8, float()),
        prop::option::weighted(0.9, prop::sample::select(vec![1_i8, -1])),
        prop::option::weighted(0.7, text()),
        prop::option::weighted(0.5, text()),
    )
        .prop_map(
            |(ts_event, seq, ts_recv, price, qty, side, trade_id, note)| Row {
                ts_event,
                seq,
                ts_recv,
                price,
                qty,
                side,
                trade_id,
                note,
            },
        )
}

/// How one file is written.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own"
)]
struct Manner {
    sorted: bool,
    declared: bool,
    statistics: bool,
    hashed: bool,
    dictionary_strings: bool,
    leave_out_nulls: bool,
    version_2: bool,
    zstd: bool,
    rows_per_group: usize,
}

const PLAIN: Manner = Manner {
    sorted: true,
    declared: true,
    statistics: true,
    hashed: true,
    dictionary_strings: false,
    leave_out_nulls: false,
    version_2: false,
    zstd: true,
    rows_per_group: 1 << 20,
};

fn manner() -> impl Strategy<Value = Manner> {
    (
        any::<[bool; 8]>(),
        prop::sample::select(vec![3_usize, 50, 1 << 20]),
    )
        .prop_map(
            |(
                [
                    sorted,
                    declared,
                    statistics,
                    hashed,
                    dictionary_strings,
                    leave_out_nulls,
                    version_2,
                    zstd,
                ],
                rows_per_group,
            )| {
                Manner {
                    sorted,
                    declared,
                    statistics,
                    hashed,
                    dictionary_strings,
                    leave_out_nulls,
                    version_2,
                    zstd,
                    rows_per_group,
                }
            },
        )
}

/// A way to compact: how the rows are cut and written, and what the machine may spend.
#[derive(Debug, Clone)]
struct Way {
    /// For each row, the file that it goes to, modulo their number.
    cut: Vec<u16>,
    manners: Vec<Manner>,
    workers: usize,
    memory_limit: u64,
}

fn way() -> impl Strategy<Value = Way> {
    (
        prop::collection::vec(any::<u16>(), 50),
        prop_oneof![
            prop::collection::vec(manner(), 1..8),
            prop::collection::vec(manner(), 40..70)
        ],
        1_usize..4,
        prop::sample::select(vec![256_000_000_u64, 400_000_000, 2_500_000_000]),
    )
        .prop_map(|(cut, manners, workers, memory_limit)| Way {
            cut,
            manners,
            workers,
            memory_limit,
        })
}

fn batch(rows: &[Row], manner: &Manner) -> RecordBatch {
    fn ints(rows: &[Row], of: fn(&Row) -> Option<i64>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    }
    fn floats(rows: &[Row], of: fn(&Row) -> Option<Total>) -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|r| of(r).map(|t| f64::from_bits(t.0)))
                .collect::<Float64Array>(),
        )
    }
    let texts = |of: fn(&Row) -> Option<&str>| -> ArrayRef {
        let plain: ArrayRef = Arc::new(rows.iter().map(of).collect::<StringArray>());
        let keyed = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        if manner.dictionary_strings {
            cast(&plain, &keyed).unwrap()
        } else {
            plain
        }
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        // In an order of their own: the archive has the contract's.
        ("note", texts(|r| r.note.as_deref())),
        ("ts_event", ints(rows, |r| Some(r.ts_event))),
        ("seq", ints(rows, |r| r.seq)),
        ("ts_recv", ints(rows, |r| r.ts_recv)),
        ("exchange", texts(|_| Some("binance"))),
        ("trade_id", texts(|r| r.trade_id.as_deref())),
        ("price", floats(rows, |r| r.price)),
        ("qty", floats(rows, |r| r.qty)),
        (
            "side",
            Arc::new(rows.iter().map(|r| r.side).collect::<Int8Array>()),
        ),
    ];
    let bare = |name: &str, array: &ArrayRef| {
        manner.leave_out_nulls
            && !["ts_event", "seq"].contains(&name)
            && array.null_count() == array.len()
    };
    let columns: Vec<_> = columns
        .into_iter()
        .filter(|(name, array)| !bare(name, array))
        .collect();
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

fn bytes(rows: &[Row], manner: &Manner) -> Vec<u8> {
    let mut rows = rows.to_vec();
    if manner.sorted {
        rows.sort();
    }
    let batch = batch(&rows, manner);
    let by = |name: &str| SortingColumn {
        column_idx: batch.schema().index_of(name).unwrap() as i32,
        descending: false,
        nulls_first: true,
    };
    let hash = manner
        .hashed
        .then(|| row_hash::of_batch(&batch).unwrap().to_string());
    let statistics = if manner.statistics {
        EnabledStatistics::Page
    } else {
        EnabledStatistics::None
    };
    let properties = WriterProperties::builder()
        .set_compression(if manner.zstd {
            Compression::ZSTD(ZstdLevel::default())
        } else {
            Compression::SNAPPY
        })
        .set_sorting_columns(manner.declared.then(|| vec![by("ts_event"), by("seq")]))
        .set_key_value_metadata(
            hash.map(|h| vec![KeyValue::new(row_hash::FOOTER_KEY.to_owned(), h)]),
        )
        .set_writer_version(if manner.version_2 {
            WriterVersion::PARQUET_2_0
        } else {
            WriterVersion::PARQUET_1_0
        })
        .set_statistics_enabled(statistics)
        .set_offset_index_disabled(!manner.statistics)
        .set_max_row_group_row_count(Some(manner.rows_per_group));
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    let _ = writer.close().unwrap();
    file
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let ints = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
            .iter()
            .collect::<Vec<_>>()
    };
    let floats = |name: &str| {
        let column = batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>();
        column
            .iter()
            .map(|f| f.map(|f| Total(f.to_bits())))
            .collect::<Vec<_>>()
    };
    // An added column without any value is not in the archive.
    let texts = |name: &str| match batch.column_by_name(name) {
        Some(column) => column
            .as_string::<i32>()
            .iter()
            .map(|t| t.map(str::to_owned))
            .collect::<Vec<_>>(),
        None => vec![None; batch.num_rows()],
    };
    let side: Vec<_> = batch
        .column_by_name("side")
        .unwrap()
        .as_primitive::<Int8Type>()
        .iter()
        .collect();
    let (ts_event, seq, ts_recv) = (ints("ts_event"), ints("seq"), ints("ts_recv"));
    let (price, qty, trade_id, note) = (
        floats("price"),
        floats("qty"),
        texts("trade_id"),
        texts("note"),
    );
    let row = |i: usize| Row {
        ts_event: ts_event[i].unwrap(),
        seq: seq[i],
        ts_recv: ts_recv[i],
        price: price[i],
        qty: qty[i],
        side: side[i],
        trade_id: trade_id[i].clone(),
        note: note[i].clone(),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn options(root: &Path, workers: usize, memory_limit: u64) -> Options {
    Options {
        mode: Mode::CatchUp,
        selection: Selection::all(),
        workers,
        memory_limit,
        spill_dir: root.join("spill"),
        now: "2026-02-05T06:00:00Z".parse().unwrap(),
        force: false,
        accept_loss: false,
        salvage: false,
        zstd_level: None,
    }
}

/// Compacts what is in `root/spool`, verifies, and returns the data of both series.
fn compacted(root: &Path, workers: usize, memory_limit: u64) -> [Vec<u8>; 2] {
    let store = |name: &str| Store::open(&root.join(name).display().to_string()).unwrap();
    let options = options(root, workers, memory_limit);
    let checks = verify::Options {
        selection: Selection::all(),
        start: None,
        end: None,
        quick: false,
        memory_limit,
    };
    let (outcomes, verified) = wait(async {
        let (spool, archive) = (store("spool"), store("archive"));
        let outcomes: Vec<Outcome> = compact::run(
            &spool,
            &archive,
            &options,
            Arc::new(Silent),
            &Stop::default(),
        )
        .await
        .unwrap()
        .outcomes;
        (
            outcomes,
            verify::run(&archive, &checks, &|| false, &mut |_| {})
                .await
                .unwrap(),
        )
    });
    for outcome in outcomes {
        assert_eq!(
            (outcome.status, outcome.quarantined),
            (Status::Done, 0),
            "{outcome:?}"
        );
    }
    assert_eq!(verified.len(), 2);
    for one in verified {
        assert_eq!(one.findings, Vec::<String>::new());
    }
    assert_eq!(
        fs::read_dir(root.join("spill")).unwrap().count(),
        0,
        "runs are left behind"
    );
    SERIES.map(|series| {
        fs::read(
            root.join("archive")
                .join(series)
                .join("date=20260203/data.parquet"),
        )
        .unwrap()
    })
}

/// Moves the rows of a file that has just those of another one to the first file: they would be a
/// copy, and a copy counts once.
fn without_copies(files: &mut [Vec<Row>]) {
    let sorted = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    loop {
        let is_copy = |nth: &usize| {
            let rows = &files[*nth];
            let same =
                |other: &Vec<Row>| other.len() == rows.len() && sorted(other) == sorted(rows);
            !rows.is_empty() && files[..*nth].iter().any(same)
        };
        let Some(nth) = (1..files.len()).find(is_copy) else {
            return;
        };
        let rows = std::mem::take(&mut files[nth]);
        files[0].extend(rows);
    }
}

/// Cuts the rows as `way` says, for both series, and compacts them.
fn by_way(rows: &[Row], way: &Way) -> [Vec<u8>; 2] {
    let root = tempfile::tempdir().unwrap();
    let mut files: Vec<Vec<Row>> = vec![Vec::new(); way.manners.len()];
    for (nth, row) in rows.iter().enumerate() {
        // Different figures for each row, however long the list of them is.
        let cut = usize::from(way.cut[nth % way.cut.len()]) + nth / way.cut.len();
        files[cut % way.manners.len()].push(row.clone());
    }
    without_copies(&mut files);
    for series in SERIES {
        let folder = root.path().join("spool").join(series);
        fs::create_dir_all(&folder).unwrap();
        for (nth, (rows, manner)) in files.iter().zip(&way.manners).enumerate() {
            fs::write(
                folder.join(format!("2026-02-03_{nth:04}.parquet")),
                bytes(rows, manner),
            )
            .unwrap();
        }
    }
    compacted(root.path(), way.workers, way.memory_limit)
}

/// Compares every way with the plain one: one file, in order.
fn check(rows: &[Row], ways: &[Way]) {
    let plain = Way {
        cut: vec![0],
        manners: vec![PLAIN],
        workers: 1,
        memory_limit: 2_500_000_000,
    };
    let [expected, other] = by_way(rows, &plain);
    assert_eq!(expected, other, "the series' names are not in these rows");
    let mut sorted = rows.to_vec();
    sorted.sort();
    assert_eq!(rows_of(&decode(&expected).unwrap().batch), sorted);
    for way in ways {
        for got in by_way(rows, way) {
            if got != expected {
                assert_eq!(rows_of(&decode(&got).unwrap().batch), sorted, "{way:?}");
                assert_eq!(
                    sha256(&got),
                    sha256(&expected),
                    "the same rows in other bytes: {way:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_same_rows_gives_the_same_bytes(
        rows in prop::collection::vec(row(), 1..400),
        ways in prop::collection::vec(way(), 3),
    ) {
        check(&rows, &ways);
    }
}

/// Rows enough for several row groups of a file, spilled sorts and more than one merge pass under a
/// small limit.
#[test]
fn a_large_day_is_the_same_whatever_is_spilled() {
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let rows: Vec<Row> = (0..300_000)
        .map(|_| Row {
            ts_event: DAY + next(50_000) as i64 * 1_000_000,
            seq: Some(next(3) as i64),
            ts_recv: Some(DAY + next(1 << 30) as i64),
            price: Some(Total((91_000.0 + next(500) as f64 / 10.0).to_bits())),
            qty: Some(Total((next(1000) as f64 / 1000.0).to_bits())),
            side: Some(if next(2) == 0 { 1 } else { -1 }),
            trade_id: Some(next(1 << 20).to_string()),
            note: None,
        })
        .collect();
    let unsorted = Manner {
        sorted: false,
        declared: false,
        hashed: false,
        ..PLAIN
    };
    let liar = Manner {
        sorted: false,
        ..PLAIN
    };
    let cut: Vec<u16> = (0..997).map(|_| next(1 << 16) as u16).collect();
    let way = |manners: Vec<Manner>, workers, memory_limit| Way {
        cut: cut.clone(),
        manners,
        workers,
        memory_limit,
    };
    check(
        &rows,
        &[
            way(vec![unsorted; 2], 1, 256_000_000),
            way(vec![PLAIN; 90], 2, 256_000_000),
            way(vec![PLAIN, liar, PLAIN], 2, 2_500_000_000),
        ],
    );
}
