//! One file takes no more than itself: neither the process with it, nor the memory of the others,
//! nor their place in a run.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, BinaryArray, Float64Array, Int8Array, Int64Array, ListArray, StringArray,
        StructArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, GzipLevel, PageType, ZstdLevel},
    file::properties::WriterProperties,
};

use qlc::{
    compact::{Outcome, Status, Watch},
    model::partition::Partition,
};

use super::support::{
    archive::{dir, home, published, quarantine, sha256},
    damage,
    events::{Claim, DAY, Events, HOUR, SECOND, quotes},
    footers, inside, pages,
    peak::{near_the_least_limit, within_the_least_limit},
    run::{CATCH_UP, Place, Ran, SERIES, program},
};

const GOOD: &str = "2026-02-03_00-00-00.parquet";
const ODD: &str = "2026-02-03_01-00-00.parquet";

fn good() -> Events {
    Events::sealed(quotes(DAY, SECOND, 0, 100))
}

/// The writer of the tests recurses as well.
fn on_a_large_stack<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(make)
        .unwrap()
        .join()
        .unwrap()
}

/// Fifty rows with a struct in a struct in a struct, so many of them.
fn nested(levels: usize) -> Events {
    let mut column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
    for _ in 0..levels {
        let field = Field::new("a", column.data_type().clone(), false);
        column = Arc::new(StructArray::new(
            Fields::from(vec![field]),
            vec![column],
            None,
        ));
    }
    Events::sealed(quotes(DAY + HOUR, SECOND, 1000, 50))
        .hash(Claim::None)
        .with("deep", column)
}

#[test]
fn a_schema_of_any_depth_ends_no_run() {
    let written = on_a_large_stack(|| nested(200).bytes());
    for bytes in [written, footers::nested(200), footers::nested(200_000)] {
        let place = Place::new();
        let _ = place.put_quotes(GOOD, &good().bytes());
        let path = place.put_quotes(ODD, &bytes);
        for symbol in ["aaausdt", "zzzusdt"] {
            let key = format!("exchange=binance/stream=bbo/symbol={symbol}/{GOOD}");
            let _ = place.put(&key, &good().series("binance", "bbo", symbol).bytes());
        }
        let _ = place
            .compact(&["--workers", "2"])
            .ended(3)
            .says("SCHEMA_TOO_DEEP");
        for symbol in ["aaausdt", "btcusdt", "zzzusdt"] {
            let partition = published(&place.archive(), &dir("binance", "bbo", symbol, "20260203"));
            assert_eq!(partition.quotes().len(), 100);
        }
        let _ = place
            .qlc(&["inspect", path.to_str().unwrap()])
            .ended(4)
            .says("SCHEMA_TOO_DEEP");
        let _ = place
            .qlc(&["query", "SELECT count(*) FROM spool.bbo"])
            .ended(3)
            .says("300");
        let _ = place.qlc(&["status"]);
        let _ = place.qlc(&["prune", "--keep-days", "0"]);
        place.verify();
        // Where it stands in the archive, it is damage; nothing that looks at it ends by a signal.
        fs::write(place.archive().join(home()).join("data.parquet"), &bytes).unwrap();
        let _ = place.qlc(&["verify"]).ended(4);
        let _ = place.qlc(&["verify", "--quick"]).ended(4);
        let _ = place
            .qlc(&["query", "SELECT sum(bid_price) FROM bbo"])
            .ended(1)
            .says("SCHEMA_TOO_DEEP");
        for args in [
            &["status"][..],
            &["doctor"],
            &["import"],
            &["report"],
            CATCH_UP,
        ] {
            let ran = place.qlc(args);
            assert!(ran.code.is_some(), "{ran}");
        }
    }
}

#[test]
fn columns_as_deep_as_they_may_be_are_taken_in_on_any_stack() {
    // The threads of this runtime have the stack that threads have by default.
    inside::runtime().block_on(async {
        let place = Place::new();
        let _ = place.put_quotes(GOOD, &good().bytes());
        let _ = place.put_quotes(ODD, &nested(30).bytes());
        let outcomes = inside::compact(place.root()).await;
        assert_eq!(
            (outcomes.len(), outcomes[0].quarantined, outcomes[0].rows),
            (1, 0, 150),
            "{outcomes:?}"
        );
        assert_eq!(inside::findings(place.root()).await, Vec::<String>::new());
    });
}

