//! The prompt of `qlc query`: reads lines, runs statements one by one, prints their errors and
//! continues.
//!
//! Ctrl-C stops what runs or clears what is typed; only the end of input, `\q` and SIGTERM end it.
//! The only state between statements is the settings that commands change: each statement looks at
//! the stores as they are then.

mod complete;
mod history;
mod line;
mod pager;

use std::{io, time::Instant};

use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::DefaultHistory};

use self::{
    complete::{Completion, Known},
    line::{Asked, HELP, is_complete},
    pager::{Pager, Screen},
};
use super::{args::OutputFormat, console::Console, show, signals::Signals};
use crate::{
    error::{Error, Kind, Result},
    query::{self, Format, Options, Statement, split},
    storage::store::Store,
};

/// Stands before the first line of a statement, and before each of the others.
const FIRST: &str = "qlc> ";
const CONTINUED: &str = "  -> ";

/// What a prompt is told.
pub(super) struct Setting<'a> {
    /// The stores that statements are about.
    pub(super) stores: (&'a Store, &'a Store),
    /// What each statement is told, but for itself.
    pub(super) options: Options,
    /// The form of results until another one is asked for.
    pub(super) format: OutputFormat,
}

/// Reads and runs lines until the prompt is left.
///
/// # Errors
/// When the terminal cannot be read. What is wrong with a statement is told at the prompt.
pub(super) async fn run(setting: Setting<'_>, console: &Console, signals: &Signals) -> Result<()> {
    let known = Known::default();
    let wrong = |e: ReadlineError| Error::io("the terminal cannot be read", e);
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false);
    let config = config
        .max_history_size(history::LINES)
        .and_then(|c| c.history_ignore_dups(true))
        .map_err(wrong)?;
    let mut editor: Editor<Completion, DefaultHistory> =
        Editor::with_config(config.build()).map_err(wrong)?;
    editor.set_helper(Some(Completion {
        known: known.clone(),
    }));
    let file = history::file();
    if let Some(file) = &file {
        // The first prompt of all has no file yet.
        let _ = editor.load_history(file);
    }
    console.line(&format!(
        "qlc {}: \\? lists the commands, \\q ends",
        env!("CARGO_PKG_VERSION")
    ));
    let mut prompt = Prompt {
        setting,
        console,
        signals,
        timing: false,
        expanded: false,
    };
    prompt.learn(&known);
    // The lines so far of what is not complete.
    let mut begun = String::new();
    loop {
        // Nothing else waits for this thread: statements run one by one, their operators on threads
        // of their own.
        let typed = {
            let _reading = signals.reading();
            editor.readline(if begun.is_empty() { FIRST } else { CONTINUED })
        };
        match typed {
            Ok(typed) => begun.push_str(&typed),
            Err(ReadlineError::Interrupted) => {
                begun.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(wrong(error)),
        }
        if !is_complete(&begun) {
            begun.push('\n');
            continue;
        }
        let typed = std::mem::take(&mut begun);
        if typed.trim().is_empty() {
            continue;
        }
        if editor
            .add_history_entry(typed.trim())
            .is_ok_and(|added| added)
            && let Some(file) = &file
            && let Err(error) = editor.append_history(file)
        {
            tracing::debug!(%error, file = %file.display(), "the line is not kept");
        }
        let screen = editor
            .dimensions()
            .map(|(columns, rows)| Screen { columns, rows });
        match prompt.answer(&typed, screen).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) if signals.is_stopped() => return Err(error),
            Err(error) => console.line(&format!("error: {}", error.chain())),
        }
    }
    Ok(())
}

struct Prompt<'a> {
    setting: Setting<'a>,
    console: &'a Console,
    signals: &'a Signals,
    /// Whether to tell how long statements take.
    timing: bool,
    /// Whether tables have one column a line.
    expanded: bool,
}

impl Prompt<'_> {
    /// Looks up the names for completion while the first line is typed.
    fn learn(&self, known: &Known) {
        let (spool, archive) = (self.setting.stores.0.clone(), self.setting.stores.1.clone());
        let (limit, dir) = (
            self.setting.options.memory_limit,
            self.setting.options.spill_dir.clone(),
        );
        let known = known.clone();
        drop(tokio::spawn(async move {
            match query::names(&spool, &archive, limit, &dir).await {
                Ok(names) => known.set(names),
                Err(error) => tracing::debug!(error = %error.chain(), "no names to complete"),
            }
        }));
    }

    /// Does what was typed; whether that was to end.
    async fn answer(&mut self, typed: &str, screen: Option<Screen>) -> Result<bool> {
        match line::asked(typed)? {
            Asked::End => return Ok(true),
            Asked::Help => self.console.line(HELP),
            Asked::Timing => {
                self.timing = !self.timing;
                self.console.line(if self.timing {
                    "timing is on"
                } else {
                    "timing is off"
                });
            }
            Asked::Expanded(wanted) => {
                self.expanded = wanted.unwrap_or(!self.expanded);
                self.console.line(if self.expanded {
                    "expanded display is on: tables have one column a line"
                } else {
                    "expanded display is off"
                });
            }
            Asked::Format(form) => self.setting.format = form,
            Asked::Run(statements) => self.all(statements, screen).await?,
            Asked::File(file) => {
                let text = std::fs::read_to_string(&file).map_err(|e| {
                    Error::caused(
                        Kind::Usage,
                        format!("{}: cannot be read", file.display()),
                        e,
                    )
                })?;
                self.all(split(&text).all(), screen).await?;
            }
            Asked::Tables => {
                let sql = "SELECT table_schema AS schema, table_name AS name FROM information_schema.tables \
                    WHERE table_schema IN ('archive', 'spool') ORDER BY schema, name";
                self.one(sql.to_owned(), screen).await?;
            }
            Asked::Columns(table) => self.one(format!("DESCRIBE {table}"), screen).await?,
        }
        Ok(false)
    }

    /// Runs statements in turn, up to the first that fails.
    async fn all(&self, statements: Vec<String>, screen: Option<Screen>) -> Result<()> {
        for statement in statements {
            self.one(statement, screen).await?;
        }
        Ok(())
    }

    async fn one(&self, statement: String, screen: Option<Screen>) -> Result<()> {
        let began = Instant::now();
        let format = match self.setting.format {
            OutputFormat::Table if self.expanded => Format::Expanded,
            format => format.into(),
        };
        let options = Options {
            statement: Statement::Sql(statement),
            format,
            ..self.setting.options.clone()
        };
        let mut out = self.console.out();
        let mut pager = Pager::new(&mut out, screen, std::env::var_os("PAGER"));
        let (spool, archive) = self.setting.stores;
        let ended = self
            .signals
            .or_cancel(Box::pin(query::run(spool, archive, &options, &mut pager)))
            .await;
        let took = began.elapsed();
        pager
            .finish()
            .map_err(|e| Error::io("the terminal cannot be written", e))
            .or_else(left)?;
        out.finish()?;
        let answer = ended?;
        let time = if self.timing {
            format!(" in {:.3} s", took.as_secs_f64())
        } else {
            String::new()
        };
        self.console
            .line(&format!("{}{time}", show::rows(answer.rows)));
        if let Some(text) = show::lacking(answer) {
            self.console.line(&text);
        }
        Ok(())
    }
}

/// A pager that was left before the end has shown what was wanted.
fn left(error: Error) -> Result<()> {
    let is_pipe = std::error::Error::source(&error)
        .and_then(|e| e.downcast_ref::<io::Error>())
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
    if is_pipe { Ok(()) } else { Err(error) }
}
