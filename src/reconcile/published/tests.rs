//! Files of every venue with every known fault, and what becomes of them.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Float64Type, Int64Type},
};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::{
    collect::rows::Rows,
    error::Kind,
    feed::{
        decode::Decoder,
        directory::Directory,
        event::Kind as Stream,
        venue::{Venue, choose},
    },
    model::row_hash,
    storage::store::hex,
};

const AGG_HEADER: &str =
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n";
const BYBIT_HEADER: &str = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n";
const OKX_HEADER: &str = "instrument_name,trade_id,side,price,size,created_time\n";
/// 2026-02-03T00:00:00Z.
const MS: i64 = 1_770_076_800_000;
const MEMORY: usize = 64 << 20;

/// A folder with published files.
struct Folder {
    dir: TempDir,
    files: Vec<PublishedFile>,
}

/// What came of them.
struct Taken {
    accounts: Vec<FileAccount>,
    rows: RecordBatch,
    footer: serde_json::Value,
}

impl Folder {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            files: Vec::new(),
        }
    }

    fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        self.files.push(PublishedFile {
            path,
            name: name.to_owned(),
            checksum: None,
        });
        self
    }

    fn checksum(mut self, text: &str) -> Self {
        self.files.last_mut().unwrap().checksum = Some(text.to_owned());
        self
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("out.parquet")
    }

    fn result(&self, exchange: &str) -> Result<Vec<FileAccount>> {
        let target = self.target();
        trades(
            &series(exchange),
            day(),
            &self.files,
            &target,
            self.dir.path(),
            MEMORY,
        )
    }

    fn taken(&self, exchange: &str) -> Taken {
        let accounts = self.result(exchange).unwrap();
        let (rows, footer) = read(&self.target());
        assert_eq!(
            accounts.iter().map(|account| account.rows).sum::<u64>(),
            rows.num_rows() as u64
        );
        Taken {
            accounts,
            rows,
            footer,
        }
    }

    /// What came of a single file.
    fn of(name: &str, bytes: &[u8], exchange: &str) -> Taken {
        Self::new().with(name, bytes).taken(exchange)
    }
}

impl Taken {
    fn ints(&self, column: &str) -> Vec<i64> {
        let column = self.rows.column_by_name(column).unwrap();
        column.as_primitive::<Int64Type>().values().to_vec()
    }

    fn texts(&self, column: &str) -> Vec<String> {
        let column = self.rows.column_by_name(column).unwrap().as_string::<i32>();
        column
            .iter()
            .map(|text| text.unwrap_or("null").to_owned())
            .collect()
    }

    /// Fails where a fault with these words is missing.
    #[track_caller]
    fn says(&self, words: &str) {
        let faults: Vec<&String> = self
            .accounts
            .iter()
            .flat_map(|account| &account.faults)
            .collect();
        assert!(
            faults.iter().any(|fault| fault.contains(words)),
            "{words:?} in {faults:?}"
        );
    }
}

fn day() -> Date {
    "20260203".parse().unwrap()
}

fn series(exchange: &str) -> Series {
    Series {
        exchange: exchange.parse().unwrap(),
        stream: "trade".parse().unwrap(),
        symbol: "btcusdt".parse().unwrap(),
    }
}

/// The rows of a file, and the list of its sources.
fn read(path: &Path) -> (RecordBatch, serde_json::Value) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let pairs = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .clone();
    let value = |key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == key).unwrap();
        pair.value.clone().unwrap()
    };
    let schema = std::sync::Arc::clone(builder.schema());
    let batches: Vec<RecordBatch> = builder
        .build()
        .unwrap()
        .map(std::result::Result::unwrap)
        .collect();
    let rows = concat_batches(&schema, &batches).unwrap();
    assert_eq!(
        value(row_hash::FOOTER_KEY),
        row_hash::of_batch(&rows).unwrap().to_string()
    );
    (rows, serde_json::from_str(&value(FOOTER_SOURCES)).unwrap())
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut out);
    for (name, bytes) in members {
        let deflate = CompressionMethod::DEFLATE;
        let file = zip.new_file(name).compression_method(deflate);
        let (mut entry, config) = file.start().unwrap();
        let mut packed = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
        packed.write_all(bytes).unwrap();
        let (packed, descriptor) = packed.finish().unwrap();
        let _ = packed.finish().unwrap();
        let _ = entry.finish(descriptor).unwrap();
    }
    let _ = zip.finish().unwrap();
    out
}

