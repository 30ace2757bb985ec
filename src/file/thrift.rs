//! Looks into Thrift's compact encoding before anything is built from it: how deep a footer's
//! schema is nested, whether columns are encrypted, how large a page becomes.
//!
//! The Parquet reader recurses into a schema as deep as it goes and allocates what a page header
//! says. A stack overflow and an allocation that fails end the process, and neither can be caught.
//! What the reader itself checks is not checked here: bytes that cannot be understood give no
//! answer.

/// Structs, lists and maps within each other that are followed.
const NESTING: usize = 16;

/// What a footer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outline {
    /// Levels of the schema below its root.
    pub(super) depth: usize,
    /// Whether a column of some row group is encrypted.
    pub(super) encrypted: bool,
}

/// What a page's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PageHeader {
    /// Bytes of the header.
    pub(super) length: usize,
    /// Bytes of the page as it is stored.
    pub(super) stored: u64,
    /// Bytes of the page after decompression.
    pub(super) raw: u64,
    /// Bytes of it that are not compressed and stand before the others.
    pub(super) levels: u64,
    /// Its values, nulls included.
    pub(super) values: u64,
    /// What it is.
    pub(super) kind: PageKind,
}

/// What a page is, as far as it matters for its size in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum PageKind {
    /// Something without values.
    #[default]
    Other,
    /// The values that indices refer to.
    Dictionary,
    /// Values one after the other.
    Plain,
    /// Indices into the dictionary.
    Indices,
    /// Values that repeat the beginning of the one before.
    Prefixed,
}

/// The outline of a footer, as far as it can be understood.
pub(super) fn outline(footer: &[u8]) -> Outline {
    let mut outline = Outline::default();
    let mut at = Cursor { rest: footer };
    let _ = at.fields(0, |at, id, kind| match (id, kind) {
        (2, LIST) => {
            // The elements stand in depth-first order, each with the number of its children.
            let mut open: Vec<u64> = Vec::new();
            let (elements, of) = at.list()?;
            for _ in 0..elements {
                while open.pop_if(|left| *left == 0).is_some() {}
                if let Some(left) = open.last_mut() {
                    *left -= 1;
                }
                outline.depth = outline.depth.max(open.len());
                let mut children = 0;
                if of != STRUCT {
                    return None;
                }
                at.fields(1, |at, id, kind| match (id, kind) {
                    (5, I32) => {
                        children = u64::try_from(at.integer()?).unwrap_or(0);
                        Some(())
                    }
                    _ => at.skip(kind, 2),
                })?;
                if children > 0 {
                    open.push(children);
                }
            }
            Some(())
        }
        (4, LIST) => at.structs(|at, id, kind| match (id, kind) {
            // Row groups, and in them columns.
            (1, LIST) => at.structs(|at, id, kind| {
                outline.encrypted |= id == 8;
                at.skip(kind, 4)
            }),
            _ => at.skip(kind, 2),
        }),
        _ => at.skip(kind, 1),
    });
    outline
}

