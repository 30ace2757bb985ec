//! Any bytes as a spool file: they are read to their end, or found bad; nothing panics past the
//! reader, and a file that is found good holds the rows that its footer's row hash was made of.

#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use qlc::{error::Kind, inspect, storage::store::Store};

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
});
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(
    init: {
        // The reader catches panics of the decoder. The hook that ends the process at once would
        // not let it.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        let name = "2026-02-03_00-00-00.parquet";
        let path: PathBuf = FOLDER.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let store = Store::open(&FOLDER.path().display().to_string()).unwrap();
        match RUNTIME.block_on(inspect::run(&store, name)) {
            Ok(found) if found.findings.is_empty() => {
                assert!(found.row_hash_in_footer.is_none() || found.row_hash_in_footer == found.row_hash);
            }
            Ok(_) => {}
            Err(error) => assert_ne!(error.kind(), Kind::Internal, "{}", error.chain()),
        }
    }
);
