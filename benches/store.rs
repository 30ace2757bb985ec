//! The S3 server of the tests as a program, so that `benches/buckets.py` can count requests and put
//! a delay before each answer.
//!
//! `store FOLDER` makes a folder of its own in FOLDER and prints a line of JSON: the environment in
//! which qlc finds it, and the folder of its bucket, whose files are its objects. Then it answers
//! lines on its standard input: `delay MS` makes every later answer so late, `count` tells how many
//! requests of each kind there were since the last time. It ends, and removes its folder, when the
//! input does. Without arguments it does nothing.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program of its own, with the server of the tests"
)]
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "only the tests use all that the server can do"
)]

#[path = "../tests/it/support/faults.rs"]
mod faults;
#[path = "../tests/it/support/s3.rs"]
mod s3;
#[path = "../tests/it/support/wire.rs"]
mod wire;

use std::{collections::BTreeMap, io, time::Duration};

use faults::{Answer, done};
use s3::Server;
use serde_json::json;
use tempfile::TempDir;

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|word| word != "--bench") else {
        return;
    };
    let server = Server::within(TempDir::new_in(folder).unwrap());
    let env: BTreeMap<_, _> = server.env().into_iter().collect();
    let bucket = format!("s3://{}", s3::BUCKET);
    println!(
        "{}",
        json!({"env": env, "bucket": bucket, "folder": server.folder("")})
    );
    for line in io::stdin().lines() {
        let line = line.unwrap();
        if let Some(("delay", ms)) = line.split_once(' ') {
            server.calm();
            let late = Duration::from_millis(ms.parse().unwrap());
            if !late.is_zero() {
                server.fault(|_| true, 0..usize::MAX, done(Answer::After(late)));
            }
            println!("{{}}");
        } else {
            let mut kinds = BTreeMap::<String, u64>::new();
            for seen in server.seen() {
                *kinds.entry(format!("{:?}", seen.asked.kind)).or_default() += 1;
            }
            server.forget();
            println!("{}", json!(kinds));
        }
    }
}
