//! How much memory the rows of a row group take when they are decoded, found from the headers of
//! its pages and the values of its dictionaries before anything else is decoded.
//!
//! A footer does not say: a dictionary of one long text makes every row as long, and a page becomes
//! as large as its header says. From this follow how many rows are decoded at a time, and which row
//! groups are not decoded at all. A header that cannot be understood ends the look, and decoding
//! finds the fault.

use std::{io::Read, ops::Range, sync::Arc};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Type as Physical},
    column::{
        page::{Page, PageReader},
        reader::{ColumnReader, get_column_reader},
    },
    data_type::AsBytes,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        serialized_reader::SerializedPageReader,
    },
};

use super::{
    fault::shielded,
    thrift::{PageHeader, PageKind, page_header},
    window::Window,
};
use crate::model::quarantine::{ErrorType, Fault};

/// Bytes of the rows that are decoded at a time; fewer where one row is larger.
pub const BATCH_BYTES: u64 = 4 << 20;
/// Bytes of a page after decompression. A limit that followed from the memory limit would make the
/// archive depend on it.
pub const PAGE_BYTES: u64 = 64 << 20;
/// Bytes of the pages that one column, with all that is nested in it, may have open at a time: its
/// dictionaries and its largest pages.
const OPEN_BYTES: u64 = 512 << 20;
/// Bytes of the pages that are open at a time: more columns than that are decoded one piece after
/// the other.
const PIECE_BYTES: u64 = 9 << 20;
/// What a column takes while it is decoded besides its pages: most of it is the decompressor's.
const COLUMN_BYTES: u64 = 128 << 10;
/// Bytes of the values of one row, as far as they are nested in it.
const NESTED_BYTES: u64 = 128 << 20;
/// What a page header takes at most where nobody put long values into it.
const SHORT_HEADER: usize = 8 << 10;
/// What a page header takes at most.
const LONG_HEADER: usize = 32 << 20;
/// Gzip makes at most so many bytes of one.
const GZIP_RATIO: u64 = 1032;
/// So does LZ4.
const LZ4_RATIO: u64 = 256;
/// Bytes that are decompressed at a time where they are only counted.
const AT_ONCE: usize = 16 << 10;
/// A dictionary whose texts may take more than this in one batch is looked at.
const SUSPECTED_BYTES: u64 = 64 << 20;
/// Values that are decoded at a time to find the longest.
const AT_A_TIME: usize = 64;

/// What decoding a row group takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    /// How many rows can be decoded at a time.
    pub(super) rows: usize,
    /// Bytes of the pages that are open meanwhile.
    pub(super) open: u64,
    /// The columns that are decoded together, as ranges of their places in the schema.
    pub(super) pieces: Vec<Range<usize>>,
}

/// What one column chunk takes.
#[derive(Debug, Default)]
struct Chunk {
    /// Bytes of the dictionary after decompression.
    dictionary: u64,
    /// Bytes of the largest other page after decompression, and as it is stored.
    largest: u64,
    stored: u64,
    /// Values of the page that has most.
    most_values: u64,
    /// Bytes of all values that stand one after the other.
    plain: u64,
    /// The most bytes that a value of such a page has on average.
    plain_each: u64,
    /// A page that decompresses to more than its header says.
    overlong: bool,
    /// Whether there are indices into the dictionary, or values that repeat the one before.
    indices: bool,
    prefixed: bool,
}

/// How many rows, at most `wanted`, can be decoded at a time, by the footer alone; `None` where
/// texts lie in a dictionary and only its page tells how long they are.
pub(super) fn rows_by_footer(meta: &ParquetMetaData, wanted: usize) -> Option<usize> {
    let mut fit = wanted as u64;
    for group in meta.row_groups() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0).max(1);
        let mut bytes: u64 = 0;
        for column in group.columns() {
            let stored = u64::try_from(column.uncompressed_size()).unwrap_or(0);
            let values = column
                .unencoded_byte_array_data_bytes()
                .and_then(|bytes| u64::try_from(bytes).ok());
            let is_text = column.column_type() == Physical::BYTE_ARRAY;
            let unknown = is_text && values.is_none() && column.dictionary_page_offset().is_some();
            if unknown && stored.saturating_mul(rows.min(wanted as u64)) > SUSPECTED_BYTES {
                return None;
            }
            bytes = bytes.saturating_add(values.unwrap_or(stored));
        }
        fit = fit.min((BATCH_BYTES / (bytes / rows).max(1)).max(1));
    }
    Some(usize::try_from(fit).unwrap_or(wanted))
}

