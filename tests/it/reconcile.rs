//! `qlc reconcile`: the archive beside what the venue publishes. A recording with losses, the
//! venue's files, and what is taken from them make the whole day; what cannot be shown is not
//! believed.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
        StringArray,
    },
    datatypes::{Field, Int64Type, Schema},
};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder},
};
use parquet::arrow::ArrowWriter;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use serde_json::Value;

use super::support::{
    archive::{dir, listing, published, sha256},
    events::DAY,
    run::{Place, Ran},
};

pub const SERIES: &str = "exchange=binance/stream=trade/symbol=btcusdt";
pub const FILE: &str = "BTCUSDT-aggTrades-2026-02-03.csv";
const HEADER: &str =
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n";
pub const ASKED: &[&str] = &[
    "reconcile",
    "--exchange",
    "binance",
    "--stream",
    "trade",
    "--symbol",
    "btcusdt",
    "--date",
    "20260203",
    "--format",
    "json",
];

/// An aggregated trade; all of it follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agg(pub i64);

impl Agg {
    fn ts(self) -> i64 {
        DAY + self.0 * 7_000_000_000
    }

    pub fn price(self) -> f64 {
        (970_000 + self.0 % 89) as f64 / 10.0
    }

    fn qty(self) -> f64 {
        (1 + self.0 % 1_000) as f64 / 1000.0
    }

    pub fn line(self) -> String {
        let Self(n) = self;
        format!(
            "{n},{},{},{},{},{},{}\n",
            self.price(),
            self.qty(),
            3 * n,
            3 * n + 2,
            self.ts() / 1_000_000,
            n % 2 == 0
        )
    }
}

/// As the venue publishes it.
pub fn csv(numbers: impl IntoIterator<Item = i64>) -> String {
    let lines: String = numbers.into_iter().map(|n| Agg(n).line()).collect();
    format!("{HEADER}{lines}")
}

/// A trade as it is recorded.
struct Row {
    ts: i64,
    seq: i64,
    price: f64,
    qty: f64,
    side: i8,
    id: String,
    singles: Option<(i64, i64)>,
}

/// As the collector seals them.
pub fn sealed(numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    spool_file("binance", &rows_of("binance", numbers))
}

fn spool_file(exchange: &str, all: &[Row]) -> Vec<u8> {
    fn array<T, A: FromIterator<Option<T>> + arrow::array::Array + 'static>(
        all: &[Row],
        of: impl Fn(&Row) -> Option<T>,
    ) -> ArrayRef {
        Arc::new(all.iter().map(of).collect::<A>())
    }
    let ints = |of: fn(&Row) -> Option<i64>| array::<_, Int64Array>(all, of);
    let floats = |of: fn(&Row) -> f64| array::<_, Float64Array>(all, |row| Some(of(row)));
    let text = |value: &str| array::<_, StringArray>(all, |_| Some(value.to_owned()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts_event", ints(|row| Some(row.ts))),
        ("seq", ints(|row| Some(row.seq))),
        ("sub_seq", array::<_, Int32Array>(all, |_| Some(0))),
        ("ts_recv", ints(|row| Some(row.ts + 3_000_000))),
        ("exchange", text(exchange)),
        ("symbol", text("BTCUSDT")),
        ("stream", text("trade")),
        ("stream_version", array::<_, Int8Array>(all, |_| Some(2))),
        ("price", floats(|row| row.price)),
        ("qty", floats(|row| row.qty)),
        ("side", array::<_, Int8Array>(all, |row| Some(row.side))),
        (
            "trade_id",
            array::<_, StringArray>(all, |row| Some(row.id.clone())),
        ),
        ("first_id", ints(|row| Some(row.singles?.0))),
        ("last_id", ints(|row| Some(row.singles?.1))),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let _ = writer.close().unwrap();
    bytes
}

/// A place with a compacted recording of these trades.
pub fn recorded(numbers: impl IntoIterator<Item = i64>) -> Place {
    recorded_in(Place::new(), numbers)
}

fn recorded_in(place: Place, numbers: impl IntoIterator<Item = i64>) -> Place {
    let _ = place.put(
        &format!("{SERIES}/2026-02-03_12-00-00.parquet"),
        &sealed(numbers),
    );
    let _ = place.compact(&[]).ended(0);
    place
}

/// A folder with what the venue publishes.
pub fn publish(place: &Place, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = place.root().join("published");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    folder
}

#[track_caller]
pub fn reconcile(place: &Place, with: &Path, more: &[&str], code: i32) -> (Ran, Vec<Value>) {
    let with = with.display().to_string();
    let ran = place
        .qlc(&[ASKED, &["--with", &with], more].concat())
        .ended(code);
    let records = ran.json();
    (ran, records)
}

fn day_of(place: &Place, exchange: &str) -> RecordBatch {
    let dir = dir(exchange, "trade", "btcusdt", "20260203");
    published(&place.archive(), &dir).data.batch
}

/// The numbers of the archived trades.
pub fn archived(place: &Place) -> Vec<i64> {
    let rows = day_of(place, "binance");
    let seq = rows.column_by_name("seq").unwrap();
    seq.as_primitive::<Int64Type>().values().to_vec()
}

pub fn taken_files(place: &Place) -> Vec<String> {
    listing(&place.spool())
        .into_keys()
        .filter(|key| key.starts_with("collector="))
        .collect()
}

#[test]
fn what_was_lost_comes_back_from_the_venues_file() {
    // An hour and a single trade were lost; two numbers the venue never used.
    let theirs = (1..=10_000).filter(|n| ![4_000, 4_001].contains(n));
    let ours = theirs
        .clone()
        .filter(|n| !(2_000..2_500).contains(n) && *n != 7_777);
    let place = recorded(ours);
    let text = csv(theirs.clone());
    let sum = format!("{}  {FILE}\n", sha256(text.as_bytes()));
    let with = publish(
        &place,
        &[
            (FILE, text.as_bytes()),
            (&format!("{FILE}.CHECKSUM"), sum.as_bytes()),
        ],
    );

    let (ran, records) = reconcile(&place, &with, &[], 6);
    let record = &records[0];
    assert_eq!(record["verdict"], "differs", "{ran}");
    assert_eq!(record["only_theirs"], 501, "{ran}");
    assert_eq!(record["equal"], 9_497, "{ran}");
    assert_eq!(record["files"][0]["checksum"], "right", "{ran}");
    assert_eq!(record["hole_counts"]["open"], 2, "{ran}");
    assert_eq!(record["hole_counts"]["never_existed"], 1, "{ran}");
    assert_eq!(
        (&record["holes"][0]["from_id"], &record["holes"][0]["to_id"]),
        (&2_000.into(), &2_499.into()),
        "{ran}"
    );
    assert!(taken_files(&place).is_empty(), "nothing is taken unasked");

    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert_eq!(records[0]["taken"]["rows"], 501, "{ran}");
    let files = taken_files(&place);
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(
        files[0].starts_with(&format!("collector=binance-archive/{SERIES}/2026-02-03_")),
        "{files:?}"
    );

    // What waits in the spool is not taken twice.
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert_eq!(records[0]["waiting"], 501, "{ran}");
    assert_eq!(records[0]["taken"], Value::Null, "{ran}");
    assert_eq!(taken_files(&place), files);

    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), theirs.collect::<Vec<_>>());
    place.verify();
    let (ran, records) = reconcile(&place, &with, &["--take"], 0);
    let record = &records[0];
    assert_eq!(record["verdict"], "equal", "{ran}");
    assert_eq!(record["hole_counts"]["open"], 0, "{ran}");
    assert_eq!(record["hole_counts"]["recovered"], 2, "{ran}");
    assert_eq!(taken_files(&place), files);
    // The history of it can be asked for, and nothing is left over.
    let ran = place
        .qlc(&[
            "query",
            "SELECT verdict, only_theirs FROM archive.reconcile ORDER BY at, verdict",
            "--format",
            "csv",
        ])
        .ended(0);
    assert!(
        ran.stdout.contains("differs,501") && ran.stdout.contains("equal,0"),
        "{ran}"
    );
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    assert!(taken_files(&place).is_empty(), "pruned like any other file");
    place.verify();
    place.is_tidy();
}

