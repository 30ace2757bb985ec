//! The scenes: for each command a run that goes well and one that fails, and every form of output.

use super::{
    stage::{Scene, scene},
    worlds::{
        compacted, damaged, data_of_the_page, empty, every_state, files, foreign, good, good_on_s3,
        littered, mixed, mixed_with_a_hook, no_recording, nothing, occupied, old_tree, one_day,
        published, published_and_whole, quarantined, readable_now, recorded, recording, served,
        served_nothing, settings, trades, trades_and_a_listener, until_it_listens, what_is_served,
        what_was_posted, what_was_recorded, wrong_settings,
    },
};

/// Every night.
pub const NIGHT: &[Scene] = &[
    scene(
        "compact",
        good,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z",
    )
    .showing(&["meta.json", "_receipts/", "_runs/"]),
    scene(
        "compact_json",
        good,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z --format json",
    ),
    scene(
        "compact_verbose",
        good,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z -v",
    ),
    scene(
        "compact_log_json",
        good,
        "compact --mode daily --now 2026-02-04T06:00:00Z -v --log-format json --exchange okx",
    ),
    scene(
        "compact_bucket",
        good_on_s3,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z",
    ),
    scene(
        "compact_up_to_date",
        compacted,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z",
    ),
    scene(
        "compact_quarantine",
        mixed,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z",
    )
    .showing(&[
        "error.json",
        "_receipts/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/",
    ]),
    scene(
        "compact_quarantine_json",
        mixed,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z --format json",
    ),
    scene(
        "compact_dry_run",
        mixed,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z --dry-run",
    ),
    scene(
        "compact_dry_run_json",
        mixed,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z --dry-run --format json",
    ),
    scene(
        "compact_explain",
        good,
        "compact --mode single --date 20260203 --exchange okx --stream bbo --symbol ethusdt --dry-run --explain",
    ),
    scene(
        "compact_notify",
        mixed_with_a_hook,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z",
    )
    .and(what_was_posted),
    scene(
        "compact_metrics",
        good,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z --metrics-file qlc.prom",
    )
    .showing(&["qlc.prom"]),
    scene(
        "compact_failed",
        foreign,
        "compact --mode catch-up --now 2026-02-05T06:00:00Z",
    )
    .showing(&["_runs/"]),
    scene(
        "compact_no_spool",
        nothing,
        "compact --mode daily --now 2026-02-05T06:00:00Z",
    ),
    scene("compact_no_mode", good, "compact"),
    scene("compact_wrong_mode", good, "compact --mode nightly"),
    scene("verify", compacted, "verify"),
    scene("verify_verbose", compacted, "verify -v"),
    scene("verify_json", compacted, "verify --format json"),
    scene("verify_rebuild", compacted, "verify --rebuild"),
    scene("verify_damaged", damaged, "verify").showing(&["_runs/"]),
    scene("verify_damaged_json", damaged, "verify --format json"),
    scene("verify_no_archive", empty, "verify"),
    scene(
        "prune",
        compacted,
        "prune --keep-days 1 --now 2026-02-06T06:00:00Z",
    )
    .showing(&["_pruned/", "_runs/"]),
    scene(
        "prune_json",
        compacted,
        "prune --keep-days 1 --now 2026-02-06T06:00:00Z --format json",
    ),
    scene(
        "prune_dry_run",
        quarantined,
        "prune --keep-days 1 --now 2026-02-06T06:00:00Z --dry-run",
    ),
    scene(
        "prune_damaged",
        damaged,
        "prune --keep-days 1 --now 2026-02-06T06:00:00Z",
    ),
    scene("prune_no_days", compacted, "prune"),
    scene("clean", littered, "clean --older-than 0s").showing(&["_runs/"]),
    scene(
        "clean_json",
        littered,
        "clean --older-than 0s --format json",
    ),
    scene("clean_dry_run", littered, "clean --older-than 0s --dry-run"),
    scene("clean_nothing", compacted, "clean"),
    scene("clean_no_archive", empty, "clean"),
    scene("clean_no_age", compacted, "clean --older-than soon"),
];

