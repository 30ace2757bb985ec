//! Spool files that no writer at hand makes: with page checksums, or with statistics that are not
//! those of the rows.
//!
//! A file of one row group is taken apart into its column chunks and put together again with one of
//! them changed.

use bytes::Bytes;
use parquet::{
    column::writer::ColumnCloseResult,
    file::{
        metadata::ColumnChunkMetaData, properties::WriterProperties, statistics::Statistics,
        writer::SerializedFileWriter,
    },
};

use super::pages;

/// Whether a checksum is that of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    Right,
    Wrong,
}

/// The file with a checksum in the header of the first data page of `column`.
pub fn with_checksum(file: &[u8], column: &str, checksum: Checksum) -> Vec<u8> {
    rewritten(file, column, |chunk, metadata| {
        let all = pages::of(file, column);
        let page = all
            .iter()
            .find(|p| p.kind == parquet::basic::PageType::DATA_PAGE)
            .expect("a page of version 1");
        let start = all[0].header.start;
        let crc = crc32(&file[page.body.clone()]) ^ u32::from(checksum == Checksum::Wrong);
        let header = with_field_4(&file[page.header.clone()], crc.cast_signed());
        let mut changed = chunk[..page.header.start - start].to_vec();
        changed.extend_from_slice(&header);
        changed.extend_from_slice(&chunk[page.body.start - start..]);
        let more = (changed.len() - chunk.len()) as i64;
        let metadata = metadata
            .into_builder()
            .set_total_compressed_size(chunk.len() as i64 + more)
            .build()
            .unwrap();
        (changed, metadata)
    })
}

/// The file with other smallest and largest values of an `Int64` column in its footer.
pub fn with_span(file: &[u8], column: &str, min: i64, max: i64) -> Vec<u8> {
    rewritten(file, column, |chunk, metadata| {
        let statistics = Statistics::int64(Some(min), Some(max), None, Some(0), false);
        (
            chunk.to_vec(),
            metadata
                .into_builder()
                .set_statistics(statistics)
                .build()
                .unwrap(),
        )
    })
}

/// The file with these statistics of a column in its footer.
pub fn with_statistics(file: &[u8], column: &str, statistics: &Statistics) -> Vec<u8> {
    rewritten(file, column, |chunk, metadata| {
        (
            chunk.to_vec(),
            metadata
                .into_builder()
                .set_statistics(statistics.clone())
                .build()
                .unwrap(),
        )
    })
}

/// The file with the statistics of a string column saying that it holds nothing but `value`.
pub fn with_constant(file: &[u8], column: &str, value: &str) -> Vec<u8> {
    rewritten(file, column, |chunk, metadata| {
        let value = || Some(value.as_bytes().to_vec().into());
        let statistics = Statistics::byte_array(value(), value(), None, Some(0), false);
        (
            chunk.to_vec(),
            metadata
                .into_builder()
                .set_statistics(statistics)
                .build()
                .unwrap(),
        )
    })
}

fn rewritten(
    file: &[u8],
    column: &str,
    change: impl Fn(&[u8], ColumnChunkMetaData) -> (Vec<u8>, ColumnChunkMetaData),
) -> Vec<u8> {
    let metadata = pages::metadata(file);
    assert_eq!(metadata.num_row_groups(), 1);
    let group = metadata.row_group(0);
    let properties = WriterProperties::builder()
        .set_key_value_metadata(metadata.file_metadata().key_value_metadata().cloned())
        .set_sorting_columns(group.sorting_columns().cloned())
        .build();
    let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
    let mut written = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut written, schema, properties.into()).unwrap();
    let mut into = writer.next_row_group().unwrap();
    for chunk in group.columns() {
        let (start, length) = chunk.byte_range();
        let bytes = &file[start as usize..(start + length) as usize];
        let (bytes, metadata) = if chunk.column_path().string() == column {
            change(bytes, chunk.clone())
        } else {
            (bytes.to_vec(), chunk.clone())
        };
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: group.num_rows() as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        // The writer looks for the chunk at the offset that its metadata tells.
        let mut placed = vec![0; start as usize];
        placed.extend_from_slice(&bytes);
        into.append_column(&Bytes::from(placed), close).unwrap();
    }
    let _ = into.close().unwrap();
    let _ = writer.close().unwrap();
    written
}

/// A page header of version 1 with the integer field 4 (the checksum) put between field 3 and field
/// 5.
fn with_field_4(header: &[u8], value: i32) -> Vec<u8> {
    let mut at = 0;
    for _ in 0..3 {
        assert_eq!(
            header[at], 0x15,
            "the first three fields are integers, one after another"
        );
        at += 1;
        while header[at] & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    assert_eq!(header[at], 0x2c, "the next field is the structure 5");
    let mut changed = header[..at].to_vec();
    changed.push(0x15);
    let mut zigzag = ((value << 1) ^ (value >> 31)).cast_unsigned();
    while zigzag >= 0x80 {
        changed.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    changed.push(zigzag as u8);
    changed.push(0x1c);
    changed.extend_from_slice(&header[at + 1..]);
    changed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            archive::decode,
            events::{DAY, Events, quotes},
        },
        *,
    };

    #[test]
    fn rewritten_files_hold_the_same_rows_and_the_reader_checks_their_checksums() {
        let sealed = Events::sealed(quotes(DAY, 1_000_000, 1, 300)).rows_per_page(100);
        let file = sealed.bytes();
        let right = with_checksum(&file, "bid_qty", Checksum::Right);
        assert_eq!(decode(&right).unwrap().batch, sealed.batch());
        assert!(!right.is_empty() && right != file);
        let failure = decode(&with_checksum(&file, "bid_qty", Checksum::Wrong)).unwrap_err();
        assert!(failure.to_lowercase().contains("crc"), "{failure}");
        let spanned = decode(&with_span(&file, "ts_event", 5, 6)).unwrap();
        assert_eq!(spanned.batch, sealed.batch());
        assert_eq!(
            spanned
                .metadata
                .row_group(0)
                .sorting_columns()
                .unwrap()
                .len(),
            2
        );
        let Some(Statistics::Int64(s)) = spanned.metadata.row_group(0).column(0).statistics()
        else {
            panic!()
        };
        assert_eq!((s.min_opt(), s.max_opt()), (Some(&5), Some(&6)));
        assert!(spanned.footer.contains_key("qlc.row_hash"));
    }
}
