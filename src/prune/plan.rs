//! Which files may be removed: every file that is meant is read, and its every row looked for.
//!
//! Nothing is changed here: a dry run ends with this plan.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, stream};

use super::report::{Judged, Options, Outcome};
use crate::{
    archive::{
        evidence::{Doubt, Evidence},
        proof::{self, ProofResult, Proven, Subject},
        quarantine::{self, SeriesEntries},
    },
    error::{Error, Kind, Result},
    file::census::{self, FileRead},
    model::{
        count,
        date::Date,
        layout,
        partition::{Selection, Series},
        quarantine::Extent,
    },
    storage::{
        listing::{Missing, SpoolListing, Unlisted},
        spelling::{self, FOLDER_NAMES},
        store::Store,
    },
};

/// How much is under way at a time. The memory that it takes is bounded where files are read.
#[derive(Debug, Clone, Copy)]
struct Width {
    /// Series.
    series: usize,
    /// Files of each that are read before their turn comes.
    files: usize,
}

impl Width {
    /// A folder answers at once; before the answer of a bucket many others can be waited for.
    fn of(spool: &Store, archive: &Store) -> Self {
        if spool.is_remote() || archive.is_remote() {
            Self {
                series: 16,
                files: 64,
            }
        } else {
            Self {
                series: 4,
                files: 16,
            }
        }
    }
}

/// A file, what is said of it, and the proof without which it cannot go.
pub(super) struct Planned {
    /// What is said of it.
    pub(super) judged: Judged,
    /// The proof.
    pub(super) proven: Option<Box<Proven>>,
}

/// Judges every file of the spool that `options` mean.
pub(super) async fn plan(
    spool: &Store,
    archive: &Store,
    options: &Options,
    today: Date,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(Vec<Planned>, Vec<Unlisted>)> {
    let (subjects, gaps) = subjects(spool, &options.selection).await?;
    if subjects.is_empty() && gaps.all().is_empty() && options.selection != Selection::all() {
        let hint = spelling::hint(&options.selection, &[spool], FOLDER_NAMES).await;
        return Err(Error::usage(format!(
            "no file of the spool matches --exchange, --stream and --symbol; {hint}"
        )));
    }
    let (mut kept, hidden) = quarantine::days(archive.list(layout::QUARANTINE).await?);
    let hidden = hidden.meant(layout::QUARANTINE, &options.selection);
    let width = Width::of(spool, archive);
    let planning = Planning {
        spool,
        archive,
        // The first day that stays.
        young: (0..options.keep_days).fold(today, |day, _| day.pred()),
        ahead: width.files,
        stop,
    };
    let mut parts = Vec::new();
    for subjects in subjects.chunk_by(|a, b| a.series == b.series) {
        let Some(series) = subjects.first().map(|subject| &subject.series) else {
            continue;
        };
        let days = kept.remove(series).unwrap_or_default();
        // What cannot be listed may be the copy of a file, or the entry that says it must stay.
        let gap = gaps
            .of("", series)
            .or_else(|| hidden.of(layout::QUARANTINE, series));
        parts.push(planning.series(series, subjects, days, gap));
    }
    let mut parts = stream::iter(parts).buffered(width.series);
    let mut all = Vec::with_capacity(subjects.len());
    while let Some(part) = parts.next().await {
        all.extend(part?);
    }
    drop(parts);
    Ok((
        all,
        gaps.into_all()
            .into_iter()
            .chain(hidden.into_all())
            .collect(),
    ))
}

/// What all series of a run have in common.
struct Planning<'a> {
    spool: &'a Store,
    archive: &'a Store,
    /// The first day that stays.
    young: Date,
    /// Files that are read before their turn comes.
    ahead: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Planning<'_> {
    /// Judges the files of a series. What was read of the archive for one is of no use to the next.
    async fn series(
        &self,
        series: &Series,
        subjects: &[Subject],
        days: BTreeSet<Date>,
        gap: Option<&Unlisted>,
    ) -> Result<Vec<Planned>> {
        let mut evidence = Evidence::new(self.archive);
        let entries = SeriesEntries::read(self.archive, series, days).await?;
        evidence.know(series, Arc::new(entries));
        let mut subjects: Vec<&Subject> = subjects.iter().collect();
        subjects.sort_by_key(|subject| (subject.home.is_none(), subject.home));
        let reads = subjects.iter().map(|subject| self.read_ahead(subject));
        let mut reads = stream::iter(reads).buffered(self.ahead);
        let mut all = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            let read = reads.next().await.flatten();
            if (self.stop)() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "stopped as asked; nothing was removed",
                ));
            }
            // What comes later has rows of this day and later ones, and of the one before it.
            if let Some(home) = subject.home {
                evidence.forget_before(home.pred());
            }
            let judged = match gap {
                Some(gap) => Ok((Outcome::Failed, gap.reason.clone(), None)),
                None => judge(self.spool, subject, read, &mut evidence, self.young).await,
            };
            let (outcome, reason, proven) = match judged {
                Ok(judged) => judged,
                Err(error) => {
                    // Where a store has gone, there is nothing to say of its files.
                    self.spool.check_there()?;
                    self.archive.check_there()?;
                    (outcome_of(&error), error.chain(), None)
                }
            };
            let judged = Judged {
                name: subject.name.clone(),
                date: subject.home,
                bytes: subject.object.size,
                rows: proven.as_ref().map(|p| p.rows()),
                series: subject.series.clone(),
                outcome,
                reason,
            };
            all.push(Planned { judged, proven });
        }
        all.sort_by(|a, b| a.judged.name.cmp(&b.judged.name));
        Ok(all)
    }

    /// Reads a file before its turn comes, on a thread of its own, unless its name tells that it is
    /// young.
    async fn read_ahead(&self, subject: &Subject) -> Option<Result<FileRead>> {
        if subject.home.is_some_and(|home| home >= self.young) {
            return None;
        }
        Some(census::read_apart(self.spool, &subject.object).await)
    }
}

