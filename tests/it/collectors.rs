//! Several collectors of one feed: of events that are equal but for their arrival, the archive has
//! as many rows as the collector that has most of them, whatever came first, however it was cut
//! into files, and whatever has left the spool.
//!
//! A plain model in this file is the oracle. `QLC_MERGES` sets the number of cases, `QLC_SEED` the
//! first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
        StringArray,
    },
    datatypes::{Float64Type, Int32Type, Int64Type},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::properties::WriterProperties,
};
use qlc::compact::Status;
use serde_json::Value;

use super::support::{
    archive::{self, dir, published},
    damage,
    events::{DAY, SECOND},
    inside::{self, Dice},
    run::Place,
};

const SERIES: &str = "exchange=binance/stream=trade/symbol=btcusdt";
/// Who gave a row that nobody received.
const VENUE: &str = "binance-archive";

/// A trade. `Ord` is the order of the archive's columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Trade {
    ts_event: i64,
    seq: i64,
    sub_seq: Option<i32>,
    ts_recv: Option<i64>,
    price: u64,
    name: String,
    source: Option<&'static str>,
}

/// What makes two rows of different collectors the same event.
type Event = (i64, i64, u64, String);
/// What is its collector's own: `ts_recv`, `sub_seq` and `source`.
type Arrival = (Option<i64>, Option<i32>, Option<&'static str>);

/// What nobody received is later than what somebody did.
fn by_arrival(
    (received, place, source): &Arrival,
) -> (bool, Option<i64>, Option<&'static str>, Option<i32>) {
    (received.is_none(), *received, *source, *place)
}

impl Trade {
    fn event(&self) -> Event {
        (self.ts_event, self.seq, self.price, self.name.clone())
    }

    fn arrival(&self) -> Arrival {
        (self.ts_recv, self.sub_seq, self.source)
    }

    fn of(event: &Event, arrival: Arrival) -> Self {
        let (ts_event, seq, price, name) = event.clone();
        Self {
            ts_event,
            seq,
            sub_seq: arrival.1,
            ts_recv: arrival.0,
            price,
            name,
            source: arrival.2,
        }
    }
}

/// A file that is still to come, or lies in the spool.
#[derive(Debug, Clone)]
struct File {
    collector: Option<&'static str>,
    key: String,
    rows: Vec<Trade>,
}

fn write(root: &Path, file: &File) {
    write_with(root, file, true);
}

/// Without numbers it is a file as older collectors left it.
fn write_with(root: &Path, file: &File, numbers: bool) {
    let column = |value: &dyn Fn(&Trade) -> i64| -> ArrayRef {
        Arc::new(
            file.rows
                .iter()
                .map(value)
                .map(Some)
                .collect::<Int64Array>(),
        )
    };
    let text =
        |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; file.rows.len()])) };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts_event", column(&|t| t.ts_event)),
        ("seq", column(&|t| t.seq)),
        (
            "sub_seq",
            Arc::new(file.rows.iter().map(|t| t.sub_seq).collect::<Int32Array>()),
        ),
        (
            "ts_recv",
            Arc::new(file.rows.iter().map(|t| t.ts_recv).collect::<Int64Array>()),
        ),
        ("exchange", text("binance")),
        ("symbol", text("btcusdt")),
        ("stream", text("trade")),
        (
            "stream_version",
            Arc::new(Int8Array::from(vec![2; file.rows.len()])),
        ),
        (
            "price",
            Arc::new(
                file.rows
                    .iter()
                    .map(|t| Some(f64::from_bits(t.price)))
                    .collect::<Float64Array>(),
            ),
        ),
        (
            "trade_id",
            Arc::new(
                file.rows
                    .iter()
                    .map(|t| Some(t.name.as_str()))
                    .collect::<StringArray>(),
            ),
        ),
        (
            "source",
            Arc::new(file.rows.iter().map(|t| t.source).collect::<StringArray>()),
        ),
    ];
    let columns = columns
        .into_iter()
        .filter(|(name, _)| numbers || !["seq", "sub_seq"].contains(name));
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, c)| (name, c, true))).unwrap();
    let path = root.join("spool").join(&file.key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    drop(writer.close().unwrap());
}