#[test]
fn a_history_before_the_first_day_is_made_from_nothing_else() {
    let place = Place::new();
    let with = publish(&place, &[(FILE, csv(5..=900).as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert_eq!(records[0]["taken"]["rows"], 896, "{ran}");
    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), (5..=900).collect::<Vec<_>>());
    place.verify();
    let _ = reconcile(&place, &with, &[], 0);
}

#[test]
fn spool_and_archive_may_be_in_a_bucket() {
    let place = recorded_in(Place::all_on_s3(), (1..=400).filter(|n| n % 50 != 0));
    let with = publish(&place, &[(FILE, csv(1..=400).as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert_eq!(records[0]["taken"]["rows"], 8, "{ran}");
    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), (1..=400).collect::<Vec<_>>());
    let _ = reconcile(&place, &with, &[], 0);
    place.verify();
    place.leaves_nothing();
}

#[test]
fn a_recording_that_comes_later_wins_over_what_was_taken() {
    let place = recorded((1..=600).filter(|n| !(200..300).contains(n)));
    let with = publish(&place, &[(FILE, csv(1..=600).as_bytes())]);
    let _ = reconcile(&place, &with, &["--take"], 6);
    let _ = place.compact(&[]).ended(0);
    let from_venue = |place: &Place| {
        let text = "SELECT count(*) AS n FROM archive.trade WHERE source = 'binance-archive' AND ts_recv IS NULL";
        let ran = place.qlc(&["query", text, "--format", "csv"]).ended(0);
        ran.stdout.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(from_venue(&place), "100");
    let _ = place.put(
        &format!("{SERIES}/2026-02-03_13-00-00.parquet"),
        &sealed(250..300),
    );
    let _ = place.compact(&[]).ended(0);
    assert_eq!(archived(&place), (1..=600).collect::<Vec<_>>());
    assert_eq!(from_venue(&place), "50");
    let (ran, records) = reconcile(&place, &with, &[], 0);
    assert_eq!(records[0]["holes"][0]["rows"], 50, "{ran}");
    place.verify();
}

/// A trade of an exchange as it is recorded; all of it follows from its number.
fn row_of(exchange: &str, n: i64) -> Row {
    let (seq, id, singles) = match exchange {
        "binance" => (n, n.to_string(), Some((3 * n, 3 * n + 2))),
        "bybit" => {
            let scattered = (n * 2_654_435_761) & 0xffff_ffff;
            let name = format!("{scattered:08x}-0000-4000-8000-{n:012x}");
            (70_000 + n / 3, name, None)
        }
        _ => (n, n.to_string(), None),
    };
    Row {
        ts: Agg(n).ts(),
        seq,
        price: Agg(n).price(),
        qty: Agg(n).qty(),
        side: if n % 2 == 0 { -1 } else { 1 },
        id,
        singles,
    }
}

fn rows_of(exchange: &str, numbers: impl IntoIterator<Item = i64>) -> Vec<Row> {
    numbers.into_iter().map(|n| row_of(exchange, n)).collect()
}

/// A recording of an exchange, compacted.
fn recorded_of(exchange: &str, numbers: impl IntoIterator<Item = i64>) -> Place {
    let place = Place::new();
    let _ = place.put(
        &format!("exchange={exchange}/stream=trade/symbol=btcusdt/2026-02-03_12-00-00.parquet"),
        &spool_file(exchange, &rows_of(exchange, numbers)),
    );
    let _ = place.compact(&[]).ended(0);
    place
}

/// What `reconcile` finds of the day of an exchange.
#[track_caller]
fn of_exchange(place: &Place, exchange: &str, more: &[&str], code: i32) -> (Ran, Vec<Value>) {
    let asked = [
        "reconcile",
        "--exchange",
        exchange,
        "--date",
        "20260203",
        "--format",
        "json",
    ];
    let ran = place.qlc(&[&asked[..], more].concat()).ended(code);
    let records = ran.json();
    (ran, records)
}

const BYBIT_HEADER: &str = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n";

/// As Bybit publishes it: the time in seconds with more digits than it sends.
fn bybit_csv(numbers: impl IntoIterator<Item = i64>) -> String {
    let line = |n: i64| {
        let row = row_of("bybit", n);
        let side = if row.side > 0 { "Buy" } else { "Sell" };
        format!(
            "{}.0004,BTCUSDT,{side},{qty},{},PlusTick,{},1e+5,{qty},1\n",
            row.ts / 1_000_000_000,
            row.price,
            row.id,
            qty = row.qty,
        )
    };
    let lines: String = numbers.into_iter().map(line).collect();
    format!("{BYBIT_HEADER}{lines}")
}

fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut out);
    let file = zip
        .new_file(name)
        .compression_method(CompressionMethod::DEFLATE);
    let (mut entry, config) = file.start().unwrap();
    let mut packed = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
    packed.write_all(bytes).unwrap();
    let (packed, descriptor) = packed.finish().unwrap();
    let _ = packed.finish().unwrap();
    let _ = entry.finish(descriptor).unwrap();
    let _ = zip.finish().unwrap();
    out
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// The two files of OKX, of days of UTC+8, in which these lines of the UTC day lie; each has rows of
/// the UTC day beside it as well.
fn okx_files(kind: &str, header: &[u8], lines: &[(i64, String)]) -> Vec<(String, Vec<u8>)> {
    let border = DAY + 16 * 3_600_000_000_000;
    let beside = |ts: i64| {
        lines[0]
            .1
            .replace(&(lines[0].0 / 1_000_000).to_string(), &ts.to_string())
    };
    let file = |day: &str, is_its: &dyn Fn(i64) -> bool, more: String| {
        let mut text = header.to_vec();
        for (_, line) in lines.iter().filter(|(ts, _)| is_its(*ts)) {
            text.extend(line.as_bytes());
        }
        text.extend(more.as_bytes());
        let name = format!("BTC-USDT-SWAP-{kind}-{day}");
        (format!("{name}.zip"), zipped(&format!("{name}.csv"), &text))
    };
    vec![
        file("2026-02-03", &|ts| ts < border, beside(DAY / 1_000_000 - 1)),
        file(
            "2026-02-04",
            &|ts| ts >= border,
            beside(DAY / 1_000_000 + 86_400_000),
        ),
    ]
}

/// A recording of the whole day: one row every seventh second.
const WHOLE_DAY: std::ops::Range<i64> = 1..12_342;

#[test]
fn a_recording_with_losses_is_made_whole_from_the_server_of_each_venue() {
    let is_lost = |n: &i64| (6_000..6_500).contains(n) || *n == 9_999;
    for exchange in ["binance", "bybit", "okx"] {
        let files = match exchange {
            "binance" => {
                let name = FILE.replace(".csv", ".zip");
                let bytes = zipped(FILE, csv(WHOLE_DAY).as_bytes());
                let sum = format!("{}  {name}\n", sha256(&bytes)).into_bytes();
                vec![(format!("{name}.CHECKSUM"), sum), (name, bytes)]
            }
            "bybit" => vec![(
                "BTCUSDT2026-02-03.csv.gz".to_owned(),
                gzipped(bybit_csv(WHOLE_DAY).as_bytes()),
            )],
            _ => {
                let header = b"instrument_name,trade_id,side,price,size,created_time\n";
                let line = |n| {
                    let row = row_of("okx", n);
                    let side = if row.side > 0 { "buy" } else { "sell" };
                    let ms = row.ts / 1_000_000;
                    let line = format!("BTC-USDT-SWAP,{n},{side},{},{},{ms}\n", row.price, row.qty);
                    (row.ts, line)
                };
                okx_files(
                    "aggtrades",
                    header,
                    &WHOLE_DAY.map(line).collect::<Vec<_>>(),
                )
            }
        };
        let files: Vec<(String, Vec<u8>)> = files
            .into_iter()
            .map(|(name, bytes)| (format!("/{name}"), bytes))
            .collect();
        let served: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.clone()))
            .collect();
        let server = Server::new(&served, 1);
        let template = match exchange {
            "binance" => "{SYMBOL}-aggTrades-{YYYY-MM-DD}.zip",
            "bybit" => "{SYMBOL}{YYYY-MM-DD}.csv.gz",
            _ => "{SYMBOL}-aggtrades-{YYYY-MM-DD}.zip",
        };
        let place = recorded_of(exchange, WHOLE_DAY.filter(|n| !is_lost(n)));
        let url = format!("http://{}/{template}", server.address);
        let cache = place.root().join("cache").display().to_string();
        let fetched = ["--with", &url, "--download", &cache];
        let take = [&fetched[..], &["--take"]].concat();
        let (ran, records) = of_exchange(&place, exchange, &take, 6);
        let record = &records[0];
        assert_eq!(record["only_theirs"], 501, "{ran}");
        assert_eq!(record["hole_counts"]["open"], 2, "{ran}");
        assert_eq!(record["taken"]["rows"], 501, "{ran}");
        let _ = place.compact(&[]).ended(0);
        // What nobody received has no time of arrival, and of Bybit no number.
        let whole = day_of(&recorded_of(exchange, WHOLE_DAY), exchange);
        let made = day_of(&place, exchange);
        assert_eq!(made.num_rows(), whole.num_rows());
        for field in whole.schema().fields() {
            let name = field.name().as_str();
            if ["ts_recv", "sub_seq"].contains(&name) || (exchange, name) == ("bybit", "seq") {
                continue;
            }
            assert_eq!(
                made.column_by_name(name),
                whole.column_by_name(name),
                "{exchange} {name}"
            );
        }
        let (ran, records) = of_exchange(&place, exchange, &fetched, 0);
        assert_eq!(records[0]["verdict"], "equal", "{ran}");
        assert_eq!(records[0]["recovered"], 501, "{ran}");
        place.verify();
        let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
        assert!(listing(&place.spool()).is_empty(), "{exchange}");
        place.verify();
    }
}

