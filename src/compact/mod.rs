//! `compact`: a spool's small files become one proven file per partition.

mod report;
mod rebuild_placeholder;
pub use rebuild_placeholder::{Rebuilt, rebuild};

pub use report::{Mode, Options, Outcome, Outlook, Silent, Status, Stop, Watch, dry_run, run};
