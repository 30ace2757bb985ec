//! Where bytes lie and how they become durable: a folder or a bucket behind one [`store::Store`],
//! the five-step atomic write, locks and the sweeping of what dead processes left.
//!
//! What the bytes mean is not known here: readers and writers of Parquet are in `file`.

pub mod atomic;
pub mod bucket;
pub mod by_stream;
pub mod cached;
pub mod conditions;
pub mod crash;
mod held;
pub mod leftovers;
pub mod listing;
mod pages;
pub mod pinned;
mod place;
pub mod read_only;
pub mod reconciled;
pub mod remove;
pub mod runs;
pub mod scratch;
mod several;
pub mod spelling;
pub mod spools;
pub mod store;
pub mod trail;
mod upload;
pub mod uploads;
mod walk;
mod wire;
pub mod within;

pub use upload::Expect;