#[test]
fn a_day_of_okx_needs_both_files_that_it_lies_in() {
    // In the encoding that these headers have.
    let mut header = Vec::new();
    for name in ["trade_id", ",side", ",size", ",price", ",created_time"] {
        header.extend(name.as_bytes());
        header.extend(b"/\xb4\xe9\xba\xcf");
    }
    header.push(b'\n');
    let numbers = || (0..12_342).step_by(10);
    // Two single trades make a recorded row.
    let lines = |numbers: &mut dyn Iterator<Item = i64>| -> Vec<(i64, String)> {
        let of = |n: i64| {
            let row = row_of("okx", n);
            let (side, ms) = (
                if row.side > 0 { "buy" } else { "sell" },
                row.ts / 1_000_000,
            );
            let half = 5 * (1 + n % 1_000);
            let qty = format!("{}.{:04}", half / 10_000, half % 10_000);
            [2 * n, 2 * n + 1].map(|id| (row.ts, format!("{id},{side},{qty},{},{ms}\n", row.price)))
        };
        numbers.flat_map(of).collect()
    };
    let place = recorded_of("okx", numbers());
    let files = okx_files("trades", &header, &lines(&mut numbers()));
    let bytes = |at: usize| (files[at].0.as_str(), files[at].1.as_slice());
    let with = publish(&place, &[bytes(0), bytes(1)]);
    let folder = with.display().to_string();
    let (ran, records) = of_exchange(&place, "okx", &["--with", &folder], 0);
    assert_eq!(records[0]["verdict"], "equal", "{ran}");
    assert_eq!(records[0]["pass"], "minutes", "{ran}");
    assert_eq!(
        records[0]["files"].as_array().map(Vec::len),
        Some(2),
        "{ran}"
    );
    // What one of them lacks proves nothing.
    for at in [0, 1] {
        fs::remove_file(with.join(&files[at].0)).unwrap();
        let (ran, records) = of_exchange(&place, "okx", &["--with", &folder], 1);
        let record = &records[0];
        assert_eq!(record["verdict"], "not-proven", "{ran}");
        assert!(record["only_ours"].as_u64().unwrap() > 400, "{ran}");
        assert_eq!(record["hole_counts"]["open"], 0, "{ran}");
        let message = record["message"].as_str().unwrap();
        assert!(message.contains("lies in 2 files"), "{ran}");
        let days = ["status", "--start", "20260203", "--end", "20260203"];
        let told = place.qlc(&days).ended(0);
        let line = told
            .stdout
            .lines()
            .find(|line| line.contains("not proven; minutes: "));
        assert!(line.is_some_and(|line| line.ends_with(message)), "{told}");
        let _ = publish(&place, &[bytes(at)]);
    }
    for (name, _) in &files {
        fs::remove_file(with.join(name)).unwrap();
    }
    let (ran, records) = of_exchange(&place, "okx", &["--with", &folder], 1);
    assert_eq!(records[0]["verdict"], "not-compared", "{ran}");
    // A minute in which they have more; of single trades nothing is taken.
    let mut more = lines(&mut numbers());
    more.push((
        DAY + 30_000_000_000,
        format!("99999999,buy,2.5,1,{}\n", DAY / 1_000_000 + 30_000),
    ));
    let files = okx_files("trades", &header, &more);
    let _ = publish(
        &place,
        &[(&files[0].0, &files[0].1), (&files[1].0, &files[1].1)],
    );
    let (ran, records) = of_exchange(&place, "okx", &["--with", &folder, "--take"], 6);
    let record = &records[0];
    assert_eq!(record["minutes"].as_array().map(Vec::len), Some(1), "{ran}");
    assert_eq!(record["minutes"][0]["minute"], "00:00", "{ran}");
    assert_eq!(record["minutes"][0]["columns"][0], "volume", "{ran}");
    assert_eq!(record["taken"], Value::Null, "{ran}");
    let why = record["not_taken"].as_str().unwrap();
    assert!(
        why.contains("by minutes") && why.contains("aggregated"),
        "{ran}"
    );
    assert!(taken_files(&place).is_empty());
}

