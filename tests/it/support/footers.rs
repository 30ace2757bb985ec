//! Parquet files that are nothing but a footer, put together byte by byte: no writer at hand makes
//! them.

/// A file of no rows with one column below so many groups.
pub fn nested(groups: usize) -> Vec<u8> {
    let mut elements = vec![vec![0x48, 1, b's', 0x15, 2, 0]];
    elements.extend(std::iter::repeat_n(
        vec![0x35, 0, 0x18, 1, b'a', 0x15, 2, 0],
        groups,
    ));
    elements.push(leaf());
    file(&elements, &[])
}

/// A file whose footer can be read, and whose one column cannot.
pub fn with_an_encrypted_column() -> Vec<u8> {
    // The column's metadata stands elsewhere, under a key of the footer.
    let column = [0x26, 0, 0x6c, 0x1c, 0, 0, 0];
    let group = [&[0x19, 0x1c][..], &column, &[0x16, 0, 0x16, 0, 0]].concat();
    file(&[vec![0x48, 1, b's', 0x15, 2, 0], leaf()], &[group])
}

/// A required column of 64-bit integers.
fn leaf() -> Vec<u8> {
    vec![0x15, 4, 0x25, 0, 0x18, 1, b'a', 0]
}

fn file(elements: &[Vec<u8>], groups: &[Vec<u8>]) -> Vec<u8> {
    let footer = [
        vec![0x15, 4],
        list(elements),
        vec![0x16, 0],
        list(groups),
        vec![0],
    ];
    let footer = footer.concat();
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", &footer[..], &length, b"PAR1"].concat()
}

/// The next field: a list of structs.
fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut list = vec![0x19, 0xfc];
    let mut length = elements.len();
    while length >= 0x80 {
        list.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    list.push(length as u8);
    list.extend(elements.concat());
    list
}

#[cfg(test)]
mod tests {
    use parquet::file::metadata::ParquetMetaDataReader;

    use super::*;

    #[test]
    fn the_reader_understands_a_footer_of_a_few_levels() {
        let file = nested(3);
        let metadata = ParquetMetaDataReader::decode_metadata(&file[4..file.len() - 8]).unwrap();
        let path = metadata
            .file_metadata()
            .schema_descr()
            .column(0)
            .path()
            .string();
        assert_eq!((metadata.num_row_groups(), path.as_str()), (0, "a.a.a.a"));
    }
}
