//! Rows in a file that is complete or absent: written beside its place, synced, read back, renamed.
//!
//! Folders are not created, so that a mistyped path is noticed.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::format::{self, Format, WrittenRows};
use crate::{
    engine::sql::Rows,
    error::{Error, Kind, Result},
    storage::{
        Expect,
        atomic::{self, Steps},
        store::Store,
    },
};

/// Writes all rows to `path`, replacing what was there; returns how many there were.
pub(super) async fn write(rows: Rows, format: Format, path: &Path) -> Result<u64> {
    let shown = path.display().to_string();
    let (store, name) = Store::of_file(path, "--output")?;
    let staging = path.parent().unwrap_or(path);
    let count = Arc::new(Mutex::new(None));
    let place = shown.clone();
    let (counted, expected) = (Arc::clone(&count), Arc::clone(&count));
    let steps = Steps {
        write: Box::new(move |temporary: PathBuf| {
            Box::pin(async move {
                let wrong = |e| Error::io(format!("{}: cannot be written", temporary.display()), e);
                let mut file = BufWriter::new(File::create(&temporary).map_err(wrong)?);
                let written = format::write(rows, format, &mut file)
                    .await
                    .map_err(|e| named(&place, e))?;
                file.flush().map_err(wrong)?;
                *counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
                Ok(())
            })
        }),
        verify: Box::new(move |temporary: PathBuf| {
            Box::pin(async move {
                let expected = *expected.lock().unwrap_or_else(PoisonError::into_inner);
                match expected {
                    Some(expected) if reads_back(&temporary, format, expected)? => {
                        Ok(expected.rows)
                    }
                    _ => Err(Error::new(
                        Kind::Io,
                        format!("{shown}: other data was read back than was written"),
                    )),
                }
            })
        }),
        before_visible: Box::new(|_| Box::pin(async { Ok(()) })),
    };
    Ok(
        *atomic::write(&store, &name, staging, &Expect::Anything, steps)
            .await?
            .verified(),
    )
}

/// Which file it is that was not written: the writer of rows does not know where they go.
fn named(shown: &str, error: Error) -> Error {
    match error.kind() {
        Kind::Io => Error::caused(
            Kind::Io,
            format!("--output {shown}: was not written"),
            error,
        ),
        _ => error,
    }
}

fn reads_back(file: &Path, format: Format, expected: WrittenRows) -> Result<bool> {
    let wrong = |e| Error::io(format!("{}: cannot be read back", file.display()), e);
    let opened = File::open(file).map_err(wrong)?;
    let length = opened.metadata().map_err(wrong)?.len();
    if format != Format::Parquet || length != expected.bytes {
        return Ok(length == expected.bytes);
    }
    let footer = SerializedFileReader::new(opened).map_err(|e| {
        Error::io(
            format!("{}: the footer cannot be read back", file.display()),
            e,
        )
    })?;
    Ok(u64::try_from(footer.metadata().file_metadata().num_rows()) == Ok(expected.rows))
}