/// A zip of one file that is not packed.
fn stored(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut out);
    let file = zip
        .new_file(name)
        .compression_method(CompressionMethod::STORE);
    let (mut entry, config) = file.start().unwrap();
    let mut writer = config.wrap(&mut entry);
    writer.write_all(bytes).unwrap();
    let (_, descriptor) = writer.finish().unwrap();
    let _ = entry.finish(descriptor).unwrap();
    let _ = zip.finish().unwrap();
    out
}

/// The same bytes with another text of the same length, everywhere.
fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// Aggregated trades of Binance with these numbers, a second apart.
fn agg(ids: impl IntoIterator<Item = i64>) -> String {
    let line = |id: i64| {
        let (first, time) = (2 * id, MS + 1000 * id);
        let is_maker = id % 2 == 0;
        format!(
            "{id},97123.40,0.{id:03},{first},{},{time},{is_maker}\n",
            first + 1
        )
    };
    ids.into_iter().map(line).collect::<Vec<_>>().concat()
}

/// The rows that a collector makes of these frames.
fn recorded(venue: Venue, symbol: &str, frames: &[String]) -> RecordBatch {
    let symbols = ["btcusdt".parse().unwrap()];
    let wanted = choose(&[venue], &symbols, &[Stream::Trade])
        .unwrap()
        .series
        .remove(0);
    let mut directory = Directory::default();
    directory.add(symbol, Stream::Trade, 0);
    let mut decoder = Decoder::new(venue, directory);
    let mut rows = Rows::new(Stream::Trade);
    for frame in frames {
        let mut events = Vec::new();
        let _ = decoder.decode(frame, MS * 1_000_000, &mut events).unwrap();
        for event in events {
            rows.push(&event, 0);
        }
    }
    rows.full(&wanted, &rows.order()).unwrap()
}

/// Compares all columns but these.
#[track_caller]
fn same_but(published: &RecordBatch, recorded: &RecordBatch, but: &[&str]) {
    for field in recorded.schema().fields() {
        if but.contains(&field.name().as_str()) {
            continue;
        }
        let column = published.column_by_name(field.name()).unwrap();
        assert_eq!(
            column,
            recorded.column_by_name(field.name()).unwrap(),
            "{}",
            field.name()
        );
    }
    let ts_recv = published.column_by_name("ts_recv").unwrap();
    assert_eq!(ts_recv.null_count(), published.num_rows());
    assert_eq!(published.num_columns(), recorded.num_columns() + 1);
}

#[test]
fn aggregated_trades_of_binance_equal_the_recorded_ones_however_they_are_published() {
    let text = agg(1..=5);
    let frame = |id: i64| {
        format!(
            r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":1,"s":"BTCUSDT","a":{id},"p":"97123.40","q":"0.{id:03}","f":{},"l":{},"T":{},"m":{}}}}}"#,
            2 * id,
            2 * id + 1,
            MS + 1000 * id,
            id % 2 == 0
        )
    };
    let recorded = recorded(
        Venue::Binance,
        "BTCUSDT",
        &(1..=5).map(frame).collect::<Vec<_>>(),
    );
    let with_header = format!("{AGG_HEADER}{text}");
    let micros = text.replace("000,", "000456,");
    let mut unsorted: Vec<&str> = text.split_inclusive('\n').collect();
    unsorted.reverse();
    let spot = text.replace("true", "True").replace('\n', ",True\r\n");
    for (what, bytes) in [
        ("plain", text.clone().into_bytes()),
        ("with a header", with_header.clone().into_bytes()),
        (
            "with a byte order mark",
            format!("\u{feff}{with_header}").into_bytes(),
        ),
        ("with CRLF", with_header.replace('\n', "\r\n").into_bytes()),
        (
            "without a line end",
            with_header.trim_end().as_bytes().to_vec(),
        ),
        ("unsorted", unsorted.concat().into_bytes()),
        ("in microseconds", micros.into_bytes()),
        ("as of spot", spot.into_bytes()),
        (
            "zipped",
            zipped(&[("BTCUSDT-aggTrades-2026-02-03.csv", with_header.as_bytes())]),
        ),
        ("gzipped", gzipped(with_header.as_bytes())),
    ] {
        let taken = Folder::of("file", &bytes, "binance");
        same_but(&taken.rows, &recorded, &["ts_recv", "sub_seq"]);
        let account = &taken.accounts[0];
        assert!(
            account.complete && account.faults.is_empty(),
            "{what}: {account:?}"
        );
        let content = if what == "as of spot" {
            Content::BinanceSpotAggTrades
        } else {
            Content::BinanceAggTrades
        };
        assert_eq!((account.content, account.rows), (content, 5), "{what}");
        assert_eq!(
            taken.texts(crate::model::schema::SOURCE),
            vec!["binance-archive"; 5]
        );
        assert_eq!(taken.footer[0]["sha256"], account.sha256.as_str());
    }
}