/// The rows of the archived day, in their order, and its receipt.
fn archived(root: &Path) -> (Vec<Trade>, Value, String) {
    let day = published(
        &root.join("archive"),
        &dir("binance", "trade", "btcusdt", "20260203"),
    );
    let batch = &day.data.batch;
    let integer = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
            .clone()
    };
    let (ts_event, seq, ts_recv) = (integer("ts_event"), integer("seq"), integer("ts_recv"));
    let price = batch
        .column_by_name("price")
        .unwrap()
        .as_primitive::<Float64Type>();
    let (trade_id, sub_seq) = (
        batch.column_by_name("trade_id").unwrap().as_string::<i32>(),
        batch.column_by_name("sub_seq"),
    );
    let sub_seq = sub_seq.map(|column| column.as_primitive::<Int32Type>().clone());
    // A column without any value is not in the archive.
    let source = batch
        .column_by_name("source")
        .map(|column| column.as_string::<i32>().clone());
    let trade = |i| Trade {
        ts_event: ts_event.value(i),
        seq: seq.value(i),
        sub_seq: sub_seq
            .as_ref()
            .filter(|s| s.is_valid(i))
            .map(|s| s.value(i)),
        ts_recv: ts_recv.is_valid(i).then(|| ts_recv.value(i)),
        price: price.value(i).to_bits(),
        name: trade_id.value(i).to_owned(),
        source: source
            .as_ref()
            .filter(|source| source.is_valid(i))
            .map(|_| VENUE),
    };
    (
        (0..batch.num_rows()).map(trade).collect(),
        day.receipt.clone(),
        archive::sha256(&day.bytes),
    )
}

/// The rule: of each event as many rows as the collector that has most, the k-th the earliest of
/// the k-th ones. Tells for each row whose k-th row there is.
fn merged(collectors: &BTreeMap<String, Vec<Trade>>) -> Vec<(Trade, BTreeSet<String>)> {
    let mut events: BTreeMap<Event, BTreeMap<&str, Vec<Arrival>>> = BTreeMap::new();
    for (name, rows) in collectors {
        for row in rows {
            events
                .entry(row.event())
                .or_default()
                .entry(name)
                .or_default()
                .push(row.arrival());
        }
    }
    let mut out = Vec::new();
    for (event, mut each) in events {
        for arrivals in each.values_mut() {
            arrivals.sort_unstable_by_key(by_arrival);
        }
        for nth in 0..each.values().map(Vec::len).max().unwrap() {
            let have = || {
                each.iter()
                    .filter_map(|(name, arrivals)| Some((*name, *arrivals.get(nth)?)))
            };
            let arrivals = have().map(|(_, arrival)| arrival);
            let arrival = arrivals.min_by_key(by_arrival).unwrap();
            out.push((
                Trade::of(&event, arrival),
                have().map(|(name, _)| name.to_owned()).collect(),
            ));
        }
    }
    out.sort();
    unnumbered(&mut out);
    out
}

/// A row that nobody received, and that has no number, is a copy of one that has: the only other one
/// that is equal, unless a collector has both.
fn unnumbered(out: &mut Vec<(Trade, BTreeSet<String>)>) {
    let mut events: BTreeMap<(i64, u64, String), Vec<usize>> = BTreeMap::new();
    for (at, (row, _)) in out.iter().enumerate() {
        let event = (row.ts_event, row.price, row.name.clone());
        events.entry(event).or_default().push(at);
    }
    let mut copies = BTreeSet::new();
    for rows in events.into_values() {
        let [copy, kept] = rows[..] else { continue };
        let ((row, who), (other, whose)) = (out[copy].clone(), out[kept].clone());
        let is_unnumbered = row.seq == 0 && row.ts_recv.is_none() && row.source.is_some();
        if is_unnumbered && other.seq != 0 && who.is_disjoint(&whose) {
            out[kept].1.extend(who);
            let _ = copies.insert(copy);
        }
    }
    let mut at = 0;
    out.retain(|_| {
        at += 1;
        !copies.contains(&(at - 1))
    });
}

/// A feed as its collectors saw it: with losses, repetitions and delays, cut into files.
fn feed(dice: &mut Dice) -> Vec<File> {
    let names = [Some("a"), Some("b"), Some("c"), None];
    let first = dice.throw(4);
    let collectors: Vec<Option<&'static str>> = (0..2 + dice.throw(2))
        .map(|n| names[(first + n) % 4])
        .collect();
    let events: Vec<Event> = (0..=dice.throw(40))
        .map(|_| {
            let (ts, seq, price) = (
                dice.throw(6) as i64,
                dice.throw(4) as i64,
                dice.throw(3) as f64,
            );
            (
                DAY + ts * SECOND,
                seq,
                price.to_bits(),
                format!("{}", dice.throw(3)),
            )
        })
        .collect();
    let numbered = dice.throw(4) > 0;
    let mut files = Vec::new();
    let mut known: BTreeSet<Vec<Trade>> = BTreeSet::new();
    for collector in collectors {
        let loss = dice.throw(60);
        let mut rows = Vec::new();
        for event in &events {
            let times = if dice.throw(100) < loss {
                0
            } else {
                1 + dice.throw(10) / 9
            };
            for _ in 0..times {
                // Some rows are of files in which the exchange tells no numbers.
                let is_published = dice.throw(8) == 0;
                let is_numbered = numbered && !(is_published && dice.throw(2) == 0);
                let seq = if is_numbered { event.1 } else { 0 };
                let event = (event.0, seq, event.2, event.3.clone());
                let is_late = !is_published && dice.throw(20) > 0;
                let late = is_late.then(|| event.0 + dice.throw(5) as i64);
                let place = (dice.throw(10) > 0).then(|| dice.throw(2) as i32);
                let source = (is_published || dice.throw(12) == 0).then_some(VENUE);
                rows.push(Trade::of(&event, (late, place, source)));
            }
        }
        while !rows.is_empty() {
            let mut cut: Vec<Trade> = rows.drain(..(1 + dice.throw(12)).min(rows.len())).collect();
            if dice.throw(3) > 0 {
                cut.sort();
            }
            let mut content = cut.clone();
            content.sort();
            // Two files of one collector with the same rows are a file and its copy, which is
            // another rule.
            if !known.insert(content) {
                continue;
            }
            let folder = collector
                .map(|name| format!("collector={name}/"))
                .unwrap_or_default();
            let key = format!(
                "{folder}{SERIES}/2026-02-03_00-00-{:02}.parquet",
                files.len()
            );
            files.push(File {
                collector,
                key,
                rows: cut,
            });
        }
    }
    // They come in any order.
    for at in (1..files.len()).rev() {
        files.swap(at, dice.throw(at + 1));
    }
    files
}

