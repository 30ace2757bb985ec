//! The least that a collector can do: read frames from a WebSocket and parse each into a typed
//! value. Nothing is kept.
//!
//! The floor that `benches/feeds.py` holds `qlc collect` against. `bare_loop URL FRAMES` ends after
//! so many frames and prints how many there were; without arguments, as `cargo bench` calls it, it
//! does nothing.

#![expect(clippy::print_stdout, reason = "a program of its own")]

use futures::StreamExt;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    data: Quote<'a>,
}

#[derive(Deserialize)]
struct Quote<'a> {
    u: u64,
    s: &'a str,
    b: &'a str,
    #[serde(rename = "B")]
    bid_qty: &'a str,
    a: &'a str,
    #[serde(rename = "A")]
    ask_qty: &'a str,
    #[serde(rename = "T")]
    time: i64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let [url, frames] = args.as_slice() else {
        return Ok(());
    };
    let wanted: u64 = frames.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (seen, sum, ids) = runtime.block_on(read(url, wanted))?;
    println!("{seen} frames, {sum} {ids}");
    Ok(())
}

async fn read(url: &str, wanted: u64) -> Result<(u64, f64, u64), Box<dyn std::error::Error>> {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let (mut seen, mut sum, mut ids) = (0, 0.0, 0);
    while seen < wanted
        && let Some(message) = socket.next().await
    {
        let Message::Text(text) = message? else {
            continue;
        };
        let Quote {
            u,
            s,
            b,
            bid_qty,
            a,
            ask_qty,
            time,
        } = serde_json::from_str::<Frame<'_>>(&text)?.data;
        // Everything is used, so that nothing of the work can be left out.
        let numbers: [f64; 4] = [b.parse()?, bid_qty.parse()?, a.parse()?, ask_qty.parse()?];
        sum += numbers.iter().sum::<f64>();
        ids ^= u ^ s.len() as u64 ^ time.unsigned_abs();
        seen += 1;
    }
    Ok((seen, sum, ids))
}
