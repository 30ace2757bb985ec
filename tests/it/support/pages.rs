//! Where the pages of a Parquet file lie, to the byte.
//!
//! Reads page headers itself, because no public reader tells where a page's data begins. Knows
//! Thrift's compact protocol as far as page headers use it.

use std::ops::Range;

use bytes::Bytes;
use parquet::{
    basic::PageType,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub group: usize,
    pub kind: PageType,
    pub header: Range<usize>,
    /// The page's data as stored, so compressed if the column is.
    pub body: Range<usize>,
}

/// The footer of a file.
pub fn metadata(file: &[u8]) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::copy_from_slice(file))
        .unwrap()
}

/// The pages of a column in all row groups, in their order; a dictionary page comes before the data
/// pages of its group.
pub fn of(file: &[u8], column: &str) -> Vec<Page> {
    let metadata = metadata(file);
    let mut pages = Vec::new();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        let chunk = row_group
            .columns()
            .iter()
            .find(|c| c.column_path().string() == column)
            .expect("a column");
        let (start, length) = chunk.byte_range();
        let mut at = start as usize;
        let end = at + length as usize;
        while at < end {
            let (fields, body) = header(file, at);
            let kind = match fields[1] {
                0 => PageType::DATA_PAGE,
                1 => PageType::INDEX_PAGE,
                2 => PageType::DICTIONARY_PAGE,
                _ => PageType::DATA_PAGE_V2,
            };
            let after = body + fields[3] as usize;
            pages.push(Page {
                group,
                kind,
                header: at..body,
                body: body..after,
            });
            at = after;
        }
        assert_eq!(at, end, "the pages of a chunk fill it");
    }
    pages
}

/// The integers among a page header's first fields (1 type, 2 size, 3 compressed size, 4 CRC), and
/// where it ends.
fn header(file: &[u8], at: usize) -> ([i64; 5], usize) {
    let mut reader = Compact { file, at };
    let mut fields = [0; 5];
    reader.structure(&mut |id, value| {
        if let Some(field) = fields.get_mut(id) {
            *field = value;
        }
    });
    (fields, reader.at)
}

struct Compact<'a> {
    file: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.file[self.at - 1]
    }

    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn zigzag(&mut self) -> i64 {
        let value = self.varint();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    /// Walks over a struct; tells `integer` the id and value of each of its integers.
    fn structure(&mut self, integer: &mut dyn FnMut(usize, i64)) {
        let mut id = 0;
        loop {
            let field = self.byte();
            if field == 0 {
                return;
            }
            id = match field >> 4 {
                0 => self.zigzag(),
                step => id + i64::from(step),
            };
            if let Some(value) = self.value(field & 0x0f) {
                integer(id as usize, value);
            }
        }
    }

    /// Walks over a value of a type; returns it if it is an integer.
    fn value(&mut self, kind: u8) -> Option<i64> {
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()),
            4..=6 => return Some(self.zigzag()),
            7 => self.at += 8,
            8 => self.at += self.varint() as usize,
            9 | 10 => {
                let size_and_kind = self.byte();
                let size = match size_and_kind >> 4 {
                    15 => self.varint(),
                    size => u64::from(size),
                };
                for _ in 0..size {
                    let _ = self.value(size_and_kind & 0x0f);
                }
            }
            12 => self.structure(&mut |_, _| {}),
            other => panic!("a page header has no Thrift type {other}"),
        }
        None
    }
}