fn rows_of(files: &[File]) -> BTreeMap<String, Vec<Trade>> {
    let mut rows: BTreeMap<String, Vec<Trade>> = BTreeMap::new();
    for file in files {
        rows.entry(file.collector.unwrap_or("(unnamed)").to_owned())
            .or_default()
            .extend(file.rows.clone());
    }
    rows
}

async fn compacts(root: &Path) {
    let mut outcomes = inside::compact(root).await;
    // A program that another test starts at this moment holds the lock of the run before, until it
    // has begun.
    while outcomes
        .iter()
        .any(|outcome| outcome.status == Status::LostRace)
    {
        outcomes = inside::compact(root).await;
    }
    for outcome in outcomes {
        assert!(
            matches!(outcome.status, Status::Done | Status::UpToDate),
            "{outcome:?}"
        );
    }
    assert_eq!(inside::findings(root).await, Vec::<String>::new());
}

/// Holds what a receipt tells of its collectors against the model.
fn receipt_tells(
    receipt: &Value,
    collectors: &BTreeMap<String, Vec<Trade>>,
    rows: &[(Trade, BTreeSet<String>)],
) {
    let all: usize = collectors.values().map(Vec::len).sum();
    assert_eq!(receipt["rows_in"], all);
    if collectors.len() < 2 {
        assert!(receipt["merge"].is_null());
        return;
    }
    assert_eq!(receipt["merge"]["copies"], all - rows.len());
    let conflicts = in_conflict(rows);
    for told in receipt["merge"]["collectors"].as_array().unwrap() {
        let name = told["name"].as_str().unwrap();
        let alone = rows
            .iter()
            .filter(|(_, who)| who.len() == 1 && who.contains(name))
            .count();
        assert_eq!(
            (&told["rows"], &told["gain"]),
            (&collectors[name].len().into(), &alone.into()),
            "{receipt:#}"
        );
        let filled: u64 = told["filled"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|hole| hole["rows"].as_u64().unwrap())
            .sum();
        assert!(filled <= alone as u64);
        let in_conflict = conflicts.iter().filter(|who| who.contains(name)).count();
        assert_eq!(
            told.get("conflicts")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            in_conflict as u64,
            "{receipt:#}"
        );
    }
    assert_eq!(
        receipt["merge"]["conflicts"],
        conflicts.len(),
        "{receipt:#}"
    );
}

/// Whose rows are in conflict, row by row: of one `trade_id` there is another one that no collector
/// has beside it.
fn in_conflict(rows: &[(Trade, BTreeSet<String>)]) -> Vec<&BTreeSet<String>> {
    let contradicts = |a: &(Trade, BTreeSet<String>), b: &(Trade, BTreeSet<String>)| {
        a.0.name == b.0.name && a.1.is_disjoint(&b.1)
    };
    rows.iter()
        .filter(|row| rows.iter().any(|other| contradicts(row, other)))
        .map(|(_, who)| who)
        .collect()
}

