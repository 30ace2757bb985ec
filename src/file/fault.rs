//! What can be wrong with one source file, found by looking at the file, never from the text of an
//! error.
//!
//! A file may be bad (its content cannot be used), may have made a false claim in its footer, or
//! may be out of reach for the moment. Only a bad file goes to QUARANTINE.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parquet::{
    basic::{Compression, Encoding, Type as Physical},
    column::page::{Page, PageReader},
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        reader::ChunkReader,
        serialized_reader::SerializedPageReader,
    },
};

use crate::{
    error::{Error, Kind},
    model::quarantine::{ErrorType, Fault},
};

/// Why a source file could not be read as planned.
#[derive(Debug)]
pub enum Problem {
    /// Its content cannot be used.
    Bad(Fault),
    /// Its rows do not keep what its footer said; what they do keep must be found out first.
    FalseClaim(String),
    /// It takes more memory than was planned, though it can be read: what it takes is known now.
    TooLarge {
        /// Bytes of a row in memory.
        row_bytes: u64,
        /// Bytes of the pages that are open while it is decoded.
        open_bytes: u64,
    },
    /// It could not be reached, or changed while it was read.
    Storage(Error),
}

impl Problem {
    /// A fault of this type.
    pub fn bad(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self::Bad(Fault::new(error_type, message))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bad(fault) => write!(f, "{fault}"),
            Self::FalseClaim(what) => write!(f, "false claim: {what}"),
            Self::TooLarge { row_bytes, .. } => {
                write!(
                    f,
                    "its rows take more memory than its footer says, {row_bytes} bytes each"
                )
            }
            Self::Storage(error) => f.write_str(&error.chain()),
        }
    }
}

impl std::error::Error for Problem {}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if error.kind() == Kind::BadInput {
            Self::bad(ErrorType::SchemaMismatch, error.chain())
        } else {
            Self::Storage(error)
        }
    }
}

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics inside [`shielded`] silent: they are reported as the file's fault. All others print
/// as before. Call once, at the start of the process.
pub fn install_panic_hook() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if READING.get() {
            let place = info.location().map(|l| {
                format!(
                    " ({}:{})",
                    l.file().rsplit('/').next().unwrap_or(""),
                    l.line()
                )
            });
            let text = info.payload_as_str().unwrap_or("no message").to_owned();
            PANIC.set(Some(format!("{text}{}", place.unwrap_or_default())));
        } else {
            usual(info);
        }
    }));
}

/// Calls `read`; a panic in it is an `Err` with its message.
///
/// # Errors
/// When `read` panicked.
pub fn shielded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    let before = READING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(before);
    result.map_err(|payload| {
        PANIC.take().unwrap_or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned())
        })
    })
}

/// What is wrong with a row group that did not decode: every page of every column is read, then its
/// dictionary indices are compared with its dictionary. `otherwise` is what the decoder said, for
/// the case that all pages look right.
pub fn diagnose<R: ChunkReader + 'static>(
    bytes: &Arc<R>,
    meta: &ParquetMetaData,
    row_group: usize,
    otherwise: &str,
) -> Fault {
    let Some(group) = meta.row_groups().get(row_group) else {
        return Fault::new(
            ErrorType::FooterCorrupt,
            format!("there is no row group {row_group}"),
        );
    };
    for column in group.columns() {
        let name = column.column_path().string();
        let place = format!("column {name}, row group {row_group}");
        match shielded(|| diagnose_column(bytes, column, group.num_rows())) {
            Ok(None) => {}
            Ok(Some((error_type, what))) => {
                return Fault::new(error_type, format!("{place}: {what}"));
            }
            Err(panic) => {
                return Fault::new(
                    ErrorType::ReaderPanic,
                    format!("{place}: the reader panicked: {panic}"),
                );
            }
        }
    }
    Fault::new(
        ErrorType::PageCorrupt,
        format!(
            "row group {row_group}: every page reads, but its values do not decode: {otherwise}"
        ),
    )
}

/// What the reader says, without the name of its variant in front of what a decoder said.
pub(super) fn said(error: &ParquetError) -> String {
    match error {
        ParquetError::External(inner) => inner.to_string(),
        other => other.to_string(),
    }
}

