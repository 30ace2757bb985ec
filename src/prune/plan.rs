//! Which files may be removed: every file that is meant is read, and its every row looked for.
//!
//! Nothing is changed here: a dry run ends with this plan.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::report::{Judged, Options, Outcome};
use crate::{
    archive::{
        evidence::{Doubt, Evidence},
        proof::{self, ProofResult, Proven, Subject, SubjectRead},
        quarantine::{self, SeriesEntries},
    },
    error::{Error, Kind, Result},
    model::{
        date::Date,
        layout,
        partition::{Selection, Series},
        quarantine::Extent,
    },
    storage::{
        listing::{Missing, SpoolListing, Unlisted},
        store::Store,
    },
};

/// Files that are read at a time.
const READ_AT_A_TIME: usize = 4;

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
        return Err(Error::usage(
            "no file of the spool matches --exchange, --stream and --symbol; check their spelling (they are the folder names)",
        ));
    }
    let (mut kept, hidden) = quarantine::days(archive.list(layout::QUARANTINE).await?);
    let hidden = hidden.meant(layout::QUARANTINE, &options.selection);
    // The first day that stays.
    let young = (0..options.keep_days).fold(today, |day, _| day.pred());
    let mut evidence = Evidence::new(archive);
    let mut series: Option<Series> = None;
    let mut all = Vec::with_capacity(subjects.len());
    let reads = subjects
        .into_iter()
        .map(|subject| read_ahead(spool, subject, young));
    let mut reads = stream::iter(reads).buffered(READ_AT_A_TIME);
    while let Some((subject, read)) = reads.next().await {
        if stop() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked; nothing was removed",
            ));
        }
        if series.as_ref() != Some(&subject.series) {
            // Receipts of a series are of no use to the next.
            evidence.forget();
            let days = kept.remove(&subject.series).unwrap_or_default();
            let entries = SeriesEntries::read(archive, &subject.series, days).await?;
            evidence.know(&subject.series, Arc::new(entries));
            series = Some(subject.series.clone());
        }
        // What cannot be listed may be the copy of a file, or the entry that says it must stay.
        let gap = gaps
            .of("", &subject.series)
            .or_else(|| hidden.of(layout::QUARANTINE, &subject.series));
        let judged = match gap {
            Some(gap) => Ok((Outcome::Failed, gap.reason.clone(), None)),
            None => judge(spool, &subject, read, &mut evidence, young).await,
        };
        let (outcome, reason, proven) =
            judged.unwrap_or_else(|error| (outcome_of(&error), error.chain(), None));
        let judged = Judged {
            name: subject.name,
            date: subject.home,
            bytes: subject.object.size,
            rows: proven.as_ref().map(|p| p.rows()),
            series: subject.series,
            outcome,
            reason,
        };
        all.push(Planned { judged, proven });
    }
    Ok((
        all,
        gaps.into_all()
            .into_iter()
            .chain(hidden.into_all())
            .collect(),
    ))
}

/// Reads a file before its turn comes, on a thread of its own, unless its name tells that it is
/// young.
async fn read_ahead(
    spool: &Store,
    subject: Subject,
    young: Date,
) -> (Subject, Option<Result<SubjectRead>>) {
    if subject.home.is_some_and(|home| home >= young) {
        return (subject, None);
    }
    let read = proof::read_apart(spool, &subject).await;
    (subject, Some(read))
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
    read: Option<Result<SubjectRead>>,
    evidence: &mut Evidence,
    young: Date,
) -> Result<Judgement> {
    let stays = |outcome, reason: String| Ok((outcome, reason, None));
    let not_older = |day: Date| format!("{day} is not older than the days to keep");
    if let Some(home) = subject.home.filter(|home| *home >= young) {
        return stays(Outcome::Young, not_older(home));
    }
    let (name, object) = (&subject.name, &subject.object);
    let kept = evidence.kept(&subject.series).await?;
    // What cannot be read may name any file of the series: none can go before it is mended.
    kept.all_known()?;
    for (_, entry) in kept.of_file(name, object.size) {
        // Of a file of which only rows were kept, the others are to be found.
        if entry.extent() == Extent::Rows {
            continue;
        }
        let is_same = (entry.source_path == *name && entry.modified_us == object.modified_us)
            || spool.sha256(name).await?.0 == entry.sha256;
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
    let read = match read {
        Some(read) => read?,
        None => proof::read(spool, subject).await?,
    };
    Ok(
        match proof::prove_read(subject, read, evidence, Some(young)).await? {
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
        .map(|d| format!("{} in {}", d.rows, d.date))
        .collect();
    let far = proven
        .quarantined()
        .map(|q| format!(", {} in QUARANTINE", q.rows))
        .unwrap_or_default();
    format!(
        "all {} rows are in the archive: {}{far}",
        proven.rows(),
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
