//! Lets a compaction try kept bytes again, and removes them when their rows are in the archive.
//!
//! ```text
//! entry             kept   spool          after a crash, the same command …
//! kept              yes    gone           puts the bytes back, marks, compacts
//! kept              yes    back           marks, compacts; a compaction alone would leave the file out as before
//! retry             yes    there          compacts; good: its rows are in the archive; bad: a new entry without the mark
//! retry             yes    in the archive proves that, writes the journal, removes what is kept, then the entry
//! retry             no     in the archive proves that from the spool, removes the entry
//! ```
//!
//! Whether a file is good is never decided here. What a compaction cannot try is refused: rows
//! without a permitted day, files of which a part is in the archive already, and a damaged one that
//! has left the spool where a whole file of its name is in the archive.

use super::{
    note::{change, drop_object, journal, time},
    report::{Held, Place, Retried, Retry, Tried},
};
use crate::{
    archive::{
        evidence::{Doubt, Evidence},
        partition::PartitionHandle,
        proof::{ProofResult, Proven, Subject, prove},
        quarantine,
    },
    error::{Error, Kind, Result},
    file::census,
    model::{
        count,
        journal::Released,
        layout::{self, Placed},
        quarantine::{Entry, Extent},
    },
    storage::{
        Expect, atomic, conditions,
        store::{Object, Store},
    },
};

/// Marks entries so that the next compaction tries their bytes; bytes that have left the spool are
/// put back first.
///
/// # Errors
/// When a store does not answer or refuses. What cannot be tried says so in the result.
pub async fn mark(at: &Place<'_>, spool: &Store, all: Vec<Held>) -> Result<Vec<Retry>> {
    if !all.is_empty() {
        conditions::probe(at.archive).await?;
    }
    let mut marked = Vec::with_capacity(all.len());
    for held in all {
        let home = Placed::in_spool(&held.entry.source_path)
            .and_then(Result::ok)
            .and_then(|placed| placed.home());
        let mut retry = Retry {
            held,
            home,
            refused: None,
            put_back: false,
        };
        match input(at, spool, &retry).await? {
            Ok(put_back) => {
                retry.put_back = put_back;
                if !retry.held.entry.retry {
                    let mark = |entry| {
                        Some(Entry {
                            retry: true,
                            ..entry
                        })
                    };
                    change(at, &retry.held.partition, &retry.held.entry.kept_as, mark).await?;
                }
            }
            Err(why) => retry.refused = Some(why),
        }
        marked.push(retry);
    }
    Ok(marked)
}

/// Sees to it that the spool has the bytes; `true` if they had to be put back, or why they cannot
/// be tried.
async fn input(
    at: &Place<'_>,
    spool: &Store,
    retry: &Retry,
) -> Result<std::result::Result<bool, String>> {
    let held = &retry.held;
    let entry = &held.entry;
    let refuse = |why: &str| Ok(Err(why.to_owned()));
    match (entry.discarded, entry.extent()) {
        (true, _) => return refuse("it was discarded: nothing is kept of it"),
        (false, Extent::Rows) => {
            return refuse(
                "it holds rows without a permitted day, which no compaction takes in; keep or discard them",
            );
        }
        (false, Extent::Groups) => {
            return refuse(
                "its good row groups are in the archive; the others cannot be tried by themselves",
            );
        }
        (false, Extent::Whole) => {}
    }
    if !spool.has_place_for(&entry.source_path) {
        let key = &entry.source_path;
        return Ok(Err(match layout::collector_of(key) {
            Some(name) => format!(
                "{key}: it came from the spool of {name}; name that one with --spool {name}=PLACE"
            ),
            None => format!(
                "{key}: this name does not tell which of the spools it came from; give that one alone, without a name"
            ),
        }));
    }
    if let Some(found) = spool.head(&entry.source_path).await? {
        let same =
            found.size == entry.size && spool.sha256(&entry.source_path).await?.0 == entry.sha256;
        return if same {
            Ok(Ok(false))
        } else {
            Ok(Err(format!(
                "{}: the spool has other bytes under this name; move them, or put {} there under another name yourself",
                spool.show(&entry.source_path),
                at.archive.show(&held.key())
            )))
        };
    }
    if at.archive.head(&held.key()).await?.is_none() {
        return refuse("it has gone from the spool and from QUARANTINE");
    }
    if at.archive.sha256(&held.key()).await?.0 != entry.kept_sha256 {
        return refuse("what is kept of it is not what error.json says");
    }
    if let Some(why) = of_its_name(at, retry).await? {
        return Ok(Err(why));
    }
    match atomic::copy(
        at.archive,
        &held.key(),
        spool,
        &entry.source_path,
        at.staging,
        &Expect::Absent,
    )
    .await
    {
        Ok(_) => Ok(Ok(true)),
        Err(error) if error.kind() == Kind::Conflict => {
            refuse("a file of its name came into the spool meanwhile")
        }
        Err(error) => Err(error),
    }
}