fn diagnose_column<R: ChunkReader + 'static>(
    bytes: &Arc<R>,
    column: &ColumnChunkMetaData,
    rows: i64,
) -> Option<(ErrorType, String)> {
    let codec = column.compression();
    let unreadable = |nth: usize, header_reads: bool, error: &ParquetError| {
        // Between a header that reads and an uncompressed body that is there, only the checksum can
        // fail.
        let checksum = header_reads && !matches!(error, ParquetError::EOF(_));
        let compressed = codec != Compression::UNCOMPRESSED;
        let error_type = if compressed || checksum {
            ErrorType::SnappyCorrupt
        } else {
            ErrorType::PageCorrupt
        };
        let codec = format!("{codec:?}")
            .split('(')
            .next()
            .unwrap_or_default()
            .to_lowercase();
        Some((
            error_type,
            format!("page {nth} ({codec}) is corrupt: {}", said(error)),
        ))
    };
    let rows = usize::try_from(rows).unwrap_or(0);
    let mut pages = match SerializedPageReader::new(Arc::clone(bytes), column, rows, None) {
        Ok(pages) => pages,
        Err(error) => return unreadable(0, false, &error),
    };
    let mut dictionary: Option<u32> = None;
    let mut values = 0_u64;
    for nth in 0.. {
        let header_reads = matches!(pages.peek_next_page(), Ok(Some(_)));
        let page = match pages.get_next_page() {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) => return unreadable(nth, header_reads, &error),
        };
        match &page {
            Page::DictionaryPage {
                num_values, buf, ..
            } => {
                if let Some(width) = fixed_width(column.column_type())
                    && buf.len() < width * usize::try_from(*num_values).unwrap_or(usize::MAX)
                {
                    return Some((
                        ErrorType::DictConflict,
                        format!(
                            "the dictionary claims {num_values} values, but has {} bytes",
                            buf.len()
                        ),
                    ));
                }
                dictionary = Some(*num_values);
            }
            Page::DataPage { .. } | Page::DataPageV2 { .. } => {
                values += u64::from(page.num_values());
                if matches!(
                    page.encoding(),
                    Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY
                ) {
                    let Some(size) = dictionary else {
                        return Some((
                            ErrorType::DictConflict,
                            format!("page {nth} refers to a dictionary, but there is none"),
                        ));
                    };
                    if let Some(what) = bad_indices(&page, column, size) {
                        return Some((ErrorType::DictConflict, format!("page {nth}: {what}")));
                    }
                }
            }
        }
    }
    let claimed = u64::try_from(column.num_values()).unwrap_or(0);
    (values != claimed).then(|| {
        (
            ErrorType::PageCorrupt,
            format!("its pages have {values} values, its footer claims {claimed}"),
        )
    })
}

fn fixed_width(physical: Physical) -> Option<usize> {
    match physical {
        Physical::INT32 | Physical::FLOAT => Some(4),
        Physical::INT64 | Physical::DOUBLE => Some(8),
        Physical::INT96 => Some(12),
        _ => None,
    }
}

/// What is wrong with a page's dictionary indices, if anything is: the hybrid of runs and
/// bit-packed groups is walked.
fn bad_indices(page: &Page, column: &ColumnChunkMetaData, dictionary: u32) -> Option<String> {
    let (body, present) = match page {
        Page::DataPage {
            buf, num_values, ..
        } => {
            let mut body: &[u8] = buf;
            // Version 1 keeps its levels in front, each under a length of four bytes.
            let levels = [
                column.column_descr().max_rep_level(),
                column.column_descr().max_def_level(),
            ];
            for _ in levels.iter().filter(|max| **max > 0) {
                let (length, rest) = body.split_first_chunk::<4>()?;
                body = rest
                    .get(u32::from_le_bytes(*length) as usize..)
                    .or(Some(&[]))?;
            }
            (body, *num_values)
        }
        Page::DataPageV2 {
            buf,
            num_values,
            num_nulls,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => {
            let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
            (
                buf.get(levels..).unwrap_or_default(),
                num_values.saturating_sub(*num_nulls),
            )
        }
        Page::DictionaryPage { .. } => return None,
    };
    let Some((&width, mut body)) = body.split_first() else {
        return (present > 0 && column.column_descr().max_def_level() == 0)
            .then(|| "the indices are missing".to_owned());
    };
    if width > 32 {
        return Some(format!("its indices claim {width} bits each"));
    }
    let mut seen = 0_u64;
    let check = |index: u64| {
        (index >= u64::from(dictionary))
            .then(|| format!("index {index} in a dictionary of {dictionary} values"))
    };
    while seen < u64::from(present) && !body.is_empty() {
        let mut header = 0_u64;
        let mut shift = 0;
        loop {
            let (&byte, rest) = body.split_first()?;
            body = rest;
            header |= u64::from(byte & 0x7f) << shift.min(56);
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let count = header >> 1;
        if header & 1 == 0 {
            let bytes = usize::from(width.div_ceil(8));
            let (value, rest) = body.split_at_checked(bytes)?;
            body = rest;
            let index = value
                .iter()
                .rev()
                .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
            if count > 0
                && let Some(wrong) = check(index)
            {
                return Some(wrong);
            }
            seen += count;
        } else {
            let bytes = usize::try_from(count)
                .ok()?
                .checked_mul(usize::from(width))?;
            let (packed, rest) = body.split_at(bytes.min(body.len()));
            body = rest;
            let mut bits = 0_u64;
            let mut have = 0_u32;
            let mut taken = 0_u64;
            for byte in packed {
                bits |= u64::from(*byte) << have;
                have += 8;
                while width > 0 && have >= u32::from(width) && seen + taken < u64::from(present) {
                    if let Some(wrong) = check(bits & ((1_u64 << width) - 1)) {
                        return Some(wrong);
                    }
                    bits >>= width;
                    have -= u32::from(width);
                    taken += 1;
                }
            }
            seen += count * 8;
        }
    }
    None
}
