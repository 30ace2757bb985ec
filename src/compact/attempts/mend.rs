//! What the next attempt does differently: files that turned out bad are left out or salvaged, damaged
//! copies wait for the whole files, and no footer is believed any more.

use std::collections::BTreeSet;

use super::{Attempts, overtaken};
use crate::{
    compact::{decide::SpoolFile, keep, prepare::InputFile, recognise},
    error::{Error, Kind, Result},
    file::{examine::examine, fault::Problem, reader::Handle, salvage::salvage},
    model::{
        layout,
        quarantine::Fault,
        receipt::{KnownRows, LostSource, Source, WITHOUT_HISTORY},
    },
};

impl Attempts<'_> {
    /// Whether rows of a whole file are to be taken in, which `file` may be a damaged copy of.
    fn has_wholes_besides(&self, file: &SpoolFile) -> bool {
        let key = &file.object.key;
        self.files.iter().any(|InputFile { file, claims, .. }| {
            let is_whole = claims.lost.is_none() && claims.rows > 0;
            is_whole && file.object.key != *key && !self.known.contains_key(&file.object.key)
        })
    }

    /// Lets files wait of which a part was taken in on another day.
    pub(super) fn let_parts_wait(&mut self) {
        let is_part = |input: &InputFile| {
            input.claims.lost.is_some() && !self.known.contains_key(&input.file.object.key)
        };
        let parts: Vec<SpoolFile> = self
            .files
            .iter()
            .filter(|i| is_part(i))
            .map(|i| i.file.clone())
            .collect();
        for part in parts {
            let _ = self.waits(&part);
        }
    }

    /// Whether `file` has to wait until the rows of the whole files stand. Its own row groups are
    /// held against them then.
    fn waits(&mut self, file: &SpoolFile) -> bool {
        let waits = self.wholes_first && self.has_wholes_besides(file);
        if waits {
            self.files
                .retain(|input| input.file.object.key != file.object.key);
            self.waiting = true;
        }
        waits
    }

    /// Goes on without the row groups of `file` that do not read, where that was asked for and
    /// leaves some that the archive does not have yet; or lets it wait for the whole files. Whether
    /// it did either.
    pub(super) async fn salvage(&mut self, file: &SpoolFile) -> Result<bool> {
        // Rows of a file that was compacted whole are in the archive: they must not be exchanged
        // for a part of them.
        if !self.run.salvage || self.known.contains_key(&file.object.key) {
            return Ok(false);
        }
        let Some(salvage) = salvage(&Handle::new(&self.run.places.spool, &file.object)).await?
        else {
            return Ok(false);
        };
        let mut known = KnownRows::default();
        if let Some(replaced) = &self.replaces {
            if replaced.holds_unnamed() {
                // Its rows may be there under no name, and a part of a file is not held against
                // them.
                return Ok(false);
            }
            let name = |key: &str| key.rsplit('/').next().map(str::to_owned);
            let namesake = |source: &Source| name(&source.name) == name(&file.object.key);
            if replaced.receipt_version == WITHOUT_HISTORY && replaced.sources.iter().any(namesake)
            {
                // That receipt does not tell which row groups it has: some may be those of this
                // very file.
                return Ok(false);
            }
            known = replaced.known();
        }
        let collector = layout::collector_of(&file.object.key);
        for (owner, group) in &self.salvaged {
            known.add(owner.as_deref(), std::iter::once(*group));
        }
        let known_groups = known.from_any(collector, &salvage.good);
        if known_groups.len() == salvage.good.len() {
            // A damaged copy of what the archive has.
            return Ok(false);
        }
        if self.waits(file) {
            return Ok(true);
        }
        self.quarantined
            .extend(keep::salvaged(&self.run.places, self.partition, file, &salvage).await?);
        self.salvaged.extend(
            salvage
                .good
                .into_iter()
                .map(|group| (collector.map(str::to_owned), group)),
        );
        self.files
            .retain(|input| input.file.object.key != file.object.key);
        self.files.push(InputFile {
            file: file.clone(),
            claims: salvage.claims,
            known_groups,
            known_rows: None,
        });
        self.files
            .sort_by(|a, b| a.file.object.key.cmp(&b.file.object.key));
        Ok(true)
    }

    /// Published rows would be dropped: the files that they came from do not have them any more.
    /// These go to QUARANTINE, and the decision is made again, upon the archived rows.
    pub(super) async fn blame_changed(&mut self, lost: &[LostSource]) -> Result<()> {
        let named = |file: &SpoolFile| lost.iter().any(|source| source.name == file.object.key);
        let what = "its rows are others than were archived from it";
        let doubled = self.doubled.iter().filter(|file| named(file));
        let mut changed: Vec<(SpoolFile, Fault)> = doubled
            .map(|file| (file.clone(), recognise::changed_in_place(what)))
            .collect();
        for InputFile { file, claims, .. } in &self.files {
            // The archived rows may be on record under the name that the file had before, or that
            // of a copy of it.
            let what = match self.known.get(&file.object.key) {
                Some(content) => {
                    recognise::still_has(&self.run.places.spool, file, claims, *content)
                        .await?
                        .err()
                }
                None => named(file).then(|| what.to_owned()),
            };
            changed.extend(what.map(|what| (file.clone(), recognise::changed_in_place(&what))));
        }
        if changed.is_empty() {
            let names: Vec<&str> = lost.iter().map(|source| source.name.as_str()).collect();
            return Err(Error::new(
                Kind::Proof,
                format!(
                    "{}: published rows of {} would be dropped; nothing was published",
                    self.partition,
                    names.join(", ")
                ),
            ));
        }
        self.quarantine(changed).await
    }

    /// Makes the next attempt different from this one: bad files go to QUARANTINE, and no footer is
    /// believed any more.
    pub(super) async fn learn(
        &mut self,
        problems: Vec<(usize, Problem)>,
        proven: bool,
    ) -> Result<()> {
        let all_heavy = problems
            .iter()
            .all(|(_, p)| matches!(p, Problem::TooLarge { .. }));
        let mut bad = self.weigh(&problems).await?;
        for (index, problem) in problems {
            if matches!(problem, Problem::TooLarge { .. }) {
                continue;
            }
            let Some(InputFile { file, claims, .. }) = self.files.get_mut(index) else {
                overtaken(self.run, self.partition, &self.versions).await?;
                return Err(match problem {
                    Problem::Storage(error) => error,
                    other => Error::new(
                        Kind::Damage,
                        format!(
                            "{}: the archived data cannot be read ({other}); see qlc verify",
                            self.partition
                        ),
                    ),
                });
            };
            match problem {
                Problem::Storage(error) => return Err(error),
                Problem::Bad(fault) => bad.push((file.clone(), fault)),
                Problem::TooLarge { .. } => {}
                Problem::FalseClaim(what) if proven && claims.proven => {
                    return Err(Error::new(
                        Kind::Io,
                        format!(
                            "{}: {what}, although it was just read: it changes while it is read",
                            file.object.key
                        ),
                    ));
                }
                Problem::FalseClaim(what) => {
                    tracing::warn!(file = %file.object.key, %what, "a footer claims what the rows do not keep; all files are read for facts");
                }
            }
        }
        if all_heavy && bad.is_empty() {
            return Ok(());
        }
        let bad_keys: BTreeSet<String> = bad.iter().map(|(f, _)| f.object.key.clone()).collect();
        for InputFile { file, claims, .. } in &mut self.files {
            if claims.proven || bad_keys.contains(&file.object.key) || self.run.stop.asked() {
                continue;
            }
            match examine(&Handle::new(&self.run.places.spool, &file.object), claims).await {
                Ok(found) => *claims = found.claims,
                Err(Problem::Bad(fault)) => bad.push((file.clone(), fault)),
                Err(Problem::Storage(error)) => return Err(error),
                Err(other) => return Err(Error::new(Kind::Internal, other.to_string())),
            }
        }
        // One may have been found bad in two ways.
        bad.sort_by(|(a, _), (b, _)| a.object.key.cmp(&b.object.key));
        bad.dedup_by(|(a, _), (b, _)| a.object.key == b.object.key);
        let mut lost = Vec::new();
        for (file, fault) in bad {
            if !self.salvage(&file).await? {
                lost.push((file, fault));
            }
        }
        self.quarantine(lost).await?;
        self.drop_unfit().await
    }

    /// Notes what sources take that took more memory than was planned, and finds out what the
    /// others take: each of them would cost an attempt. Returns those that are not to be decoded.
    pub(super) async fn weigh(
        &mut self,
        problems: &[(usize, Problem)],
    ) -> Result<Vec<(SpoolFile, Fault)>> {
        let mut bad = Vec::new();
        let mut any = false;
        for (index, problem) in problems {
            let Problem::TooLarge {
                row_bytes,
                open_bytes,
            } = problem
            else {
                continue;
            };
            any = true;
            let base = self.base.as_mut().map(|base| &mut base.claims);
            if let Some(claims) = self
                .files
                .get_mut(*index)
                .map(|input| &mut input.claims)
                .or(base)
            {
                (claims.weighed, claims.row_bytes, claims.open_bytes) =
                    (true, *row_bytes, *open_bytes);
            }
        }
        if !any {
            return Ok(bad);
        }
        let sorted_in_memory = self.run.budget.sort_in_memory;
        for InputFile { file, claims, .. } in
            self.files.iter_mut().filter(|input| input.claims.rows > 0)
        {
            let handle = Handle::new(&self.run.places.spool, &file.object);
            let weighed = if claims.weighed {
                Ok(claims.clone())
            } else {
                handle.weigh(claims).await
            };
            // Large rows are sorted on disk, and dearly. Most are in order, though nothing declares
            // it: one look costs less.
            let facts = match weighed {
                Ok(weighed) => {
                    let is_large =
                        weighed.rows.saturating_mul(weighed.row_bytes) > sorted_in_memory;
                    if is_large && !weighed.ordered && !weighed.proven {
                        examine(&handle, &weighed).await.map(|found| found.claims)
                    } else {
                        Ok(weighed)
                    }
                }
                Err(problem) => Err(problem),
            };
            match facts {
                Ok(facts) => *claims = facts,
                Err(Problem::Storage(error)) => return Err(error),
                Err(Problem::Bad(fault)) => bad.push((file.clone(), fault)),
                Err(other) => return Err(Error::new(Kind::Internal, other.to_string())),
            }
        }
        Ok(bad)
    }
}
