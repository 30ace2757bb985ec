//! `qlc cluster`, and the other commands on a cluster.
//!
//! Where the cluster is not built in, each of these says so: the flag is known everywhere, so that nobody wonders.

#[cfg(feature = "cluster")]
mod built;
#[cfg(not(feature = "cluster"))]
mod unbuilt;

#[cfg(feature = "cluster")]
pub(super) use built::{checks, compact, remote, run};
#[cfg(not(feature = "cluster"))]
pub(super) use unbuilt::{checks, compact, remote, run};