#[test]
fn trades_of_bybit_equal_the_recorded_ones_but_for_the_number_that_is_not_published() {
    let name = |n: i64| format!("e94f18f9-4bc4-5530-87ee-d067f8267a6{n}");
    // The later names come first: the order of the file counts, not that of the names.
    let line = |n: i64| {
        format!(
            "1770076800.{n}296,BTCUSDT,{},0.00{n},78307.50,ZeroMinusTick,{},7.83075e+09,0.001,78.3075",
            if n % 2 == 0 { "Buy" } else { "Sell" },
            name(9 - n)
        )
    };
    let text = (1..=4).map(|n| line(n) + "\n").collect::<Vec<_>>().concat();
    let frame = |n: i64| {
        format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{{"T":{},"s":"BTCUSDT","S":"{}","v":"0.00{n}","p":"78307.50","L":"PlusTick","i":"{}","BT":false,"seq":{}}}]}}"#,
            MS + 100 * n + 29,
            if n % 2 == 0 { "Buy" } else { "Sell" },
            name(9 - n),
            1_783_284_617 + n
        )
    };
    let recorded = recorded(
        Venue::Bybit,
        "BTCUSDT",
        &(1..=4).map(frame).collect::<Vec<_>>(),
    );
    let with_header = format!("{BYBIT_HEADER}{text}");
    let rpi = with_header
        .replace('\n', ",0\n")
        .replace("Notional,0", "Notional,RPI");
    for text in [text, with_header, rpi] {
        let taken = Folder::of(
            "BTCUSDT2026-02-03.csv.gz",
            &gzipped(text.as_bytes()),
            "bybit",
        );
        same_but(&taken.rows, &recorded, &["ts_recv", "sub_seq", "seq"]);
        assert_eq!(taken.ints("seq"), [0; 4]);
        assert!(taken.accounts[0].complete, "{:?}", taken.accounts);
        assert_eq!(taken.accounts[0].faults, Vec::<String>::new());
    }
}

#[test]
fn trades_of_one_millisecond_keep_the_order_of_the_file() {
    let line = |name: &str, price: i64| {
        format!("1770076800.5,BTCUSDT,Buy,1,{price},PlusTick,{name},1,1,1\n")
    };
    let text = [BYBIT_HEADER, &line("z", 1), &line("a", 2), &line("m", 3)].concat();
    let taken = Folder::of("x.gz", &gzipped(text.as_bytes()), "bybit");
    assert_eq!(taken.texts("trade_id"), ["z", "a", "m"]);
    let sub_seq = taken.rows.column_by_name("sub_seq").unwrap();
    assert_eq!(
        sub_seq
            .as_primitive::<arrow::datatypes::Int32Type>()
            .values()[..],
        [0, 1, 2]
    );
}

