//! A build of which nothing becomes visible: what a dry run tells of it, and the digest that it would
//! have.

use std::sync::Arc;

use super::{Attempts, Task};
use crate::{
    compact::{
        context::RunContext,
        decide::{Build, SpoolFile},
        look::Look,
        prepare::{InputFile, Prepared},
    },
    engine,
    error::Result,
    file::{encode::ENCODING, examine::examine, fault::Problem, reader::Handle},
    job::attempt::{Attempt, Purpose},
    model::{partition::Partition, quarantine::Fault},
};

/// What a dry run knows of a build: its plan, and the files that would be quarantined.
pub struct Foreseen {
    /// The plan.
    pub prepared: Prepared,
    /// The same as the engine has it: the logical and the physical plan, where there are rows and
    /// someone asked for them.
    pub plans: Option<[String; 2]>,
    /// Files that cannot be used, each with its fault.
    pub unusable: Vec<String>,
}

/// The plan of a build, without doing any of it; `explain` asks for the plans of the engine as
/// well.
///
/// # Errors
/// When the archived data cannot be read.
pub async fn foresee(
    run: &RunContext,
    partition: &Partition,
    look: &Look,
    build: &Build,
    explain: bool,
) -> Result<Foreseen> {
    let (mut attempts, misfits) = planned(run, partition, look, build).await?;
    let unusable = Attempts::unusable(look, build);
    let unusable = unusable.iter().chain(&misfits);
    let unusable = unusable.map(|(file, fault)| format!("{}: {fault}", file.object.key));
    let unusable = unusable.collect();
    let prepared = attempts.prepared().await?;
    let mut plans = None;
    if explain && prepared.rows() > 0 {
        let Task {
            job,
            layouts,
            draft,
            options,
        } = attempts.task(
            prepared.clone(),
            Purpose::Rehearse { encoding: ENCODING },
            &Arc::default(),
        );
        plans = Some(engine::run::explain(&job, &layouts, draft, options).await?);
    }
    Ok(Foreseen {
        prepared,
        plans,
        unusable,
    })
}

/// Attempts without the files that do not fit the columns of the day, and these.
async fn planned<'a>(
    run: &'a RunContext,
    partition: &'a Partition,
    look: &Look,
    build: &Build,
) -> Result<(Attempts<'a>, Vec<(SpoolFile, Fault)>)> {
    let mut attempts = Attempts::plan(run, partition, look, build).await?;
    let misfits = attempts.misfits().await?;
    attempts
        .files
        .retain(|input| !misfits.iter().any(|(file, _)| *file == input.file));
    Ok((attempts, misfits))
}

/// The digest that a partition made from these files of the spool would have, with encodings of
/// this revision.
///
/// # Errors
/// When it cannot be made.
pub async fn digest(
    run: &RunContext,
    partition: &Partition,
    look: &Look,
    build: &Build,
    encoding: u32,
) -> Result<Option<String>> {
    let (mut attempts, _) = planned(run, partition, look, build).await?;
    for distrust in [false, true] {
        if distrust {
            for InputFile { file, claims, .. } in &mut attempts.files {
                if let Ok(found) =
                    examine(&Handle::new(&run.places.spool, &file.object), claims).await
                {
                    *claims = found.claims;
                }
            }
        }
        loop {
            let prepared = attempts.prepared().await?;
            match attempts
                .attempt_fitting(prepared, Purpose::Rehearse { encoding })
                .await?
            {
                Attempt::Rehearsed { sha256 } => return Ok(Some(sha256)),
                Attempt::Problems(problems) => {
                    let _ = attempts.weigh(&problems).await?;
                    if !problems
                        .iter()
                        .all(|(_, p)| matches!(p, Problem::TooLarge { .. }))
                    {
                        break;
                    }
                }
                Attempt::Copies(copies) => attempts.leave_out_copies(&copies),
                Attempt::Published(_) | Attempt::NoRows | Attempt::Unaccounted(_) => {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}
