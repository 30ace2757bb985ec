//! One bad file of every kind: it is kept whole with the reason, the day is made from the others,
//! and a good file in its place is taken in.

use std::{fs, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::statistics::Statistics,
};
use serde_json::Value;

use super::support::{
    archive::{decode, dir, home, listing, published, quarantine, quotes_of, sha256},
    damage,
    events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
    footers,
    rewrite::{self, Checksum},
    run::{Place, SERIES, qlc},
};

const GOOD: &str = "2026-02-03_00-00-00.parquet";
const BAD: &str = "2026-02-03_01-00-00.parquet";
const KEYS: [&str; 13] = [
    "error_type",
    "message",
    "source_path",
    "size",
    "sha256",
    "time",
    "qlc_version",
    "reproduce",
    "kept_as",
    "kept_sha256",
    "modified_us",
    "files",
    "rows",
];

fn good() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 300)
}

/// The rows that the bad file would have had.
fn other() -> Vec<Quote> {
    quotes(DAY + 30, SECOND, 10_000, 300)
}

fn sealed() -> Events {
    Events::sealed(other()).rows_per_page(100)
}

/// What `error.json` says, its keys having been checked.
#[track_caller]
fn entry(place: &Place, error_type: &str) -> Value {
    let entry = quarantine(&place.archive(), &home()).expect("an error.json");
    let keys = entry.as_object().unwrap().keys();
    assert!(
        keys.clone().all(|k| KEYS.contains(&k.as_str())),
        "{entry:#}"
    );
    assert!(KEYS[..12].iter().all(|k| !entry[k].is_null()), "{entry:#}");
    assert_eq!(entry["error_type"], error_type, "{entry:#}");
    assert_eq!(entry["source_path"], format!("{SERIES}/{BAD}"));
    assert_eq!(entry["time"], "2026-02-05T06:00:00Z");
    assert_eq!(entry["qlc_version"], env!("CARGO_PKG_VERSION"));
    entry
}

/// A day of one good file and of `bad`, from the first run to the one that finds a good file in its
/// place.
#[track_caller]
fn check(error_type: &str, bad: &[u8]) {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let source = place.put_quotes(BAD, bad);
    let ran = place
        .compact(&["--format", "json"])
        .ended(3)
        .says(error_type);
    let [outcome] = ran.json().try_into().unwrap();
    assert_eq!(
        (&outcome["status"], &outcome["quarantined"]),
        (&"done".into(), &1.into()),
        "{outcome}"
    );

    let entry = entry(&place, error_type);
    assert_eq!(
        (&entry["size"], &entry["sha256"]),
        (&bad.len().into(), &sha256(bad).into())
    );
    assert_eq!(
        (&entry["kept_as"], &entry["kept_sha256"]),
        (&BAD.into(), &sha256(bad).into())
    );
    assert_eq!(
        fs::read(place.archive().join("QUARANTINE").join(home()).join(BAD)).unwrap(),
        bad,
        "kept whole"
    );
    assert_eq!(
        fs::read(&source).unwrap(),
        bad,
        "the spool is left as it is"
    );
    let command: Vec<&str> = entry["reproduce"].as_str().unwrap().split(' ').collect();
    assert_eq!(command[0], "qlc");
    let _ = qlc(&command[1..]).ended(4).says(error_type);
    let partition = published(&place.archive(), &home());
    assert_eq!(partition.quotes(), good());
    if error_type == "TIME_OUT_OF_RANGE" {
        // It was read to its end before this was known, so its rows are on the bill.
        assert_eq!(
            partition.receipt["sources"][1]["rows_quarantined"],
            partition.receipt["sources"][1]["rows"]
        );
    } else {
        assert_eq!(partition.receipt["left_out"][0]["sha256"], sha256(bad));
    }
    place.verify();

    let before = listing(&place.archive());
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("nothing to do")
        .says("1 file in QUARANTINE");
    // The same bytes under a new time are not tried again.
    fs::write(&source, bad).unwrap();
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("nothing to do")
        .says("1 file in QUARANTINE");
    assert_eq!(listing(&place.archive()), before);

    let _ = place.put_quotes(BAD, &Events::sealed(other()).bytes());
    let _ = place.compact(&[]).ended(0);
    let mut all = [good(), other()].concat();
    all.sort_by_key(|q| (q.ts_event, q.seq));
    assert_eq!(published(&place.archive(), &home()).quotes(), all);
    place.verify();
    place.is_tidy();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
}