#[test]
fn single_trades_of_binance_tell_minute_by_minute() {
    let name = "BTCUSDT-trades-2026-02-03.csv";
    let header = "id,price,qty,quote_qty,time,is_buyer_maker\n";
    // Three single trades make an aggregated one.
    let singles = |n: i64| {
        let tenths = 1 + n % 1_000;
        [3 * tenths, 3 * tenths, 4 * tenths]
            .into_iter()
            .zip(3 * n..)
            .map(|(qty, id)| {
                format!(
                    "{id},{},{}.{:04},1,{},{}\n",
                    Agg(n).price(),
                    qty / 10_000,
                    qty % 10_000,
                    Agg(n).ts() / 1_000_000,
                    n % 2 == 0
                )
            })
            .collect::<Vec<_>>()
    };
    let text = |numbers: std::ops::Range<i64>| numbers.flat_map(singles).collect::<String>();
    let place = recorded((1..2_000).filter(|n| *n != 1_500));
    let check = |text: &str, code: i32| {
        let bytes = format!("{header}{text}");
        let zip = zipped(name, bytes.as_bytes());
        let with = publish(&place, &[(&name.replace("csv", "zip"), &zip)]);
        reconcile(&place, &with, &["--take"], code)
    };
    let theirs: String = (1..2_000)
        .filter(|n| *n != 1_500)
        .flat_map(singles)
        .collect();
    let (ran, records) = check(&theirs, 0);
    assert_eq!(records[0]["pass"], "minutes", "{ran}");
    assert_eq!(records[0]["files"][0]["content"], "binance-trades", "{ran}");
    assert_eq!(records[0]["ours"], 3 * 1_998, "{ran}");
    assert_eq!(records[0]["equal"], 1440, "{ran}");
    assert_eq!(records[0]["not_taken"], Value::Null, "{ran}");
    // A sum that was lost is a hole of three single trades, which cannot be taken.
    let (ran, records) = check(&text(1..2_000), 6);
    let record = &records[0];
    assert_eq!(record["hole_counts"]["open"], 1, "{ran}");
    assert_eq!(record["holes"][0]["rows"], 3, "{ran}");
    assert_eq!(record["minutes"][0]["minute"], "02:55", "{ran}");
    assert_eq!(
        record["minutes"][0]["columns"].as_array().map(Vec::len),
        Some(2),
        "{ran}"
    );
    assert!(
        record["not_taken"].as_str().unwrap().contains("aggTrades"),
        "{ran}"
    );
    assert!(taken_files(&place).is_empty());
    // One that they lack is a minute that differs, and no hole.
    let (ran, records) = check(&theirs.replacen(&singles(700)[1], "", 1), 6);
    assert_eq!(records[0]["differ"], 1, "{ran}");
    assert_eq!(records[0]["hole_counts"]["open"], 0, "{ran}");
}

