//! Encodes rows into a Parquet file with qlc's settings and nothing else: no order, no row hash, no
//! fsync, no proof.
//!
//! Row groups are encoded side by side, each by one thread, which keeps all cores busy with the
//! least coordination. Refuses to be more than scratch: the file is removed before the program
//! ends.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use arrow::{array::RecordBatch, compute::BatchCoalescer, datatypes::SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::ParquetError,
    file::writer::SerializedFileWriter,
};
use qlc::file::encode::{CHUNK_ROWS, GROUP_ROWS, properties};

/// What goes wrong in a measuring program ends it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the program was asked for: `FOLDER TARGET [--threads N]`, and flags of its own.
pub(crate) struct Asked {
    /// The folder of one symbol's files.
    pub(crate) folder: PathBuf,
    /// The file that is written, and removed at the end.
    pub(crate) target: PathBuf,
    /// Threads that encode.
    pub(crate) threads: usize,
}

impl Asked {
    /// What was asked on the command line, with the flags that are the program's own; nothing when
    /// cargo runs the program among all benches.
    pub(crate) fn read() -> Outcome<Option<(Self, Vec<String>)>> {
        let (mut paths, mut flags, mut threads) = (Vec::new(), Vec::new(), 2);
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => {}
                "--threads" => threads = words.next().ok_or("--threads needs a number")?.parse()?,
                flag if flag.starts_with("--") => flags.push(word),
                path => paths.push(PathBuf::from(path)),
            }
        }
        match <[PathBuf; 2]>::try_from(paths) {
            Ok([folder, target]) => Ok(Some((
                Self {
                    folder,
                    target,
                    threads,
                },
                flags,
            ))),
            Err(none) if none.is_empty() => Ok(None),
            Err(_) => Err("say the folder of a symbol's files, and the file to write".into()),
        }
    }
}

/// Cuts batches into chunks and row groups as qlc does.
struct Groups<I> {
    rows: I,
    coalescer: BatchCoalescer,
    ended: bool,
}

impl<I: Iterator<Item = Outcome<RecordBatch>>> Iterator for Groups<I> {
    type Item = Outcome<Vec<RecordBatch>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut group = Vec::new();
        while group.len() * CHUNK_ROWS < GROUP_ROWS {
            if let Some(chunk) = self.coalescer.next_completed_batch() {
                group.push(chunk);
                continue;
            }
            if self.ended {
                break;
            }
            let pushed = match self.rows.next() {
                Some(Ok(batch)) => self.coalescer.push_batch(batch),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.ended = true;
                    self.coalescer.finish_buffered_batch()
                }
            };
            if let Err(error) = pushed {
                return Some(Err(error.into()));
            }
        }
        (!group.is_empty()).then_some(Ok(group))
    }
}

/// Writes `rows` to `target` and removes it again; returns how many there were.
pub(crate) fn encode(
    rows: impl Iterator<Item = Outcome<RecordBatch>> + Send,
    schema: &SchemaRef,
    target: &Path,
    threads: usize,
) -> Outcome<u64> {
    let descriptor = ArrowSchemaConverter::new().convert(schema)?;
    let file = BufWriter::with_capacity(1 << 18, File::create(target)?);
    let mut writer = SerializedFileWriter::new(
        file,
        descriptor.root_schema_ptr(),
        properties(schema, None)?,
    )?;
    let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(schema));
    let groups = Groups {
        rows,
        coalescer: BatchCoalescer::new(Arc::clone(schema), CHUNK_ROWS),
        ended: false,
    };
    let (give, take) = mpsc::sync_channel(1);
    let (done, finished) = mpsc::channel();
    // Gone with the last encoder, so that whoever still has rows to give hears of it.
    let take = Arc::new(Mutex::new(take));
    let mut written = 0;
    thread::scope(|scope| -> Outcome<()> {
        let _ = scope.spawn(move || groups.enumerate().try_for_each(|item| give.send(item)));
        for _ in 0..threads.max(1) {
            let (take, done, factory) = (Arc::clone(&take), done.clone(), &factory);
            let _ = scope.spawn(move || {
                loop {
                    let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((nth, group)) = next else { return };
                    let encoded = group.and_then(|group| {
                        Ok((rows_of(&group), group_of(factory, schema, nth, &group)?))
                    });
                    if done.send((nth, encoded)).is_err() {
                        return;
                    }
                }
            });
        }
        drop((take, done));
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (nth, encoded) in finished {
            let _ = early.insert(nth, encoded?);
            while let Some((rows, chunks)) = early.remove(&next) {
                let mut group = writer.next_row_group()?;
                for chunk in chunks {
                    chunk.append_to_row_group(&mut group)?;
                }
                let _ = group.close()?;
                written += rows;
                next += 1;
            }
        }
        Ok(())
    })?;
    let _ = writer.finish()?;
    writer.flush()?;
    drop(writer);
    fs::remove_file(target)?;
    Ok(written)
}

fn rows_of(group: &[RecordBatch]) -> u64 {
    group.iter().map(|chunk| chunk.num_rows() as u64).sum()
}

/// All columns of one row group.
fn group_of(
    factory: &ArrowRowGroupWriterFactory,
    schema: &SchemaRef,
    nth: usize,
    group: &[RecordBatch],
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let mut writers = factory.create_column_writers(nth)?;
    for chunk in group {
        let mut left = writers.iter_mut();
        for (field, column) in schema.fields().iter().zip(chunk.columns()) {
            for (leaf, writer) in compute_leaves(field, column)?.iter().zip(left.by_ref()) {
                writer.write(leaf)?;
            }
        }
    }
    writers
        .into_iter()
        .map(parquet::arrow::arrow_writer::ArrowColumnWriter::close)
        .collect()
}
