//! What the archive holds of a partition, and how that changes.
//!
//! [`evidence`] reads published data again, [`proof`] shows that every row of a file is in the archive.

pub mod evidence;
pub mod proof;
