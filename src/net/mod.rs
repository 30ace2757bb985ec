//! How exchanges are reached: `WebSocket`s and requests, through a proxy where there is one, at the rate that each exchange
//! allows, ever more rarely while it fails; and the lists of instruments that are read that way.
//!
//! Refuses to know what is done with what comes, and to read the environment: proxies are told.

mod backoff;
mod catalogue;
mod dials;
mod http;
mod proxy;
mod refusal;
mod socket;
mod tls;

pub use backoff::{Backoff, spread};
pub use catalogue::{Catalogue, NoList, Read, list};
pub use dials::Dials;
pub use http::{Answer, get};
pub use proxy::Proxies;
pub use refusal::asked_to_wait;
pub use socket::{Socket, open};
