//! `qlc cluster`, and the other commands on a cluster.
//!
//! A build without the cluster knows the flags too, and says that it was built without it.

#[cfg(feature = "cluster")]
mod built;
#[cfg(not(feature = "cluster"))]
mod unbuilt;

#[cfg(feature = "cluster")]
pub(super) use built::{checks, compact, remote, run};
#[cfg(not(feature = "cluster"))]
pub(super) use unbuilt::{checks, compact, remote, run};
