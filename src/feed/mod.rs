//! What exchanges send and how it is read: the catalogue of exchanges, their frames turned into
//! events, recordings of raw frames.
//!
//! No sockets, clocks or files: a frame and the instant at which it came go in, events come out.

mod binance;
mod bybit;
pub mod decode;
pub mod directory;
pub mod event;
pub mod instrument;
mod number;
mod okx;
mod protocol;
pub mod recording;
mod route;
mod symbol;
mod tolerant;
mod value;
pub mod venue;
