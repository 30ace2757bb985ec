//! What reading an archive takes at least: of every `data.parquet` below a folder the sha256, and
//! then all columns decoded by parquet and arrow as they come. No order, no row hash, no receipt:
//! what `qlc verify` needs beyond it is what checking costs.
//!
//! `decode FOLDER [--threads N]`. Files are taken one after the other, as `qlc verify` takes them;
//! the digest is made by one thread, and the row groups are decoded side by side. Measured as a
//! process by `benches/run`; without arguments it does nothing.

use std::{
    error::Error,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rows that are decoded at a time, as many as `qlc verify` decodes.
const BATCH_ROWS: usize = 8192;

fn main() -> Outcome<()> {
    let (mut folder, mut threads) = (None, 2);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--threads" => threads = words.next().ok_or("--threads needs a number")?.parse()?,
            _ => folder = Some(PathBuf::from(word)),
        }
    }
    let Some(folder) = folder else { return Ok(()) };
    let mut files = Vec::new();
    find(&folder, &mut files)?;
    files.sort();
    let mut rows = 0;
    for file in &files {
        let _ = digest(file)?;
        rows += decode(file, threads)?;
    }
    match rows {
        0 => Err("the folder has no rows".into()),
        _ => Ok(()),
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.ends_with("data.parquet") {
            files.push(path);
        }
    }
    Ok(())
}

fn digest(file: &Path) -> Outcome<Vec<u8>> {
    let mut digest = Sha256::new();
    let mut reader = File::open(file)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let bytes = reader.read(&mut piece)?;
        let Some(read) = piece.get(..bytes).filter(|read| !read.is_empty()) else {
            return Ok(digest.finalize().to_vec());
        };
        digest.update(read);
    }
}

/// How many rows of the file were decoded.
fn decode(file: &Path, threads: usize) -> Outcome<usize> {
    let meta = ArrowReaderMetadata::load(&File::open(file)?, ArrowReaderOptions::new())?;
    let groups = meta.metadata().num_row_groups();
    let next = AtomicUsize::new(0);
    let one = || -> Outcome<usize> {
        let mut rows = 0;
        loop {
            let group = next.fetch_add(1, Ordering::Relaxed);
            if group >= groups {
                return Ok(rows);
            }
            // A clone of the file would share its position with the other threads.
            let own = File::open(file)?;
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(own, meta.clone())
                .with_row_groups(vec![group])
                .with_batch_size(BATCH_ROWS)
                .build()?;
            for batch in reader {
                rows += batch?.num_rows();
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(groups)).map(|_| scope.spawn(one)).collect();
        let decoded = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        });
        decoded.sum()
    })
}
