//! How exchanges are reached: `WebSocket`s and requests, through a proxy where there is one, at the
//! rate that each exchange allows, ever more rarely while it fails; and the lists of instruments
//! that are read that way.
//!
//! What comes is passed on unread. The environment is not read here: proxies are arguments.

mod backoff;
mod catalogue;
mod dials;
mod download;
mod http;
mod proxy;
mod refusal;
mod socket;
mod tls;

pub use backoff::{Backoff, spread};
pub use catalogue::{Catalogue, NoList, Read, list};
pub use dials::Dials;
pub use download::{Attempted, download};
pub use http::{Answer, get};
pub use proxy::{Proxies, is_loopback};
pub use refusal::asked_to_wait;
pub use socket::{Socket, open};
