//! What the archive itself proves: published partitions whose data was read again, and rows that
//! QUARANTINE still has.
//!
//! Each partition's data is read once, however many files ask for it. A name, a size or a time
//! proves nothing: the bytes of `data.parquet` must have the sha256 that both `meta.json` and the
//! receipt say.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    partition::PartitionHandle,
    quarantine::SeriesEntries,
    state::{self, Depth, Inspection, Published, State, advice},
};
use crate::{
    error::{Error, Result},
    file::census::{self, FileRead},
    model::{
        date::Date,
        meta::{self, Meta},
        partition::{Partition, Series},
        quarantine::Entry,
        receipt::{Content, Source},
        sources::SourceNames,
    },
    storage::store::Store,
};

/// Why something is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing is wrong: a compaction has yet to do its part.
    Waiting(String),
    /// The archive, QUARANTINE or the file is not what its receipt says.
    Damaged(String),
}

/// A published partition whose data was read to the last byte, and its sources by content and name.
#[derive(Debug, Clone)]
pub struct Witness {
    published: Published,
    by_content: HashMap<Content, Vec<usize>>,
    names: SourceNames,
}

impl Witness {
    fn of(published: Published) -> Self {
        let mut by_content: HashMap<Content, Vec<usize>> = HashMap::new();
        for (nth, source) in published.receipt().sources.iter().enumerate() {
            by_content.entry(source.content()).or_default().push(nth);
        }
        Self {
            names: SourceNames::of(&published.receipt().sources),
            published,
            by_content,
        }
    }

    /// The receipt.
    #[must_use]
    pub fn receipt(&self) -> &crate::model::receipt::Receipt {
        self.published.receipt()
    }

    /// The sources of this name: more than one where a file had other rows once.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Source> + use<'a> {
        self.names.find(&self.receipt().sources, name)
    }

    /// The source that a file of this collector with these rows may be, whatever its name; its own
    /// collector's first.
    #[must_use]
    pub fn source(&self, collector: Option<&str>, content: Content) -> Option<&Source> {
        let all = || {
            content
                .recorded_as()
                .into_iter()
                .filter_map(|content| self.by_content.get(&content))
                .flatten()
                .filter_map(|nth| self.receipt().sources.get(*nth))
        };
        let is_its = |source: &&Source| source.collector() == collector;
        all()
            .find(is_its)
            .or_else(|| all().find(|source| source.may_be_of(collector)))
    }
}

/// What was read of an archive so far.
#[derive(Debug)]
pub struct Evidence {
    archive: Store,
    days: BTreeMap<Partition, std::result::Result<Arc<Witness>, Doubt>>,
    kept: BTreeMap<Series, Arc<SeriesEntries>>,
}

impl Evidence {
    /// Nothing yet.
    #[must_use]
    pub fn new(archive: &Store) -> Self {
        Self {
            archive: archive.clone(),
            days: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Lets go of what was read of days before `day`: of each of them a receipt is held, and it may
    /// name very many files. Whoever asks for one after all has it read again.
    pub fn forget_before(&mut self, day: Date) {
        self.days.retain(|partition, _| partition.date >= day);
    }

    /// The archive that speaks.
    #[must_use]
    pub fn archive(&self) -> &Store {
        &self.archive
    }

    /// Forgets what was read: the next question is asked anew.
    pub fn forget(&mut self) {
        self.days.clear();
        self.kept.clear();
    }

    /// The partition as it is published, or why it does not count as that.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn of(
        &mut self,
        partition: &Partition,
    ) -> Result<std::result::Result<Arc<Witness>, Doubt>> {
        if let Some(known) = self.days.get(partition) {
            return Ok(known.clone());
        }
        // All of the data is hashed: on a thread of its own, so that whoever reads other files
        // beside it is not held up.
        let (archive, meant) = (self.archive.clone(), partition.clone());
        let reading = tokio::spawn(async move { witness(&archive, &meant).await });
        let found = reading
            .await
            .map_err(|lost| Error::lost_task("the reading of a partition", lost))??;
        let _ = self.days.insert(partition.clone(), found.clone());
        Ok(found)
    }

    /// Takes note of what QUARANTINE has of a series, where that was read already.
    pub fn know(&mut self, series: &Series, kept: Arc<SeriesEntries>) {
        let _ = self.kept.insert(series.clone(), kept);
    }

    /// What QUARANTINE has of a series.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn kept(&mut self, series: &Series) -> Result<Arc<SeriesEntries>> {
        if let Some(known) = self.kept.get(series) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(SeriesEntries::list(&self.archive, series).await?);
        self.know(series, Arc::clone(&found));
        Ok(found)
    }

