//! Ways in which a file can be broken, each where it is told to be.

use parquet::basic::{Compression, PageType};

use super::pages::{self, Page};

/// The first `length` bytes.
pub fn truncated(file: &[u8], length: usize) -> Vec<u8> {
    file[..length].to_vec()
}

/// Turns over the byte `at` bytes into the data of the `nth` data page of a column, counted through
/// all row groups.
pub fn flip_in_data_page(file: &mut [u8], column: &str, nth: usize, at: usize) {
    let page = data_pages(file, column).swap_remove(nth);
    assert!(
        at < page.body.len(),
        "the page has only {} bytes",
        page.body.len()
    );
    file[page.body.start + at] ^= 0xff;
}

/// Turns over every byte of the first 64 of the `nth` data page of a column, so that no
/// decompressor takes it.
pub fn scramble_data_page(file: &mut [u8], column: &str, nth: usize) {
    let page = data_pages(file, column).swap_remove(nth);
    scramble(file, &page);
}

/// Likewise for the first dictionary page of a column.
pub fn scramble_dictionary_page(file: &mut [u8], column: &str) {
    let page = pages::of(file, column)
        .into_iter()
        .find(|p| p.kind == PageType::DICTIONARY_PAGE)
        .expect("a dictionary");
    scramble(file, &page);
}

/// Turns over the first bytes of the header of a column's `nth` data page.
pub fn scramble_page_header(file: &mut [u8], column: &str, nth: usize) {
    let page = data_pages(file, column).swap_remove(nth);
    for byte in &mut file[page.header] {
        *byte ^= 0xff;
    }
}

/// Lets every index of the first run of the first data page of `column` point behind its
/// dictionary.
///
/// The file must be uncompressed, with data pages of version 1, and the dictionary must have 3, 5,
/// 6 or 7 values, so that its indices have room for a number that is too large.
pub fn break_dictionary_index(file: &mut [u8], column: &str) {
    let metadata = pages::metadata(file);
    let chunk = metadata
        .row_group(0)
        .columns()
        .iter()
        .find(|c| c.column_path().string() == column)
        .expect("a column");
    assert_eq!(chunk.compression(), Compression::UNCOMPRESSED);
    let page = data_pages(file, column).swap_remove(0);
    assert_eq!(page.kind, PageType::DATA_PAGE);
    let mut at = page.body.start;
    if chunk.column_descr().max_def_level() > 0 {
        let levels: [u8; 4] = file[at..at + 4].try_into().unwrap();
        at += 4 + u32::from_le_bytes(levels) as usize;
    }
    let width = file[at];
    assert!(
        (2..=3).contains(&width),
        "indices of {width} bits leave no room"
    );
    let run = file[at + 1];
    assert!(
        run & 0x80 == 0 || run & 1 == 1,
        "the run is short or packed"
    );
    let mut first = at + 2;
    while file[first - 1] & 0x80 != 0 {
        first += 1;
    }
    let last = if run & 1 == 1 {
        page.body.end
    } else {
        first + 1
    };
    let wrong = if run & 1 == 1 { 0xff } else { (1 << width) - 1 };
    for byte in &mut file[first..last] {
        *byte = wrong;
    }
}

/// Turns over bytes in the middle of the footer; its length and the magic number stay.
pub fn scramble_footer(file: &mut [u8]) {
    let end = file.len() - 8;
    let length: [u8; 4] = file[end..end + 4].try_into().unwrap();
    let middle = end - u32::from_le_bytes(length) as usize / 2;
    for byte in &mut file[middle..(middle + 48).min(end)] {
        *byte ^= 0xff;
    }
}

/// Lets the footer claim a length beyond the file.
pub fn overlong_footer(file: &mut [u8]) {
    let end = file.len() - 8;
    file[end..end + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
}

fn data_pages(file: &[u8], column: &str) -> Vec<Page> {
    let is_data = |p: &Page| matches!(p.kind, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
    pages::of(file, column)
        .into_iter()
        .filter(is_data)
        .collect()
}

fn scramble(file: &mut [u8], page: &Page) {
    let end = page.body.end.min(page.body.start + 64);
    for byte in &mut file[page.body.start..end] {
        *byte ^= 0xff;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use parquet::basic::{GzipLevel, ZstdLevel};

    use super::{
        super::{
            archive::decode,
            events::{DAY, Events, quotes},
        },
        *,
    };

    fn sealed() -> Events {
        Events::sealed(quotes(DAY, 1_000_000, 1, 600)).rows_per_page(200)
    }

    /// How the reader fails on a file; `None` when it does not.
    fn failure(file: &[u8]) -> Option<String> {
        let outcome = catch_unwind(|| decode(file).map(|_| ()));
        outcome.unwrap_or_else(|_| Err("a panic".to_owned())).err()
    }

    #[test]
    fn pages_that_do_not_decompress_fail() {
        for codec in [
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
        ] {
            let intact = sealed().compressed(codec).bytes();
            assert_eq!(failure(&intact), None);
            for nth in 0..3 {
                let mut file = intact.clone();
                scramble_data_page(&mut file, "bid_qty", nth);
                assert!(failure(&file).is_some(), "{codec:?} {nth}");
            }
            let mut file = intact.clone();
            scramble_dictionary_page(&mut file, "bid_price");
            assert!(failure(&file).is_some(), "{codec:?}");
        }
    }

    #[test]
    fn headers_and_footers_that_are_damaged_fail() {
        let intact = sealed().bytes();
        let check = |damage: &dyn Fn(&mut Vec<u8>)| {
            let mut file = intact.clone();
            damage(&mut file);
            assert!(failure(&file).is_some());
        };
        check(&|f| scramble_page_header(f, "seq", 1));
        check(&|f| scramble_footer(f));
        check(&|f| overlong_footer(f));
        check(&|f| *f = truncated(f, f.len() - 1));
        check(&|f| *f = truncated(f, f.len() / 2));
        check(&|f| f.clear());
    }

    #[test]
    fn an_index_behind_the_dictionary_fails() {
        // Quotes of three prices in turn.
        let mut rows = quotes(DAY, 1_000_000, 1, 600);
        for (n, row) in rows.iter_mut().enumerate() {
            row.bid_price = 100.0 + (n % 3) as f64;
        }
        let mut file = Events::sealed(rows)
            .compressed(Compression::UNCOMPRESSED)
            .bytes();
        assert_eq!(failure(&file), None);
        break_dictionary_index(&mut file, "bid_price");
        let failed = failure(&file).expect("the index is wrong");
        assert!(!failed.is_empty(), "{failed}");
    }

    #[test]
    fn a_flipped_byte_in_a_plain_page_is_another_value() {
        let file = sealed()
            .compressed(Compression::UNCOMPRESSED)
            .without_dictionaries();
        let mut bytes = file.bytes();
        // The last byte of the page is the upper byte of its last value.
        let last = data_pages(&bytes, "bid_qty")[1].body.len() - 1;
        flip_in_data_page(&mut bytes, "bid_qty", 1, last);
        let (intact, other) = (file.batch(), decode(&bytes).unwrap().batch);
        assert_ne!(intact, other);
        assert_eq!(intact.slice(0, 399), other.slice(0, 399));
        assert_eq!(intact.slice(400, 200), other.slice(400, 200));
    }
}
