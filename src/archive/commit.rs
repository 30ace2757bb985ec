//! The steps that publish a partition: receipt, data, mark, `meta.json`. No other code writes them.
//!
//! ```text
//! killed after …   what is there                      what the next run does
//! receipt          the old generation                 builds again; the receipt belongs to no data until then
//! data             new data beside the old meta.json  writes the mark and meta.json from the receipt of the data
//! mark             the same                           the same
//! ```
//!
//! Whoever finds new data completes its publish before anything else, so from the data on the
//! generation is decided. The mark comes before `meta.json`, so that no reader sees a generation
//! whose loss would not be on record.
//!
//! The data itself is written by the sink of the compaction, which proves it first, or copied by an
//! import.

use std::path::Path;

use super::{
    history::{Generation, GenerationMark},
    partition::{PartitionHandle, version},
    state::{Loss, Published},
};
use crate::{
    error::{Error, Kind, Result},
    model::receipt::{LostSource, Receipt},
    storage::{Expect, atomic},
};

/// How often a race for one `meta.json` is lost before it is left to the others.
const RACES: u32 = 8;

/// Writes the receipt, which must be durable before its data is visible. It is written anew even
/// where the same stands: `clean` removes receipts of no data by their age.
///
/// # Errors
/// When it cannot be written.
pub async fn vouch(
    handle: &PartitionHandle,
    staging: &Path,
    receipt: &Receipt,
    expect: &Expect,
) -> Result<()> {
    let key = handle.receipt_key(&receipt.outcome.sha256);
    let _ =
        atomic::write_bytes(handle.archive(), &key, staging, expect, receipt.to_json()?).await?;
    Ok(())
}

/// What a receipt of data with this sha256 may replace, and since when the digest is vouched for:
/// the time of the first receipt stays, so that `meta.json` says the same whoever of several makers
/// writes it.
///
/// # Errors
/// When the archive does not answer.
pub async fn vouched_since(
    handle: &PartitionHandle,
    sha256: &str,
) -> Result<(Expect, Option<String>)> {
    let stands = handle
        .archive()
        .read_version(&handle.receipt_key(sha256))
        .await?;
    let since = stands
        .as_ref()
        .and_then(|(bytes, _)| Receipt::from_json(bytes).ok())
        .map(|r| r.created_at);
    Ok((version(stands.map(|(_, tag)| tag)), since))
}

/// Writes the mark of data that stands with its receipt, and its `meta.json`, which makes the
/// partition exist. `expect` is what the `meta.json` may replace, `mine` the version of the data
/// that this process wrote: while it stands, nobody else's `meta.json` is right.
///
/// # Errors
/// [`Kind::Conflict`] when another process published meanwhile, others when the mark or `meta.json`
/// cannot be written.
pub async fn publish(
    handle: &PartitionHandle,
    staging: &Path,
    receipt: &Receipt,
    expect: &Expect,
    mine: Option<&str>,
) -> Result<Published> {
    let (archive, key) = (handle.archive(), handle.meta_key());
    let json = receipt.meta().to_json()?;
    let published = Published::new(receipt.clone());
    mark(handle, staging, &published).await?;
    let mut expect = expect.clone();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let lost = match atomic::write_bytes(archive, &key, staging, &expect, json.clone()).await {
            Ok(_) => break,
            Err(error) if error.kind() == Kind::Conflict => error,
            Err(error) => return Err(error),
        };
        let stands = handle.meta().await?;
        if stands
            .as_ref()
            .is_some_and(|(bytes, _)| bytes.as_ref() == json.as_slice())
        {
            // Someone who found the data with its receipt has completed the publish for us.
            break;
        }
        let data = archive
            .head(&handle.data_key())
            .await?
            .and_then(|object| object.tag);
        if mine.is_none() || data.as_deref() != mine || rounds > RACES {
            return Err(lost);
        }
        expect = version(stands.map(|(_, tag)| tag));
    }
    Ok(published)
}

/// Writes the mark of a partition whose data stands with its receipt; the next run writes it where
/// this one cannot.
///
/// # Errors
/// When it cannot be written.
pub async fn mark(handle: &PartitionHandle, staging: &Path, published: &Published) -> Result<()> {
    let receipt = published.receipt();
    let mark = GenerationMark {
        generation: receipt.generation,
        sha256: Some(receipt.outcome.sha256.clone()),
        accepted_loss: receipt.accepted_loss.clone(),
    };
    write_mark(handle, staging, &mark).await.map_err(|error| {
        let what = format!(
            "{}: its data stands, but the mark of that could not be written; run again",
            handle.partition()
        );
        Error::caused(error.kind(), what, error)
    })
}

/// Records that an operator accepts the loss of a generation: what stands, if anything, is the
/// newest generation then. `number` is the one that it gets.
///
/// # Errors
/// When the record cannot be written.
pub async fn accept_loss(
    handle: &PartitionHandle,
    staging: &Path,
    loss: &Loss,
    lost: Vec<LostSource>,
    number: u64,
) -> Result<()> {
    let sha256 = loss
        .standing
        .as_ref()
        .map(|standing| standing.outcome.sha256.clone());
    write_mark(
        handle,
        staging,
        &GenerationMark {
            generation: number,
            sha256,
            accepted_loss: lost,
        },
    )
    .await
}

async fn write_mark(handle: &PartitionHandle, staging: &Path, mark: &GenerationMark) -> Result<()> {
    let key = handle.mark_key(&Generation {
        number: mark.generation,
        sha256: mark.sha256.clone(),
    });
    let mut json = serde_json::to_vec_pretty(mark)
        .map_err(|e| Error::caused(Kind::Internal, "a mark could not be written as JSON", e))?;
    json.push(b'\n');
    let _ = atomic::write_bytes(handle.archive(), &key, staging, &Expect::Anything, json).await?;
    Ok(())
}