/// Why kept bytes that do not read are not put back: the archive has a file of their name, which was
/// whole. A salvage of them would add rows that are there.
async fn of_its_name(at: &Place<'_>, retry: &Retry) -> Result<Option<String>> {
    let (partition, entry) = (&retry.held.partition, &retry.held.entry);
    let Some(kept) = at.archive.head(&retry.held.key()).await? else {
        return Ok(None);
    };
    let Err(problem) = census::read(at.archive, &kept).await?.census else {
        return Ok(None);
    };
    let mut evidence = Evidence::new(at.archive);
    for date in retry.home.unwrap_or(partition.date).with_neighbours() {
        let Ok(witness) = evidence.of(&partition.series.on(date)).await? else {
            continue;
        };
        let whole = witness
            .named(&entry.source_path)
            .find(|source| source.rows_of_day() + source.rows_known > 0 && !source.is_partial());
        if let Some(source) = whole {
            return Ok(Some(format!(
                "it does not read ({problem}), and a whole file of its name is in the archive, {} by the receipt of \
                 {date}: it is not put back into the spool; if it is a damaged copy of that one, discard it",
                count::rows(source.rows)
            )));
        }
    }
    Ok(None)
}

/// Looks what became of marked entries after a compaction of their days; what is kept goes only
/// when every row of it is proven to be in the archive.
///
/// # Errors
/// When a store does not answer or refuses.
pub async fn settle(at: &Place<'_>, spool: &Store, all: Vec<Retry>) -> Result<Vec<Retried>> {
    let mut evidence = Evidence::new(at.archive);
    let mut retried = Vec::with_capacity(all.len());
    for retry in all {
        let (tried, reason) = match &retry.refused {
            Some(why) => (Tried::Refused, why.clone()),
            None => one(at, spool, &retry, &mut evidence).await?,
        };
        retried.push(Retried {
            held: retry.held,
            put_back: retry.put_back,
            tried,
            reason,
        });
    }
    Ok(retried)
}

async fn one(
    at: &Place<'_>,
    spool: &Store,
    retry: &Retry,
    evidence: &mut Evidence,
) -> Result<(Tried, String)> {
    let held = &retry.held;
    let now = quarantine::entries(&PartitionHandle::new(at.archive, &held.partition)).await?;
    let Some(entry) = now.into_iter().find(|e| e.kept_as == held.entry.kept_as) else {
        return Ok((
            Tried::Pending,
            "its entry has gone from error.json meanwhile".to_owned(),
        ));
    };
    if !entry.retry {
        let tried = match entry.extent() {
            Extent::Groups => Tried::Salvaged,
            Extent::Whole | Extent::Rows => Tried::QuarantinedAgain,
        };
        return Ok((tried, format!("{}: {}", entry.error_type, entry.message)));
    }
    let Some((store, object)) = bytes_of(at.archive, spool, held).await? else {
        return Ok((
            Tried::Unproven,
            "it has gone from the spool and from QUARANTINE".to_owned(),
        ));
    };
    let subject = Subject {
        name: entry.source_path.clone(),
        object,
        series: held.partition.series.clone(),
        home: retry.home,
    };
    Ok(match prove(store, &subject, evidence, None).await? {
        ProofResult::Proven(proven) => {
            release(at, held, &entry, &proven).await?;
            let days: Vec<String> = proven
                .data()
                .iter()
                .map(|d| format!("{} in {}", count::grouped(d.rows), d.date))
                .collect();
            (
                Tried::TakenIn,
                format!(
                    "{} in the archive: {}",
                    count::all_rows_are(proven.rows()),
                    days.join(", ")
                ),
            )
        }
        ProofResult::Empty => (Tried::Pending, "it reads, but has no rows".to_owned()),
        ProofResult::Young(day) => (Tried::Pending, format!("it has rows of {day}")),
        ProofResult::Doubt(Doubt::Waiting(why)) => (Tried::Pending, why),
        ProofResult::Doubt(Doubt::Damaged(why)) => (Tried::Unproven, why),
    })
}

/// What is kept, or where that has gone already, the same bytes in the spool.
async fn bytes_of<'a>(
    archive: &'a Store,
    spool: &'a Store,
    held: &Held,
) -> Result<Option<(&'a Store, Object)>> {
    let places = [
        (archive, held.key()),
        (spool, held.entry.source_path.clone()),
    ];
    for (store, key) in places {
        if let Some(object) = store.head(&key).await?
            && object.size == held.entry.size
            && store.sha256(&key).await?.0 == held.entry.sha256
        {
            return Ok(Some((store, object)));
        }
    }
    Ok(None)
}

/// Lets go of what is kept. The proof is the price.
async fn release(at: &Place<'_>, held: &Held, entry: &Entry, proven: &Proven) -> Result<()> {
    if proven.sha256() != entry.sha256 {
        return Err(Error::new(
            Kind::Proof,
            format!(
                "{}: changed while it was proven",
                at.archive.show(&held.key())
            ),
        ));
    }
    let line = Released {
        partition: held.partition.clone(),
        entry: entry.clone(),
        data: proven.data().to_vec(),
        why: "every row was read back from the archive".to_owned(),
        decided_at: time(at),
        decided_by: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let _ = journal(at, layout::RETRIED, &[line]).await?;
    drop_object(at, &held.key()).await?;
    change(at, &held.partition, &entry.kept_as, |_| None).await
}
