//! What the partitions of a run share: where things are, what is wished, what was read already.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    compare::Comparisons,
    decide::Wishes,
    footers::Footers,
    keep::Places,
    report::{Options, Stop, Watch},
    standing::StandingDays,
};
use crate::{
    error::Result,
    job::budget::Budget,
    model::date::Date,
    storage::{conditions, store::Store},
};

/// What every partition of a run shares.
#[derive(Clone)]
pub struct RunContext {
    /// Spool, archive, staging and the time.
    pub places: Places,
    /// Today in UTC, as the run understands it.
    pub today: Date,
    /// What the operator wants besides what is usual.
    pub wishes: Wishes,
    /// Whether to take in the good row groups of a file of which some do not read.
    pub salvage: bool,
    /// The memory of one partition.
    pub budget: Budget,
    /// Where runs are spilled.
    pub scratch: PathBuf,
    /// How many columns, row groups or sorts in memory are worked on at a time: the cores.
    pub cores: usize,
    /// The level of zstd, where it is not the default.
    pub zstd_level: Option<i32>,
    /// Who watches.
    pub watch: Arc<dyn Watch>,
    /// Whether to stop.
    pub stop: Stop,
    /// Set when the archive's conditional writes were found to work.
    pub probed: Arc<tokio::sync::OnceCell<()>>,
    /// The footers that were read in this run.
    pub footers: Arc<Footers>,
    /// What was read of the days that it works on.
    pub standing: Arc<StandingDays>,
    /// What was compared row by row in this run.
    pub comparisons: Arc<Comparisons>,
    /// Whose files these are.
    pub origin: Origin,
}

/// What the files of a tree are that another program left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeFiles {
    /// Days that it compacted.
    Compacted,
    /// Those of its collectors, some of which it compacted.
    Raw,
}

/// Whose files a run takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// Those of collectors.
    #[default]
    Collectors,
    /// Those of a tree that another program left.
    Tree(TreeFiles),
}

/// The instant of a run as receipts and entries of QUARANTINE bear it.
fn time_of(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl RunContext {
    /// What the `workers` of a run with these options share; spilled runs and staged uploads go to
    /// `scratch`.
    ///
    /// # Errors
    /// When the time of the run is out of range.
    pub fn new(
        spool: &Store,
        archive: &Store,
        options: &Options,
        scratch: &Path,
        workers: usize,
        watch: Arc<dyn Watch>,
        stop: &Stop,
    ) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            places: Places {
                spool: spool.clone(),
                archive: archive.clone(),
                staging: scratch.to_owned(),
                time: time_of(options.now),
                task: None,
                turn: Arc::default(),
                kept: Arc::default(),
            },
            today: Date::of(options.now)?,
            wishes: Wishes {
                force: options.force,
                accept_loss: options.accept_loss,
            },
            salvage: options.salvage,
            zstd_level: options.zstd_level,
            budget: Budget::of(options.memory_limit, workers),
            scratch: scratch.to_owned(),
            cores,
            watch,
            stop: stop.clone(),
            probed: Arc::default(),
            footers: Arc::new(Footers::within(options.memory_limit)),
            standing: Arc::new(StandingDays::of_workers(workers)),
            comparisons: Arc::default(),
            origin: Origin::default(),
        })
    }

    /// Finds out, once in a run and before its first write, whether the archive's conditional writes
    /// can be relied on.
    ///
    /// # Errors
    /// When they cannot, or the archive does not answer.
    pub async fn probe_once(&self) -> Result<()> {
        let _: &() = self
            .probed
            .get_or_try_init(|| conditions::probe(&self.places.archive))
            .await?;
        Ok(())
    }
}