/// Lists take more levels where they are written as they are today than older writers gave them.
#[test]
fn what_would_be_too_deep_when_it_is_written_is_not_taken_in() {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let mut column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
    for _ in 0..20 {
        let field = Field::new_list_field(column.data_type().clone(), true);
        column = Arc::new(ListArray::new(
            Arc::new(field),
            OffsetBuffer::from_lengths(vec![1; 50]),
            column,
            None,
        ));
    }
    let bytes = Events::sealed(quotes(DAY + HOUR, SECOND, 1000, 50))
        .hash(Claim::None)
        .with("deep", column)
        .bytes();
    let _ = place.put_quotes(ODD, &bytes);
    let _ = place.compact(&[]).ended(3).says("SCHEMA_TOO_DEEP");
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 100);
    place.verify();
}

#[test]
fn a_bad_file_is_kept_whatever_its_name() {
    let longest = format!("2026-02-03_{}.parquet", "x".repeat(255 - 19));
    assert_eq!(longest.len(), 255);
    for name in [longest, format!("2026-02-03_{}.parquet", "ä".repeat(110))] {
        let place = Place::new();
        let _ = place.put_quotes(GOOD, &good().bytes());
        let _ = place.put_quotes(&name, b"no Parquet at all");
        // Rows of it that belong to no day are kept under a name that is longer still.
        let far = Events::sealed(
            [
                quotes(DAY, SECOND, 500, 5),
                quotes(DAY - 100 * HOUR, SECOND, 600, 3),
            ]
            .concat(),
        );
        let other = format!(
            "{}y.parquet",
            &name[..name.floor_char_boundary(name.len() - 9)]
        );
        let _ = place.put_quotes(&other, &far.undeclared().bytes());
        let _ = place.compact(&[]).ended(3);
        assert_eq!(published(&place.archive(), &home()).quotes().len(), 105);
        let entries = quarantine(&place.archive(), &home()).unwrap()["files"]
            .as_array()
            .unwrap()
            .clone();
        assert_eq!(entries.len(), 2);
        for entry in entries {
            let kept_as = entry["kept_as"].as_str().unwrap();
            let kept = fs::read(
                place
                    .archive()
                    .join("QUARANTINE")
                    .join(home())
                    .join(kept_as),
            )
            .unwrap();
            assert_eq!(entry["kept_sha256"], sha256(&kept), "{entry}");
        }
        let _ = place.compact(&[]).ended(0).says("nothing to do");
        place.verify();
        place.is_tidy();
    }
}

/// A file as another writer makes it of `rows` and their column `blob`.
fn written(rows: usize, blob: ArrayRef, properties: WriterProperties) -> Vec<u8> {
    let events = Events::older(quotes(DAY + HOUR, SECOND, 1000, rows as i64)).with("blob", blob);
    let batch = events.batch();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let _ = writer.close().unwrap();
    bytes
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::default())
}

#[test]
fn a_small_file_of_large_rows_keeps_the_limit() {
    // A dictionary of one text of a megabyte: every row is as long, and the file has some
    // kilobytes.
    let rows = 500;
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
        "x".repeat(1_000_000),
        rows,
    )));
    let bytes = written(
        rows,
        texts,
        WriterProperties::builder().set_compression(zstd()).build(),
    );
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let path = place.put_quotes(ODD, &bytes);
    let _ = within_the_least_limit(&place, &["inspect", path.to_str().unwrap()]).ended(0);
    let _ = within_the_least_limit(&place, CATCH_UP).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).meta["row_count"],
        rows + 100
    );
    let _ = within_the_least_limit(&place, &["verify"]).ended(0);
    // And once more with the archived rows as a source.
    let late = Events::sealed(quotes(DAY + 2 * HOUR, SECOND, 90_000, 10));
    let _ = place.put_quotes("2026-02-03_02-00-00.parquet", &late.bytes());
    let _ = within_the_least_limit(&place, CATCH_UP).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).meta["row_count"],
        rows + 110
    );
    let every = [
        "query",
        "SELECT * FROM spool.bbo",
        "--format",
        "ndjson",
        "--output",
        "rows.ndjson",
    ];
    let _ = within_the_least_limit(&place, &every).ended(0);
    let _ = within_the_least_limit(&place, &["prune", "--keep-days", "0"]);
}