/// Uncompressed, with a dictionary of three prices: its indices have room for a fourth.
fn three_prices() -> Events {
    let prices: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..300).map(|i| 91_000.0 + f64::from(i % 3)),
    ));
    sealed()
        .replace("bid_price", prices)
        .compressed(Compression::UNCOMPRESSED)
}

#[test]
fn a_dictionary_index_that_points_nowhere() {
    let mut file = three_prices().bytes();
    damage::break_dictionary_index(&mut file, "bid_price");
    check("DICT_CONFLICT", &file);
}

#[test]
fn pages_that_do_not_decompress() {
    for codec in [Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())] {
        for nth in [0, 2] {
            let mut file = sealed().compressed(codec).bytes();
            damage::scramble_data_page(&mut file, "bid_qty", nth);
            check("SNAPPY_CORRUPT", &file);
        }
        let mut file = sealed().compressed(codec).bytes();
        damage::scramble_dictionary_page(&mut file, "bid_qty");
        check("SNAPPY_CORRUPT", &file);
        let mut file = sealed().compressed(codec).bytes();
        damage::scramble_page_header(&mut file, "ts_event", 0);
        check("SNAPPY_CORRUPT", &file);
    }
}

#[test]
fn a_page_with_a_wrong_checksum() {
    let file = sealed().bytes();
    check(
        "SNAPPY_CORRUPT",
        &rewrite::with_checksum(&file, "bid_qty", Checksum::Wrong),
    );
    let place = Place::new();
    let _ = place.put_quotes(
        GOOD,
        &rewrite::with_checksum(&file, "bid_qty", Checksum::Right),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes(), other());
    place.verify();
}

#[test]
fn a_column_of_another_type() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["91000"; 300]));
    check(
        "SCHEMA_MISMATCH",
        &sealed().replace("bid_price", text).bytes(),
    );
}

#[test]
fn no_event_time() {
    let file = sealed().undeclared().hash(Claim::None).without("ts_event");
    check("SCHEMA_MISMATCH", &file.bytes());
}

#[test]
fn a_file_that_was_cut_off() {
    let file = sealed().bytes();
    for length in [0, 7, file.len() / 2, file.len() - 3] {
        check("TRUNCATED", &damage::truncated(&file, length));
    }
    let mut file = file;
    damage::overlong_footer(&mut file);
    check("TRUNCATED", &file);
}

#[test]
fn a_footer_that_cannot_be_understood() {
    let mut file = sealed().bytes();
    damage::scramble_footer(&mut file);
    check("FOOTER_CORRUPT", &file);
}

#[test]
fn a_footer_whose_row_hash_is_not_that_of_the_rows() {
    check("ROW_HASH_MISMATCH", &sealed().hash(Claim::False).bytes());
}

#[test]
fn a_flipped_bit_that_decodes_to_other_rows() {
    let mut file = sealed()
        .compressed(Compression::UNCOMPRESSED)
        .without_dictionaries()
        .bytes();
    damage::flip_in_data_page(&mut file, "bid_qty", 1, 60);
    assert_ne!(
        decode(&file).unwrap().batch,
        sealed().batch(),
        "the reader notices nothing"
    );
    check("ROW_HASH_MISMATCH", &file);
}

#[test]
fn a_page_that_does_not_decode() {
    let mut file = sealed().compressed(Compression::UNCOMPRESSED).bytes();
    damage::scramble_page_header(&mut file, "bid_qty", 1);
    check("PAGE_CORRUPT", &file);
}

