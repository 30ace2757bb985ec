//! `qlc demo`: makes a sample spool for yesterday and runs every step on it, printing each as the
//! command that does it.
//!
//! A folder with content that no demo made is refused, because its content would be removed.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use chrono::Utc;

use super::{stores, verify::Told};
use crate::{
    cli::{
        args::{Demo, Format},
        console::{Console, Look},
        exit::Exit,
        settings::Settings,
        show,
        signals::Signals,
    },
    compact, demo,
    error::{Error, Kind, Result},
    model::{date::Date, layout, partition::Selection},
    query, reconcile,
    storage::{Expect, atomic, scratch::Scratch, spools::Spools, store::Store},
    verify,
};

/// Says that a folder is a demo's, and may be made anew.
const MARK: &str = ".qlc-demo";
/// The same for an archive elsewhere.
const ARCHIVE_MARK: &str = "_demo";
/// Any fixed number: everybody who runs the demo on a day sees the same rows.
const SEED: u64 = 20_260_203;
const QUERY: &str = "SELECT exchange, stream, symbol, date, row_count, source_files FROM archive.meta \
                     ORDER BY exchange, stream, symbol";

/// Makes the sample, compacts, verifies and queries it.
///
/// The archive is one that was typed for the demo; that of the environment or the configuration is
/// somebody's real one.
pub(super) async fn run(
    typed: &Demo,
    settings: &Settings,
    is_typed: bool,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let dir = &typed.dir;
    let beside = dir.join("archive").display().to_string();
    let place = dir.join("spool").display().to_string();
    let settings = Settings {
        spool: Spools::one(place.clone()),
        archive: if is_typed {
            settings.archive.clone()
        } else {
            beside
        },
        ..settings.clone()
    };
    // One look at the clock: midnight may pass between the steps.
    let now = Utc::now();
    let yesterday = Date::of(now)?.pred();
    let say = |text: &str| say(console, text);
    let called = format!(
        "{} --spool {} --archive {}",
        program(),
        quoted(&place),
        quoted(&settings.archive)
    );
    let command = |rest: &str| format!("{called} {rest}");

    make_way(dir)?;
    let sample = demo::sample(Path::new(&place), yesterday, SEED)?;
    say(&format!(
        "1. A sample spool for {yesterday}, as a collector would leave it, in {place}.\n\n{sample}\n"
    ))?;

    say(&format!(
        "2. Compact: its files become one per partition.\n   $ {}\n",
        command("compact --mode daily")
    ))?;
    let (spool, archive) = (
        stores::present_spool(&settings)?,
        stores::archive(&settings)?,
    );
    stores::apart(Some(&spool), &archive)?;
    if is_typed {
        mark(&archive, &settings).await?;
    }
    let compact_options = compact::Options {
        mode: compact::Mode::Daily,
        selection: Selection::all(),
        workers: settings.workers,
        memory_limit: settings.memory_limit,
        spill_dir: settings.spill_dir.clone(),
        now,
        salvage: false,
        zstd_level: settings.zstd_level,
        force: false,
        accept_loss: false,
    };
    let summary = super::compact::watched(
        &spool,
        &archive,
        &compact_options,
        None,
        &settings,
        Format::Text,
        console,
        signals,
    )
    .await?;
    say(&show::outcomes(
        &summary.outcomes,
        Look::of_stdout(),
        console.lists_all(),
    ))?;
    let exit = Exit::of_run(&summary);
    if exit > Exit::Quarantined {
        return Ok(exit);
    }
    if exit == Exit::Quarantined {
        let kept = archive.show(layout::QUARANTINE);
        say(&format!(
            "\nOne file of the sample is corrupt, on purpose. It is kept whole in {kept}, with an\n\
             error.json that says why; the others were compacted without it. `qlc compact` then ends with exit code 3."
        ))?;
    }

    say(&format!(
        "\n3. Verify: every byte of the archive is checked against meta.json and receipts.\n   $ {}\n",
        command("verify")
    ))?;
    let options = verify::Options {
        selection: Selection::all(),
        start: None,
        end: None,
        quick: false,
        memory_limit: settings.memory_limit,
    };
    let (text, exit) = verified(&archive, &options, signals, console).await?;
    say(&text)?;
    if exit != Exit::Done {
        return Ok(exit);
    }

    say(&format!(
        "\n4. Query.\n   $ {}\n",
        command(&format!("query \"{QUERY}\""))
    ))?;
    let options = query::Options {
        statement: query::Statement::Sql(QUERY.to_owned()),
        params: Vec::new(),
        format: query::Format::Table,
        output: None,
        memory_limit: settings.memory_limit,
        spill_dir: settings.spill_dir.clone(),
        remote: None,
    };
    let _ = super::query::printed(&spool, &archive, &options, console, signals).await?;

    let stage = Stage {
        dir,
        settings: &settings,
        yesterday,
        options: &compact_options,
        console,
        signals,
    };
    let exit = Box::pin(two_collectors(&stage)).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let exit = Box::pin(a_hole(&stage)).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }

    let how = [
        (
            "the same again: there is nothing to do",
            "compact --mode daily",
        ),
        (
            "what would be done, and why",
            "compact --mode daily --force --dry-run",
        ),
        ("the verification queries", "query --list"),
        (
            "the best prices",
            "query \"SELECT * FROM archive.bbo LIMIT 5\"",
        ),
        (
            "compact again from the spool, and compare byte for byte",
            "verify --rebuild",
        ),
    ];
    let mut text = String::from("\nWhat to try next:\n");
    for (what, rest) in how {
        let _ = writeln!(text, "   # {what}\n   $ {}", command(rest));
    }
    say(&text)?;
    Ok(Exit::Done)
}