/// What is to be decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The row group.
    pub(super) row_group: usize,
    /// The columns, by their places in the schema.
    pub(super) columns: &'a [usize],
    /// How many rows at a time, at most.
    pub(super) rows: usize,
    /// Whether the file is vouched for: otherwise one row may have all nested values of a page.
    pub(super) vouched: bool,
}

/// What decoding it takes.
///
/// # Errors
/// When its pages are too large to be decoded.
pub(super) fn needs(
    window: &Arc<Window>,
    meta: &ParquetMetaData,
    asked: &Asked<'_>,
) -> Result<Needs, Fault> {
    let Asked {
        row_group,
        columns,
        rows: wanted,
        vouched,
    } = *asked;
    let mut needs = Needs {
        rows: wanted.max(1),
        open: 0,
        pieces: Vec::new(),
    };
    let Some(group) = meta.row_groups().get(row_group) else {
        return Ok(needs);
    };
    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
    let wanted = (wanted as u64).min(rows).max(1);
    let descriptor = meta.file_metadata().schema_descr();
    let mut chunks = Vec::with_capacity(group.num_columns());
    let mut roots = vec![Open::default(); columns.len()];
    for (nth, column) in group
        .columns()
        .iter()
        .enumerate()
        .take(descriptor.num_columns())
    {
        let Ok(place) = columns.binary_search(&descriptor.get_column_root_idx(nth)) else {
            continue;
        };
        let chunk = fitting(window, column, row_group)?;
        if let Some(root) = roots.get_mut(place) {
            root.raw = root.raw.saturating_add(chunk.dictionary + chunk.largest);
            root.stored = root.stored.max(chunk.stored);
            root.columns += 1;
        }
        chunks.push((column, chunk));
    }
    let raw = roots.iter().map(|root| root.raw).max().unwrap_or(0);
    if raw > OPEN_BYTES {
        let what = format!(
            "row group {row_group}: the pages of a column have {raw} bytes at a time after decompression, more than {OPEN_BYTES} are not decoded"
        );
        return Err(Fault::new(ErrorType::TooLarge, what));
    }
    (needs.pieces, needs.open) = pieces(&roots);
    let mut fixed = 0;
    let mut longest: Vec<(u64, u64)> = Vec::new();
    for (column, chunk) in &chunks {
        let values = u64::try_from(column.num_values()).unwrap_or(0);
        let nested = column.column_descr().max_rep_level() > 0;
        // The values that a row has, and those that are in whatever rows are decoded.
        let (each, more) = if nested {
            (
                values.div_ceil(rows.max(1)).saturating_mul(4),
                chunk.most_values,
            )
        } else {
            (1, 0)
        };
        let width = if let Some(width) = width(column) {
            fixed += each.saturating_mul(width).min(BATCH_BYTES);
            width
        } else {
            let suspected = wanted.saturating_mul(each).saturating_add(more);
            let (by_value, total) = text(window, column, chunk, suspected, rows);
            if total > 0 {
                longest.push((each.saturating_mul(by_value), total));
            }
            by_value
        };
        if nested && !vouched && width.saturating_mul(more) > NESTED_BYTES {
            let what = format!(
                "column {}, row group {row_group}: a page has {more} nested values, which take more than {NESTED_BYTES} bytes",
                column.column_path().string()
            );
            return Err(Fault::new(ErrorType::TooLarge, what));
        }
    }
    let bytes = |rows: u64| {
        let text = longest
            .iter()
            .map(|(each, total)| each.saturating_mul(rows).min(*total));
        text.fold(fixed.saturating_mul(rows), u64::saturating_add)
    };
    let mut fit = wanted;
    while fit > 1 && bytes(fit) > BATCH_BYTES {
        fit /= 2;
    }
    if fit < wanted {
        needs.rows = usize::try_from(fit).unwrap_or(1);
    }
    Ok(needs)
}

/// What a column has open while it is decoded.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// Bytes of its dictionaries and its largest pages after decompression.
    raw: u64,
    /// Bytes of its largest page as it is stored: one at a time is read from where it lies.
    stored: u64,
    /// How many there are of it in the file: one, or those that are nested in it.
    columns: u64,
}

/// Which columns are decoded together, and the bytes that are open at the most.
fn pieces(roots: &[Open]) -> (Vec<Range<usize>>, u64) {
    let (mut pieces, mut most, mut began) = (Vec::new(), 0, 0);
    let (mut taken, mut open, mut stored) = (0_u64, 0_u64, 0_u64);
    for (nth, root) in roots.iter().enumerate() {
        let takes = root.raw.saturating_add(root.columns * COLUMN_BYTES);
        if nth > began && taken.saturating_add(takes) > PIECE_BYTES {
            pieces.push(began..nth);
            (began, taken, open, stored) = (nth, 0, 0, 0);
        }
        taken = taken.saturating_add(takes);
        open = open.saturating_add(root.raw);
        stored = stored.max(root.stored);
        most = most.max(open.saturating_add(stored));
    }
    pieces.push(began..roots.len());
    (pieces, most)
}