/// One feed: what comes bit by bit, and what comes at once, give the same bytes and the rows of the
/// model.
async fn one_case(seed: u64) {
    let mut dice = Dice::new(seed << 20);
    let files = feed(&mut dice);
    if files.is_empty() {
        return;
    }
    let [by_and_by, at_once, pruned] = [(); 3].map(|()| {
        tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap()
    });
    let mut here: Vec<File> = Vec::new();
    // What a spool that is cleared now and then leaves: archived rows count as one more collector.
    let (mut left, mut stands, mut names): (Vec<File>, Vec<Trade>, BTreeSet<Option<&str>>) =
        Default::default();
    let mut rest = files.as_slice();
    while !rest.is_empty() {
        let (come, later) = rest.split_at((1 + dice.throw(5)).min(rest.len()));
        rest = later;
        for file in come {
            write(by_and_by.path(), file);
            write(pruned.path(), file);
        }
        here.extend_from_slice(come);
        compacts(by_and_by.path()).await;

        left.extend_from_slice(come);
        names.extend(come.iter().map(|file| file.collector));
        let mut collectors = rows_of(&left);
        if names.len() > 1 {
            let _ = collectors.insert("(archive)".to_owned(), stands.clone());
            stands = merged(&collectors)
                .into_iter()
                .map(|(row, _)| row)
                .collect();
        } else {
            stands.extend(come.iter().flat_map(|file| file.rows.clone()));
            stands.sort();
        }
        compacts(pruned.path()).await;
        assert_eq!(
            archived(pruned.path()).0,
            stands,
            "seed {seed}: a spool that is cleared"
        );
        if dice.throw(2) == 0 {
            let gone = dice.throw(left.len() + 1);
            for file in left.drain(..gone) {
                fs::remove_file(pruned.path().join("spool").join(&file.key)).unwrap();
            }
        }
    }
    for file in &files {
        write(at_once.path(), file);
    }
    compacts(at_once.path()).await;
    let collectors = rows_of(&files);
    let expected = merged(&collectors);
    let rows: Vec<Trade> = if collectors.len() > 1 {
        expected.iter().map(|(row, _)| row.clone()).collect()
    } else {
        let mut all: Vec<Trade> = files.iter().flat_map(|file| file.rows.clone()).collect();
        all.sort();
        all
    };
    let (found, receipt, sha256) = archived(at_once.path());
    assert_eq!(found, rows, "seed {seed}: at once");
    receipt_tells(&receipt, &collectors, &expected);
    let (found, _, other) = archived(by_and_by.path());
    assert_eq!(found, rows, "seed {seed}: by and by");
    assert_eq!(
        sha256, other,
        "seed {seed}: the same rows have the same bytes"
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "there is no command line to ask for a long run with"
)]
fn the_rows_of_several_collectors_are_their_union_whatever_comes_first() {
    let number = |name: &str, usual| {
        std::env::var(name)
            .ok()
            .map_or(usual, |text| text.parse().unwrap())
    };
    let (first, cases) = (number("QLC_SEED", 1), number("QLC_MERGES", 60));
    for seed in first..first + cases {
        // A runtime of its own for each: what one leaves behind would slow down the others.
        inside::runtime().block_on(one_case(seed));
    }
}

/// Trades of one second each, all with numbers of their own; `late` is added to the time of
/// arrival.
fn trades(seconds: std::ops::Range<i64>, late: i64) -> Vec<Trade> {
    let trade = |n: i64| Trade {
        ts_event: DAY + n * SECOND,
        seq: 100 + n,
        sub_seq: Some(0),
        ts_recv: Some(DAY + n * SECOND + late),
        price: f64::to_bits(n as f64),
        name: format!("{n}"),
        source: None,
    };
    seconds.map(trade).collect()
}

fn put(place: &Place, collector: &'static str, nth: usize, rows: Vec<Trade>) -> PathBuf {
    let key = format!("collector={collector}/{SERIES}/2026-02-03_00-00-{nth:02}.parquet");
    write(
        place.root(),
        &File {
            collector: Some(collector),
            key: key.clone(),
            rows,
        },
    );
    place.spool().join(key)
}