/// Long lists of small values make pages that nobody would take in from a stranger; those of the
/// file that is made of them are read back all the same.
#[test]
fn what_was_taken_in_is_read_back_however_long_its_lists_are() {
    let (rows, length) = (200, 60_000);
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(length, rows));
    let values: ArrayRef = Arc::new(Int8Array::from(vec![0; rows * length]));
    let lists: ArrayRef = Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(DataType::Int8, true)),
        offsets,
        values,
        None,
    ));
    let small_pages = WriterProperties::builder()
        .set_compression(zstd())
        .set_data_page_row_count_limit(1);
    let bytes = written(rows, lists, small_pages.set_write_batch_size(1).build());
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let _ = place.put_quotes(ODD, &bytes);
    let _ = within_the_least_limit(&place, CATCH_UP).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).meta["row_count"],
        rows + 100
    );
    let _ = within_the_least_limit(&place, &["verify"]).ended(0);
    let _ = place.put_quotes(
        "2026-02-03_02-00-00.parquet",
        &Events::sealed(quotes(DAY + 2 * HOUR, SECOND, 0, 10)).bytes(),
    );
    let _ = within_the_least_limit(&place, CATCH_UP).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).meta["row_count"],
        rows + 110
    );
}

#[test]
fn a_page_that_would_take_the_memory_of_all_else_is_not_decoded() {
    let rows = 100;
    let blobs: ArrayRef = Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(
        vec![0; 1_000_000],
        rows,
    )));
    let properties = WriterProperties::builder()
        .set_compression(zstd())
        .set_dictionary_enabled(false)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .set_data_page_size_limit(1 << 30)
        .build();
    let bytes = written(rows, blobs, properties);
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let path = place.put_quotes(ODD, &bytes);
    let _ = within_the_least_limit(&place, CATCH_UP)
        .ended(3)
        .says("TOO_LARGE");
    assert_eq!(published(&place.archive(), &home()).quotes().len(), 100);
    let _ = within_the_least_limit(&place, &["inspect", path.to_str().unwrap()])
        .ended(4)
        .says("TOO_LARGE");
    let entry = quarantine(&place.archive(), &home()).unwrap();
    assert_eq!(entry["source_path"], format!("{SERIES}/{ODD}"));
    assert_eq!(entry["error_type"], "TOO_LARGE");
}

/// So many columns of values that hardly repeat, each with a dictionary and a page of its own.
pub(super) fn many_columns(columns: u64, rows: u64) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64
    };
    let mut events =
        Events::sealed(quotes(DAY + HOUR, SECOND / 1000, 1000, rows as i64)).hash(Claim::None);
    for nth in 0..columns {
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values((0..rows).map(|_| next())));
        events = events.with(&format!("level_{nth:03}"), values);
    }
    events.bytes()
}

#[test]
fn hundreds_of_columns_stay_near_the_limit_and_have_the_same_bytes_under_any() {
    let (rows, bytes) = (20_000, many_columns(400, 20_000));
    let sha256_of = |place: &Place| sha256(&published(&place.archive(), &home()).bytes);
    let place = Place::new();
    let path = place.put_quotes(ODD, &bytes);
    let _ = near_the_least_limit(&place, &["inspect", path.to_str().unwrap()]).ended(0);
    let _ = near_the_least_limit(&place, CATCH_UP).ended(0);
    assert_eq!(published(&place.archive(), &home()).meta["row_count"], rows);
    let _ = near_the_least_limit(&place, &["verify"]).ended(0);
    let _ = near_the_least_limit(&place, &["verify", "--rebuild"]).ended(0);
    for store in ["spool", "archive"] {
        let every = format!("SELECT * FROM {store}.bbo");
        let _ =
            near_the_least_limit(&place, &["query", &every, "--output", "rows.parquet"]).ended(0);
    }
    // A late file, so that the archived rows are a source.
    let _ = place.put_quotes("2026-02-03_02-00-00.parquet", &many_columns(400, 3_000));
    let _ = near_the_least_limit(&place, CATCH_UP).ended(0);
    let roomy = Place::new();
    let _ = roomy.put_quotes(ODD, &bytes);
    let _ = roomy.put_quotes("2026-02-03_02-00-00.parquet", &many_columns(400, 3_000));
    let _ = roomy
        .qlc(&[CATCH_UP, &["--memory-limit", "2GB"]].concat())
        .ended(0);
    assert_eq!(sha256_of(&place), sha256_of(&roomy));
}

