//! What the integration tests share: running the binary, making spool files of every kind, damaging
//! them, reading the archive back, a store that speaks S3 and fails when it is told to.
//!
//! Refuses to use qlc's own code for what it checks, where the `parquet` crate or a few lines can
//! do it.

pub mod archive;
pub mod damage;
pub mod events;
pub mod exchange;
pub mod faults;
pub mod faulty;
pub mod footers;
pub mod inside;
pub mod listener;
pub mod pages;
pub mod peak;
pub mod rest;
pub mod rewrite;
pub mod run;
pub mod s3;
pub mod wire;