#[test]
fn a_day_of_utc_is_made_of_two_files_of_okx() {
    let line = |id: i64, time: i64| {
        format!(
            "BTC-USDT-SWAP,{id},{},78542.2,14.07,{time}\n",
            if id % 2 == 0 { "buy" } else { "sell" }
        )
    };
    // Days of UTC+8 begin and end at 16:00 UTC.
    let hour = 3_600_000;
    let first: String = [
        (1, MS - 9 * hour),
        (2, MS - 1),
        (3, MS),
        (4, MS + 16 * hour - 1),
    ]
    .map(|(id, time)| line(id, time))
    .concat();
    let second: String = [
        (5, MS + 16 * hour),
        (6, MS + 24 * hour - 1),
        (7, MS + 24 * hour),
    ]
    .map(|(id, time)| line(id, time))
    .concat();
    let file = |text: &str, day: &str| {
        let name = format!("BTC-USDT-SWAP-trades-{day}.csv");
        zipped(&[(&name, format!("{OKX_HEADER}{text}").as_bytes())])
    };
    let frame = |id: i64, time: i64| {
        format!(
            r#"{{"arg":{{"channel":"trades","instId":"BTC-USDT-SWAP"}},"data":[{{"instId":"BTC-USDT-SWAP","tradeId":"{id}","px":"78542.2","sz":"14.07","side":"{}","ts":"{time}","count":"1"}}]}}"#,
            if id % 2 == 0 { "buy" } else { "sell" }
        )
    };
    let frames = [
        (3, MS),
        (4, MS + 16 * hour - 1),
        (5, MS + 16 * hour),
        (6, MS + 24 * hour - 1),
    ]
    .map(|(id, time)| frame(id, time));
    let taken = Folder::new()
        .with("later.zip", &file(&second, "2026-02-04"))
        .with("earlier.zip", &file(&first, "2026-02-03"))
        .taken("okx");
    same_but(
        &taken.rows,
        &recorded(Venue::Okx, "BTC-USDT-SWAP", &frames),
        &["ts_recv", "sub_seq"],
    );
    let counts: Vec<(u64, u64)> = taken
        .accounts
        .iter()
        .map(|a| (a.rows, a.elsewhere))
        .collect();
    assert_eq!(counts, [(2, 1), (2, 2)]);
}

#[test]
fn headers_of_okx_are_read_in_every_form() {
    let old = format!("1,sell,2.5,78542.2,{MS}\n2,buy,3,78542.3,{}\n", MS + 1);
    let mut bilingual = Vec::new();
    for (at, name) in ["trade_id", "side", "size", "price", "created_time"]
        .iter()
        .enumerate()
    {
        bilingual.extend(if at == 0 { "" } else { "," }.as_bytes());
        bilingual.extend(name.as_bytes());
        bilingual.extend(b"/\xb3\xc9\xbd\xbb\xca\xb1\xbc\xe4");
    }
    bilingual.push(b'\n');
    bilingual.extend(old.as_bytes());
    let plain = format!("trade_id,side,size,price,created_time\n{old}");
    let new = format!(
        "instrument_name,trade_id,side,price,size,created_time,source\nBTC-USDT-SWAP,1,sell,78542.2,2.5,{MS},0\nBTC-USDT-SWAP,2,buy,78542.3,3,{},1\n",
        MS + 1
    );
    for bytes in [old.as_bytes(), &bilingual, plain.as_bytes(), new.as_bytes()] {
        let taken = Folder::of("file", bytes, "okx");
        assert_eq!(taken.ints("seq"), [1, 2]);
        assert_eq!(taken.texts("trade_id"), ["1", "2"]);
        let qty = taken.rows.column_by_name("qty").unwrap();
        assert_eq!(qty.as_primitive::<Float64Type>().values()[..], [2.5, 3.0]);
        assert_eq!(taken.accounts[0].content, Content::OkxTrades);
        assert_eq!(taken.accounts[0].rejected, 0, "{:?}", taken.accounts);
    }
    let sums = zipped(&[("BTC-USDT-SWAP-aggtrades-2026-02-03.csv", plain.as_bytes())]);
    assert_eq!(
        Folder::of("file", &sums, "okx").accounts[0].content,
        Content::OkxAggTrades
    );
}

