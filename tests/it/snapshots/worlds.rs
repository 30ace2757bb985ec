//! What was before a scene: spools and archives, venues and exchanges.

use std::{fs, io::Write as _};

use regex::Regex;

use super::{
    super::{
        reconcile::{self, FILE, Server, csv},
        status::every_kind,
        support::{
            archive::{home, sha256},
            damage,
            events::{Claim, DAY, Events, HOUR, Quote, SECOND, quotes},
            exchange::{Act, Exchange, binance_trades, free_address, get, status},
            listener::Listener,
            run::{CATCH_UP, Place},
        },
    },
    stage::{Sections, Stage, awaited},
};

const OTHER: &str = "exchange=okx/stream=bbo/symbol=ethusdt";

fn first() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 50)
}

fn second() -> Vec<Quote> {
    quotes(DAY + HOUR, SECOND, 500, 100)
}

/// An empty spool.
pub fn empty(_: &mut Stage) {}

/// Not even a spool.
pub fn nothing(stage: &mut Stage) {
    fs::remove_dir(stage.place.spool()).unwrap();
}

/// Two series: two files of the one, of which the second goes on after midnight, and a file of the
/// other.
pub fn good(stage: &mut Stage) {
    let put = |name: &str, rows| {
        let _ = stage.place.put_quotes(name, &Events::sealed(rows).bytes());
    };
    put("2026-02-03_00-00-00.parquet", first());
    put(
        "2026-02-03_23-59-00.parquet",
        quotes(DAY + 24 * HOUR - 60 * SECOND, SECOND, 1_000, 90),
    );
    let rows = Events::sealed(first()).series("okx", "bbo", "ETH-USDT-SWAP");
    let key = format!("{OTHER}/2026-02-03_00-00-00.parquet");
    let _ = stage.place.put(&key, &rows.bytes());
}

/// Likewise, with a file that was cut off and one that is nobody's.
pub fn mixed(stage: &mut Stage) {
    good(stage);
    let whole = Events::sealed(second()).bytes();
    let cut = damage::truncated(&whole, whole.len() / 2);
    let _ = stage.place.put_quotes("2026-02-03_01-00-00.parquet", &cut);
    let _ = stage.place.put("stray.parquet", &whole);
}

/// A configuration file.
pub fn settings(stage: &mut Stage) {
    stage.write(
        "qlc.toml",
        "# the night\nmemory_limit = \"1GB\"\nworkers = 3\n\n[collect]\nsymbol = [\"btcusdt\"]\nsilence = \"9s\"\n\n\
         [collect.endpoints]\n\"okx.public\" = \"ws://me:secret@host/x\"\n\n\
         [reconcile]\nokx = \"https://me:secret@host/{SYMBOL}.zip\"\n",
    );
}

/// A configuration file with a mistake.
pub fn wrong_settings(stage: &mut Stage) {
    stage.write("qlc.toml", "# the night\nmemory_limt = \"1GB\"\n");
}

/// One series on one day, and a file of it that was cut off, compacted.
pub fn one_day(stage: &mut Stage) {
    let name = "2026-02-03_00-00-00.parquet";
    let _ = stage
        .place
        .put_quotes(name, &Events::sealed(first()).bytes());
    let whole = Events::sealed(second()).bytes();
    let cut = damage::truncated(&whole, whole.len() / 2);
    let _ = stage.place.put_quotes("2026-02-03_01-00-00.parquet", &cut);
    stage.prepare(CATCH_UP, 3);
}

/// The good spool, compacted.
pub fn compacted(stage: &mut Stage) {
    good(stage);
    stage.prepare(CATCH_UP, 0);
}

/// The good spool, in a bucket with the archive.
pub fn good_on_s3(stage: &mut Stage) {
    stage.place = Place::all_on_s3();
    good(stage);
}

/// The mixed spool, compacted.
pub fn quarantined(stage: &mut Stage) {
    mixed(stage);
    stage.prepare(CATCH_UP, 3);
}

