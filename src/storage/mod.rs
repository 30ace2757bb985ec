//! Where bytes lie and how they become durable: a folder or a bucket behind one [`store::Store`], the five-step atomic
//! write, locks and the sweeping of what dead processes left.
//!
//! Refuses to know what is in the bytes: readers and writers of Parquet live in `engine`.

pub mod atomic;
pub mod bucket;
pub mod cached;
pub mod conditions;
pub mod crash;
mod held;
pub mod leftovers;
pub mod listing;
mod pages;
pub mod pinned;
mod place;
pub mod remove;
pub mod runs;
pub mod scratch;
pub mod store;
pub mod trail;
mod upload;
pub mod uploads;
mod walk;
mod wire;

pub use upload::Expect;