    /// Reads the row file of `entry` and says what in it is not as `expected` wants it.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn kept_rows(
        &self,
        partition: &Partition,
        entry: &Entry,
        expected: Content,
    ) -> Result<std::result::Result<(), Doubt>> {
        let key = PartitionHandle::new(&self.archive, partition).kept_key(&entry.kept_as);
        let damaged = |what: String| {
            Ok(Err(Doubt::Damaged(format!(
                "{}: {what}",
                self.archive.show(&key)
            ))))
        };
        if entry.discarded {
            return Ok(Err(Doubt::Waiting(
                "rows of it were discarded from QUARANTINE, so nothing shows them any more; remove it by hand"
                    .to_owned(),
            )));
        }
        let Some(object) = self.archive.head(&key).await? else {
            return damaged("has gone".to_owned());
        };
        let FileRead { sha256, census } = census::read(&self.archive, &object).await?;
        if sha256 != entry.kept_sha256 {
            return damaged(format!(
                "has sha256 {sha256}, error.json says {}",
                entry.kept_sha256
            ));
        }
        match census {
            Ok(kept) if kept.all == expected => Ok(Ok(())),
            Ok(kept) => damaged(format!(
                "holds {} rows with hash {}, not {} with {}",
                kept.all.rows, kept.all.row_hash, expected.rows, expected.row_hash
            )),
            Err(problem) => damaged(problem.to_string()),
        }
    }
}

async fn witness(
    archive: &Store,
    partition: &Partition,
) -> Result<std::result::Result<Arc<Witness>, Doubt>> {
    let Inspection { state, .. } =
        state::inspect(&PartitionHandle::new(archive, partition), Depth::Bytes).await?;
    let what_to_do = advice(&state)
        .map(|advice| format!("; {advice}"))
        .unwrap_or_default();
    let damaged = |what: String| {
        Ok(Err(Doubt::Damaged(format!(
            "{partition}: {what}{what_to_do}"
        ))))
    };
    match state {
        State::Published(published) => match published.receipt().findings().into_iter().next() {
            Some(finding) => damaged(finding),
            None => Ok(Ok(Arc::new(Witness::of(published)))),
        },
        State::Empty => Ok(Err(Doubt::Waiting(format!(
            "{partition} is not published yet"
        )))),
        State::Interrupted(receipt) => {
            // A meta.json of other data is that of the generation before. One that is no meta.json,
            // or says something else of this very data, was damaged.
            let meta = PartitionHandle::new(archive, partition)
                .meta()
                .await?
                .map(|(bytes, _)| bytes);
            let finding = meta
                .as_ref()
                .and_then(|bytes| meta::findings(bytes).into_iter().next());
            let said = meta
                .and_then(|bytes| Meta::from_json(&bytes).ok())
                .map(|meta| meta.sha256);
            match finding {
                Some(finding) => damaged(finding),
                None if said.as_ref() == Some(&receipt.outcome.sha256) => {
                    damaged("meta.json and the receipt disagree".to_owned())
                }
                None => Ok(Err(Doubt::Waiting(format!(
                    "{partition} is being replaced, or that was interrupted{what_to_do}"
                )))),
            }
        }
        State::Lost(loss) => damaged(loss.to_string()),
        State::Unproven(unproven) => damaged(unproven.to_string()),
    }
}
