//! What the archive holds of a partition, and how that changes.
//!
//! [`partition`] knows the keys, [`state`] judges what stands under them, [`history`] tells which generations were published,
//! [`copies`] which files hold their rows as well, [`commit`] publishes, [`quarantine`] keeps what could not be compacted.
//! [`evidence`] reads published data again, [`proof`] shows that every row of a file is in the archive.
//!
//! Every verb asks here what a partition is, and none judges by rules of its own. Does not know how rows are merged: the
//! engine above does, and ends its work with a commit.

pub mod commit;
pub mod copies;
pub mod evidence;
pub mod history;
pub mod partition;
pub mod proof;
pub mod quarantine;
pub mod state;
