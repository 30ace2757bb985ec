//! qlc's library in the process of the tests, where thousands of runs would be too many processes.

use std::{fs, path::Path, sync::Arc};

use qlc::{
    compact::{self, Mode, Options, Outcome, Silent, Stop, Watch},
    model::partition::Selection,
    storage::store::Store,
    verify,
};
use tokio::runtime::Runtime;

use super::run::NOW;

/// Less is refused by the command line.
const MEMORY: u64 = 256_000_000;

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub fn store(folder: &Path) -> Store {
    Store::open(&folder.display().to_string()).unwrap()
}

/// A catch-up of `root/spool` into `root/archive` at the instant of the tests.
pub fn options(root: &Path) -> Options {
    Options {
        mode: Mode::CatchUp,
        selection: Selection::all(),
        workers: 1,
        memory_limit: MEMORY,
        spill_dir: root.join("spill"),
        now: NOW.parse().unwrap(),
        force: false,
        accept_loss: false,
        salvage: false,
        zstd_level: None,
    }
}

pub async fn compact(root: &Path) -> Vec<Outcome> {
    watched(root, &options(root), Arc::new(Silent)).await
}

pub async fn watched(root: &Path, options: &Options, watch: Arc<dyn Watch>) -> Vec<Outcome> {
    let [spool, archive] = ["spool", "archive"].map(|name| store(&root.join(name)));
    compact::run(&spool, &archive, options, watch, &Stop::default())
        .await
        .unwrap()
        .outcomes
}

/// All findings in `root/archive`.
pub async fn findings(root: &Path) -> Vec<String> {
    let options = verify::Options {
        selection: Selection::all(),
        start: None,
        end: None,
        quick: false,
        memory_limit: MEMORY,
    };
    let archive = store(&root.join("archive"));
    let verified = verify::run(&archive, &options, &|| false, &mut |_| {})
        .await
        .unwrap();
    assert!(!verified.is_empty(), "there is a partition to verify");
    verified.into_iter().flat_map(|one| one.findings).collect()
}

/// Makes the files below `root` exactly these.
pub fn restore(root: &Path, files: &[(String, Vec<u8>)]) {
    let _ = fs::remove_dir_all(root);
    for (key, bytes) in files {
        let path = root.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Numbers that follow from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to `sides - 1`.
    pub fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (twox_hash::XxHash64::oneshot(0, &self.0.to_le_bytes()) % sides as u64) as usize
    }
}