/// Whether the pages of one column are such as are decoded.
///
/// # Errors
/// When one of them is too large.
pub(super) fn fits(
    window: &Window,
    column: &ColumnChunkMetaData,
    row_group: usize,
) -> Result<(), Fault> {
    fitting(window, column, row_group).map(drop)
}

fn fitting(
    window: &Window,
    column: &ColumnChunkMetaData,
    row_group: usize,
) -> Result<Chunk, Fault> {
    let chunk = chunk(window, column);
    if chunk.overlong {
        let place = format!(
            "column {}, row group {row_group}",
            column.column_path().string()
        );
        let what = format!("{place}: a page decompresses to more bytes than its header says");
        return Err(Fault::new(ErrorType::SnappyCorrupt, what));
    }
    let page = chunk.dictionary.max(chunk.largest);
    if page <= PAGE_BYTES {
        return Ok(chunk);
    }
    let what = format!(
        "column {}, row group {row_group}: a page has {page} bytes after decompression, more than {PAGE_BYTES} are not decoded",
        column.column_path().string()
    );
    Err(Fault::new(ErrorType::TooLarge, what))
}

/// Bytes of a value in memory, where all have the same.
fn width(column: &ColumnChunkMetaData) -> Option<u64> {
    match column.column_type() {
        Physical::BYTE_ARRAY => None,
        Physical::FIXED_LEN_BYTE_ARRAY => Some(
            u64::try_from(column.column_descr().type_length())
                .unwrap_or(0)
                .max(16),
        ),
        _ => Some(16),
    }
}

/// The most bytes that a value of a column of texts has, so far as it matters when `wanted` of them
/// are decoded at a time; and the most that all of them have.
fn text(
    window: &Arc<Window>,
    column: &ColumnChunkMetaData,
    chunk: &Chunk,
    wanted: u64,
    rows: u64,
) -> (u64, u64) {
    // Twice the average of the densest page: within a page values differ, but all of them are no
    // more than the page.
    let (mut each, mut total) = (2 * chunk.plain_each, chunk.plain);
    let values = u64::try_from(column.num_values()).unwrap_or(0).max(rows);
    if chunk.indices {
        let suspected = wanted.min(values).saturating_mul(chunk.dictionary);
        let longest = if suspected > BATCH_BYTES / 2 {
            longest_in_dictionary(window, column, rows).unwrap_or(chunk.dictionary)
        } else {
            chunk.dictionary
        };
        (each, total) = (
            each.max(longest),
            total.saturating_add(longest.saturating_mul(values)),
        );
    }
    if chunk.prefixed {
        let suspected = wanted.min(values).saturating_mul(chunk.largest);
        let longest = if suspected > BATCH_BYTES / 2 {
            longest_value(window, column, rows).unwrap_or(chunk.largest)
        } else {
            chunk.largest
        };
        (each, total) = (
            each.max(longest),
            total.saturating_add(longest.saturating_mul(values)),
        );
    }
    (each, total)
}

fn longest_in_dictionary(
    window: &Arc<Window>,
    column: &ColumnChunkMetaData,
    rows: u64,
) -> Option<u64> {
    let rows = usize::try_from(rows).ok()?;
    let page = shielded(|| {
        SerializedPageReader::new(Arc::clone(window), column, rows, None)?.get_next_page()
    });
    let Ok(Ok(Some(Page::DictionaryPage { buf, .. }))) = page else {
        return None;
    };
    let mut rest: &[u8] = &buf;
    let mut longest = 0;
    while let Some((length, values)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(u64::from(length));
        rest = values
            .get(usize::try_from(length).ok()?..)
            .unwrap_or_default();
    }
    Some(longest)
}

/// The longest value of a chunk, found by decoding it: a value that repeats the one before says
/// nothing of its length.
fn longest_value(window: &Arc<Window>, column: &ColumnChunkMetaData, rows: u64) -> Option<u64> {
    let rows = usize::try_from(rows).ok()?;
    let read = || -> parquet::errors::Result<u64> {
        let pages = SerializedPageReader::new(Arc::clone(window), column, rows, None)?;
        let mut longest = 0;
        let ColumnReader::ByteArrayColumnReader(mut reader) =
            get_column_reader(column.column_descr_ptr(), Box::new(pages))
        else {
            return Ok(0);
        };
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            values.clear();
            definition.clear();
            repetition.clear();
            let (read, _, _) = reader.read_records(
                AT_A_TIME,
                Some(&mut definition),
                Some(&mut repetition),
                &mut values,
            )?;
            if read == 0 {
                return Ok(longest);
            }
            longest = values
                .iter()
                .map(|v| v.as_bytes().len() as u64)
                .fold(longest, u64::max);
        }
    };
    shielded(read).ok()?.ok()
}

