//! What a process that died left in the journal becomes sealed files, each row once.
//!
//! A file whose rows are in the journal is in one of these states; the temporary name and the note of readiness tell:
//!
//! ```text
//! it stands in the spool and holds these rows      nothing to do
//! it stands there with other content               sealed under another name
//! it was ready, and its temporary name is gone     it was visible, and has been taken away since: nothing to do
//! otherwise                                        it was never visible: sealed now, under its name
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    journal::{Found, Journal, Record, RowsHead},
    rows::Rows,
    seal::{self, seal},
};
use crate::{
    error::Result,
    feed::venue::Wanted,
    storage::{atomic, store::Store},
};

/// What was recovered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) files: u64,
    pub(crate) rows: u64,
}

/// Seals what the journal holds and no file does.
///
/// # Errors
/// When a file cannot be sealed: the rows stay in the journal, and nothing is collected before they are safe.
pub(crate) async fn recover(spool: &Store, journal: &Arc<Mutex<Journal>>, found: &Found) -> Result<Recovered> {
    let mut files: BTreeMap<&str, (&RowsHead, Rows)> = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for record in &found.records {
        match record {
            Record::Rows(head, batch) => {
                let (_, rows) = files.entry(&head.key).or_insert_with(|| (head, Rows::new(head.kind)));
                rows.extend(batch)?;
            }
            Record::Ready(key) => drop(ready.insert(key.as_str())),
            Record::Unready(key) => drop(ready.remove(key.as_str())),
            Record::Memories(_) => {}
        }
    }
    let mut missing = Vec::new();
    for (key, (head, rows)) in files {
        let standing = spool.local_path(key).filter(|path| path.exists());
        let key = match standing.map(|path| seal::read_back(&path)) {
            // The tail that was not acknowledged can be in the file and not in the journal.
            Some(Ok(content)) if content.rows >= rows.len() => continue,
            Some(_) => {
                tracing::warn!(file = %spool.show(key), "a sealed file holds other rows than it should; they are sealed beside it");
                key.replace(".parquet", &format!("-{}.parquet", head.memory.seq))
            }
            None if ready.contains(key) && !has_temporary(spool, key) => continue,
            None => key.to_owned(),
        };
        missing.push((key, head, rows));
    }
    // Temporary names are evidence: they go only when the journal does not need them any more.
    for (key, _, _) in &missing {
        journal.lock().unwrap_or_else(PoisonError::into_inner).unready(key)?;
    }
    let mut recovered = Recovered::default();
    for (key, _, _) in &missing {
        let _ = atomic::sweep(spool, key.rsplit_once('/').map_or("", |(folder, _)| folder));
    }
    for (key, head, rows) in missing {
        let wanted = Wanted::restored(head.series.clone(), head.kind, head.symbol.clone())?;
        let (noted, noted_key) = (Arc::clone(journal), key.clone());
        let note = move || noted.lock().unwrap_or_else(PoisonError::into_inner).ready(&noted_key);
        recovered.rows += rows.len() as u64;
        recovered.files += 1;
        let _ = seal(spool, &key, &wanted, &Arc::new(rows), Box::new(note)).await?;
    }
    for path in &found.damaged {
        tracing::error!(segment = %path.display(), "a segment of the journal is damaged; it is kept aside");
        let _ = fs::rename(path, path.with_extension("damaged"));
    }
    Ok(recovered)
}

/// Whether a temporary file of the atomic write of `key` lies beside its place.
fn has_temporary(spool: &Store, key: &str) -> bool {
    let Some(path) = spool.local_path(key) else { return false };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return false };
    let begin = format!(".{name}.");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(&begin) && n.ends_with(".qlc.tmp")))
}