/// Two collectors, one of which was down for a while: the archive has every trade once, and the
/// receipt says what each gave. The files of both leave the spool, and a third collector that comes
/// later adds what both had missed.
#[test]
fn what_one_collector_missed_comes_from_the_other_and_both_spools_can_be_cleared() {
    let place = Place::new();
    let _ = put(&place, "a", 0, trades(0..300, 5));
    let _ = put(&place, "a", 1, trades(310..600, 5));
    let _ = put(&place, "b", 0, trades(0..100, 3));
    let _ = put(&place, "b", 1, trades(400..610, 9));
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let (rows, receipt, _) = archived(place.root());
    let expected = [
        trades(0..100, 3),
        trades(100..300, 5),
        trades(310..600, 5),
        trades(600..610, 9),
    ]
    .concat();
    assert_eq!(rows, expected, "each is the one that was received first");
    assert_eq!(
        (
            &receipt["rows_in"],
            &receipt["outcome"]["rows"],
            &receipt["merge"]["copies"]
        ),
        (&900.into(), &600.into(), &300.into())
    );
    assert_eq!(receipt["merge"]["conflicts"], 0);
    let told = &receipt["merge"]["collectors"];
    let sums = |nth: usize| {
        ["rows", "rows_here", "copies", "gain", "filled_holes"]
            .map(|name| told[nth][name].as_u64().unwrap())
    };
    assert_eq!(sums(0), [590, 490, 100, 290, 1]);
    assert_eq!(sums(1), [310, 110, 200, 10, 1]);
    let hole = &told[0]["filled"][0];
    assert_eq!(
        (
            hole["from_ns"].as_i64().unwrap(),
            hole["to_ns"].as_i64().unwrap()
        ),
        (DAY + 100 * SECOND, DAY + 399 * SECOND)
    );
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let _ = place.compact(&["-v"]).ended(0).says("nothing to do");
    let _ = place
        .qlc(&["prune", "--keep-days", "0", "--now", "2026-03-01T00:00:00Z"])
        .ended(0);
    let left = archive::listing(&place.spool())
        .into_keys()
        .filter(|key| key.ends_with(".parquet"))
        .count();
    assert_eq!(left, 0, "copies of archived rows are in the archive");
    // What is late of one of them is new where nobody had it, and a copy elsewhere.
    let _ = put(&place, "b", 2, trades(290..320, 1));
    let _ = put(&place, "c", 0, trades(305..312, 0));
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let expected = [
        trades(0..100, 3),
        trades(100..290, 5),
        trades(290..305, 1),
        trades(305..312, 0),
        trades(312..320, 1),
        trades(320..600, 5),
        trades(600..610, 9),
    ];
    let (rows, receipt, _) = archived(place.root());
    assert_eq!(rows, expected.concat());
    assert_eq!(
        receipt["base"]["copies"], 20,
        "archived rows that another collector received earlier"
    );
}

/// Rows of one trade that differ in their values are both kept, and told: also in `ts_event`, so
/// that others stand between.
#[test]
fn rows_that_contradict_each_other_are_both_kept_and_counted() {
    let place = Place::new();
    let mut other = trades(0..10, 2);
    other[4].price = f64::to_bits(77.0);
    other[5].name = "other".to_owned();
    other[6].ts_event += 2 * SECOND;
    let _ = put(&place, "a", 0, trades(0..10, 1));
    let _ = put(&place, "b", 0, other);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let (rows, receipt, _) = archived(place.root());
    assert_eq!((rows.len(), &receipt["merge"]["copies"]), (13, &7.into()));
    // A trade of another name is another trade.
    assert_eq!(receipt["merge"]["conflicts"], 4);
    assert_eq!(receipt["merge"]["collectors"][1]["conflicts"], 2);
}

/// A file that was archived changes in its place. A late file of the other collector has it read
/// again; the archived rows stay.
#[test]
fn a_file_of_a_collector_that_changed_in_place_changes_no_archived_row() {
    for left in [false, true] {
        let place = Place::new();
        let path = put(&place, "a", 0, trades(0..10, 1));
        let gone = put(&place, "a", 1, trades(20..30, 1));
        let _ = put(&place, "b", 0, trades(0..5, 2));
        let _ = place.compact(&[]).ended(0);
        if left {
            fs::remove_file(gone).unwrap();
        }
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let size = fs::metadata(&path).unwrap().len();
        let mut rows = trades(0..10, 1);
        rows[3].price = f64::to_bits(55.0);
        let _ = put(&place, "a", 0, rows);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        let _ = put(&place, "b", 1, trades(9..21, 0));
        let _ = place.compact(&[]).ended(3).says("SOURCE_CHANGED");
        place.verify();
        let expected = [trades(0..9, 1), trades(9..21, 0), trades(21..30, 1)].concat();
        assert_eq!(archived(place.root()).0, expected, "{left}");
        // Another collector may have left the same bytes: what is wrong with them is that they
        // stand where others stood.
        let copied = place
            .spool()
            .join("collector=b")
            .join(SERIES)
            .join("2026-02-03_00-00-09.parquet");
        let _ = fs::copy(&path, &copied).unwrap();
        let _ = place.compact(&[]).ended(0);
        place.verify();
        let rows = archived(place.root()).0;
        // The one that changed, and five events that it has for the second time.
        assert!(
            rows.iter().any(|row| row.price == f64::to_bits(55.0)) && rows.len() == 36,
            "{left}: {}",
            rows.len()
        );
    }
}

