//! What `docs/format.md` says of a data file is what a fresh file is.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use arrow::array::StringArray;
use parquet::file::{
    metadata::ParquetMetaData,
    reader::{FileReader, SerializedFileReader},
};

use super::support::{
    archive::home,
    events::{DAY, Events, quotes},
    run::{CATCH_UP, Place},
};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md")).unwrap()
}

/// The rows of the table under this header, cell by cell.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let lines = page
        .lines()
        .skip_while(|line| *line != header)
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let found: Vec<Vec<String>> = lines.map(cells).collect();
    assert!(!found.is_empty(), "the page has no table under {header}");
    found
}

/// The words between backticks.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// A column of strings that all differ.
const DIFFERENT: &str = "trade_id";

/// The footer of a fresh file of more than one row group.
fn fresh(more: &[&str]) -> ParquetMetaData {
    let place = Place::new();
    let numbers = (0..300_000).map(|n| Some((5_900_000_000_i64 + n).to_string()));
    let rows = Events::sealed(quotes(DAY, 100_000, 0, 300_000))
        .with(DIFFERENT, Arc::new(numbers.collect::<StringArray>()));
    let _ = place.put_quotes("2026-02-03_00.parquet", &rows.bytes());
    let _ = place.qlc(&[CATCH_UP, more].concat()).ended(0);
    let file = fs::File::open(place.archive().join(home()).join("data.parquet")).unwrap();
    SerializedFileReader::new(file).unwrap().metadata().clone()
}

/// Compressed bytes by column.
fn sizes(footer: &ParquetMetaData) -> BTreeMap<String, i64> {
    let columns = footer.row_group(0).columns().iter();
    columns
        .map(|column| (column.column_path().string(), column.compressed_size()))
        .collect()
}

#[test]
fn encodings_levels_footer_keys_and_sorting_columns_are_those_of_the_page() {
    let (page, footer) = (page(), fresh(&[]));
    let facts = footer.file_metadata();
    let rows = footer.row_group(0).num_rows();
    assert_eq!((footer.num_row_groups(), rows), (2, 262_144));
    assert!(page.contains("Row groups of 262,144 rows"));
    assert!(
        facts.created_by().unwrap().starts_with("qlc version ") && page.contains("`qlc version`")
    );

    let kinds = table(&page, "| columns | encodings | zstd level |");
    let [integers, different, others] = kinds.as_slice() else {
        panic!("{kinds:?}")
    };
    let level = |kind: &[String]| kind[2].clone();
    let at = |level: &str| sizes(&fresh(&["--zstd-level", level]));
    let sizes_of = [integers, different, others].map(|kind| at(&level(kind)));
    let lowest = at("1");
    let real = sizes(&footer);
    for column in footer.row_group(0).columns() {
        let name = column.column_path().string();
        let (kind, same) = if column.column_type() == parquet::basic::Type::INT64 {
            (integers, &sizes_of[0])
        } else if name == DIFFERENT {
            (different, &sizes_of[1])
        } else {
            (others, &sizes_of[2])
        };
        let allowed = names(&kind[1]);
        for encoding in column.encodings().map(|e| format!("{e:?}")) {
            // Levels of nulls are not values.
            assert!(
                encoding == "RLE" || allowed.contains(&encoding.as_str()),
                "{name} has {encoding}"
            );
        }
        assert_eq!(
            real[&name],
            same[&name],
            "{name} is not of level {}",
            level(kind)
        );
        assert!(
            column.statistics().is_some() && column.column_index_offset().is_some(),
            "{name}"
        );
    }
    assert!(real != lowest, "the sizes tell the level");

    let sorted = table(&page, "| sorting columns |");
    let told = names(&sorted[0][0]);
    let sorting = footer.row_group(0).sorting_columns().unwrap();
    let schema = facts.schema_descr();
    let real: Vec<String> = sorting
        .iter()
        .map(|by| schema.column(by.column_idx as usize).path().string())
        .collect();
    assert_eq!(real, told);

    let keys = table(&page, "| key in the footer | when |");
    let told = |when: &str| -> Vec<String> {
        keys.iter()
            .filter(|key| when.is_empty() || key[1] == when)
            .map(|key| names(&key[0])[0].to_owned())
            .collect()
    };
    let of = |footer: &ParquetMetaData| -> Vec<String> {
        let pairs = footer.file_metadata().key_value_metadata().unwrap();
        pairs.iter().map(|pair| pair.key.clone()).collect()
    };
    assert_eq!(of(&footer), told("always"));
    let leveled = of(&fresh(&["--zstd-level", "3"]));
    assert!(
        leveled.iter().all(|key| told("").contains(key)),
        "{leveled:?}"
    );
    assert!(
        leveled.contains(&told("with `--zstd-level`")[0]),
        "{leveled:?}"
    );
}

#[test]
fn floats_that_are_not_numbers_have_no_statistics() {
    use std::sync::Arc;
    let place = Place::new();
    let prices: arrow::array::ArrayRef =
        Arc::new(arrow::array::Float64Array::from(vec![1.0, f64::NAN, 1.0]));
    let same: arrow::array::ArrayRef =
        Arc::new(arrow::array::Float64Array::from(vec![f64::NAN; 3]));
    let rows = Events::sealed(quotes(DAY, 1_000_000, 0, 3))
        .replace("bid_price", prices)
        .replace("ask_qty", same);
    let _ = place.put_quotes("2026-02-03_00.parquet", &rows.bytes());
    let _ = place.compact(&[]).ended(0);
    place.verify();
    let file = fs::File::open(place.archive().join(home()).join("data.parquet")).unwrap();
    let footer = SerializedFileReader::new(file).unwrap().metadata().clone();
    for column in footer.row_group(0).columns() {
        let has_nan = ["bid_price", "ask_qty"].contains(&column.column_path().string().as_str());
        assert_eq!(
            column.statistics().is_none(),
            has_nan,
            "{}",
            column.column_path()
        );
        assert_eq!(
            column.column_index_offset().is_none(),
            has_nan,
            "{}",
            column.column_path()
        );
    }
    let sql = "SELECT count(*) AS n FROM archive.bbo WHERE bid_price <> 1";
    assert_eq!(
        place
            .qlc(&["query", sql, "--format", "csv"])
            .ended(0)
            .stdout,
        "n\n1\n"
    );
}
