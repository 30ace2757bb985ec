//! The archive in a bucket: what a folder promises holds there too, whatever the network, the store
//! and other writers do.
//!
//! The store is that of `support/s3.rs`, in the process of the tests; every test has one of its
//! own.

mod again;
mod killed;
mod limits;
mod lists;
mod prune;
mod publish;
mod race;
mod reads;
mod secrets;
mod store;
mod storm;

use serde_json::Value;

use super::support::{
    archive::home,
    events::{DAY, Events, SECOND, quotes},
    run::{Place, Ran},
};

/// Puts a file of five quotes, an instant after one another from `second` on, into the spool.
fn put(place: &Place, second: i64) {
    let name = format!("2026-02-03_00-00-{second:02}.parquet");
    let _ = place.put_quotes(
        &name,
        &Events::sealed(quotes(DAY + second * SECOND, SECOND, second, 5)).bytes(),
    );
}

/// What a run said of the only partition that it looked at.
#[track_caller]
fn only(ran: &Ran) -> Value {
    let mut all = ran.json();
    assert_eq!(all.len(), 1, "{ran}");
    all.remove(0)
}

/// Short of patience, so that a test of a fault that lasts ends soon: few retries, soon out of
/// time.
const IMPATIENT: &[&str] = &["--retries", "1", "--request-timeout", "2s"];
