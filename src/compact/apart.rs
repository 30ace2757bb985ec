//! One partition by itself, for a run that another process leads: which partitions the run means is found out there, and
//! each is worked on wherever there is room for it.
//!
//! Refuses to take the leader's word for what lies in the stores: the spool is listed here, where it is read.

use std::{path::Path, sync::Arc};

use tokio::sync::OnceCell;

use super::{Options, Outcome, Silent, Stop, footers::Footers, meant, one, report::Mode, shared, survey, work::Run};
use crate::{
    error::Result,
    model::partition::{Partition, Selection},
    storage::store::Store,
};

/// The partitions that `options` mean.
///
/// # Errors
/// When a store cannot be listed, or nothing matches the selection.
pub async fn partitions(spool: &Store, archive: &Store, options: &Options) -> Result<Vec<Partition>> {
    let (_, partitions) = meant(spool, archive, options, &Footers::within(options.memory_limit)).await?;
    Ok(partitions)
}

/// Does with `partition` what is to be done, as [`super::run`] does with each of its partitions; `None` when it turns out
/// that nobody meant it. The memory limit of `options` is this partition's alone, their selection is not looked at.
/// `scratch` is where runs are spilled and uploads staged; `probed` remembers what was found out about the archive.
///
/// # Errors
/// When the spool cannot be listed; what fails in the partition is in the outcome.
pub async fn one_of_many(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    options: &Options,
    scratch: &Path,
    probed: Arc<OnceCell<()>>,
    stop: &Stop,
) -> Result<Option<Outcome>> {
    let series = &partition.series;
    let selection = Selection {
        exchanges: vec![series.exchange.clone()],
        streams: vec![series.stream.clone()],
        symbols: vec![series.symbol.clone()],
    };
    let files = survey::spool_files(spool, &selection).await?;
    let run = Run { probed, ..shared(spool, archive, options, scratch, 1, Arc::new(Silent), stop)? };
    Ok(one(&run, partition, &files, matches!(options.mode, Mode::Single { .. })).await)
}