#[test]
fn rows_that_contradict_the_statistics_of_their_row_group() {
    // By their footers the files follow one another; by their rows they overlap.
    let file = sealed().bytes();
    check(
        "STATISTICS_CONTRADICTED",
        &rewrite::with_span(&file, "ts_event", DAY + 20 * HOUR, DAY + 21 * HOUR),
    );
    check(
        "STATISTICS_CONTRADICTED",
        &rewrite::with_span(&file, "seq", 10_001, 20_000),
    );
    // A footer that says that all rows are of one symbol, when they are of another spelling.
    let named = sealed().series("binance", "bbo", "BTC-USDT").bytes();
    check(
        "STATISTICS_CONTRADICTED",
        &rewrite::with_constant(&named, "symbol", "BTCUSDT"),
    );
    let says = |column, statistics| {
        check(
            "STATISTICS_CONTRADICTED",
            &rewrite::with_statistics(&file, column, &statistics),
        );
    };
    let prices: Vec<f64> = other().iter().map(|q| q.bid_price).collect();
    let (least, most) = (
        prices.iter().copied().fold(f64::MAX, f64::min),
        prices.iter().copied().fold(f64::MIN, f64::max),
    );
    says(
        "bid_price",
        Statistics::double(Some(least), Some(most - 0.001), None, Some(0), false),
    );
    says(
        "bid_price",
        Statistics::double(Some(least + 0.001), Some(most), None, Some(0), false),
    );
    says(
        "bid_price",
        Statistics::double(Some(least), Some(most), None, Some(1), false),
    );
    says(
        "stream_version",
        Statistics::int32(Some(2), Some(2), None, Some(0), false),
    );
    // What is wider than the rows, or of an order that nothing tells, contradicts nothing.
    for statistics in [
        Statistics::double(Some(least - 1.0), Some(most + 1.0), None, Some(0), false),
        Statistics::double(Some(f64::NAN), Some(least), None, Some(0), false),
        Statistics::double(None, None, None, None, false),
    ] {
        let place = Place::new();
        let _ = place.put_quotes(
            GOOD,
            &rewrite::with_statistics(&file, "bid_price", &statistics),
        );
        let _ = place.compact(&[]).ended(0);
        assert_eq!(published(&place.archive(), &home()).quotes(), other());
    }
}

#[test]
fn a_bit_of_a_price_in_a_file_that_has_no_row_hash() {
    // Nothing but the footer's own statistics tells of it.
    let events = sealed()
        .hash(Claim::None)
        .compressed(Compression::UNCOMPRESSED)
        .without_dictionaries();
    let mut file = events.bytes();
    let price = other()[150].bid_price.to_le_bytes();
    let at = file.windows(8).position(|bytes| bytes == price).unwrap();
    file[at + 7] ^= 0x10;
    assert_ne!(
        decode(&file).unwrap().batch,
        events.batch(),
        "the reader notices nothing"
    );
    check("STATISTICS_CONTRADICTED", &file);
}

#[test]
fn what_is_encrypted_is_said_to_be() {
    let mut file = sealed().bytes();
    let end = file.len();
    file[end - 4..].copy_from_slice(b"PARE");
    check("ENCRYPTED", &file);
    check("ENCRYPTED", &footers::with_an_encrypted_column());
}

#[test]
fn columns_that_are_nested_too_deep() {
    check("SCHEMA_TOO_DEEP", &footers::nested(100));
}

#[test]
fn rows_of_another_symbol() {
    check(
        "WRONG_PARTITION",
        &Events::sealed(other())
            .series("binance", "bbo", "ETHUSDT")
            .bytes(),
    );
    let mixed = (0..300).map(|i| if i == 200 { "ETHUSDT" } else { "BTCUSDT" });
    let mixed: ArrayRef = Arc::new(StringArray::from_iter_values(mixed));
    check(
        "WRONG_PARTITION",
        &sealed().replace("symbol", mixed).bytes(),
    );
}