/// Looking.
pub const LOOKING: &[Scene] = &[
    scene("status", every_state, "status --now 2026-02-05T06:00:00Z"),
    scene("status_json", every_state, "status --now 2026-02-05T06:00:00Z --format json"),
    scene("status_strict", every_state, "status --now 2026-02-05T06:00:00Z --date 20260202 --strict"),
    scene("status_no_archive", nothing, "status --now 2026-02-05T06:00:00Z"),
    scene("query", compacted, r#"query "SELECT exchange, symbol, date, row_count, ts_event_min FROM archive.meta ORDER BY 1, 2, 3""#),
    scene("query_csv", compacted, r#"query "SELECT symbol, count(*) AS n FROM archive.bbo GROUP BY 1 ORDER BY 1" --format csv"#),
    scene("query_json", compacted, r#"query "SELECT symbol, count(*) AS n FROM archive.bbo GROUP BY 1 ORDER BY 1" --format json"#),
    scene("query_ndjson", compacted, r#"query "SELECT symbol, count(*) AS n FROM archive.bbo GROUP BY 1 ORDER BY 1" --format ndjson"#),
    scene("query_parquet", compacted, r#"query "SELECT symbol FROM archive.bbo" --output out.parquet"#),
    scene("query_list", empty, "query --list"),
    scene("query_named", compacted, "query --name coverage"),
    scene("query_hint", compacted, r#"query "SELECT count(*) AS n FROM archive.bbo WHERE date >= '2026-02'""#),
    scene("query_no_table", compacted, r#"query "SELECT * FROM archive.bboo""#),
    scene("query_no_column", compacted, r#"query "SELECT bid FROM archive.bbo""#),
    scene("query_syntax", compacted, r#"query "SELEC 1""#),
    scene("query_no_name", compacted, "query --name gap"),
    scene("query_no_archive", empty, r#"query "SELECT * FROM archive.bbo""#),
    scene("reconcile", published_and_whole, "reconcile --exchange binance --symbol btcusdt --date 20260203 --with published"),
    scene("reconcile_differs", published, "reconcile --exchange binance --symbol btcusdt --date 20260203 --with published"),
    scene("reconcile_json", published, "reconcile --exchange binance --symbol btcusdt --date 20260203 --with published --format json")
        .showing(&["_reconcile/"]),
    scene("reconcile_take", published, "reconcile --exchange binance --symbol btcusdt --date 20260203 --with published --take")
        .showing(&["_reconcile/"]),
    scene("reconcile_download", served, "reconcile --exchange binance --symbol btcusdt --date 20260203 --download cache"),
    scene("reconcile_download_nothing", served_nothing, "reconcile --exchange binance --symbol btcusdt --date 20260203 --download cache"),
    scene("reconcile_no_files", published, "reconcile --exchange binance --symbol btcusdt --date 20260203 --with nowhere"),
    scene("quarantine_list", quarantined, "quarantine list"),
    scene("quarantine_list_json", quarantined, "quarantine list --format json"),
    scene("quarantine_list_no_match", quarantined, "quarantine list --symbol btcusd"),
    scene("quarantine_show", quarantined, "quarantine show 2026-02-03_01-00-00.parquet"),
    scene("quarantine_show_json", quarantined, "quarantine show 2026-02-03_01-00-00.parquet --format json"),
    scene("quarantine_show_no_match", quarantined, "quarantine show nothing.parquet"),
    scene("quarantine_retry", readable_now, "quarantine retry --now 2026-02-05T06:00:00Z").showing(&["_retried/", "error.json"]),
    scene("quarantine_retry_json", readable_now, "quarantine retry --now 2026-02-05T06:00:00Z --format json"),
    scene("quarantine_retry_in_vain", quarantined, "quarantine retry --now 2026-02-05T06:00:00Z"),
    scene("quarantine_retry_no_match", compacted, "quarantine retry nothing.parquet"),
    scene("quarantine_discard", quarantined, "quarantine discard 2026-02-03_01-00-00.parquet --yes").showing(&["_discarded/", "error.json"]),
    scene("quarantine_discard_json", quarantined, "quarantine discard 2026-02-03_01-00-00.parquet --yes --format json"),
    scene("quarantine_discard_unasked", quarantined, "quarantine discard 2026-02-03_01-00-00.parquet"),
    scene("inspect", files, "inspect good.parquet"),
    scene("inspect_json", files, "inspect good.parquet --format json"),
    scene("inspect_broken", files, "inspect good.parquet cut.parquet text.parquet flipped.parquet"),
    scene("inspect_nothing", files, "inspect nothing.parquet"),
    scene("report", one_day, "report --html out.html --now 2026-02-05T06:00:00Z").and(data_of_the_page),
    scene("report_no_folder", compacted, "report --html none/out.html"),
];

/// Feeding.
pub const FEEDING: &[Scene] = &[
    scene("collect", trades, "collect --exchange binance --symbol btcusdt --stream trade --max-events 5").showing(&["_feed/", "quality/"]),
    scene("collect_served", trades_and_a_listener, "collect --exchange binance --symbol btcusdt --stream trade")
        .while_running(what_is_served).showing(&["_feed/", "quality/"]),
    scene("collect_no_exchange", empty, "collect --symbol btcusdt"),
    scene("collect_no_symbol", empty, "collect --exchange binance"),
    scene("record", trades, "record --exchange binance --symbol btcusdt --stream trade --max-frames 5 trades.ndjson.zst").and(what_was_recorded),
    scene("record_exists", recorded, "record --exchange binance --symbol btcusdt trades.ndjson.zst"),
    scene("replay", recording, "replay trades.ndjson.zst --speed max").while_running(until_it_listens),
    scene("replay_no_recording", no_recording, "replay trades.ndjson.zst"),
    scene("import", old_tree, "import --from old").showing(&["_receipts/", "_imported/", "_runs/"]),
    scene("import_json", old_tree, "import --from old --format json"),
    scene("import_in_place", foreign, "import --dry-run"),
    scene("import_in_place_json", foreign, "import --dry-run --format json"),
    scene("import_rewrite", old_tree, "import --from old --rewrite"),
    scene("import_no_tree", empty, "import --from nowhere"),
];

/// Operating, and what serves shells and packagers.
pub const OPERATING: &[Scene] = &[
    scene("first_screen", nothing, ""),
    scene("version", nothing, "--version"),
    scene("version_short", nothing, "-V"),
    scene("no_command", nothing, "compactt"),
    scene("no_option", nothing, "compact --mode daily --dryrun"),
    scene("wrong_settings", wrong_settings, "verify --config qlc.toml"),
    scene("demo", nothing, "demo"),
    scene("demo_occupied", occupied, "demo"),
    scene("doctor", compacted, "doctor --memory-limit 256MB"),
    scene(
        "doctor_json",
        compacted,
        "doctor --memory-limit 256MB --format json",
    ),
    scene("doctor_no_spool", nothing, "doctor --memory-limit 256MB"),
    scene(
        "config_show",
        settings,
        "config show --config qlc.toml --workers 4",
    ),
    scene(
        "config_show_json",
        settings,
        "config show --config qlc.toml --workers 4 --format json",
    ),
    scene(
        "config_show_wrong",
        wrong_settings,
        "config show --config qlc.toml",
    ),
    scene("config_alone", nothing, "config"),
    scene("cluster_scheduler", nothing, "cluster scheduler"),
    scene("cluster_executor", nothing, "cluster executor"),
    scene(
        "compact_cluster",
        good,
        "compact --mode daily --cluster df://localhost:50050",
    ),
    scene("completions", nothing, "completions bash").first_lines(8),
    scene("completions_no_shell", nothing, "completions tcsh"),
    scene("man", nothing, "man quarantine discard"),
    scene("man_no_command", nothing, "man compactt"),
    scene("reference", nothing, "reference").first_lines(8),
    scene("reference_too_much", nothing, "reference compact"),
];