/// A file that is still there is read again only beside rows of another collector. Where that one's
/// file gives none, the archived rows of it stay what they are.
#[test]
fn a_file_of_another_collector_that_gives_no_row_doubles_nothing() {
    type Harm = fn(&PathBuf);
    let bad: [(&str, Harm); 3] = [
        ("not Parquet", |path| {
            fs::write(path, path.display().to_string()).unwrap();
        }),
        ("cut off", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a broken row group", |path| {
            let mut bytes = in_groups(path);
            damage::scramble_data_page(&mut bytes, "price", 0);
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (what, harm) in bad {
        for salvage in [false, true] {
            let place = Place::new();
            let first = put(&place, "a", 0, trades(0..3, 1));
            let _ = place.compact(&[]).ended(0);
            fs::remove_file(first).unwrap();
            drop(put(&place, "a", 1, trades(3..6, 1)));
            let _ = place.compact(&[]).ended(0);
            let rows = archived(place.root()).0;
            assert_eq!(rows, trades(0..6, 1));
            for nth in 2..4 {
                harm(&put(
                    &place,
                    "b",
                    nth,
                    trades(nth as i64..nth as i64 + 1, 2),
                ));
                let args: &[&str] = if salvage { &["--salvage"] } else { &[] };
                let _ = place.compact(args).ended(3);
                assert_eq!(archived(place.root()).0, rows, "{what}, {salvage}");
                place.verify();
            }
            let _ = place.qlc(&["quarantine", "retry"]);
            assert_eq!(archived(place.root()).0, rows, "{what}, {salvage}");
            place.verify();
            let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
        }
    }
}

/// What the exchange published fills what nobody received, and yields to a recording that comes
/// later.
#[test]
fn a_row_that_somebody_received_stands_for_one_that_the_exchange_published() {
    let place = Place::new();
    let published: Vec<Trade> = trades(0..10, 0)
        .into_iter()
        .map(|row| Trade::of(&row.event(), (None, Some(0), Some(VENUE))))
        .collect();
    drop(put(&place, VENUE, 0, published.clone()));
    let recorded = trades(0..6, 5);
    let tokyo = |nth: usize, rows: &[Trade]| {
        let key = format!("{SERIES}/2026-02-03_00-00-{nth:02}.parquet");
        let (collector, rows) = (None, rows.to_vec());
        write(
            place.root(),
            &File {
                collector,
                key,
                rows,
            },
        );
    };
    tokyo(1, &recorded[..3]);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    assert_eq!(
        archived(place.root()).0,
        [&recorded[..3], &published[3..]].concat()
    );
    // Also when both files have left.
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    tokyo(2, &recorded[3..]);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let (rows, receipt, _) = archived(place.root());
    assert_eq!(rows, [&recorded[..], &published[6..]].concat());
    assert_eq!(receipt["merge"]["copies"], 3);
}

/// The trades as an exchange publishes them that tells no numbers.
fn published_without_numbers(recorded: &[Trade]) -> Vec<Trade> {
    let published = recorded.iter().map(|row| Trade {
        seq: 0,
        ts_recv: None,
        source: Some(VENUE),
        ..row.clone()
    });
    published.collect()
}

/// Bybit's files have names of trades, and no numbers: the recorded row wins all the same, whichever
/// comes first, and the row hashes still add up.
#[test]
fn a_recorded_row_stands_for_one_that_was_published_without_its_number() {
    let recorded = trades(0..10, 5);
    let published = published_without_numbers(&recorded);
    let expected = [&recorded[..6], &published[6..]].concat();
    let mut bytes = BTreeSet::new();
    for order in ["published", "recorded", "both"] {
        let place = Place::new();
        let recorded = || {
            let key = format!("{SERIES}/2026-02-03_00-00-01.parquet");
            let rows = recorded[..6].to_vec();
            write(
                place.root(),
                &File {
                    collector: None,
                    key,
                    rows,
                },
            );
        };
        let published = || drop(put(&place, VENUE, 0, published.clone()));
        if order == "recorded" {
            recorded();
        } else {
            published();
        }
        if order != "both" {
            let _ = place.compact(&[]).ended(0);
            // Also where the first file has left.
            let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
        }
        if order == "recorded" {
            published();
        } else {
            recorded();
        }
        let _ = place.compact(&[]).ended(0);
        place.verify();
        let (rows, receipt, sha256) = archived(place.root());
        assert_eq!(rows, expected, "{order}");
        assert_eq!(receipt["merge"]["copies"], 6, "{order}: {receipt:#}");
        assert_eq!(receipt["merge"]["conflicts"], 0, "{order}: {receipt:#}");
        let _ = bytes.insert(sha256);
        let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
        let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
        assert!(
            archive::listing(&place.spool())
                .keys()
                .all(|key| !key.ends_with(".parquet")),
            "{order}"
        );
        place.verify();
    }
    assert_eq!(bytes.len(), 1, "the same rows have the same bytes");
}

/// A row of another value, time or name is no copy.
#[test]
fn only_equal_rows_stand_for_one_without_a_number() {
    let place = Place::new();
    let recorded = trades(0..3, 5);
    let mut published = published_without_numbers(&recorded);
    published[0].price = 7.0_f64.to_bits();
    published[1].ts_event += SECOND / 2;
    published[2].name.push('x');
    let key = format!("{SERIES}/2026-02-03_00-00-01.parquet");
    let (collector, rows) = (None, recorded.clone());
    write(
        place.root(),
        &File {
            collector,
            key,
            rows,
        },
    );
    drop(put(&place, VENUE, 0, published.clone()));
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let mut expected = [recorded, published].concat();
    expected.sort();
    assert_eq!(archived(place.root()).0, expected);
}

/// Two pushes that differ in their arrival alone, of which one could not be read when the day was
/// salvaged: the good copy brings it, also where it has to be told from a copy of another
/// collector's.
#[test]
fn the_good_copy_of_a_salvaged_file_brings_a_row_that_looks_like_a_salvaged_one() {
    for late in [false, true] {
        let place = Place::new();
        let [first, last] = [trades(0..1, 1), trades(1..2, 1)];
        let mut second = trades(0..1, 1);
        second[0].ts_recv = second[0].ts_recv.map(|ts| ts + 7);
        let rows = [first, second, last].concat();
        let path = put(&place, "a", 0, rows.clone());
        let good = in_groups(&path);
        let mut bad = good.clone();
        damage::scramble_data_page(&mut bad, "price", 1);
        fs::write(&path, bad).unwrap();
        let other = || drop(put(&place, "b", 1, trades(9..10, 1)));
        if !late {
            other();
        }
        let _ = place.compact(&["--salvage"]).ended(3);
        if late {
            other();
        }
        fs::write(&path, good).unwrap();
        let _ = place.compact(&[]).ended(0);
        place.verify();
        let expected = [rows, trades(9..10, 1)].concat();
        assert_eq!(archived(place.root()).0, expected, "{late}");
        let _ = place.compact(&["-v"]).ended(0).says("nothing to do");
        let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
        place.verify();
    }
}

/// The bytes of a file written anew with one row in each of its row groups.
fn in_groups(path: &Path) -> Vec<u8> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1));
    let properties = properties.set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, Arc::clone(reader.schema()), Some(properties)).unwrap();
    for batch in reader.build().unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    drop(writer.close().unwrap());
    bytes
}

