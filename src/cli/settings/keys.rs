//! The names of all settings in a configuration file.
//!
//! Each is also the name of the argument that clap knows it by, which is how `config show` finds
//! flag and variable.

/// The settings at the top of the file.
pub(crate) const TOP: [&str; 23] = [
    "spool",
    "archive",
    "memory_limit",
    "spill_dir",
    "workers",
    "zstd_level",
    "endpoint",
    "region",
    "profile",
    "allow_http",
    "path_style",
    "single_writer",
    "request_timeout",
    "connect_timeout",
    "retries",
    "retry_timeout",
    "connections",
    "multipart_above",
    "part_size",
    "keep_records",
    "metrics_file",
    "metrics_push",
    "notify",
];

/// The section of the collector.
pub(crate) const COLLECT_SECTION: &str = "collect";

/// The settings in it.
pub(crate) const COLLECT: [&str; 13] = [
    "exchange",
    "symbol",
    "stream",
    "commit_every",
    "rotate_after",
    "rotate_size",
    "memory_limit",
    "renew_after",
    "silence",
    "retry_cap",
    "relist_every",
    "listen",
    "endpoints",
];

/// The section of what exchanges publish.
pub(crate) const RECONCILE_SECTION: &str = "reconcile";

/// The settings in it: exchanges.
pub(crate) const RECONCILE: [&str; 3] = ["binance", "bybit", "okx"];