/// What a verification found, as `qlc verify` prints it, and how that ends.
async fn verified(
    archive: &Store,
    options: &verify::Options,
    signals: &Signals,
    console: &Console,
) -> Result<(String, Exit)> {
    let (mut all, mut misplaced) = (Vec::new(), Vec::new());
    super::verify::checked(archive, options, signals, &mut |told| match told {
        Told::Partition(one) => all.push(one),
        Told::Misplaced(one) => misplaced.push(one),
    })
    .await?;
    let findings: usize = all.iter().map(|one| one.findings.len()).sum();
    let exit = Exit::of_findings(findings + misplaced.len(), &Ok(()));
    let look = Look::of_stdout();
    let text = show::verified(&all, &misplaced, look, console.lists_all());
    Ok((text, exit))
}

/// Where the acts after the first ones take place.
struct Stage<'a> {
    dir: &'a Path,
    settings: &'a Settings,
    yesterday: Date,
    options: &'a compact::Options,
    console: &'a Console,
    signals: &'a Signals,
}

/// Compacts what two collectors of one feed have left.
async fn two_collectors(stage: &Stage<'_>) -> Result<Exit> {
    let Stage {
        dir,
        settings,
        yesterday,
        options,
        console,
        signals,
    } = *stage;
    let say = |text: &str| say(console, text);
    say(
        "\n5. Two collectors of one feed, of which tokyo was down for an hour: what one missed comes from the other.",
    )?;
    let two = dir.join("two");
    demo::twins(&two, yesterday, SEED)?;
    let place = |name: &str| two.join(name).display().to_string();
    let spools = [demo::TOKYO, demo::PARIS].map(|name| format!("{name}={}", place(name)));
    let merged = Settings {
        spool: Spools::parse(spools.iter().map(String::as_str))?,
        archive: place("archive"),
        ..settings.clone()
    };
    let given: Vec<String> = spools
        .iter()
        .map(|spool| format!("--spool {}", quoted(spool)))
        .collect();
    say(&format!(
        "   $ {} {} --archive {} compact --mode daily -v\n",
        program(),
        given.join(" "),
        quoted(&merged.archive)
    ))?;
    let (spool, archive) = (stores::present_spool(&merged)?, stores::archive(&merged)?);
    let summary = super::compact::watched(
        &spool,
        &archive,
        options,
        None,
        &merged,
        Format::Text,
        console,
        signals,
    )
    .await?;
    say(&show::outcomes(&summary.outcomes, Look::of_stdout(), true))?;
    Ok(Exit::of_run(&summary))
}

