//! The cluster: real schedulers and executors on loopback, killed, stopped and short of what they
//! need. Whatever happens, the archive ends as a local run makes it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and its place in the code is the message"
)]
#![expect(
    unreachable_pub,
    reason = "nothing outside a test binary can reach into it"
)]
#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::allow_attributes,
    reason = "what the integration tests share is taken whole"
)]

mod faults;
mod forbidden;
mod known;
mod processes;
mod same;
#[path = "../it/support/mod.rs"]
mod support;