/// Walks over the headers of a chunk's pages.
fn chunk(window: &Window, column: &ColumnChunkMetaData) -> Chunk {
    let mut chunk = Chunk::default();
    let (mut at, length) = column.byte_range();
    let end = at + length;
    while at < end {
        let Some(header) = header_at(window, at, end) else {
            return chunk;
        };
        let Some(next) = at
            .checked_add(header.length as u64 + header.stored)
            .filter(|next| *next > at)
        else {
            return chunk;
        };
        let each = header.raw / header.values.max(1);
        match header.kind {
            PageKind::Other => {}
            PageKind::Dictionary => chunk.dictionary = chunk.dictionary.max(header.raw),
            PageKind::Plain => {
                chunk.plain = chunk.plain.saturating_add(header.raw);
                chunk.plain_each = chunk.plain_each.max(each);
            }
            PageKind::Indices => chunk.indices = true,
            PageKind::Prefixed => chunk.prefixed = true,
        }
        if !matches!(header.kind, PageKind::Dictionary | PageKind::Other) {
            chunk.largest = chunk.largest.max(header.raw);
            chunk.most_values = chunk.most_values.max(header.values);
        }
        let may_be =
            most_bytes(column.compression(), header.stored).is_some_and(|most| most > PAGE_BYTES);
        if may_be && header.raw <= PAGE_BYTES {
            chunk.overlong |= is_overlong(
                window,
                at + header.length as u64,
                column.compression(),
                &header,
            );
        }
        chunk.stored = chunk.stored.max(if window.is_in_memory() {
            0
        } else {
            header.stored
        });
        at = next;
    }
    chunk
}

/// The most bytes that so many can become, where the decoder does not stop at what the header says.
fn most_bytes(compression: Compression, stored: u64) -> Option<u64> {
    match compression {
        Compression::GZIP(_) => Some(stored.saturating_mul(GZIP_RATIO)),
        Compression::LZ4 => Some(stored.saturating_mul(LZ4_RATIO)),
        // There is no such number.
        Compression::BROTLI(_) => Some(u64::MAX),
        _ => None,
    }
}

/// Whether a page holds more than its header says.
fn is_overlong(window: &Window, at: u64, compression: Compression, header: &PageHeader) -> bool {
    let Some(page) = usize::try_from(header.stored)
        .ok()
        .and_then(|length| window.piece(at, length).ok())
    else {
        return false;
    };
    let Some(stream) = page.get(usize::try_from(header.levels).unwrap_or(usize::MAX)..) else {
        return false;
    };
    match compression {
        Compression::GZIP(_) => holds_more(flate2::read::MultiGzDecoder::new(stream), header.raw),
        Compression::LZ4 => holds_more(lz4_flex::frame::FrameDecoder::new(stream), header.raw),
        Compression::BROTLI(_) => holds_more(
            brotli_decompressor::Decompressor::new(stream, AT_ONCE),
            header.raw,
        ),
        _ => false,
    }
}

fn holds_more(reader: impl Read, bytes: u64) -> bool {
    let mut room = reader.take(bytes.saturating_add(1));
    let mut buffer = [0; AT_ONCE];
    let mut read = 0;
    // What cannot be decoded is found when it is.
    while let Ok(more @ 1..) = room.read(&mut buffer) {
        read += more as u64;
    }
    read > bytes
}

