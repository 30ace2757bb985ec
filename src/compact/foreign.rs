//! Takes in files of a tree that another program left, as the files of a spool are taken in: by the
//! ordinary compaction of every day that they have rows of.
//!
//! Only the files that the caller names are read. What is archived already is compared with them
//! row by row, because another program's days name no files.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Options, Outcome, Stop, Watch,
    context::{Origin, RunContext, TreeFiles},
    footers::Footers,
    in_turn, joined, survey, unnamed_days,
};
use crate::{
    archive::stray,
    error::Result,
    model::{date::Date, partition::Partition},
    storage::{
        scratch::{self, Scratch},
        store::Store,
    },
};

/// Takes the rows of the files `keys` of `tree` into `archive`. Of the options, the mode is not
/// looked at: every day is meant that the files have rows of.
///
/// # Errors
/// When the work cannot begin; what fails in a partition is in its outcome.
pub async fn take_over(
    tree: &Store,
    archive: &Store,
    options: &Options,
    (files, keys): (TreeFiles, &BTreeSet<String>),
    watch: Arc<dyn Watch>,
    stop: &Stop,
) -> Result<Vec<Outcome>> {
    let _ = scratch::sweep(&options.spill_dir);
    let scratch = Scratch::new(&options.spill_dir)?;
    let footers = Arc::new(Footers::within(options.memory_limit));
    let survey::SpoolFiles {
        files: mut spool,
        missing,
        ..
    } = survey::spool_files(tree, &options.selection).await?;
    missing.fail()?;
    for all in spool.values_mut() {
        all.retain(|file| keys.contains(&file.object.key));
    }
    spool.retain(|_, all| !all.is_empty());
    let mut partitions = BTreeSet::new();
    for (series, all) in &spool {
        let named = all
            .iter()
            .filter_map(|file| file.home)
            .flat_map(Date::with_neighbours);
        let days: BTreeSet<Date> = named
            .chain(unnamed_days(tree, all, &footers).await?.days)
            .collect();
        partitions.extend(days.into_iter().map(|day| series.on(day)));
    }
    let strays = survey::archived_days(archive, &options.selection)
        .await?
        .strays;
    let mut refused = Vec::new();
    let mut partitions: Vec<Partition> = partitions.into_iter().collect();
    partitions.retain(|partition| {
        let error = stray::of_partition(&strays, partition, archive);
        refused.extend(error.iter().map(|e| Outcome::failed(partition, e)));
        error.is_none()
    });
    let workers = options.workers_for(partitions.len());
    let run = RunContext::new(
        tree,
        archive,
        options,
        scratch.path(),
        workers,
        Arc::clone(&watch),
        stop,
    )?;
    watch.begin(partitions.len());
    let outcomes = in_turn(
        &RunContext {
            footers,
            origin: Origin::Tree(files),
            ..run
        },
        partitions,
        spool,
        false,
        workers,
    )
    .await;
    Ok(joined(outcomes.into_iter(), refused))
}