#[test]
fn rows_far_from_their_day_are_kept_as_rows() {
    let place = Place::new();
    // Implausible, a year too late, two days too early; the rest belongs here or to a neighbour.
    let far = [7, DAY + 365 * 24 * HOUR, DAY - 25 * HOUR].map(|ts_event| Quote {
        ts_event,
        ..other()[0]
    });
    let near = [
        Quote {
            ts_event: DAY - SECOND,
            ..other()[1]
        },
        Quote {
            ts_event: DAY + 25 * HOUR,
            ..other()[2]
        },
    ];
    let rows = [&far[..], &near, &other()[5..]].concat();
    let bytes = Events::sealed(rows).undeclared().bytes();
    let source = place.put_quotes(BAD, &bytes);
    let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let _ = place.compact(&[]).ended(3).says("TIME_OUT_OF_RANGE");
    place.verify();
    let entry = entry(&place, "TIME_OUT_OF_RANGE");
    let kept_as = BAD.replace(".parquet", ".rows.parquet");
    assert_eq!(
        (&entry["kept_as"], &entry["rows"]),
        (&kept_as.as_str().into(), &3.into())
    );
    assert_eq!(
        entry["sha256"],
        sha256(&bytes),
        "the source is named by its own digest"
    );
    let kept = fs::read(
        place
            .archive()
            .join("QUARANTINE")
            .join(home())
            .join(kept_as),
    )
    .unwrap();
    assert_eq!(entry["kept_sha256"], sha256(&kept));
    assert_eq!(quotes_of(&decode(&kept).unwrap().batch), far);
    assert_eq!(fs::read(source).unwrap(), bytes);
    let mut here = [good(), other()[5..].to_vec()].concat();
    here.sort_by_key(|q| (q.ts_event, q.seq));
    let partition = published(&place.archive(), &home());
    assert_eq!(partition.quotes(), here);
    let source = partition.receipt["sources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["rows_quarantined"] == 3)
        .unwrap();
    assert_eq!(
        (&source["rows"], &source["rows_here"]),
        (&300.into(), &295.into())
    );
    for (date, row) in [("20260202", near[0]), ("20260204", near[1])] {
        assert_eq!(
            published(&place.archive(), &dir("binance", "bbo", "btcusdt", date)).quotes(),
            [row]
        );
    }
    let before = listing(&place.archive());
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    assert_eq!(listing(&place.archive()), before);
    place.is_tidy();
}

#[test]
fn a_file_of_which_no_row_has_a_permitted_day_is_kept_whole() {
    check(
        "TIME_OUT_OF_RANGE",
        &Events::sealed(quotes(DAY + 100 * 24 * HOUR, SECOND, 0, 50)).bytes(),
    );
    check(
        "TIME_OUT_OF_RANGE",
        &Events::sealed(quotes(5, 1, 0, 50)).bytes(),
    );
}

#[test]
fn files_of_no_day_are_named_until_a_run_looks_at_them() {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    let long_ago = || Events::sealed(quotes(-284_000_000 * SECOND, SECOND, 0, 50));
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None::<i64>; 50]));
    let odd = [
        ("null", long_ago().replace("ts_event", nulls)),
        ("none", long_ago().without("ts_event")),
        ("sixty", long_ago()),
        ("1960-12-31_00-00-00", long_ago()),
    ];
    for (name, events) in odd {
        let bytes = events.undeclared().hash(Claim::None).bytes();
        let _ = place.put_quotes(&format!("{name}.parquet"), &bytes);
    }
    let _ = place.put_quotes("bad.parquet", b"PAR1 and no more");
    let ran = place
        .compact(&[])
        .ended(0)
        .says("bad.parquet: it cannot be used (TRUNCATED")
        .says("1 partition: 1 done");
    for name in ["null", "none", "sixty", "1960-12-31_00-00-00"] {
        let line = format!("pending {SERIES}/{name}.parquet: 50 rows of it have no permitted day");
        assert!(ran.to_string().contains(&line), "{line} is not in\n{ran}");
    }
    let ran = place.compact(&["--format", "json"]).ended(0);
    let all = ran.json();
    let pending = all.iter().filter(|one| one["status"] == "pending");
    assert_eq!(pending.count(), 5, "{ran}");
    // What no compaction has looked at is no damage.
    let prune = ["prune", "--keep-days", "0", "--dry-run"];
    let _ = place
        .qlc(&prune)
        .ended(0)
        .says("50 rows of it have no permitted day, and no compaction has looked at it yet");

    let later = [
        "compact",
        "--mode",
        "catch-up",
        "--now",
        "2040-01-01T06:00:00Z",
    ];
    let ran = place.qlc(&later).ended(3).says("5 quarantined");
    assert!(!ran.to_string().contains("pending"), "{ran}");
    let _ = place.qlc(&prune).ended(0);
    let ran = place.qlc(&later).ended(0);
    assert!(!ran.to_string().contains("pending"), "{ran}");
    place.verify();
}

