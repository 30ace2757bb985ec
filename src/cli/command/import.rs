//! `qlc import`

use std::{collections::BTreeSet, sync::Arc};

use chrono::Utc;

use super::stores;
use crate::{
    cli::{
        args::{Format, Import},
        console::{Console, Look},
        exit::Exit,
        meaning,
        progress::{Progress, ProgressTally},
        settings::Settings,
        show,
        signals::Signals,
    },
    compact::{Status, context::TreeFiles, foreign::take_over},
    error::{Error, Kind, Result},
    import::{self, Compacted, Imported, Moment, Options, Outcome},
    storage::{listing::Ignored, store::Store},
};

/// Takes over an archive, or says what would be taken over.
pub(super) async fn run(
    typed: &Import,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let options = meaning::import(typed, settings, Utc::now())?;
    let from = typed
        .from
        .as_deref()
        .map(|place| old(place, settings))
        .transpose()?;
    // Without another place the archive itself is what is looked at.
    let archive = if from.is_some() {
        stores::archive(settings)?
    } else {
        stores::present_archive(settings)?
    };
    stores::apart(stores::spools_here(settings)?.0.as_ref(), &archive)?;
    let mut run = Run {
        settings,
        options,
        archive,
        console,
        signals,
        all: Vec::new(),
        ignored: Vec::new(),
    };
    let ended = match (typed.from.as_deref(), &from) {
        (Some(place), Some(tree)) => run.trees(place, tree).await,
        _ => run.adopt(None).await,
    };
    let Run { all, ignored, .. } = run;
    let mut out = console.out();
    match typed.format {
        Format::Json => {
            for one in &all {
                out.json(one)?;
            }
        }
        Format::Text if ended.is_ok() || !all.is_empty() => {
            out.lines(&show::imported(&all, typed.dry_run, Look::of_stdout()));
        }
        Format::Text => {}
    }
    out.finish()?;
    for one in &ignored {
        console.line(&format!("qlc: {}: not looked at: {}", one.file, one.reason));
    }
    let exit = Exit::of_imported(&all).max(if ignored.is_empty() {
        Exit::Done
    } else {
        Exit::Quarantined
    });
    match ended {
        Ok(()) => Ok(exit),
        Err(error) => {
            console.line(&format!("qlc: {}", error.chain()));
            Ok(exit.max(Exit::of_error(&error)))
        }
    }
}

fn old(place: &str, settings: &Settings) -> Result<Store> {
    let store = Store::open_with(place, &settings.bucket)?;
    if store.is_absent() {
        return Err(Error::usage(format!(
            "{place}: there is no such folder; name the old archive with --from"
        )));
    }
    stores::refuse_file(&store, "old archive")?;
    if place.trim_end_matches('/') == settings.archive.trim_end_matches('/') {
        return Err(Error::usage(format!(
            "{place} is the archive itself: leave out --from to adopt it in its place"
        )));
    }
    Ok(store)
}

/// An import under way.
struct Run<'a> {
    settings: &'a Settings,
    options: Options,
    archive: Store,
    console: &'a Console,
    signals: &'a Signals,
    /// What became of each day.
    all: Vec<Imported>,
    /// Files of the old tree that belong to no day.
    ignored: Vec<Ignored>,
}

impl Run<'_> {
    /// All places in the old tree `place` where the layout begins.
    async fn trees(&mut self, place: &str, tree: &Store) -> Result<()> {
        let import::Roots { folders, outside } =
            import::roots(tree, &self.options.selection).await?;
        if self.options.rewrite {
            self.ignored.extend(outside);
        }
        // Where there is nothing yet, one look at it says so.
        let folders = if folders.is_empty() {
            vec![String::new()]
        } else {
            folders
        };
        for folder in folders {
            let root = if folder.is_empty() {
                tree.clone()
            } else {
                Store::open_with(
                    &format!("{}/{folder}", place.trim_end_matches('/')),
                    &self.settings.bucket,
                )?
            };
            if root.overlap(&self.archive).is_some() {
                if folder.is_empty() {
                    return Err(Error::usage(format!(
                        "{place} and the archive must be apart"
                    )));
                }
                // The new archive lies in the old tree's folder: it is no part of that.
                self.ignored
                    .retain(|one| !one.file.starts_with(&format!("{folder}/")));
                continue;
            }
            self.one_tree(&root).await?;
        }
        if self.all.is_empty() {
            self.options.nothing_found(tree, place).await
        } else {
            Ok(())
        }
    }

    /// Adopts what can be adopted, has the rest compacted, and looks for every row of it.
    async fn one_tree(&mut self, tree: &Store) -> Result<()> {
        let before = self.all.len();
        let result = match self.adopt(Some(tree)).await {
            Ok(()) if self.options.rewrite => self.rewrite(tree, before).await,
            adopted => adopted,
        };
        // What was not reached is not in the archive, as far as is known.
        if !self.options.dry_run && self.options.rewrite {
            let is_open = |one: &&mut Imported| {
                matches!(one.outcome, Outcome::Rewritable | Outcome::LostRace)
            };
            for one in self.all.iter_mut().skip(before).filter(is_open) {
                one.outcome = Outcome::Refused;
                one.reasons.push(
                    "the run ended before its rows were found in the archive; run again".to_owned(),
                );
            }
        }
        result
    }

    async fn adopt(&mut self, tree: Option<&Store>) -> Result<()> {
        let stop = || self.signals.stop().asked();
        let (mut tally, all) = (ProgressTally::new(self.console), &mut self.all);
        let ended = import::run(tree, &self.archive, &self.options, &stop, &mut |one| {
            tally.count(one.rows, one.bytes);
            all.push(one.clone());
        })
        .await;
        tally.finish();
        ended
    }

    async fn rewrite(&mut self, tree: &Store, before: usize) -> Result<()> {
        let stop = || self.signals.stop().asked();
        let (raw, ignored) = import::raw_days(tree, &self.options).await?;
        self.all.extend(raw);
        self.ignored.extend(ignored);
        let all = self.all.get_mut(before..).unwrap_or_default();
        import::account(tree, &self.archive, all, Moment::Before, &stop).await?;
        if self.options.dry_run {
            return import::foresee(tree, all, &stop).await;
        }
        let mut compacted = Compacted::default();
        let options = meaning::rewriting(&self.options, self.settings);
        // Compacted days first: raw files are held against them.
        for files in [TreeFiles::Compacted, TreeFiles::Raw] {
            let meant = all.iter().filter(|one| one.outcome == Outcome::Rewritable);
            let meant = meant.filter(|one| one.raw_files.is_some() == (files == TreeFiles::Raw));
            let keys: BTreeSet<String> = meant.flat_map(|one| one.keys.iter().cloned()).collect();
            if keys.is_empty() {
                continue;
            }
            let progress = Arc::new(Progress::new(self.console, None));
            let watch = Arc::clone(&progress);
            let ended = take_over(
                tree,
                &self.archive,
                &options,
                (files, &keys),
                watch,
                self.signals.stop(),
            )
            .await;
            let _ = progress.finish();
            for outcome in ended? {
                match outcome.sha256 {
                    Some(sha256) if outcome.status == Status::Done => {
                        let _ = compacted.made.insert(outcome.partition, sha256);
                    }
                    _ => drop(compacted.said.insert(outcome.partition, outcome.message)),
                }
            }
            if stop() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "stopped as asked, before all rows were taken over",
                ));
            }
        }
        import::account(tree, &self.archive, all, Moment::After(&compacted), &stop).await?;
        import::keep_documents(tree, &self.archive, &self.options, all).await
    }
}