/// Files without numbers are numbered by qlc, so that the rows of two collectors have nothing in
/// common: of a file and its like, one counts.
#[test]
fn a_file_without_numbers_that_two_collectors_left_counts_once() {
    let place = Place::new();
    for name in ["a", "b"] {
        let key = format!("collector={name}/{SERIES}/2026-02-03_00-00-00.parquet");
        write_with(
            place.root(),
            &File {
                collector: Some("a"),
                key,
                rows: trades(0..3, 1),
            },
            false,
        );
    }
    for more in [&[][..], &["--force"]] {
        let _ = place.compact(more).ended(0);
        assert_eq!(archived(place.root()).0.len(), 3, "{more:?}");
    }
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    place.verify();
}

/// What qlc numbered cannot be compared once the names of the files have another order.
#[test]
fn renamed_files_without_numbers_are_not_told_to_be_damage() {
    let place = Place::new();
    let put = |nth: usize, price: f64| {
        let key = format!("{SERIES}/2026-02-03_00-00-{nth:02}.parquet");
        let mut rows = trades(0..3, 1);
        for row in &mut rows {
            row.price = price.to_bits();
        }
        write_with(
            place.root(),
            &File {
                collector: None,
                key: key.clone(),
                rows,
            },
            false,
        );
        place.spool().join(key)
    };
    let first = put(1, 5.0);
    let _ = put(2, 6.0);
    let _ = place.compact(&[]).ended(0);
    fs::rename(&first, first.with_file_name("2026-02-03_00-00-03.parquet")).unwrap();
    let _ = place
        .qlc(&["verify", "--rebuild"])
        .ended(0)
        .says("in the order of the names of its files");
}

/// A spool that gets a name is the same spool.
#[test]
fn a_spool_that_gets_a_name_is_known_by_its_rows() {
    let place = Place::new();
    let path = put(&place, "a", 0, trades(0..10, 1));
    let unnamed = place.spool().join(SERIES);
    fs::create_dir_all(&unnamed).unwrap();
    fs::rename(&path, unnamed.join("2026-02-03_00-00-00.parquet")).unwrap();
    let _ = place.compact(&[]).ended(0);
    let (before, _, sha256) = archived(place.root());
    fs::rename(unnamed.join("2026-02-03_00-00-00.parquet"), &path).unwrap();
    let _ = place.compact(&["-v"]).ended(0).says("nothing to do");
    let _ = put(&place, "b", 0, trades(0..10, 2));
    let _ = place.compact(&["-v"]).ended(0);
    let (rows, receipt, other) = archived(place.root());
    assert_eq!((rows, other), (before, sha256), "nothing but copies");
    assert_eq!(receipt["merge"]["copies"], 10);
    place.verify();
    let _ = place.compact(&["-v"]).ended(0).says("nothing to do");
    let _ = place.qlc(&["verify", "--rebuild"]).ended(0);
}