#[test]
fn far_rows_are_kept_once_though_their_file_feeds_no_day() {
    // By its span the file touches three days, and has a row for the last of them only.
    let place = Place::new();
    let at = |ts_event| Quote {
        ts_event,
        ..other()[0]
    };
    let rows = vec![at(DAY - 100 * HOUR), at(DAY + 25 * HOUR)];
    let _ = place.put_quotes(BAD, &Events::sealed(rows.clone()).bytes());
    let ran = place.compact(&["--format", "json"]).ended(3);
    let quarantined: u64 = ran
        .json()
        .iter()
        .map(|o| o["quarantined"].as_u64().unwrap())
        .sum();
    assert_eq!(quarantined, 1, "{ran}");
    assert_eq!(entry(&place, "TIME_OUT_OF_RANGE")["rows"], 1);
    assert_eq!(
        published(
            &place.archive(),
            &dir("binance", "bbo", "btcusdt", "20260204")
        )
        .quotes(),
        rows[1..]
    );
    assert_eq!(
        listing(&place.archive())
            .keys()
            .filter(|k| k.ends_with(".rows.parquet"))
            .count(),
        1
    );
    let before = listing(&place.archive());
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    assert_eq!(listing(&place.archive()), before);
    place.verify();
    place.is_tidy();
}

#[test]
fn a_bad_file_that_spans_midnight_is_kept_once_and_misses_in_both_days() {
    let place = Place::new();
    let midnight = DAY + 24 * HOUR;
    let good: Vec<_> = [midnight - 50 * SECOND, midnight]
        .map(|start| quotes(start, SECOND, 0, 50))
        .into();
    for (name, rows) in ["2026-02-03_22.parquet", "2026-02-04_00.parquet"]
        .iter()
        .zip(&good)
    {
        let _ = place.put_quotes(name, &Events::sealed(rows.clone()).bytes());
    }
    let mut bad = Events::sealed(quotes(midnight - 50 * SECOND, SECOND, 500, 100)).bytes();
    damage::scramble_data_page(&mut bad, "bid_qty", 0);
    let _ = place.put_quotes("2026-02-03_23.parquet", &bad);
    // Others of the same day, found bad at the same time.
    for n in 0..5 {
        let _ = place.put_quotes(
            &format!("2026-02-03_2{n}-30.parquet"),
            b"not Parquet at all",
        );
    }
    let _ = place.compact(&["--workers", "4"]).ended(3);
    for (date, rows) in ["20260203", "20260204"].iter().zip(&good) {
        let partition = published(&place.archive(), &dir("binance", "bbo", "btcusdt", date));
        assert_eq!(&partition.quotes(), rows);
    }
    let files = quarantine(&place.archive(), &home()).unwrap()["files"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(files, 6);
    assert_eq!(
        listing(&place.archive())
            .keys()
            .filter(|k| k.starts_with("QUARANTINE"))
            .count(),
        7
    );
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    place.verify();
    place.is_tidy();
}

#[test]
fn a_bad_file_is_known_under_a_name_that_tells_another_day() {
    let place = Place::new();
    let mut bad = sealed().bytes();
    damage::scramble_data_page(&mut bad, "bid_qty", 0);
    let names = [
        "part-7.parquet",
        "2026-02-03_07.parquet",
        "2026-01-20_07.parquet",
        "part-8.parquet",
    ];
    let mut path = place.put_quotes(names[0], &bad);
    let _ = place.compact(&[]).ended(3);
    let before = listing(&place.archive());
    for name in names {
        let renamed = path.with_file_name(name);
        fs::rename(&path, &renamed).unwrap();
        path = renamed;
        let _ = place.compact(&[]).ended(0);
        assert_eq!(listing(&place.archive()), before, "{name}");
    }
    place.is_tidy();
}

#[test]
fn a_file_that_was_out_of_its_day_is_taken_in_under_the_name_of_the_right_day() {
    let place = Place::new();
    let path = place.put_quotes("2026-01-20_07.parquet", &sealed().bytes());
    let _ = place.compact(&[]).ended(3);
    let _ = place.compact(&[]).ended(0);
    fs::rename(&path, path.with_file_name("2026-02-03_07.parquet")).unwrap();
    let _ = place.compact(&[]).ended(0);
    assert_eq!(published(&place.archive(), &home()).quotes(), other());
    place.verify();
}

#[test]
fn a_damaged_list_of_another_day_does_not_stop_a_partition() {
    let place = Place::new();
    let _ = place.put_quotes("2026-01-20_07.parquet", b"not Parquet at all");
    let _ = place.compact(&[]).ended(3);
    let list = place
        .archive()
        .join("QUARANTINE")
        .join(dir("binance", "bbo", "btcusdt", "20260120"))
        .join("error.json");
    fs::write(&list, b"{").unwrap();
    let _ = place.put_quotes(GOOD, &Events::sealed(good()).bytes());
    let ran = place.compact(&["--format", "json"]);
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        good(),
        "{ran}"
    );
    assert_eq!(fs::read(&list).unwrap(), b"{");
}

