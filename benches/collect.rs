//! Frames of quotes from memory through decoding and batching: what the collector does with an
//! event before the journal and the disk have part in it. One thread.
//!
//! `cargo bench --bench collect`; the throughput is in events a second.

use std::hint::black_box;

use arrow::array::RecordBatch;
use criterion::{BatchSize, Criterion, Throughput};
use qlc::{
    collect::rows::Rows,
    error::Result,
    feed::{
        decode::Decoder,
        event::Kind,
        venue::{self, Venue, Wanted},
    },
};

/// Frames of one round.
const FRAMES: u64 = 100_000;
/// Rows that become a batch at a time, as when a file is sealed.
const BATCH: usize = 65_536;

fn frame(venue: Venue, n: u64) -> String {
    let (t, p) = (1_770_076_800_000 + n, n % 9);
    match venue {
        Venue::Binance => format!(
            r#"{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":{n},"s":"BTCUSDT","b":"97000.{p}","B":"1.250","a":"97001.{p}","A":"0.730","T":{t},"E":{t}}}}}"#
        ),
        Venue::Bybit => format!(
            r#"{{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":{t},"data":{{"s":"BTCUSDT","b":[["97000.{p}","1.250"]],"a":[["97001.{p}","0.730"]],"u":{n},"seq":{n}}},"cts":{t}}}"#
        ),
        Venue::Okx => format!(
            r#"{{"arg":{{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"}},"data":[{{"asks":[["97001.{p}","415","0","13"]],"bids":[["97000.{p}","256","0","12"]],"ts":"{t}","seqId":{n}}}]}}"#
        ),
    }
}

/// Decodes the frames, and makes batches of their rows with every column.
fn batches(decoder: &mut Decoder, wanted: &Wanted, frames: &[String]) -> Result<Vec<RecordBatch>> {
    let (mut rows, mut events) = (Rows::new(Kind::Bbo), Vec::new());
    for (at, frame) in (1_770_076_800_000_000_000..).zip(frames) {
        let heard = decoder.decode(frame, at, &mut events);
        debug_assert!(heard.is_ok());
        for event in events.drain(..) {
            rows.push(&event, 0);
        }
    }
    rows.order()
        .chunks(BATCH)
        .map(|chunk| rows.full(wanted, chunk))
        .collect()
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let mut group = criterion.benchmark_group("decode and batch quotes");
    let _ = group.throughput(Throughput::Elements(FRAMES));
    for venue in Venue::ALL {
        let frames: Vec<String> = (1..=FRAMES).map(|n| frame(venue, n)).collect();
        let wanted = venue::choose(&[venue], &["btcusdt".parse()?], &[Kind::Bbo])?.series;
        for line in venue::lines(&wanted, &std::collections::BTreeMap::new())? {
            for wanted in &wanted {
                let made = batches(
                    &mut Decoder::new(venue, line.directory.clone()),
                    wanted,
                    &frames,
                )?;
                assert_eq!(
                    made.iter().map(RecordBatch::num_rows).sum::<usize>() as u64,
                    FRAMES,
                    "{venue}"
                );
                let _ = group.bench_function(venue.name(), |bencher| {
                    bencher.iter_batched(
                        || Decoder::new(venue, line.directory.clone()),
                        |mut decoder| black_box(batches(&mut decoder, wanted, black_box(&frames))),
                        BatchSize::LargeInput,
                    );
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