/// A file in QUARANTINE that can be read now.
pub fn readable_now(stage: &mut Stage) {
    good(stage);
    let whole = Events::sealed(second()).bytes();
    let cut = damage::truncated(&whole, whole.len() / 2);
    let name = "2026-02-03_01-00-00.parquet";
    let _ = stage.place.put_quotes(name, &cut);
    stage.prepare(CATCH_UP, 3);
    let folder = stage.place.archive().join("QUARANTINE").join(home());
    let entry = folder.join("error.json");
    let text = fs::read_to_string(&entry)
        .unwrap()
        .replace(&sha256(&cut), &sha256(&whole))
        .replace(
            &format!("\"size\": {}", cut.len()),
            &format!("\"size\": {}", whole.len()),
        );
    fs::write(entry, text).unwrap();
    fs::write(folder.join(name), &whole).unwrap();
    let _ = stage.place.put_quotes(name, &whole);
}

/// An archive with a byte that is another one.
pub fn damaged(stage: &mut Stage) {
    compacted(stage);
    let path = stage.place.archive().join(home()).join("data.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

/// An archive of another program, and a spool.
pub fn foreign(stage: &mut Stage) {
    good(stage);
    let data = Events::sealed(first()).undeclared().hash(Claim::None);
    let last = DAY + 49 * SECOND;
    let meta = format!(
        "{{\"rows\": 50, \"ts_event_min\": {DAY}, \"ts_event_max\": {last}, \"schema_version\": 1}}"
    );
    for (root, meta) in [("archive", &meta), ("old", &meta)] {
        stage.write(&format!("{root}/{}/data.parquet", home()), data.bytes());
        stage.write(&format!("{root}/{}/meta.json", home()), meta);
    }
    let wrong = "exchange=binance/stream=bbo/symbol=btcusdt/date=20260204";
    for root in ["archive", "old"] {
        stage.write(&format!("{root}/{wrong}/data.parquet"), data.bytes());
        stage.write(&format!("{root}/{wrong}/meta.json"), &meta);
    }
}

/// An old tree, and an empty archive.
pub fn old_tree(stage: &mut Stage) {
    foreign(stage);
    fs::remove_dir_all(stage.place.archive()).unwrap();
}

/// What interrupted runs left behind.
pub fn littered(stage: &mut Stage) {
    compacted(stage);
    let unpublished = format!("archive/_receipts/{}/{}.json", home(), "0".repeat(64));
    stage.write(&unpublished, "{}");
    stage.write(
        &format!("archive/{}/data.parquet.4000000000.tmp", home()),
        "",
    );
    stage.write("spill/qlc-4000000000-x/run", "");
}

/// A day of each state.
pub fn every_state(stage: &mut Stage) {
    every_kind(&stage.place);
}

/// Single files: one that is good, one that was cut off, and one that is none.
pub fn files(stage: &mut Stage) {
    let whole = Events::sealed(first()).bytes();
    stage.write("good.parquet", &whole);
    stage.write("cut.parquet", damage::truncated(&whole, whole.len() / 2));
    stage.write("text.parquet", "no Parquet");
    let mut flipped = Events::sealed(first()).without_dictionaries().bytes();
    damage::scramble_data_page(&mut flipped, "bid_price", 0);
    stage.write("flipped.parquet", flipped);
}

/// A day of trades with a hole, and what the venue published of it.
pub fn published(stage: &mut Stage) {
    stage.place = reconcile::recorded((1..=300).filter(|n| !(100..120).contains(n)));
    let text = csv(1..=300);
    let sum = format!("{}  {FILE}\n", sha256(text.as_bytes()));
    stage.write(&format!("published/{FILE}"), text);
    stage.write(&format!("published/{FILE}.CHECKSUM"), sum);
}

/// Likewise without a hole.
pub fn published_and_whole(stage: &mut Stage) {
    stage.place = reconcile::recorded(1..=300);
    stage.write(&format!("published/{FILE}"), csv(1..=300));
}

/// Likewise, served by the venue.
pub fn served(stage: &mut Stage) {
    stage.place = reconcile::recorded(1..=300);
    let text = csv(1..=300).into_bytes();
    let sum = format!("{}  {FILE}\n", sha256(&text)).into_bytes();
    let path = format!("/BTCUSDT/{FILE}");
    let server = Server::new(&[(&format!("{path}.CHECKSUM"), sum), (&path, text)], 0);
    stage.more = vec![
        "--with".to_owned(),
        format!("http://{}/{{SYMBOL}}/{FILE}", server.address),
    ];
    stage.keep(server);
}

/// A venue that has nothing of the day.
pub fn served_nothing(stage: &mut Stage) {
    stage.place = reconcile::recorded(1..=300);
    let server = Server::new(&[], 0);
    stage.more = vec![
        "--with".to_owned(),
        format!("http://{}/{{SYMBOL}}/{FILE}", server.address),
    ];
    stage.keep(server);
}

/// Somebody who is posted to.
pub fn mixed_with_a_hook(stage: &mut Stage) {
    mixed(stage);
    let hook = Listener::new(&[]);
    stage.more = vec!["--notify".to_owned(), hook.url("/hook")];
    stage.keep(hook);
}

pub fn what_was_posted(stage: &Stage) -> Sections {
    let posted = stage.kept::<Listener>().posted();
    let told = posted.into_iter().map(|one| {
        let title = format!("{} {} {}", one.method, one.path, one.kind);
        (title, one.body)
    });
    told.collect()
}

/// The data of the page that `qlc report` wrote.
pub fn data_of_the_page(stage: &Stage) -> Sections {
    let page = fs::read_to_string(stage.place.root().join("out.html")).unwrap();
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    // The events of each minute of a day.
    let minutes = Regex::new(r"\[(?:\d+,){99,}\d+\]").unwrap();
    let json = minutes.replace_all(json, "[\"<a number for each minute>\"]");
    vec![("the data of out.html".to_owned(), json.into_owned())]
}

fn connect(stage: &mut Stage, exchange: Exchange) {
    stage.more.extend(exchange.endpoints());
    stage.keep(exchange);
}

/// Waits where a quarter of an hour ends within seconds: the collector would write of two.
fn away_from_a_quarter() {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() % 900;
    while now() > 885 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// An exchange that sends five trades, with a hole of one, and then nothing.
pub fn trades(stage: &mut Stage) {
    away_from_a_quarter();
    let script = binance_trades([1, 2, 3, 5, 6]);
    connect(stage, Exchange::new(&[("binance.market", vec![script])]));
}

/// One that sends five trades without a hole, and an address on which the collector is to listen.
pub fn trades_and_a_listener(stage: &mut Stage) {
    away_from_a_quarter();
    let address = free_address();
    stage.more = vec!["--listen".to_owned(), address.clone()];
    stage.keep(address);
    let mut script = binance_trades(1..=5);
    script.push(Act::Live);
    connect(stage, Exchange::new(&[("binance.market", vec![script])]));
}

/// What a collector serves, once it has taken the five trades.
pub fn what_is_served(stage: &Stage) -> Sections {
    let address: &String = stage.kept();
    let _ = awaited("five events", || {
        status(address).filter(|status| status["events"] == 5)
    });
    let told = ["/health", "/status", "/metrics"].map(|path| {
        let answer = get(address, path).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.lines().next().unwrap();
        (format!("GET {path}: {code}"), body.to_owned())
    });
    told.to_vec()
}

/// A recording of three frames, and an address on which it is to be played.
pub fn recording(stage: &mut Stage) {
    recorded(stage);
    let address = free_address();
    stage.more = vec!["--listen".to_owned(), address.clone()];
    stage.keep(address);
}

/// A recording of three frames.
pub fn recorded(stage: &mut Stage) {
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades([1, 2, 3])])]);
    let mut line = vec!["record", "--exchange", "binance", "--symbol", "btcusdt"];
    line.extend([
        "--stream",
        "trade",
        "--max-frames",
        "3",
        "trades.ndjson.zst",
    ]);
    let endpoints = exchange.endpoints();
    line.extend(endpoints.iter().map(String::as_str));
    stage.prepare(&line, 0);
}

/// Waits until somebody listens.
pub fn until_it_listens(stage: &Stage) -> Sections {
    let address: &String = stage.kept();
    let _ = awaited("somebody who listens", || {
        std::net::TcpStream::connect(address).ok()
    });
    Vec::new()
}

/// The lines of a recording.
pub fn what_was_recorded(stage: &Stage) -> Sections {
    let bytes = fs::read(stage.place.root().join("trades.ndjson.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
    vec![("trades.ndjson.zst, unpacked".to_owned(), text)]
}

/// A file that is no recording.
pub fn no_recording(stage: &mut Stage) {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packed.write_all(b"no recording\n").unwrap();
    stage.write("trades.ndjson.zst", packed.finish().unwrap());
}

/// A folder that is no demo's.
pub fn occupied(stage: &mut Stage) {
    stage.write("qlc-demo/mine.txt", "mine");
}