#[test]
fn single_trades_of_binance_have_the_numbers_of_single_trades_only() {
    let text = format!(
        "id,price,qty,quote_qty,time,is_buyer_maker\n7,97123.4,0.5,48561.7,{MS},true\n8,97123.5,1,97123.5,{MS},false\n"
    );
    let taken = Folder::of("file.csv", text.as_bytes(), "binance");
    assert_eq!(
        (taken.ints("first_id"), taken.ints("last_id")),
        (vec![7, 8], vec![7, 8])
    );
    assert_eq!(
        (taken.ints("seq"), taken.texts("trade_id")),
        (vec![0, 0], vec!["null".to_owned(); 2])
    );
    let both = Folder::new()
        .with("a", text.as_bytes())
        .with("b", agg(1..=2).as_bytes());
    assert_eq!(both.result("binance").unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_checksum_is_right_wrong_or_absent_and_the_footer_says_which() {
    let bytes = agg(1..=2).into_bytes();
    let right = hex(&Sha256::digest(&bytes));
    let wrong = "0".repeat(64);
    let taken = Folder::new()
        .with("a.zip", &bytes)
        .checksum(&format!("{}  a.zip\n", right.to_uppercase()))
        .with("b.zip", &bytes)
        .checksum(&format!("{wrong}  b.zip"))
        .with("c.zip", &bytes)
        .checksum("<html>\u{7}not found")
        .with("d.zip", &bytes)
        .taken("binance");
    let verdicts: Vec<&str> = taken.accounts.iter().map(|a| a.checksum.name()).collect();
    assert_eq!(verdicts, ["right", "wrong", "wrong", "none"]);
    assert_eq!(
        taken.accounts[1].checksum,
        Checksum::Wrong {
            expected: wrong.clone()
        }
    );
    let told: Vec<&str> = taken
        .footer
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["checksum"].as_str().unwrap())
        .collect();
    assert_eq!(told, verdicts);
    assert_eq!(taken.footer[1]["expected"], wrong.as_str());
    assert_eq!(taken.footer[3]["name"], "d.zip");
    // The same rows four times are the rows once.
    let repeated: Vec<u64> = taken.accounts.iter().map(|a| a.repeated).collect();
    assert_eq!(repeated, [0, 2, 2, 2]);
}

#[test]
fn a_truncated_zip_gives_the_rows_before_its_end_and_is_not_complete() {
    let line = |id: i64| {
        let noise = id * 7919 % 9973;
        format!(
            "{id},{}.{noise},0.{noise},{id},{id},{},true\n",
            90_000 + noise,
            MS + id
        )
    };
    let text = (1..=3000).map(line).collect::<Vec<_>>().concat();
    let whole = zipped(&[("BTCUSDT-aggTrades-2026-02-03.csv", text.as_bytes())]);
    for cut in [whole.len() - 10, whole.len() - 200, whole.len() / 2] {
        let taken = Folder::of("a.zip", &whole[..cut], "binance");
        let account = &taken.accounts[0];
        assert!(!account.complete && account.rows > 1000, "{account:?}");
        assert_eq!(account.rejected, 0);
        assert_eq!(
            taken.ints("seq"),
            (1..=account.rows.cast_signed()).collect::<Vec<_>>()
        );
        taken.says("truncated");
    }
    let gz = gzipped(format!("{AGG_HEADER}{text}").as_bytes());
    let taken = Folder::of("a.gz", &gz[..gz.len() / 2], "binance");
    assert!(!taken.accounts[0].complete && taken.accounts[0].rows > 1000);
    let begun = Folder::new().with("a.zip", &whole[..20]);
    assert_eq!(begun.result("binance").unwrap_err().kind(), Kind::BadInput);
}

#[test]
fn a_zip_whose_content_changed_is_not_complete() {
    let text = agg(1..=200);
    let mut bytes = stored("BTCUSDT-aggTrades-2026-02-03.csv", text.as_bytes());
    let at = bytes.windows(8).position(|w| w == b"97123.40").unwrap();
    bytes[at] = b'8';
    let taken = Folder::of("a.zip", &bytes, "binance");
    assert!(!taken.accounts[0].complete, "{:?}", taken.accounts);
}

#[test]
fn a_bomb_is_given_up_before_it_is_unpacked() {
    // Lines that repeat one another shrink to a hundredth and less; those of trades do not.
    let line = agg([1]);
    let bomb = line.repeat((64 << 20) / line.len());
    let zip = zipped(&[("BTCUSDT-aggTrades-2026-02-03.csv", bomb.as_bytes())]);
    assert!(zip.len() < 512 << 10, "{}", zip.len());
    let taken = Folder::of("a.zip", &zip, "binance");
    let account = &taken.accounts[0];
    assert!(!account.complete && account.rows == 1, "{account:?}");
    assert!(account.repeated < 60 * bomb.len() as u64 / 64 / line.len() as u64);
    taken.says("as no list of trades is");

    let mut zeros = agg(1..=3).into_bytes();
    zeros.resize(32 << 20, b'0');
    for bytes in [zipped(&[("a.csv", &zeros)]), gzipped(&zeros)] {
        let taken = Folder::of("a", &bytes, "binance");
        assert!(!taken.accounts[0].complete && taken.accounts[0].rows == 3);
        taken.says("a line of more than");
    }
    // A zip that claims another size than it has.
    let mut lying = zipped(&[("a.csv", agg(1..=50).as_bytes())]);
    let directory = lying.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    lying[directory + 24..directory + 28].copy_from_slice(&1000_u32.to_le_bytes());
    let taken = Folder::of("a.zip", &lying, "binance");
    assert!(!taken.accounts[0].complete, "{:?}", taken.accounts);
}

#[test]
fn names_in_a_zip_lead_nowhere() {
    let text = agg(1..=3);
    for name in [
        "../escaped.csv",
        "/tmp/../escaped.csv",
        "a/../../escaped.csv",
    ] {
        let above = tempfile::tempdir().unwrap();
        let within = above.path().join("within");
        fs::create_dir(&within).unwrap();
        let path = within.join("a.zip");
        // The writer of the fixtures refuses such names.
        let harmless = "x".repeat(name.len());
        let zip = replaced(zipped(&[(&harmless, text.as_bytes())]), &harmless, name);
        fs::write(&path, zip).unwrap();
        let file = PublishedFile {
            path,
            name: "a.zip".to_owned(),
            checksum: None,
        };
        let target = within.join("out.parquet");
        let accounts = trades(&series("binance"), day(), &[file], &target, &within, MEMORY);
        let accounts = accounts.unwrap();
        assert!(accounts[0].complete && accounts[0].rows == 3, "{name}");
        let told = accounts[0].faults.concat();
        assert!(told.contains("leads out of a folder"), "{name}: {told}");
        let count = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!((count(above.path()), count(&within)), (1, 2), "{name}");
    }
}

#[test]
fn several_texts_of_a_zip_are_read_and_others_are_told() {
    let bytes = zipped(&[
        ("one.csv", agg(1..=2).as_bytes()),
        ("two.csv", format!("{AGG_HEADER}{}", agg(3..=4)).as_bytes()),
    ]);
    let taken = Folder::of("a.zip", &bytes, "binance");
    assert_eq!(taken.ints("seq"), [1, 2, 3, 4]);
    assert!(taken.accounts[0].complete, "{:?}", taken.accounts);
    let single = format!("7,97123.4,0.5,48561.7,{MS},true\n");
    let bytes = zipped(&[
        ("one.csv", agg(1..=2).as_bytes()),
        ("two.csv", single.as_bytes()),
    ]);
    let taken = Folder::of("a.zip", &bytes, "binance");
    assert_eq!(taken.ints("seq"), [1, 2]);
    assert!(!taken.accounts[0].complete);
    taken.says("two.csv, line 1: this text holds binance-trades");
}

#[test]
fn lines_that_are_no_trades_are_told_and_cost_no_other() {
    let good = agg(1..=3);
    for (bad, why) in [
        (
            format!("9,NaN,1,1,1,{MS},true"),
            "line 2: \"NaN\" is no price",
        ),
        (format!("9,-1,1,1,1,{MS},true"), "\"-1\" is no price"),
        (format!("9,,1,1,1,{MS},true"), "\"\" is no price"),
        (format!("9,1,inf,1,1,{MS},true"), "\"inf\" is no quantity"),
        (format!("9,1,1e999,1,1,{MS},true"), "is no quantity"),
        (
            format!("-9,1,1,1,1,{MS},true"),
            "\"-9\" is no number of a trade",
        ),
        (
            format!("99999999999999999999,1,1,1,1,{MS},true"),
            "is no number of a trade",
        ),
        ("9,1,1,1,1,0,true".to_owned(), "\"0\" is no time"),
        ("9,1,1,1,1,1770076800,true".to_owned(), "is no time"),
        (
            format!("9,1,1,1,1,{MS},maybe"),
            "\"maybe\" is no side of a trade",
        ),
        (format!("9,1,1,1,1,{MS}"), "it has 6 values, and not 7"),
        ("\"9,1,1,1,1".to_owned(), "it has 5 values"),
        (format!("\u{1b}[2J,1,1,1,1,{MS},true"), "\\u{1b}[2J"),
    ] {
        let (first, rest) = good.split_once('\n').unwrap();
        let taken = Folder::of("a", format!("{first}\n{bad}\n{rest}").as_bytes(), "binance");
        assert_eq!(taken.ints("seq"), [1, 2, 3], "{bad}");
        assert_eq!(
            (taken.accounts[0].rejected, taken.accounts[0].complete),
            (1, true)
        );
        taken.says(why);
    }
    let mut bytes = agg([1]).into_bytes();
    bytes.extend(b"\xff\xfe,1,1,1,1,1,true\n2,1,\xff,1,1,1,true\n");
    bytes.extend(agg([3]).as_bytes());
    let taken = Folder::of("a", &bytes, "binance");
    assert_eq!(
        (taken.ints("seq"), taken.accounts[0].rejected),
        (vec![1, 3], 2)
    );
    let many = format!("{}{}", agg([1]), "x\n".repeat(1000));
    let taken = Folder::of("a", many.as_bytes(), "binance");
    assert_eq!(
        (taken.accounts[0].rejected, taken.accounts[0].faults.len()),
        (1000, 20)
    );
}

#[test]
fn a_quantity_of_zero_is_the_venues_own_and_told() {
    let text = format!("1,97123.4,0,2,3,{MS},true\n");
    let taken = Folder::of("a", text.as_bytes(), "binance");
    assert_eq!(taken.ints("seq"), [1]);
    taken.says("line 1: trade 1 has a quantity of 0");
}

#[test]
fn repeated_rows_count_once_and_other_values_are_kept() {
    let text = format!("{}{}", agg(1..=5), agg([2, 4]));
    let taken = Folder::of("a", text.as_bytes(), "binance");
    assert_eq!(taken.ints("seq"), [1, 2, 3, 4, 5]);
    assert_eq!(
        (taken.accounts[0].repeated, taken.accounts[0].conflicting),
        (2, 0)
    );
    taken.says("line 6: trade 2 is repeated");

    // Another price at the same time, and the same number at another time.
    let other = agg([2]).replace("97123.40", "97123.50");
    let later = agg([4]).replace(&(MS + 4000).to_string(), &(MS + 9000).to_string());
    let taken = Folder::new()
        .with("a", agg(1..=5).as_bytes())
        .with("b", format!("{other}{later}").as_bytes())
        .taken("binance");
    assert_eq!(taken.ints("seq"), [1, 2, 2, 3, 4, 5, 4]);
    assert_eq!(
        (taken.accounts[0].conflicting, taken.accounts[1].conflicting),
        (0, 2)
    );
    taken.says("line 1: trade 2 stands on line 2 of a as well, with other values");

    let line = |name: &str, second: i64| {
        format!(
            "{},BTCUSDT,Buy,1,2,PlusTick,{name},1,1,1\n",
            MS / 1000 + second
        )
    };
    let text = [
        BYBIT_HEADER,
        &line("b", 1),
        &line("a", 2),
        &line("b", 1),
        &line("a", 3),
    ]
    .concat();
    let taken = Folder::of("a.gz", &gzipped(text.as_bytes()), "bybit");
    assert_eq!(taken.texts("trade_id"), ["b", "a", "a"]);
    assert_eq!(
        (taken.accounts[0].repeated, taken.accounts[0].conflicting),
        (1, 1)
    );
}

#[test]
fn numbers_that_jump_are_told() {
    let taken = Folder::of("a", agg([1, 2, 5, 6, 10]).as_bytes(), "binance");
    assert_eq!(
        (taken.ints("seq"), taken.accounts[0].missing),
        (vec![1, 2, 5, 6, 10], 5)
    );
    taken.says("line 3: 2 numbers before trade 5 are in no file");
}

#[test]
fn rows_of_another_symbol_or_venue_are_not_taken() {
    let text = format!(
        "{OKX_HEADER}BTC-USDT-SWAP,1,buy,1,1,{MS}\nBTC-USDT,2,buy,1,1,{MS}\nETH-USDT-SWAP,3,buy,1,1,{MS}\n"
    );
    let taken = Folder::of("a", text.as_bytes(), "okx");
    assert_eq!(
        (taken.ints("seq"), taken.accounts[0].rejected),
        (vec![1], 2)
    );
    taken.says("line 3: \"BTC-USDT\" is another symbol");
    // Where the rows do not tell it, the venue's own name of the text does.
    let bytes = zipped(&[("ETHUSDT-aggTrades-2026-02-03.csv", agg(1..=3).as_bytes())]);
    let taken = Folder::of("a.zip", &bytes, "binance");
    assert_eq!(
        (taken.accounts[0].rows, taken.accounts[0].complete),
        (0, false)
    );
    taken.says("is named for ETHUSDT, and not for BTCUSDT");
    let other = Folder::new().with("a", text.as_bytes());
    assert_eq!(other.result("binance").unwrap_err().kind(), Kind::Usage);
}

#[test]
fn content_is_told_without_names() {
    let kind = |bytes: &[u8]| {
        let folder = Folder::new().with("ETHUSDT-1m-2026-02-03.zip", bytes);
        content_of(&folder.files[0]).map_err(|e| e.kind())
    };
    assert_eq!(kind(agg(1..=2).as_bytes()), Ok(Content::BinanceAggTrades));
    assert_eq!(
        kind(&gzipped(BYBIT_HEADER.as_bytes())),
        Ok(Content::BybitTrades)
    );
    assert_eq!(
        kind(&zipped(&[("x", OKX_HEADER.as_bytes())])),
        Ok(Content::OkxTrades)
    );
    for bytes in [
        &b""[..],
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"<html></html>",
        &zipped(&[]),
    ] {
        assert_eq!(kind(bytes), Err(Kind::BadInput));
    }
}

#[test]
fn a_day_without_rows_is_a_file_without_rows() {
    let taken = Folder::of("a", AGG_HEADER.as_bytes(), "binance");
    assert_eq!(
        (taken.rows.num_rows(), taken.accounts[0].complete),
        (0, true)
    );
}

#[test]
fn minutes_come_from_klines_exactly() {
    let line = |minute: i64, volume: &str, count: i64| {
        let open = MS + 60_000 * minute;
        format!(
            "{open},1,2,0.5,1.5,{volume},{},15.5,{count},3,4,0\n",
            open + 59_999
        )
    };
    let text = [
        line(-1, "9", 9),
        line(1, "0.3", 7),
        line(0, "10.100", 5),
        line(1, "0.30", 7),
        line(2, "0", 0),
        line(2, "1", 1),
        line(3, "NaN", 1),
        line(4, "1", 1).replace(&(MS + 299_999).to_string(), &(MS + 359_999).to_string()),
    ]
    .concat();
    let header = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n";
    for text in [text.clone(), format!("{header}{text}")] {
        let folder = Folder::new().with(
            "a.zip",
            &zipped(&[("BTCUSDT-1m-2026-02-03.csv", text.as_bytes())]),
        );
        let (found, accounts) = minutes(&series("binance"), day(), &folder.files).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|m| {
                format!(
                    "{} {} {}",
                    (m.start / 1_000_000 - MS) / 60_000,
                    m.volume,
                    m.trades
                )
            })
            .collect();
        assert_eq!(shown, ["0 10.1 5", "1 0.3 7", "2 0 0", "2 1 1"]);
        let account = &accounts[0];
        assert_eq!(
            (
                account.rows,
                account.repeated,
                account.conflicting,
                account.elsewhere,
                account.rejected
            ),
            (4, 1, 1, 1, 2),
            "{account:?}"
        );
    }
    let trades = Folder::new().with("a", agg(1..=2).as_bytes());
    assert!(minutes(&series("binance"), day(), &trades.files).is_err());
}
