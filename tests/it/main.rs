//! The integration tests: one binary, so that everything is linked once. They run the real `qlc` on
//! real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails, and its place in the code is the message"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "fixtures are small, and a page offset fits every machine that runs them"
)]
#![expect(
    unreachable_pub,
    reason = "nothing outside a test binary can reach into it"
)]

mod again;
#[path = "../architecture.rs"]
mod architecture;
mod backfill;
mod bit_rot;
mod clean;
mod clock;
mod collect;
mod collect_crash;
mod collect_listed;
mod collect_quiet;
mod collect_record;
mod collect_room;
mod collect_same;
mod collect_series;
mod collectors;
mod config;
mod crash;
mod days;
mod deploy_names;
mod determinism;
mod doctor;
mod documents;
mod dry_run;
mod environment;
mod format_page;
mod full_disk;
mod hints;
mod histories;
mod hostile;
mod import;
mod io_faults;
mod kinds;
mod lasting;
mod listing;
mod listing_commands;
mod memory;
mod metrics;
mod migration;
mod mutants;
mod notify;
mod output;
mod prompt;
mod prune;
mod quarantine;
mod quarantine_commands;
mod reconcile;
mod reconcile_files;
mod refusals;
mod report;
mod row_hash;
mod runs;
mod s3;
mod salvage;
mod smoke;
mod snapshots;
mod spools;
mod status;
mod stopping;
mod strays;
mod support;
mod terminal;
mod units;