#[test]
fn a_day_of_bad_files_only_publishes_nothing() {
    let place = Place::new();
    let _ = place.put_quotes(GOOD, &damage::truncated(&sealed().bytes(), 100));
    let _ = place.put_quotes(BAD, b"not Parquet at all");
    let _ = place.compact(&[]).ended(3);
    assert!(!place.archive().join(home()).join("data.parquet").exists());
    let files = quarantine(&place.archive(), &home()).unwrap()["files"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        files
            .iter()
            .map(|f| f["kept_as"].as_str().unwrap())
            .collect::<Vec<_>>(),
        [GOOD, BAD]
    );
    let _ = place
        .compact(&["-v"])
        .ended(0)
        .says("2 files in QUARANTINE");
    place.is_tidy();
}

#[test]
fn one_bad_partition_does_not_stop_the_others() {
    let place = Place::new();
    for symbol in ["aaa", "bbb", "ccc"] {
        let bytes = Events::sealed(good())
            .series("binance", "bbo", symbol)
            .bytes();
        let _ = place.put(
            &format!("exchange=binance/stream=bbo/symbol={symbol}/{GOOD}"),
            &bytes,
        );
    }
    // A receipt that vouches for nothing: data of unknown origin stands where bbb is to be
    // published.
    let foreign = place
        .archive()
        .join(dir("binance", "bbo", "bbb", "20260203"));
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("data.parquet"), b"from elsewhere").unwrap();
    let ran = place.compact(&["--format", "json"]).ended(1);
    let mut status: Vec<_> = ran
        .json()
        .iter()
        .map(|o| o["status"].as_str().unwrap().to_owned())
        .collect();
    status.sort();
    assert_eq!(status, ["done", "done", "failed"], "{ran}");
    assert_eq!(
        fs::read(foreign.join("data.parquet")).unwrap(),
        b"from elsewhere",
        "nothing is overwritten unproven"
    );
    let _ = place.qlc(&["verify", "--symbol", "aaa,ccc"]).ended(0);
    let _ = place.qlc(&["verify"]).ended(4);
}

#[test]
fn a_file_of_holes_takes_no_room_in_quarantine() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let source = place.put_quotes(BAD, b"PAR1");
    let size = 64 << 20;
    let file = fs::File::options().write(true).open(&source).unwrap();
    file.set_len(size).unwrap();
    let _ = place.compact(&[]).ended(3);
    let kept = place.archive().join("QUARANTINE").join(home()).join(BAD);
    let found = fs::metadata(&kept).unwrap();
    assert_eq!(found.len(), size);
    let room = found.blocks() * 512;
    assert!(room < 1 << 20, "{room} bytes");
    assert_eq!(
        sha256(&fs::read(kept).unwrap()),
        sha256(&fs::read(source).unwrap())
    );
}