fn header_at(window: &Window, at: u64, end: u64) -> Option<PageHeader> {
    let mut most = SHORT_HEADER;
    loop {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(most);
        let bytes: Bytes = window.piece(at, length).ok()?;
        if let Some(header) = page_header(&bytes) {
            return Some(header);
        }
        if bytes.len() < most || most >= LONG_HEADER {
            return None;
        }
        most *= 16;
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, types::Int64Type,
    };
    use parquet::{
        arrow::ArrowWriter,
        basic::{Compression, Encoding},
        file::{
            metadata::ParquetMetaDataReader,
            properties::{WriterProperties, WriterPropertiesBuilder},
        },
    };

    use super::*;

    fn of(column: ArrayRef, properties: WriterPropertiesBuilder) -> Result<Needs, Fault> {
        let rows = column.len();
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let mut file = Vec::new();
        let properties = properties.set_compression(Compression::SNAPPY).build();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let _ = writer.close().unwrap();
        let file = Bytes::from(file);
        let meta = ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .unwrap();
        let asked = Asked {
            row_group: 0,
            columns: &[0],
            rows,
            vouched: false,
        };
        needs(&Arc::new(Window::new(0, file)), &meta, &asked)
    }

    fn texts(lengths: &[usize]) -> ArrayRef {
        let texts = lengths
            .iter()
            .enumerate()
            .map(|(n, length)| format!("{n:05}{}", "x".repeat(*length)));
        Arc::new(StringArray::from_iter_values(texts))
    }

    fn defaults() -> WriterPropertiesBuilder {
        WriterProperties::builder()
    }

    #[test]
    fn more_columns_than_may_be_open_are_decoded_in_pieces() {
        let small = Open {
            raw: 1 << 20,
            stored: 1000,
            columns: 1,
        };
        assert_eq!(
            pieces(&[small; 8]),
            (std::iter::once(0..8).collect(), (8 << 20) + 1000)
        );
        let (cut, open) = pieces(&[small; 100]);
        assert!(
            cut.len() > 4 && open <= PIECE_BYTES + 1000,
            "{cut:?} {open}"
        );
        let whole: Vec<usize> = cut.into_iter().flatten().collect();
        assert_eq!(whole, (0..100).collect::<Vec<_>>());
        // One that is larger by itself is alone.
        let large = Open {
            raw: 100 << 20,
            ..small
        };
        assert_eq!(
            pieces(&[small, large, small]),
            (vec![0..1, 1..2, 2..3], (100 << 20) + 1000)
        );
        // Columns without a page to speak of take something, too.
        let (cut, _) = pieces(&vec![
            Open {
                raw: 100,
                stored: 0,
                columns: 1
            };
            2000
        ]);
        assert!(cut.len() > 9, "{cut:?}");
    }

    #[test]
    fn ordinary_rows_are_decoded_as_many_as_are_wanted() {
        let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8192));
        assert_eq!(of(ints, defaults()).unwrap().rows, 8192);
        assert_eq!(of(texts(&vec![40; 8192]), defaults()).unwrap().rows, 8192);
        assert_eq!(
            of(
                texts(&vec![40; 8192]),
                defaults().set_dictionary_enabled(false)
            )
            .unwrap()
            .rows,
            8192
        );
    }

    #[test]
    fn rows_that_a_dictionary_makes_long_are_decoded_by_a_few() {
        let one: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20); 2000]));
        let needs = of(one, defaults()).unwrap();
        assert!((1..=4).contains(&needs.rows), "{needs:?}");
        // It is the longest value that counts, not how many there are.
        let mut lengths = vec![10; 4000];
        lengths[7] = 1 << 20;
        let needs = of(
            texts(&lengths),
            defaults().set_dictionary_page_size_limit(4 << 20),
        )
        .unwrap();
        assert!((1..=4).contains(&needs.rows), "{needs:?}");
        let needs = of(
            texts(&vec![200; 4000]),
            defaults().set_dictionary_page_size_limit(4 << 20),
        )
        .unwrap();
        assert_eq!(needs.rows, 4000);
    }

    #[test]
    fn values_that_repeat_the_one_before_are_as_long_as_it() {
        let one: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20); 500]));
        let prefixed = defaults()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::DELTA_BYTE_ARRAY);
        let needs = of(one, prefixed.clone()).unwrap();
        assert!((1..=4).contains(&needs.rows), "{needs:?}");
        assert_eq!(of(texts(&vec![40; 8192]), prefixed).unwrap().rows, 8192);
    }

    #[test]
    fn pages_that_take_the_memory_of_everything_else_are_refused() {
        let plain = defaults()
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(1 << 30);
        let fault = of(texts(&[1 << 20; 70]), plain.clone()).unwrap_err();
        assert_eq!(fault.error_type, ErrorType::TooLarge, "{fault}");
        let needs = of(texts(&[1 << 20; 40]), plain).unwrap();
        assert!(needs.rows <= 4 && needs.open > 40 << 20, "{needs:?}");
        // Twenty million numbers in one row, of which the page says no more than how often the
        // first is repeated.
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(
            vec![Some(5); 20_000_000],
        )]));
        let fault = of(
            list,
            defaults()
                .set_data_page_size_limit(1 << 30)
                .set_data_page_row_count_limit(1 << 30),
        )
        .unwrap_err();
        assert_eq!(fault.error_type, ErrorType::TooLarge, "{fault}");
    }
}
