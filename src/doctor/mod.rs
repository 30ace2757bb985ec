//! `doctor`: is everything there that a run needs, and if not, how is it fixed?
//!
//! Facts are gathered (`places`, `machine`) and judged separately (`judge`). What is written to
//! test whether writing works is removed again, and no folder is created.

mod facts;
mod judge;
mod machine;
mod places;
mod report;

use std::path::PathBuf;

use facts::Load;
pub use report::{Check, Level, Options};

/// Examines everything. What cannot be examined is a finding too, never an error.
pub async fn run(options: &Options) -> Vec<Check> {
    let mut all = vec![judge::versions()];
    let mut load = Load::default();
    for spool in options.spool.all() {
        let found = places::spool(&spool.place, options).await;
        load = load.and(found.as_ref().map(|found| found.load).unwrap_or_default());
        all.extend(judge::spool(
            &spool.to_string(),
            found.as_ref(),
            options.now,
        ));
    }
    let archive = places::archive(options).await;
    all.extend(judge::archive(&options.archive, archive.as_ref()));
    for (spool, other, overlap) in places::overlaps(options) {
        all.push(match other {
            None => judge::overlap(&spool.place, &options.archive, overlap),
            Some(other) => judge::twice(spool, other, overlap),
        });
    }
    let disk = machine::disk(&options.spill_dir);
    all.extend(judge::disk(
        "spill_dir",
        &options.spill_dir,
        disk.as_ref(),
        load,
    ));
    if let Some(folder) = archive
        .as_ref()
        .ok()
        .and_then(|archive| archive.folder.as_ref())
    {
        all.extend(judge::disk(
            "archive disk",
            folder,
            machine::disk(folder).as_ref(),
            load,
        ));
    }
    if let Some(path) = &options.metrics_file {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .map_or(".".into(), PathBuf::from);
        all.push(judge::metrics_file(path, machine::disk(&folder).as_ref()));
    }
    all.push(judge::memory(options.memory_limit, &machine::memory()));
    all.push(judge::open_files(machine::open_files()));
    all.push(judge::clock(machine::clock()));
    all
}

/// The memory of the machine, or what its control group allows of it; 0 where the system does not
/// tell.
#[must_use]
pub fn machine_memory() -> u64 {
    let memory = machine::memory();
    memory
        .physical
        .into_iter()
        .chain(memory.group)
        .min()
        .unwrap_or(0)
}
