//! `qlc reconcile`: the archive beside what the venue publishes. A recording with losses, the
//! venue's files, and what is taken from them make the whole day; what cannot be shown is not
//! believed.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
        StringArray,
    },
    datatypes::{Field, Int64Type, Schema},
};
use flate2::{Compression, write::GzEncoder};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::support::{
    archive::{dir, listing, published, sha256},
    events::DAY,
    run::{Place, Ran},
};

const SERIES: &str = "exchange=binance/stream=trade/symbol=btcusdt";
const FILE: &str = "BTCUSDT-aggTrades-2026-02-03.csv";
const HEADER: &str =
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n";
const ASKED: &[&str] = &[
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
struct Agg(i64);

impl Agg {
    fn ts(self) -> i64 {
        DAY + self.0 * 7_000_000_000
    }

    fn price(self) -> f64 {
        (970_000 + self.0 % 89) as f64 / 10.0
    }

    fn qty(self) -> f64 {
        (1 + self.0 % 1_000) as f64 / 1000.0
    }

    fn line(self) -> String {
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
fn csv(numbers: impl IntoIterator<Item = i64>) -> String {
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
fn sealed(numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let row = |n| Row {
        ts: Agg(n).ts(),
        seq: n,
        price: Agg(n).price(),
        qty: Agg(n).qty(),
        side: if n % 2 == 0 { -1 } else { 1 },
        id: n.to_string(),
        singles: Some((3 * n, 3 * n + 2)),
    };
    spool_file("binance", &numbers.into_iter().map(row).collect::<Vec<_>>())
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
fn recorded(numbers: impl IntoIterator<Item = i64>) -> Place {
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
fn publish(place: &Place, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = place.root().join("published");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    folder
}

#[track_caller]
fn reconcile(place: &Place, with: &Path, more: &[&str], code: i32) -> (Ran, Vec<Value>) {
    let with = with.display().to_string();
    let ran = place
        .qlc(&[ASKED, &["--with", &with], more].concat())
        .ended(code);
    let records = ran.json();
    (ran, records)
}

/// The numbers of the archived trades.
fn archived(place: &Place) -> Vec<i64> {
    let found = published(
        &place.archive(),
        &dir("binance", "trade", "btcusdt", "20260203"),
    );
    let seq = found.data.batch.column_by_name("seq").unwrap();
    seq.as_primitive::<Int64Type>().values().to_vec()
}

fn taken_files(place: &Place) -> Vec<String> {
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

#[test]
fn trades_that_have_names_are_compared_by_them() {
    let row = |n: i64| Row {
        ts: Agg(n).ts(),
        seq: 70_000 + n / 3,
        price: Agg(n).price(),
        qty: Agg(n).qty(),
        side: if n % 2 == 0 { -1 } else { 1 },
        id: format!(
            "{:08x}-0000-4000-8000-{n:012x}",
            (n * 2_654_435_761) & 0xffff_ffff
        ),
        singles: None,
    };
    let line = |n: i64| {
        let Row {
            price,
            qty,
            side,
            id,
            ..
        } = row(n);
        let (seconds, side) = (
            row(n).ts / 1_000_000_000,
            if side > 0 { "Buy" } else { "Sell" },
        );
        format!("{seconds}.0000,BTCUSDT,{side},{qty},{price},PlusTick,{id},1,{qty},1\n")
    };
    let text: String = std::iter::once(
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n".to_owned(),
    )
    .chain((1..=1_000).map(line))
    .collect();
    let place = Place::new();
    let ours: Vec<Row> = (1..=1_000)
        .filter(|n| !(400..500).contains(n))
        .map(row)
        .collect();
    let _ = place.put(
        "exchange=bybit/stream=trade/symbol=btcusdt/2026-02-03_12-00-00.parquet",
        &spool_file("bybit", &ours),
    );
    let _ = place.compact(&[]).ended(0);
    let with = publish(&place, &[("BTCUSDT2026-02-03.csv", text.as_bytes())]);
    let with = with.display().to_string();
    let asked = |more: &[&str], code| {
        let asked = [
            "reconcile",
            "--exchange",
            "bybit",
            "--date",
            "20260203",
            "--format",
            "json",
        ];
        place
            .qlc(&[&asked[..], &["--with", &with], more].concat())
            .ended(code)
            .json()
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
    let status = place.qlc(&["status", "--start", "20260203", "--end", "20260203"]);
    assert!(!status.stdout.contains("compared with"), "{status}");
    place.verify();
}

#[test]
fn what_cannot_be_shown_is_not_believed() {
    let place = recorded(1..=1_000);
    // A file that ends early proves no absence, and one with a wrong CHECKSUM nothing at all.
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(csv(1..=2_000).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
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
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(files: &[(&str, Vec<u8>)], mut breaks: usize) -> Self {
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), bytes.clone()))
            .collect();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let (path, from) = request(&connection);
                let told = if from > 0 {
                    format!("{path} from {from}")
                } else {
                    path.clone()
                };
                seen.lock().unwrap().push(told);
                let is_cut = breaks > 0 && files.get(&path).is_some_and(|file| file.len() > 1_000);
                breaks -= usize::from(is_cut);
                let answer = answer(files.get(&path), from, is_cut);
                connection.write_all(&answer).unwrap();
            }
        }));
        Self { address, asked }
    }
}

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
        &sealed(1..=10),
    );
    let _ = place.compact(&[]).ended(0);
    let all = ["--config", &config, "reconcile", "--date", "20260203"];
    let ran = place
        .qlc(&[&all[..], &["--format", "json", "--download", &cache]].concat())
        .ended(6);
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
