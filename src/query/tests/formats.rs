//! How rows are written, and where.

use std::{fs, io};

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fixture::Stores;
use crate::{
    error::Kind,
    query::{self, Format, Options, Statement, TABLE_ROWS},
    storage::store::Store,
};

const TWO: &str = "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t(n, s) ORDER BY n";
const NONE: &str = "SELECT * FROM (VALUES (1, 'a')) AS t(n, s) WHERE n > 1";

fn ask(stores: &Stores, sql: &str, format: Format) -> Options {
    stores.options(Statement::Sql(sql.to_owned()), &[], format)
}

#[tokio::test]
async fn each_format_with_rows_and_without() {
    let stores = Stores::new();
    let table =
        "+---+------+\n| n | s    |\n+---+------+\n| 1 | a    |\n| 2 | NULL |\n+---+------+\n";
    for (format, two, none) in [
        (
            Format::Table,
            table,
            "+---+---+\n| n | s |\n+---+---+\n+---+---+\n",
        ),
        (Format::Csv, "n,s\n1,a\n2,\n", "n,s\n"),
        (
            Format::Json,
            "[{\"n\":1,\"s\":\"a\"},{\"n\":2,\"s\":null}]\n",
            "[]\n",
        ),
        (
            Format::Ndjson,
            "{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":null}\n",
            "",
        ),
    ] {
        assert_eq!(
            stores.run(&ask(&stores, TWO, format)).await.unwrap(),
            (2, two.to_owned())
        );
        assert_eq!(
            stores.run(&ask(&stores, NONE, format)).await.unwrap(),
            (0, none.to_owned())
        );
    }
}

#[tokio::test]
async fn a_table_shows_so_many_rows_and_counts_the_others() {
    let stores = Stores::new();
    let rows = TABLE_ROWS as u64 + 7;
    let sql = format!("SELECT * FROM generate_series(1, {rows})");
    let (count, text) = stores
        .run(&ask(&stores, &sql, Format::Table))
        .await
        .unwrap();
    assert_eq!((count, text.lines().count()), (rows, TABLE_ROWS + 5));
    assert!(text.ends_with("… and 7 more rows: --format csv or --output FILE gives all\n"));
}

#[tokio::test]
async fn an_output_file_is_complete_or_absent() {
    let stores = Stores::new();
    let folder = stores.path("out");
    fs::create_dir(&folder).unwrap();
    let mut options = ask(&stores, TWO, Format::Parquet);
    options.output = Some(folder.join("two.parquet"));
    assert_eq!(stores.run(&options).await.unwrap(), (2, String::new()));
    let file = fs::File::open(folder.join("two.parquet")).unwrap();
    let batch = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            batch.num_rows(),
            batch.column(1).as_string::<i32>().value(0)
        ),
        (2, "a")
    );

    options.statement =
        Statement::Sql("SELECT arrow_cast('a', 'Utf8View') AS s, 1 AS n".to_owned());
    assert_eq!(stores.run(&options).await.unwrap().0, 1);
    let file = fs::File::open(folder.join("two.parquet")).unwrap();
    let batch = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        batch.column(0).as_string::<i32>().value(0),
        "a",
        "a view is plain text in a file"
    );
    options.statement = Statement::Sql(TWO.to_owned());

    options.output = Some(folder.join("two.csv"));
    options.format = Format::Csv;
    let _ = stores.run(&options).await.unwrap();
    // A statement that fails on the way leaves the file of before.
    options.statement = Statement::Sql(
        "SELECT CAST(s || 'x' AS INT) AS s FROM (VALUES ('1'), ('2')) AS t(s)".to_owned(),
    );
    assert_eq!(
        stores.run(&options).await.unwrap_err().kind(),
        Kind::BadInput
    );
    assert_eq!(
        fs::read_to_string(folder.join("two.csv")).unwrap(),
        "n,s\n1,a\n2,\n"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);

    for wrong in [folder.join("no/such.csv"), folder.clone()] {
        options.output = Some(wrong);
        assert_eq!(stores.run(&options).await.unwrap_err().kind(), Kind::Usage);
    }
    let no_file = stores
        .run(&ask(&stores, TWO, Format::Parquet))
        .await
        .unwrap_err();
    assert!(no_file.kind() == Kind::Usage && no_file.chain().contains("--output"));
}

#[tokio::test]
async fn what_a_format_cannot_hold_is_refused() {
    let stores = Stores::new();
    let error = stores
        .run(&ask(&stores, "SELECT struct(1, 2) AS pair", Format::Csv))
        .await
        .unwrap_err();
    assert!(
        error.kind() == Kind::Usage && error.chain().contains("column pair"),
        "{}",
        error.chain()
    );
    assert_eq!(
        stores
            .run(&ask(&stores, "SELECT struct(1, 2) AS pair", Format::Json))
            .await
            .unwrap()
            .0,
        1
    );
}

#[tokio::test]
async fn json_has_each_key_once() {
    let stores = Stores::new();
    let two = "SELECT a.n, b.n, 3 AS n_2 FROM (VALUES (1)) AS a(n) CROSS JOIN (VALUES (2)) AS b(n)";
    for format in [Format::Json, Format::Ndjson] {
        let (_, text) = stores.run(&ask(&stores, two, format)).await.unwrap();
        assert_eq!(
            text.trim_matches(['[', ']', '\n']),
            "{\"n\":1,\"n_3\":2,\"n_2\":3}"
        );
        let inside = "SELECT named_struct('a', 1, 'a', 2) AS pair";
        let error = stores.run(&ask(&stores, inside, format)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{}", error.chain());
    }
    let (_, text) = stores.run(&ask(&stores, two, Format::Csv)).await.unwrap();
    assert_eq!(text, "n,n,n_2\n1,2,3\n", "columns have places there");
}

#[tokio::test]
async fn a_table_holds_nothing_that_a_terminal_would_obey() {
    let stores = Stores::new();
    let sql = "SELECT chr(27) || ']0;title' || chr(7) AS s";
    let (_, text) = stores.run(&ask(&stores, sql, Format::Table)).await.unwrap();
    assert!(
        text.contains("\\u{1b}]0;title\\u{7}") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[tokio::test]
async fn a_table_shows_the_beginning_of_a_long_value() {
    let stores = Stores::new();
    let sql = "SELECT repeat('ä', 1000) AS whole, repeat('ä', 1001) AS longer";
    let (_, text) = stores.run(&ask(&stores, sql, Format::Table)).await.unwrap();
    let row = text.lines().nth(3).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[1], "ä".repeat(1000));
    assert_eq!(cells[2], "ä".repeat(1000) + "…");
}

/// A reader that goes away, or a disk that is full, after so many bytes.
struct Ends(usize, io::ErrorKind);

impl io::Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let stores = Stores::new();
    let open = |name: &str| Store::open(&stores.path(name).display().to_string()).unwrap();
    let (spool, archive) = (open("spool"), open("archive"));
    for format in [Format::Table, Format::Csv, Format::Json, Format::Ndjson] {
        let options = ask(&stores, "SELECT * FROM generate_series(1, 100000)", format);
        let mut head = Ends(100, io::ErrorKind::BrokenPipe);
        assert!(
            query::run(&spool, &archive, &options, &mut head)
                .await
                .is_ok(),
            "{format:?}"
        );
        let mut full = Ends(100, io::ErrorKind::StorageFull);
        let error = query::run(&spool, &archive, &options, &mut full)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{format:?}: {}", error.chain());
    }
}
