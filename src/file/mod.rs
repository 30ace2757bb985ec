//! One Parquet file: its footer and what it claims, its rows, its pages and what is wrong with
//! them, the encoder, the read-back.
//!
//! [`reader`] decodes, [`probe`] reads what a footer claims, [`examine`] finds out what is true,
//! [`tally`] counts and hashes rows for all who read them, [`encode`] writes bytes that depend on
//! the rows alone and [`readback`] reads them again; [`sealed`] is how a file of the spool is made.
//! This floor knows arrow and parquet; it knows neither DataFusion nor what a partition is made of.

pub mod ahead;
pub mod census;
pub mod claims;
pub mod day;
pub mod density;
pub mod durations;
pub mod encode;
pub mod examine;
pub mod extract;
pub mod fault;
pub mod pages;
mod pieces;
pub mod probe;
pub mod readback;
pub mod reader;
pub mod salvage;
pub mod sealed;
pub mod shape;
pub mod statistics;
pub mod tally;
mod thrift;
mod window;