#[test]
fn status_and_report_tell_how_days_stood_to_what_was_published() {
    let place = recorded((1..=500).filter(|n| *n % 100 != 0));
    let days = ["--start", "20260203", "--end", "20260203"];
    let cell = |place: &Place| {
        let asked = [&["status"], &days[..], &["--format", "json"]].concat();
        place.qlc(&asked).ended(0).json().remove(0)
    };
    let said = |place: &Place| place.qlc(&[&["status"], &days[..]].concat()).ended(0);
    assert_eq!(cell(&place)["reconciled"], Value::Null);
    assert!(!said(&place).stdout.contains("compared with"));

    let with = publish(&place, &[(FILE, csv(1..=500).as_bytes())]);
    let _ = reconcile(&place, &with, &["--take"], 6);
    let told = cell(&place)["reconciled"][0].clone();
    assert_eq!(told["verdict"], "differs", "{told}");
    assert_eq!(told["only_theirs"], 5, "{told}");
    assert_eq!(told["taken"], 5, "{told}");
    assert_eq!(told["holes"]["open"], 5, "{told}");
    let ran = said(&place);
    let words = "5 only theirs; holes: 5 open; 5 rows taken";
    assert!(ran.stdout.contains(words), "{ran}");
    let _ = place
        .qlc(&[
            "report",
            "--html",
            "out.html",
            "--now",
            "2026-02-05T06:00:00Z",
        ])
        .ended(0);
    let page = fs::read_to_string(place.root().join("out.html")).unwrap();
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    let of_page = &data["reconciled"][0];
    assert_eq!(of_page["series"], "binance/trade/btcusdt", "{of_page}");
    assert_eq!(of_page["date"], "20260203", "{of_page}");
    assert_eq!(of_page["holes"], told["holes"], "{of_page}");
    assert_eq!(data["cells"][0]["reconciled"][0], told);

    // The newest one counts.
    let _ = place.compact(&[]).ended(0);
    let _ = reconcile(&place, &with, &[], 0);
    let told = cell(&place)["reconciled"].clone();
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told[0]["verdict"], "equal", "{told}");
    assert_eq!(told[0]["recovered"], 5, "{told}");
    assert_eq!(told[0]["holes"]["recovered"], 5, "{told}");
    let ran = said(&place);
    let words = "compared with what the exchange published: 1 equal, 5 rows recovered";
    assert!(ran.stdout.contains(words), "{ran}");
}

#[test]
fn trades_that_have_names_are_compared_by_them() {
    let text = bybit_csv(1..=1_000);
    let place = recorded_of("bybit", (1..=1_000).filter(|n| !(400..500).contains(n)));
    let with = publish(&place, &[("BTCUSDT2026-02-03.csv", text.as_bytes())]);
    let with = with.display().to_string();
    let asked = |more: &[&str], code| {
        of_exchange(&place, "bybit", &[&["--with", &with], more].concat(), code).1
    };
    let records = asked(&["--take"], 6);
    let told = |key: &str| records[0][key].as_u64().unwrap();
    assert_eq!(
        (told("equal"), told("only_theirs"), told("differ")),
        (900, 100, 0)
    );
    assert_eq!(records[0]["hole_counts"]["open"], 1, "side by side in time");
    let _ = place.compact(&[]).ended(0);
    assert_eq!(asked(&[], 0)[0]["hole_counts"]["recovered"], 1);
    place.verify();
    // What is recorded later takes the place of what was taken, with its number.
    let late = rows_of("bybit", 400..450);
    let _ = place.put(
        "exchange=bybit/stream=trade/symbol=btcusdt/2026-02-03_13-00-00.parquet",
        &spool_file("bybit", &late),
    );
    let _ = place.compact(&[]).ended(0);
    let text = "SELECT count(*), count(source), sum(CASE WHEN seq = 0 THEN 1 ELSE 0 END) FROM archive.trade";
    let ran = place.qlc(&["query", text, "--format", "csv"]).ended(0);
    assert_eq!(ran.stdout.lines().nth(1), Some("1000,50,50"), "{ran}");
    assert_eq!(asked(&[], 0)[0]["equal"], 1_000);
    place.verify();
    let _ = place.qlc(&["prune", "--keep-days", "0"]).ended(0);
    assert!(taken_files(&place).is_empty());
    place.verify();
}