/// Lets the first data page of `column` claim so many bytes after decompression.
fn claiming(mut bytes: Vec<u8>, column: &str, claimed: u64) -> Vec<u8> {
    let page = pages::of(&bytes, column)
        .into_iter()
        .find(|page| page.kind != PageType::DICTIONARY_PAGE)
        .unwrap();
    // The header begins with its type, and then the size, a zigzag varint. One of the same length
    // may be written for less.
    let at = page.header.start + 3;
    assert_eq!(bytes[at - 1], 0x15, "a field of 32 bits");
    let length = bytes[at..]
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .unwrap()
        + 1;
    let zigzag = 2 * claimed;
    for (nth, byte) in bytes[at..at + length].iter_mut().enumerate() {
        let more = if nth + 1 < length { 0x80 } else { 0 };
        *byte = ((zigzag >> (7 * nth)) & 0x7f) as u8 | more;
    }
    bytes
}

#[test]
fn a_page_that_becomes_more_than_it_claims_costs_no_more_than_it_claims() {
    let rows = 400;
    for codec in [
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::SNAPPY,
        zstd(),
    ] {
        let blobs: ArrayRef = Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(
            vec![0; 1_000_000],
            rows,
        )));
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
            .set_data_page_size_limit(1 << 30)
            .build();
        let honest = written(rows, blobs, properties);
        assert!(honest.len() < 30_000_000, "{codec}: {}", honest.len());
        for (bytes, says) in [
            (claiming(honest.clone(), "blob", 1_000_000), "_CORRUPT"),
            (honest, "TOO_LARGE"),
        ] {
            let place = Place::new();
            let _ = place.put_quotes(GOOD, &good().bytes());
            let path = place.put_quotes(ODD, &bytes);
            let every = ["query", "SELECT max(blob), count(*) FROM spool.bbo"];
            let ran = within_the_least_limit(&place, &every);
            assert_ne!(ran.code, Some(0), "{codec}: {ran}");
            let _ = within_the_least_limit(&place, &["inspect", path.to_str().unwrap()])
                .ended(4)
                .says(says);
            let _ = within_the_least_limit(&place, CATCH_UP).ended(3).says(says);
            assert_eq!(
                published(&place.archive(), &home()).quotes().len(),
                100,
                "{codec}"
            );
        }
    }
}

#[test]
fn a_row_group_of_a_whole_file_is_asked_within_the_limit() {
    let rows = 300_000;
    let text = |nth: u64| {
        let seed = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let parts: Vec<String> = (0..50)
            .map(|part: u64| format!("{:016x}", seed.wrapping_mul(2 * part + 1)))
            .collect();
        parts.concat()
    };
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(None)
        .build();
    let bytes = written(rows as usize, texts, properties);
    assert!(bytes.len() > 230_000_000, "{}", bytes.len());
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let _ = place.put_quotes(ODD, &bytes);
    let ask =
        "SELECT count(*), count(DISTINCT substr(text, 1, 3)), max(length(blob)) FROM spool.bbo";
    let ask = ask.replace("text", "blob");
    let _ = within_the_least_limit(&place, &["query", &ask])
        .ended(0)
        .says("300100")
        .says("4096")
        .says("800");
    let one = "SELECT length(blob), exchange, date FROM spool.bbo WHERE ts_event IS NOT NULL AND blob IS NOT NULL LIMIT 1";
    let _ = within_the_least_limit(&place, &["query", one])
        .ended(0)
        .says("binance")
        .says("20260203");
}