/// The header of the page that `bytes` begin with, if it can be understood.
pub(super) fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    const PLAIN_DICTIONARY: i64 = 2;
    const DELTA_BYTE_ARRAY: i64 = 7;
    const RLE_DICTIONARY: i64 = 8;
    let mut header = PageHeader::default();
    let mut at = Cursor { rest: bytes };
    let (mut stored, mut raw) = (None, None);
    at.fields(0, |at, id, kind| match (id, kind) {
        (2, I32) => {
            raw = Some(at.integer()?);
            Some(())
        }
        (3, I32) => {
            stored = Some(at.integer()?);
            Some(())
        }
        (5 | 7 | 8, STRUCT) => {
            // The encoding is the second field of a page of version 1 and the fourth of version 2,
            // whose levels are not compressed.
            let [_, values, second, _, fourth, definition, repetition] = at.first_integers()?;
            let encoding = if id == 8 { fourth } else { second }?;
            header.values = u64::try_from(values?).unwrap_or(0);
            if id == 8 {
                let bytes = |levels: Option<i64>| u64::try_from(levels.unwrap_or(0)).unwrap_or(0);
                header.levels = bytes(definition).saturating_add(bytes(repetition));
            }
            header.kind = match (id, encoding) {
                (7, _) => PageKind::Dictionary,
                (_, PLAIN_DICTIONARY | RLE_DICTIONARY) => PageKind::Indices,
                (_, DELTA_BYTE_ARRAY) => PageKind::Prefixed,
                _ => PageKind::Plain,
            };
            Some(())
        }
        _ => at.skip(kind, 1),
    })?;
    header.stored = u64::try_from(stored?).ok()?;
    header.raw = u64::try_from(raw?).ok()?;
    header.length = bytes.len() - at.rest.len();
    Some(header)
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// What is left to be read.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed integer of any width.
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The number of a list's elements and their type.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let elements = if head >> 4 == 15 {
            self.varint()?
        } else {
            u64::from(head >> 4)
        };
        Some((elements, head & 0x0f))
    }

    /// Calls `each` with the number and type of every field of a struct; it must read the value.
    /// The value of a boolean is its type.
    fn fields(
        &mut self,
        depth: usize,
        mut each: impl FnMut(&mut Self, i16, u8) -> Option<()>,
    ) -> Option<()> {
        if depth > NESTING {
            return None;
        }
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => i16::try_from(self.integer()?).ok()?,
                delta => id.checked_add(i16::from(delta))?,
            };
            each(self, id, head & 0x0f)?;
        }
    }

    /// Calls `each` with every field of every struct of a list.
    fn structs(&mut self, mut each: impl FnMut(&mut Self, i16, u8) -> Option<()>) -> Option<()> {
        let (elements, of) = self.list()?;
        if of != STRUCT {
            return None;
        }
        for _ in 0..elements {
            self.fields(1, &mut each)?;
        }
        Some(())
    }

    /// The first integer fields of a struct, by their numbers; the others are passed over.
    fn first_integers(&mut self) -> Option<[Option<i64>; 7]> {
        let mut found = [None; 7];
        self.fields(1, |at, id, kind| {
            match usize::try_from(id).ok().and_then(|id| found.get_mut(id)) {
                Some(place) if kind == I32 => {
                    *place = Some(at.integer()?);
                    Some(())
                }
                _ => at.skip(kind, 2),
            }
        })?;
        Some(found)
    }

    /// Passes over the value of a field.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => Some(()),
            I8 => self.pass(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = self.varint()?;
                self.pass(length)
            }
            UUID => self.pass(16),
            LIST | SET => {
                let (elements, of) = self.list()?;
                for _ in 0..elements {
                    self.skip_element(of, depth + 1)?;
                }
                Some(())
            }
            MAP => {
                let elements = self.varint()?;
                if elements == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                for _ in 0..elements {
                    self.skip_element(kinds >> 4, depth + 1)?;
                    self.skip_element(kinds & 0x0f, depth + 1)?;
                }
                Some(())
            }
            STRUCT => self.fields(depth + 1, |at, _, kind| at.skip(kind, depth + 1)),
            _ => None,
        }
    }

    /// An element of a list has its boolean in a byte of its own.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > NESTING {
            return None;
        }
        match kind {
            TRUE | FALSE => self.pass(1),
            other => self.skip(other, depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::{
        basic::{Encoding, Repetition, Type as Physical},
        data_type::Int64Type,
        file::{
            properties::WriterProperties, reader::FileReader,
            serialized_reader::SerializedFileReader, writer::SerializedFileWriter,
        },
        schema::types::Type,
    };

    use super::*;

    /// A file with one column below so many groups.
    fn nested(groups: usize) -> Vec<u8> {
        let mut field = Arc::new(
            Type::primitive_type_builder("a", Physical::INT64)
                .with_repetition(Repetition::REQUIRED)
                .build()
                .unwrap(),
        );
        for _ in 0..groups {
            let group = Type::group_type_builder("a")
                .with_repetition(Repetition::REQUIRED)
                .with_fields(vec![field]);
            field = Arc::new(group.build().unwrap());
        }
        let root = Type::group_type_builder("schema")
            .with_fields(vec![field])
            .build()
            .unwrap();
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::PLAIN)
            .build();
        let mut writer =
            SerializedFileWriter::new(Vec::new(), Arc::new(root), Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let _ = column
            .typed::<Int64Type>()
            .write_batch(&[1, 2, 3], None, None)
            .unwrap();
        column.close().unwrap();
        let _ = group.close().unwrap();
        writer.into_inner().unwrap()
    }

    fn footer(file: &[u8]) -> &[u8] {
        let end = file.len() - 8;
        let length = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
        &file[end - length..end]
    }

    #[test]
    fn the_depth_of_a_schema_is_told_from_the_bytes() {
        for groups in [0, 1, 5, 100] {
            let file = nested(groups);
            assert_eq!(
                outline(footer(&file)),
                Outline {
                    depth: groups + 1,
                    encrypted: false
                }
            );
        }
    }

    #[test]
    fn pages_are_told_as_they_are() {
        let file = nested(0);
        let reader = SerializedFileReader::new(bytes::Bytes::from(file.clone())).unwrap();
        let column = reader.metadata().row_group(0).column(0);
        let (start, length) = column.byte_range();
        let (start, length) = (
            usize::try_from(start).unwrap(),
            usize::try_from(length).unwrap(),
        );
        let header = page_header(&file[start..start + length]).unwrap();
        assert_eq!(
            (header.raw, header.values, header.kind),
            (24, 3, PageKind::Plain)
        );
        assert_eq!(
            header.length + usize::try_from(header.stored).unwrap(),
            length
        );
    }

    #[test]
    fn bytes_that_are_none_are_passed_over() {
        let file = nested(3);
        for cut in 0..footer(&file).len() {
            let _ = outline(&footer(&file)[..cut]);
        }
        // A list within a list within a list, as deep as there are bytes.
        let deep = vec![0x19_u8; 100_000];
        assert_eq!(outline(&deep), Outline::default());
        assert_eq!(page_header(&[0x4c; 1000]), None);
        assert_eq!(page_header(&[]), None);
    }
}