#[test]
fn what_cannot_be_shown_is_not_believed() {
    let place = recorded(1..=1_000);
    // A file that ends early proves no absence, and one with a wrong CHECKSUM nothing at all.
    let packed = gzipped(csv(1..=2_000).as_bytes());
    let name = format!("{FILE}.gz");
    let with = publish(&place, &[(&name, &packed[..packed.len() - 2_000])]);
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert_eq!(records[0]["files"][0]["complete"], false, "{ran}");
    assert!(
        records[0]["not_taken"]
            .as_str()
            .unwrap()
            .contains("cut off"),
        "{ran}"
    );
    fs::remove_file(with.join(&name)).unwrap();

    let wrong = format!("{}  {FILE}\n", sha256(b"another file"));
    let with = publish(
        &place,
        &[
            (FILE, csv(1..=1_200).as_bytes()),
            (&format!("{FILE}.CHECKSUM"), wrong.as_bytes()),
        ],
    );
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    assert!(
        records[0]["not_taken"]
            .as_str()
            .unwrap()
            .contains("CHECKSUM"),
        "{ran}"
    );
    // Rows that such a file lacks are no difference, but no proof either.
    let with = publish(&place, &[(FILE, csv(1..=900).as_bytes())]);
    let (_, records) = reconcile(&place, &with, &[], 1);
    assert_eq!(records[0]["verdict"], "not-proven");
    assert_eq!(records[0]["only_ours"], 100);
    assert!(taken_files(&place).is_empty());
    assert_eq!(archived(&place), (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn other_values_and_rows_that_only_we_have_are_told_and_never_taken() {
    let place = recorded(1..=500);
    let text = csv((1..=500).filter(|n| *n != 250)).replace(
        &Agg(77).line(),
        &Agg(77)
            .line()
            .replacen(&Agg(77).price().to_string(), "12.5", 1),
    );
    let with = publish(&place, &[(FILE, text.as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &["--take"], 6);
    let record = &records[0];
    assert_eq!(
        (&record["differ"], &record["only_ours"]),
        (&1.into(), &1.into()),
        "{ran}"
    );
    assert_eq!(record["columns"]["price"], 1, "{ran}");
    assert_eq!(record["minutes"].as_array().unwrap().len(), 2, "{ran}");
    assert!(taken_files(&place).is_empty());
    // In words.
    let with = publish(&place, &[(FILE, text.as_bytes())])
        .display()
        .to_string();
    let asked: Vec<&str> = ASKED.iter().copied().take(ASKED.len() - 2).collect();
    let ran = place
        .qlc(&[&asked[..], &["--with", &with]].concat())
        .ended(6);
    for words in [
        "DIFFERS",
        "only ours",
        "other values: price 1",
        "no CHECKSUM",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran}");
    }
}

#[test]
fn klines_tell_minute_by_minute() {
    let minute = |n: i64| (Agg(n).ts() - DAY) / 60_000_000_000;
    let of = |numbers: &[i64]| {
        let mut minutes: BTreeMap<i64, (i64, i64)> = (0..1440).map(|m| (m, (0, 0))).collect();
        for n in numbers {
            let sum = minutes.get_mut(&minute(*n)).unwrap();
            // In thousandths, as all quantities are.
            sum.0 += 1 + n % 1_000;
            sum.1 += 3;
        }
        let mut text = String::from(
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n",
        );
        for (minute, (volume, trades)) in minutes {
            let open = DAY / 1_000_000 + minute * 60_000;
            let line = format!(
                "{open},1,1,1,1,{}.{:03},{},1,{trades},1,1,0\n",
                volume / 1000,
                volume % 1000,
                open + 59_999
            );
            text.push_str(&line);
        }
        text
    };
    let all: Vec<i64> = (1..=5_000).collect();
    let place = recorded(all.iter().copied());
    let name = "BTCUSDT-1m-2026-02-03.csv";
    let with = publish(&place, &[(name, of(&all).as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &[], 0);
    assert_eq!(records[0]["pass"], "minutes", "{ran}");
    assert_eq!(records[0]["equal"], 1440, "{ran}");

    let more: Vec<i64> = (1..=5_100).collect();
    let with = publish(&place, &[(name, of(&more).as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &[], 6);
    let record = &records[0];
    assert_eq!(record["hole_counts"]["open"], 1, "{ran}");
    assert_eq!(record["holes"][0]["rows"], 300, "{ran}");
    assert_eq!(record["minutes"][0]["columns"][0], "volume", "{ran}");

    // One minute of which they tell another number of trades, one that they do not tell, and one
    // that they tell twice.
    let text = of(&all);
    let line = |minute: i64| {
        let open = format!("{},", DAY / 1_000_000 + minute * 60_000);
        let found = text.lines().find(|line| line.starts_with(&open));
        format!("{}\n", found.unwrap())
    };
    let trades = |line: &str, other: &str| {
        let mut values: Vec<&str> = line.split(',').collect();
        values[8] = other;
        values.join(",")
    };
    let other = text
        .replace(&line(100), &trades(&line(100), "1"))
        .replace(&line(200), "")
        .replace(&line(300), &(line(300) + &trades(&line(300), "2")));
    let with = publish(&place, &[(name, other.as_bytes())]);
    let (ran, records) = reconcile(&place, &with, &[], 6);
    let record = &records[0];
    let told: Vec<(&str, &str)> = record["minutes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap();
            (text("minute"), text("state"))
        })
        .collect();
    let expected = [
        ("01:40", "differ"),
        ("03:20", "only-ours"),
        ("05:00", "differ"),
    ];
    assert_eq!(told, expected, "{ran}");
    assert_eq!(record["minutes"][0]["columns"][0], "trades", "{ran}");
    assert_eq!(record["files"][0]["conflicting"], 1, "{ran}");
}

#[test]
fn sums_that_okx_forms_in_another_way_are_not_taken() {
    let place = recorded_of("okx", (1..=600).filter(|n| *n != 300));
    let line = |n: i64, qty: f64| {
        let row = row_of("okx", n);
        let side = if row.side > 0 { "buy" } else { "sell" };
        let ms = row.ts / 1_000_000;
        let line = format!("BTC-USDT-SWAP,{n},{side},{},{qty},{ms}\n", row.price);
        (row.ts, line)
    };
    let qty = |n| row_of("okx", n).qty + if n == 400 { 1.0 } else { 0.0 };
    let header = b"instrument_name,trade_id,side,price,size,created_time\n";
    let lines: Vec<(i64, String)> = (1..=600).map(|n| line(n, qty(n))).collect();
    let files = okx_files("aggtrades", header, &lines);
    let with = publish(&place, &[(&files[0].0, &files[0].1)]);
    let folder = with.display().to_string();
    let (ran, records) = of_exchange(&place, "okx", &["--with", &folder, "--take"], 6);
    let record = &records[0];
    assert_eq!(
        (&record["only_theirs"], &record["differ"]),
        (&1.into(), &1.into()),
        "{ran}"
    );
    assert_eq!(record["columns"]["qty"], 1, "{ran}");
    assert!(
        record["not_taken"]
            .as_str()
            .unwrap()
            .contains("another way"),
        "{ran}"
    );
    assert!(taken_files(&place).is_empty());
}

#[test]
fn a_day_that_is_not_what_its_receipt_says_is_not_compared() {
    let place = recorded(1..=100);
    let with = publish(&place, &[(FILE, csv(1..=100).as_bytes())]);
    let data = place
        .archive()
        .join(dir("binance", "trade", "btcusdt", "20260203"))
        .join("data.parquet");
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&data, bytes).unwrap();
    let (ran, records) = reconcile(&place, &with, &["--take"], 1);
    assert_eq!(records[0]["verdict"], "not-compared", "{ran}");
    // And a day of which no file was given.
    let place = recorded(1..=100);
    let with = publish(
        &place,
        &[("BTCUSDT-aggTrades-2026-02-04.csv", b"x".as_slice())],
    );
    let (ran, records) = reconcile(&place, &with, &[], 1);
    assert!(
        records[0]["message"].as_str().unwrap().contains("no file"),
        "{ran}"
    );
}

#[test]
fn named_spools_need_one_for_what_is_taken() {
    let place = recorded(1..=100);
    let with = publish(&place, &[(FILE, csv(1..=120).as_bytes())]);
    let with = with.display().to_string();
    let tokyo = format!("tokyo={}", place.spool().display());
    let other = place.root().join("from-the-venue");
    fs::create_dir_all(&other).unwrap();
    let named = format!("binance-archive={}", other.display());
    let args = [ASKED, &["--with", &with, "--take"]].concat();
    let _ = place
        .on_spools(&[&tokyo], &args, &[])
        .ended(2)
        .says("--spool binance-archive=DIR");
    let _ = place.on_spools(&[&tokyo, &named], &args, &[]).ended(6);
    assert_eq!(listing(&other).len(), 1);
    let compact = [
        "compact",
        "--mode",
        "catch-up",
        "--now",
        "2026-02-05T06:00:00Z",
    ];
    let _ = place.on_spools(&[&tokyo, &named], &compact, &[]).ended(0);
    assert_eq!(archived(&place), (1..=120).collect::<Vec<_>>());
    let _ = place
        .on_spools(&[&tokyo, &named], &["verify"], &[])
        .ended(0);
}

#[test]
fn mistakes_say_what_to_type() {
    let place = recorded(1..=10);
    let check = |args: &[&str], words: &str| {
        let _ = place
            .qlc(&[&["reconcile"], args].concat())
            .ended(2)
            .says(words);
    };
    check(
        &["--date", "20260203"],
        "no files are named: add --with, or set binance = \"https://…\" below [reconcile]",
    );
    check(
        &["--with", "/no/such/file", "--date", "20260203"],
        "/no/such/file",
    );
    let with = publish(&place, &[(FILE, csv(1..=10).as_bytes())]);
    let with = with.display().to_string();
    check(&["--with", &with], "--date");
    check(
        &["--with", &with, "--date", "20260203", "--stream", "bbo"],
        "trade",
    );
    check(
        &[
            "--with",
            "http://127.0.0.1:1/{SYMBOL}",
            "--date",
            "20260203",
        ],
        "--download",
    );
}

/// A venue's server, which breaks off in the middle of its first long answers.
pub struct Server {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn new(files: &[(&str, Vec<u8>)], breaks: usize) -> Self {
        Self::with(files, breaks, false, None)
    }

    /// One that begins no long answer before it is told to.
    pub fn that_waits(files: &[(&str, Vec<u8>)]) -> (Self, Sender<()>) {
        let (go, waits) = channel();
        (Self::with(files, 0, false, Some(waits)), go)
    }

    /// One that does not even end the first long answer.
    pub fn that_hangs(files: &[(&str, Vec<u8>)]) -> Self {
        Self::with(files, 1, true, None)
    }

    fn with(
        files: &[(&str, Vec<u8>)],
        mut breaks: usize,
        hangs: bool,
        waits: Option<Receiver<()>>,
    ) -> Self {
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), bytes.clone()))
            .collect();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(std::thread::spawn(move || {
            let mut open = Vec::new();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let (path, from) = request(&connection);
                let told = if from > 0 {
                    format!("{path} from {from}")
                } else {
                    path.clone()
                };
                seen.lock().unwrap().push(told);
                let is_long = files.get(&path).is_some_and(|file| file.len() > 1_000);
                let is_cut = breaks > 0 && is_long;
                if let Some(waits) = waits.as_ref().filter(|_| is_long) {
                    waits.recv().unwrap();
                }
                breaks -= usize::from(is_cut);
                let answer = answer(files.get(&path), from, is_cut);
                connection.write_all(&answer).unwrap();
                if is_cut && hangs {
                    open.push(connection);
                }
            }
        }));
        Self { address, asked }
    }
}

/// A file that the server refuses.
pub const REFUSED: &[u8] = b"refused";

/// The path that is asked for, and from which byte on.
fn request(connection: &TcpStream) -> (String, usize) {
    let mut lines = BufReader::new(connection).lines().map(Result::unwrap);
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let range = lines
        .take_while(|line| !line.is_empty())
        .find_map(|line| Some(line.strip_prefix("range: bytes=")?.to_owned()));
    let from = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    (path, from)
}

/// An answer, or the first half of it.
fn answer(file: Option<&Vec<u8>>, from: usize, is_cut: bool) -> Vec<u8> {
    let Some(file) = file else {
        return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
    };
    if file == REFUSED {
        return b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec();
    }
    let (rest, all) = (&file[from..], file.len());
    let status = if from > 0 {
        format!(
            "206 Partial Content\r\ncontent-range: bytes {from}-{}/{all}",
            all - 1
        )
    } else {
        "200 OK".to_owned()
    };
    let head = format!(
        "HTTP/1.1 {status}\r\netag: \"{}\"\r\ncontent-length: {}\r\n\r\n",
        sha256(file),
        rest.len()
    );
    let sent = if is_cut { rest.len() / 2 } else { rest.len() };
    [head.as_bytes(), &rest[..sent]].concat()
}

#[test]
fn files_are_fetched_once_and_gone_on_with_where_they_broke_off() {
    let text = csv(1..=3_000).into_bytes();
    let path = format!("/um/BTCUSDT/{FILE}");
    let sum = format!("{}  {FILE}\n", sha256(&text)).into_bytes();
    let checksum = format!("{path}.CHECKSUM");
    let server = Server::new(&[(&path, text.clone()), (&checksum, sum)], 2);
    let place = recorded(1..=2_900);
    let cache = place.root().join("cache");
    let url = format!(
        "http://{}/um/{{SYMBOL}}/{{SYMBOL}}-aggTrades-{{YYYY-MM-DD}}.csv",
        server.address
    );
    let fetch = || {
        let folder = cache.display().to_string();
        place
            .qlc(&[ASKED, &["--with", &url, "--download", &folder]].concat())
            .ended(6)
            .json()
    };
    let records = fetch();
    assert_eq!(records[0]["only_theirs"], 100);
    assert_eq!(records[0]["files"][0]["checksum"], "right");
    let asked = server.asked.lock().unwrap().clone();
    let ranges = asked.iter().filter(|one| one.contains(" from ")).count();
    assert_eq!(ranges, 2, "it was begun anew: {asked:?}");
    // Nothing but the CHECKSUM is asked for again.
    let records = fetch();
    assert_eq!(records[0]["only_theirs"], 100);
    let again = server.asked.lock().unwrap().clone();
    assert_eq!(again[asked.len()..], [checksum], "{again:?}");
    let kept: Vec<String> = listing(&cache).into_keys().collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
}

#[test]
fn the_url_of_an_exchange_is_a_setting_and_nothing_is_fetched_unasked() {
    let path = format!("/BTCUSDT/20260203/{FILE}");
    let server = Server::new(&[(&path, csv(1..=500).into_bytes())], 0);
    let place = recorded(1..=480);
    let config = format!(
        "[reconcile]\nbinance = \"http://{}/{{SYMBOL}}/{{YYYYMMDD}}/{{SYMBOL}}-aggTrades-{{YYYY-MM-DD}}.csv\"\n",
        server.address
    );
    let config = place.put("qlc.toml", config.as_bytes());
    let config = config.display().to_string();
    let asked = [&["--config", &config], ASKED].concat();
    let _ = place
        .qlc(&asked)
        .ended(2)
        .says("/{SYMBOL}/{YYYYMMDD}/")
        .says("--download");
    assert!(server.asked.lock().unwrap().is_empty());
    let cache = place.root().join("cache").display().to_string();
    let fetched = [&asked[..], &["--download", &cache]].concat();
    let ran = place.qlc(&fetched).ended(6);
    assert_eq!(ran.json()[0]["only_theirs"], 20, "{ran}");
    // What is typed holds alone.
    let with = publish(&place, &[(FILE, csv(1..=480).as_bytes())]);
    let with = with.display().to_string();
    let _ = place
        .qlc(&[&asked[..], &["--with", &with]].concat())
        .ended(0);
    // An exchange without a URL is told of, beside one that has it.
    let _ = place.put(
        "exchange=okx/stream=trade/symbol=btcusdt/2026-02-03_12-00-00.parquet",
        &spool_file("okx", &rows_of("okx", 1..=10)),
    );
    let _ = place.compact(&[]).ended(0);
    let all = ["--config", &config, "reconcile", "--date", "20260203"];
    let ran = place
        .qlc(&[&all[..], &["--format", "json", "--download", &cache]].concat())
        .ended(1);
    let records = ran.json();
    assert_eq!(records.len(), 2, "{ran}");
    assert!(
        records[1]["message"]
            .as_str()
            .unwrap()
            .starts_with("no files of okx are named: add --with, or set okx ="),
        "{ran}"
    );
}
