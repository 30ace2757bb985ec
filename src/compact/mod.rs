//! `compact`: a spool's small files become one proven file per partition.

mod report;

pub use report::{Mode, Options, Outcome, Outlook, Silent, Status, Stop, Watch, dry_run, run};