/// One file that is out of reach does not stop the others, nor does one `error.json` that cannot be
/// read.
fn outcome_of(error: &Error) -> Outcome {
    if error.kind() == Kind::Damage {
        Outcome::Unproven
    } else {
        Outcome::Failed
    }
}

type Judgement = (Outcome, String, Option<Box<Proven>>);

async fn judge(
    spool: &Store,
    subject: &Subject,
    read: Option<Result<FileRead>>,
    evidence: &mut Evidence,
    young: Date,
) -> Result<Judgement> {
    let stays = |outcome, reason: String| Ok((outcome, reason, None));
    let not_older = |day: Date| format!("{day} is not older than the days to keep");
    if let Some(home) = subject.home.filter(|home| *home >= young) {
        return stays(Outcome::Young, not_older(home));
    }
    let read = read.unwrap_or_else(|| Err(Error::new(Kind::Internal, "it was not read")));
    let (name, object) = (&subject.name, &subject.object);
    if let Err(error) = &read
        && error.kind() == Kind::Io
        && spool.head(name).await?.is_none()
    {
        return stays(Outcome::Gone, "was gone before it was read".to_owned());
    }
    let kept = evidence.kept(&subject.series).await?;
    // What cannot be read may name any file of the series: none can go before it is mended.
    kept.all_known()?;
    for (_, entry) in kept.of_file(name, object.size) {
        // Of a file of which only rows were kept, the others are to be found.
        if entry.extent() == Extent::Rows {
            continue;
        }
        let is_same = (entry.source_path == *name && entry.modified_us == object.modified_us)
            || read.as_ref().is_ok_and(|read| read.sha256 == entry.sha256);
        if is_same {
            let what = match (entry.discarded, entry.extent()) {
                (true, _) => {
                    "was discarded from QUARANTINE, and is the last copy: remove it by hand if it is of no use"
                }
                (false, Extent::Groups) => {
                    "lies whole in QUARANTINE, because only some of its row groups read"
                }
                (false, _) => "lies whole in QUARANTINE",
            };
            return stays(
                Outcome::Quarantined,
                format!("{what} ({})", entry.error_type),
            );
        }
    }
    Ok(
        match proof::prove_read(subject, read?, evidence, Some(young)).await? {
            ProofResult::Proven(proven) => {
                (Outcome::Removable, proof_in_words(&proven), Some(proven))
            }
            ProofResult::Young(day) => (Outcome::Young, not_older(day), None),
            ProofResult::Empty => (
                Outcome::Empty,
                "has no rows, so that no receipt vouches for it".to_owned(),
                None,
            ),
            ProofResult::Doubt(Doubt::Waiting(why)) => (Outcome::Waiting, why, None),
            ProofResult::Doubt(Doubt::Damaged(why)) => (Outcome::Unproven, why, None),
        },
    )
}

fn proof_in_words(proven: &Proven) -> String {
    let days: Vec<String> = proven
        .data()
        .iter()
        .map(|d| format!("{} in {}", count::grouped(d.rows), d.date))
        .collect();
    let far = proven
        .quarantined()
        .map(|q| format!(", {} in QUARANTINE", count::grouped(q.rows)))
        .unwrap_or_default();
    format!(
        "{} in the archive: {}{far}",
        count::all_rows_are(proven.rows()),
        days.join(", ")
    )
}

/// The files of the spool, by series and name, and the folders in which there may be more of them.
async fn subjects(spool: &Store, selection: &Selection) -> Result<(Vec<Subject>, Missing)> {
    let mut all = Vec::new();
    let SpoolListing { files, missing, .. } = spool.list("").await?.spool();
    for (placed, object) in files {
        if selection.takes(&placed.series) {
            let home = placed.home();
            all.push(Subject {
                name: object.key.clone(),
                object,
                series: placed.series,
                home,
            });
        }
    }
    all.sort_by(|a, b| (&a.series, &a.name).cmp(&(&b.series, &b.name)));
    Ok((all, missing.meant("", selection)))
}