#[test]
fn an_answer_that_lacks_rows_does_not_look_complete() {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let count = ["query", "SELECT count(*) FROM spool.bbo"];
    let _ = place.qlc(&count).ended(0).says("100");
    let _ = place.put_quotes(ODD, b"PAR1 not at all PAR1");
    let ran = place.qlc(&count).ended(3).says("100").says("left out");
    assert!(
        ran.stderr
            .contains("the answer is not complete: 1 file of the spool is left out"),
        "{ran}"
    );
    let _ = place
        .qlc(&[
            "query",
            "SELECT count(*) FROM spool.bbo",
            "--output",
            "rows.csv",
        ])
        .ended(3);
    // Of the archive nothing is left out.
    let _ = place.compact(&[]).ended(3);
    let _ = place
        .qlc(&["query", "SELECT count(*) FROM archive.bbo"])
        .ended(0)
        .says("100");
}

#[test]
fn what_is_no_file_is_named_beside_an_answer_and_not_waited_for() {
    let place = Place::new();
    let source = place.put_quotes(GOOD, &good().bytes());
    let pipe = source.with_file_name(ODD);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let ran = place
        .qlc(&["query", "SELECT count(*) FROM spool.bbo"])
        .ended(0)
        .says("100");
    for text in [ODD, "it is no regular file"] {
        assert!(ran.stderr.contains(text), "{ran}");
    }
    let _ = place.compact(&[]).ended(3).says("it is no regular file");
}

#[test]
fn a_limit_that_cannot_be_kept_is_refused() {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &good().bytes());
    let args = ["compact", "--mode", "catch-up", "--memory-limit", "255MB"];
    let _ = place.qlc(&args).ended(2).says("256 MB");
    assert!(!place.archive().join(home()).exists(), "nothing was begun");
}

#[test]
fn every_page_of_any_file_is_inspected() {
    let events = good()
        .hash(Claim::None)
        .undeclared()
        .without("ts_event")
        .rows_per_group(25);
    let place = Place::new();
    let sound = place.put_quotes(GOOD, &events.bytes());
    let ran = place
        .qlc(&["inspect", sound.to_str().unwrap()])
        .ended(4)
        .says("SCHEMA_MISMATCH");
    assert!(!ran.stdout.contains("CORRUPT"), "{ran}");
    let mut bytes = events.bytes();
    damage::scramble_data_page(&mut bytes, "ask_qty", 3);
    let bad = place.put_quotes(ODD, &bytes);
    let _ = place
        .qlc(&["inspect", bad.to_str().unwrap()])
        .ended(4)
        .says("SCHEMA_MISMATCH")
        .says("SNAPPY_CORRUPT");
}

/// Panics when the partition of one symbol begins.
struct Panics;

impl Watch for Panics {
    fn begin(&self, _: usize) {}
    fn partition_begins(&self, partition: &Partition, _: u64, _: u64) {
        assert_ne!(partition.series.symbol.to_string(), "bbbusdt", "a defect");
    }
    fn progress(&self, _: u64, _: u64) {}
    fn partition_ends(&self, _: &Outcome) {}
}

#[test]
fn a_panic_in_one_partition_takes_no_outcome_with_it() {
    let place = Place::new();
    for symbol in ["aaausdt", "bbbusdt", "cccusdt"] {
        let key = format!("exchange=binance/stream=bbo/symbol={symbol}/{GOOD}");
        let _ = place.put(&key, &good().series("binance", "bbo", symbol).bytes());
    }
    let outcomes = inside::runtime().block_on(async {
        inside::watched(
            place.root(),
            &inside::options(place.root()),
            Arc::new(Panics),
        )
        .await
    });
    let status: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(
        status,
        [Status::Done, Status::Failed, Status::Done],
        "{outcomes:?}"
    );
    assert!(outcomes[1].message.contains("a defect"), "{outcomes:?}");
    let _ = place.compact(&[]).ended(0);
    place.verify();
}

#[test]
fn a_command_that_waits_for_a_store_ends_when_it_is_asked_to() {
    // A server that takes every connection and answers none.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let env = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
    ];
    for args in [
        &["verify"][..],
        &["import"],
        &["prune", "--keep-days", "0"],
        &["clean"],
    ] {
        let place = Place::new();
        let _ = place.put_quotes(GOOD, &good().bytes());
        let mut command = Command::new(program());
        let _ = command
            .arg("--spool")
            .arg(place.spool())
            .args(["--archive", "s3://bucket/archive"])
            .args(args)
            .envs(env);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let held = silent.accept().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let _ = Ran::of_child(child)
            .ended(1)
            .says("before it came to a safe point");
        drop(held);
    }
}