/// A spool that loses its name can be compared with the archive as before.
#[test]
fn a_spool_without_its_name_rebuilds_what_it_gave() {
    let place = Place::new();
    let path = put(&place, "a", 0, trades(0..10, 1));
    let _ = place.compact(&[]).ended(0);
    let unnamed = place.spool().join(SERIES);
    fs::create_dir_all(&unnamed).unwrap();
    fs::rename(&path, unnamed.join("2026-02-03_00-00-00.parquet")).unwrap();
    let ran = place.qlc(&["verify", "--rebuild"]).ended(0);
    assert!(!format!("{ran}").contains("cannot be rebuilt"), "{ran}");
}

/// A file without numbers has qlc number its rows, which are read from the archive from then on.
/// All other files that are there are still read again beside it, or the second row of a collector
/// would look like a copy of its first one.
#[test]
fn a_row_that_a_collector_has_twice_is_kept_beside_rows_without_numbers() {
    for gone in [0, 1, 2] {
        let place = Place::new();
        let first = put(&place, "a", 0, trades(0..3, 1));
        let _ = put(&place, "b", 0, trades(5..6, 1));
        let key = format!("collector=b/{SERIES}/2026-02-03_00-00-01.parquet");
        let older = File {
            collector: Some("b"),
            key: key.clone(),
            rows: trades(8..9, 1),
        };
        write_with(place.root(), &older, false);
        let _ = place.compact(&[]).ended(0);
        match gone {
            0 => {}
            1 => fs::remove_file(first).unwrap(),
            _ => fs::remove_file(place.spool().join(key)).unwrap(),
        }
        let _ = put(&place, "b", 2, trades(5..6, 7));
        let _ = place.compact(&[]).ended(0);
        place.verify();
        let times: Vec<i64> = archived(place.root())
            .0
            .iter()
            .map(|row| (row.ts_event - DAY) / SECOND)
            .collect();
        assert_eq!(times, [0, 1, 2, 5, 5, 8], "{gone}");
        let _ = place.compact(&["-v"]).ended(0).says("nothing to do");
    }
}

/// A late file of one collector has the very rows of a file of the other one: to its own collector
/// they are rows that it has twice.
#[test]
fn a_file_is_a_copy_of_files_of_its_own_collector_only() {
    let place = Place::new();
    let _ = put(&place, "a", 0, trades(0..4, 1));
    let _ = put(&place, "b", 0, trades(0..4, 2));
    let _ = place.compact(&[]).ended(0);
    let _ = put(&place, "a", 1, trades(0..4, 2));
    let _ = place.qlc(&["prune", "--keep-days", "0", "--now", "2026-03-01T00:00:00Z"]);
    assert!(
        place
            .spool()
            .join(format!("collector=a/{SERIES}/2026-02-03_00-00-01.parquet"))
            .exists()
    );
    let _ = put(&place, "a", 0, trades(0..4, 1));
    let _ = put(&place, "b", 0, trades(0..4, 2));
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let mut expected = [trades(0..4, 1), trades(0..4, 2)].concat();
    expected.sort();
    assert_eq!(archived(place.root()).0, expected);
    let _ = place.compact(&["-v"]).ended(0).says("nothing to do");
}

/// An older generation is put back: what it lacks is built anew from the spools, of which one
/// collector has some rows twice.
#[test]
fn a_day_of_several_collectors_that_was_rolled_back_is_built_again() {
    let place = Place::new();
    let _ = put(&place, "a", 0, trades(0..3, 1));
    let _ = put(&place, "b", 0, trades(5..6, 1));
    let _ = place.compact(&[]).ended(0);
    let day = place
        .archive()
        .join(dir("binance", "trade", "btcusdt", "20260203"));
    let older = fs::read(day.join("data.parquet")).unwrap();
    let _ = put(&place, "a", 1, trades(0..3, 7));
    let _ = place.compact(&[]).ended(0);
    let (before, _, sha256) = archived(place.root());
    assert_eq!(before.len(), 7);
    fs::write(day.join("data.parquet"), older).unwrap();
    let _ = place.qlc(&["verify"]).ended(4);
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let (rows, _, other) = archived(place.root());
    assert_eq!((rows, other), (before, sha256));
}

/// Without one of several spools it is not known what waits there.
#[test]
fn a_day_is_not_surely_complete_while_a_spool_is_missing() {
    let place = Place::new();
    let _ = put(&place, "a", 0, trades(0..10, 1));
    let _ = place.compact(&[]).ended(0);
    let strict = |other: &str| {
        let spool = format!("a={}", place.spool().join("collector=a").display());
        let other = format!("b={}", place.root().join(other).display());
        let args = [
            "status",
            "--date",
            "20260203",
            "--now",
            "2026-02-05T06:00:00Z",
            "--strict",
        ];
        place.on_spools(&[&spool, &other], &args, &[])
    };
    fs::create_dir(place.root().join("empty")).unwrap();
    let _ = strict("empty").ended(0);
    let _ = strict("nothing")
        .ended(1)
        .says("there is no such spool here");
}
