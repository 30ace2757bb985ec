//! `qlc query`

use std::{
    io::{IsTerminal, Read},
    path::Path,
};

use super::{cluster, stores};
use crate::{
    cli::{
        args::Query,
        console::Console,
        exit::Exit,
        meaning::{self, Asked, Given},
        prompt,
        settings::Settings,
        show,
        signals::Signals,
    },
    engine::sql::Remote,
    error::{Error, Kind, Result},
    query::{self, Options},
    storage::store::Store,
};

/// Runs a statement or several, asks for them, or prints the named queries.
pub(super) async fn run(
    typed: &Query,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let given = given(typed)?;
    match meaning::query(typed, given, settings)? {
        Asked::List => {
            let mut out = console.out();
            out.lines(&show::named(query::named()));
            out.finish()?;
        }
        Asked::Run(options) => {
            let (spool, archive) = stores(settings)?;
            let remote = remote(typed, settings, &spool, &archive).await?;
            let mut exit = Exit::Done;
            for options in options {
                let options = Options {
                    remote: remote.clone(),
                    ..options
                };
                exit = exit.max(printed(&spool, &archive, &options, console, signals).await?);
            }
            return Ok(exit);
        }
        Asked::Prompt(options, format) => {
            let (spool, archive) = stores(settings)?;
            let options = Options {
                remote: remote(typed, settings, &spool, &archive).await?,
                ..options
            };
            let setting = prompt::Setting {
                stores: (&spool, &archive),
                options,
                format,
            };
            prompt::run(setting, console, signals).await?;
        }
    }
    Ok(Exit::Done)
}

/// Where rows are made, if not here.
async fn remote(
    typed: &Query,
    settings: &Settings,
    spool: &Store,
    archive: &Store,
) -> Result<Option<Remote>> {
    match typed.on.named() {
        None => Ok(None),
        Some(on) => cluster::remote(on, spool, archive, settings)
            .await
            .map(Some),
    }
}

/// Runs a statement and lets its result appear on stdout, or in the file that the options name.
pub(super) async fn printed(
    spool: &Store,
    archive: &Store,
    options: &Options,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let mut out = console.out();
    let ended = signals
        .or_stop(query::run(spool, archive, options, &mut out))
        .await;
    if out.is_closed() {
        // Whoever read it has seen enough.
        return Ok(Exit::Done);
    }
    // The rows before an error are printed too, and the reason why stdout fails is better than that
    // the query did.
    out.finish()?;
    let answer = ended?;
    tracing::info!(rows = answer.rows, left_out = answer.left_out, "query done");
    if let Some(file) = &options.output {
        console.progress_line(&format!("{}: {}", file.display(), show::rows(answer.rows)));
    }
    if let Some(text) = show::lacking(answer) {
        console.line(&text);
    }
    Ok(Exit::of_answer(answer))
}

/// Both stores. One may be absent, as before the first compaction or on a machine without a
/// collector.
fn stores(settings: &Settings) -> Result<(Store, Store)> {
    let (spool, archive) = (
        Store::of_spools(&settings.spool, &settings.bucket)?,
        stores::archive(settings)?,
    );
    if spool.is_absent() && archive.is_absent() {
        return Err(Error::usage(format!(
            "there is neither a spool at {} nor an archive at {}; name them with --spool and --archive",
            settings.spool, settings.archive
        )));
    }
    stores::refuse_file(&spool, "spool")?;
    stores::apart(Some(&spool), &archive)?;
    Ok((spool, archive))
}

/// What is to be read besides the command line: `--file`, or stdin where nothing says what to run.
fn given(typed: &Query) -> Result<Given> {
    if let Some(file) = &typed.file {
        return statement(file).map(Given::Text);
    }
    let is_said = typed.sql.is_some() || typed.name.is_some() || typed.list;
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    match (is_said, stdin.is_terminal(), stdout.is_terminal()) {
        (false, true, true) => Ok(Given::Terminal),
        (false, false, _) => statement(Path::new("-")).map(Given::Text),
        _ => Ok(Given::Nothing),
    }
}

fn statement(file: &Path) -> Result<String> {
    let wrong = |e| {
        Error::caused(
            Kind::Usage,
            format!("{}: the statement cannot be read", file.display()),
            e,
        )
    };
    if file.as_os_str() == "-" {
        let mut text = String::new();
        let _ = std::io::stdin().read_to_string(&mut text).map_err(wrong)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(wrong)
}
