//! Files that venues publish, as rows: one day of one series, from as many files as it takes, in
//! bounded memory.
//!
//! Nothing that a file says of itself is believed: what it holds is told by its header and its first
//! row, not by its name; each row is judged alone; a file is streamed and never unpacked; names in a
//! zip are shown and lead nowhere.
//!
//! | content | a row equals the recorded one in | and is the same event by |
//! | --- | --- | --- |
//! | Binance aggregated trades | every column | `seq`, which is `trade_id` |
//! | Binance trades | nothing: single trades, of which the recorded rows are sums | `first_id` = `last_id`, between those of the recorded row |
//! | Bybit trades | all but `seq`, which the file does not tell (0) | `trade_id` |
//! | OKX trades | all, where no other trade was summed up in the recorded row; else neither `qty` nor the number of rows | `seq`, which is `trade_id` |
//! | OKX aggregated trades | all, as far as the venue sums up in both in the same way, which it does not document | `seq`, which is `trade_id` |
//!
//! `ts_recv` is null, `sub_seq` counts rows of one `(ts_event, seq)` in the order of the files.

mod account;
mod container;
mod decimal;
mod klines;
mod layout;
mod read;
mod row;
mod sort;
#[cfg(test)]
mod tests;
mod trades;
mod write;

use std::path::Path;

pub use self::{
    account::{Checksum, Content, FileAccount, Identity, PublishedFile},
    decimal::Decimal,
    klines::Minute,
    trades::FOOTER_SOURCES,
};
use crate::{
    error::Result,
    model::{date::Date, partition::Series},
};

/// Decodes the trades of `files` that fall on `day` into one Parquet file at `target`, which is
/// replaced: sorted by `(ts_event, seq)`, in the columns of the stream `trade` and a column `source`
/// ([`Content::source`]), with the row hash in the footer as a sealed spool file has it. The footer
/// also names every source file, its sha256 and the verdict of its checksum
/// ([`FOOTER_SOURCES`]).
///
/// All files must be of contents with one [`Identity`] of one venue. Rows of one identity and equal
/// values count once ([`FileAccount::repeated`]); of several values all are kept, and each is a
/// fault. `memory` bounds what is held, `scratch` is a folder for sorted runs. A day without rows
/// makes a file without rows.
///
/// The accounts come in the order of `files`.
///
/// # Errors
/// When a file cannot be read from the disk, the scratch folder or the target cannot be written, the
/// venue is unknown, a file is of no known content or of one that cannot stand beside the others.
/// What is wrong *in* a file is told in its account.
pub fn trades(
    series: &Series,
    day: Date,
    files: &[PublishedFile],
    target: &Path,
    scratch: &Path,
    memory: usize,
) -> Result<Vec<FileAccount>> {
    trades::decode(series, day, files, target, scratch, memory)
}

/// The volume and the number of trades of each minute of `day`, from klines of one minute, by
/// [`Minute::start`]. A minute that is told twice with other values is in the list twice, and a
/// fault.
///
/// # Errors
/// As [`trades()`].
pub fn minutes(
    series: &Series,
    day: Date,
    files: &[PublishedFile],
) -> Result<(Vec<Minute>, Vec<FileAccount>)> {
    klines::decode(series, day, files)
}

/// What kind of content a file has: by its header and its first row, not by its name.
///
/// # Errors
/// When it cannot be read, or has none of the known ones ([`Kind::BadInput`]).
///
/// [`Kind::BadInput`]: crate::error::Kind::BadInput
pub fn content_of(file: &PublishedFile) -> Result<Content> {
    read::open(file).map(|(_, content)| content)
}

/// Whether a file is what its CHECKSUM file says, where there is one.
///
/// # Errors
/// When it cannot be read.
pub fn is_as_told(file: &PublishedFile) -> Result<bool> {
    if file.checksum.is_none() {
        return Ok(true);
    }
    let opened = container::Opened::of(file)?;
    Ok(!matches!(opened.checksum, Checksum::Wrong { .. }))
}
