//! What the archive holds of a partition, and how that changes.
//!
//! [`partition`] knows the keys, [`state`] judges what is under them, [`history`] says which
//! generations were published, [`copies`] which files hold their rows as well, [`commit`]
//! publishes, [`quarantine`] keeps what could not be compacted. [`evidence`] reads published data
//! again, [`proof`] shows that every row of a file is in the archive, [`stray`] finds what no command
//! looks for.
//!
//! Every verb asks here for the state of a partition, and none judges by rules of its own. This
//! floor does not know how rows are merged: the engine does, and ends its work with a commit.

pub mod commit;
pub mod copies;
pub mod evidence;
pub mod history;
pub mod partition;
pub mod proof;
pub mod quarantine;
pub mod state;
pub mod stray;