/// Reconciles trades that were recorded with holes with what their exchange publishes, and fills
/// the holes.
async fn a_hole(stage: &Stage<'_>) -> Result<Exit> {
    let Stage {
        dir,
        settings,
        yesterday,
        options,
        console,
        signals,
    } = *stage;
    let say = |text: &str| say(console, text);
    say(
        "\n6. Trades that were recorded with two holes, beside what the exchange itself publishes of the day.\n   \
         Rows that only the exchange has are taken into the spool, and compacted like those of one more collector.",
    )?;
    let root = dir.join("reconcile");
    demo::published(&root, yesterday, SEED)?;
    let place = |name: &str| root.join(name).display().to_string();
    let holed = Settings {
        spool: Spools::one(place(demo::RECORDED)),
        archive: place("archive"),
        ..settings.clone()
    };
    let called = |rest: &str| {
        format!(
            "   $ {} --spool {} --archive {} {rest}\n",
            program(),
            quoted(&place(demo::RECORDED)),
            quoted(&holed.archive)
        )
    };
    let with = place(demo::PUBLISHED);
    let asked = format!(
        "reconcile --exchange binance --date {yesterday} --with {}",
        quoted(&with)
    );
    let (spool, archive) = (stores::present_spool(&holed)?, stores::archive(&holed)?);
    let reconcile_options = reconcile::Options {
        selection: Selection {
            exchanges: vec!["binance".parse()?],
            ..Selection::all()
        },
        start: yesterday,
        end: yesterday,
        given: vec![reconcile::Given::parse(&with)?],
        published: BTreeMap::new(),
        downloads: None,
        take: true,
        memory_limit: holed.memory_limit,
        spill_dir: holed.spill_dir.clone(),
        now: options.now,
    };
    for step in [Step::Compact, Step::Take, Step::Compact, Step::Compare] {
        let exit = match step {
            Step::Compact => {
                say(&called("compact --mode daily -v"))?;
                let summary = super::compact::watched(
                    &spool,
                    &archive,
                    options,
                    None,
                    &holed,
                    Format::Text,
                    console,
                    signals,
                )
                .await?;
                say(&show::outcomes(&summary.outcomes, Look::of_stdout(), true))?;
                Exit::of_run(&summary)
            }
            Step::Take | Step::Compare => {
                let take = step == Step::Take;
                say(&called(&format!(
                    "{asked}{}",
                    if take { " --take" } else { "" }
                )))?;
                let options = reconcile::Options {
                    take,
                    // The records of the two are told apart by their times.
                    now: Utc::now(),
                    ..reconcile_options.clone()
                };
                let exit = super::reconcile::reconciled(
                    Some(&spool),
                    &archive,
                    &options,
                    &holed,
                    Format::Text,
                    console,
                    signals,
                )
                .await?;
                // That the two differ is what is shown here.
                if take && exit == Exit::Differs {
                    Exit::Done
                } else {
                    exit
                }
            }
        };
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// A step of the last part of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Compact,
    Take,
    Compare,
}

/// Prints a text.
fn say(console: &Console, text: &str) -> Result<()> {
    let mut out = console.out();
    out.lines(text);
    out.finish()
}

/// Marks an archive that was typed as a demo's; refuses one that holds something and has no such
/// mark.
async fn mark(archive: &Store, settings: &Settings) -> Result<()> {
    if archive.head(ARCHIVE_MARK).await?.is_some() {
        return Ok(());
    }
    if archive.first().await?.is_some() {
        return Err(Error::usage(format!(
            "{}: is not empty, and no demo made it; name another archive with --archive",
            archive.show("")
        )));
    }
    let scratch = Scratch::new(&settings.spill_dir)?;
    let text = b"A demo of qlc made this archive.\n".to_vec();
    let _ = atomic::write_bytes(
        archive,
        ARCHIVE_MARK,
        scratch.path(),
        &Expect::Anything,
        text,
    )
    .await?;
    Ok(())
}

/// Makes `dir` an empty folder with the mark of a demo in it.
fn make_way(dir: &Path) -> Result<()> {
    let wrong = |path: &Path, e| {
        Error::io(
            format!("{}: the demo cannot be made there", path.display()),
            e,
        )
    };
    if dir.exists() && !dir.is_dir() {
        return Err(Error::usage(format!(
            "{}: is a file; name a folder with --dir",
            dir.display()
        )));
    }
    fs::create_dir_all(dir).map_err(|e| wrong(dir, e))?;
    let mark = dir.join(MARK);
    let is_empty = fs::read_dir(dir)
        .map_err(|e| wrong(dir, e))?
        .next()
        .is_none();
    if !is_empty && !mark.is_file() {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "{}: is not empty, and no demo made it; name another folder with --dir",
                dir.display()
            ),
        ));
    }
    fs::write(
        &mark,
        "A demo of qlc made this folder; the next one replaces it.\n",
    )
    .map_err(|e| wrong(&mark, e))?;
    for old in ["spool", "archive", "two", "reconcile"].map(|name| -> PathBuf { dir.join(name) }) {
        if old.exists() {
            fs::remove_dir_all(&old).map_err(|e| wrong(&old, e))?;
        }
    }
    Ok(())
}

/// The program as it was called, so that the commands can be typed as they are printed.
fn program() -> String {
    let called = std::env::args().next().filter(|name| name.contains('/'));
    called.map_or_else(|| "qlc".to_owned(), |name| quoted(&name))
}

/// A path as a shell reads it back.
fn quoted(path: &str) -> String {
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._-:=+,@%".contains(&b));
    if plain && !path.is_empty() {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_a_demo_is_made_anew() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("demo");
        make_way(&dir).unwrap();
        fs::create_dir(dir.join("spool")).unwrap();
        fs::write(dir.join("notes"), "mine").unwrap();
        make_way(&dir).unwrap();
        assert!(!dir.join("spool").exists() && dir.join("notes").exists());

        let other = parent.path().join("other");
        fs::create_dir_all(other.join("spool")).unwrap();
        assert_eq!(make_way(&other).unwrap_err().kind(), Kind::Usage);
        assert!(other.join("spool").exists());
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_cut_them() {
        assert_eq!(quoted("./qlc-demo/spool"), "./qlc-demo/spool");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
