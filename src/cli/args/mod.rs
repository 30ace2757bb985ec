//! What was typed: the grammar of the command line, by clap.
//!
//! It decides nothing: whether the flags make sense together, and what they mean, is for `meaning`
//! to say.

#![expect(
    clippy::doc_markdown,
    reason = "the comments on arguments are the text of --help"
)]

mod bucket;
mod clean;
mod cluster;
mod collect;
mod compact;
mod config;
mod doctor;
mod file;
mod import;
mod pages;
mod prune;
mod quarantine;
mod query;
mod reconcile;
mod shared;
mod status;
mod verify;

use std::{ffi::OsString, fmt::Write, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand};

use super::version;
use crate::model::near::nearest;

pub(crate) use bucket::BucketArgs;
pub(crate) use clean::Clean;
pub(crate) use cluster::{Cluster, NamedCluster};
#[cfg(feature = "cluster")]
pub(crate) use cluster::{ClusterCertificate, ClusterVerb, ExecutorTyped, SchedulerTyped};
pub(crate) use collect::{Collect, Feeds, Record, Replay, Speed};
pub(crate) use compact::{Compact, ModeName, SelectionArgs};
pub(crate) use config::{Config, ConfigShow, ConfigVerb};
pub(crate) use doctor::Doctor;
pub(crate) use file::{ENDPOINTS, File, RECONCILE, names};
pub(crate) use import::Import;
pub(crate) use pages::{FIRST_SCREEN, GROUPS};
pub(crate) use prune::Prune;
pub(crate) use quarantine::{Chosen, Discard, Quarantine, Retry, Verb};
pub(crate) use query::{OutputFormat, Query};
pub(crate) use reconcile::Reconcile;
pub(crate) use shared::{Days, Format, Resources, Tuning, Usual};
pub(crate) use status::{Covered, Report, Status};
pub(crate) use verify::Verify;

/// Compact recorded market data into an archive with one proven file per exchange, stream, symbol
/// and day.
#[derive(Debug, Parser)]
#[command(name = "qlc", version, long_version = version::long(), after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Typed {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  qlc demo                     a sample spool, compacted, verified and queried
  qlc --spool ./spool --archive ./archive compact --mode daily
  qlc verify --start 20260101 --end 20260131
  qlc query \"SELECT * FROM archive.meta\"";

/// What every command understands.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// The spool, where collectors write: a folder or a URL; of several collectors one each, with
    /// its name, as in tokyo=/data/tokyo [default: /opt/quantlab/spool]
    #[arg(
        long,
        global = true,
        value_name = "[NAME=]PATH|URL",
        env = "QLC_SPOOL",
        hide_env_values = true
    )]
    pub(crate) spool: Vec<String>,
    /// The archive of compacted partitions: a folder or a URL [default: s3://quantlab-compact]
    #[arg(
        long,
        global = true,
        value_name = "PATH|URL",
        env = "QLC_ARCHIVE",
        hide_env_values = true
    )]
    pub(crate) archive: Option<String>,
    /// A TOML file with the settings; deploy/qlc.toml explains all of them, qlc config show prints
    /// the effective ones
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QLC_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Write the metrics of compact, verify, prune and clean to this file, for the textfile
    /// collector of a node exporter
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QLC_METRICS_FILE",
        hide_env_values = true,
        help_heading = "Monitoring"
    )]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Push these metrics to this Pushgateway
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "QLC_METRICS_PUSH",
        hide_env_values = true,
        help_heading = "Monitoring"
    )]
    pub(crate) metrics_push: Option<String>,
    /// When compact, verify, prune, clean or collect does not end with 0, post what happened to
    /// this webhook, as JSON
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "QLC_NOTIFY",
        hide_env_values = true,
        help_heading = "Monitoring"
    )]
    pub(crate) notify: Option<String>,
    #[command(flatten)]
    pub(crate) bucket: BucketArgs,
    /// What the configuration file says beside the defaults of arguments.
    #[arg(skip)]
    pub(crate) file: File,
    /// What is wrong with that file. It is said by whoever needs a setting: help, for one, does not.
    #[arg(skip)]
    pub(crate) wrong: Option<String>,
    /// What holds for a command that lacks these arguments.
    #[arg(skip)]
    pub(crate) usual: Usual,
    /// Whether the archive was typed, and does not come from the environment.
    #[arg(skip)]
    pub(crate) archive_was_typed: bool,
    /// The names of what was typed, and of what the environment says.
    #[arg(skip)]
    pub(crate) sources: Sources,
    /// Say more: -v lists every partition and logs what is done, -vv how, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Log")]
    pub(crate) verbose: u8,
    /// Show no progress and log only errors; -qq not even these
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose", help_heading = "Log")]
    pub(crate) quiet: u8,
    /// The form of the log on stderr: text, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT", help_heading = "Log")]
    pub(crate) log_format: Format,
}

/// Where arguments come from, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// Those of the command line.
    pub(crate) typed: Vec<String>,
    /// Those of the environment, with the variable.
    pub(crate) environment: Vec<(String, String)>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compact the spool files of a day into one proven file per partition
    Compact(Compact),
    /// Check every byte of the archive against meta.json and receipts
    Verify(Verify),
    /// Run SQL, or a named verification query, over archive and spool
    Query(Query),
    /// Compare days with what the exchange itself publishes of them, and fill holes from that
    Reconcile(Reconcile),
    /// Remove spool files whose every row is proven to be in the archive
    Prune(Prune),
    /// List what could not be compacted, try it again, or discard it
    Quarantine(Quarantine),
    /// Remove what interrupted runs left behind
    Clean(Clean),
    /// Show which days are complete, and the command that fixes each other one
    Status(Status),
    /// Write an HTML page about coverage, sizes, gaps, quarantine and runs
    Report(Report),
    /// Examine single Parquet files, and say what is wrong with them
    Inspect(Inspect),
    /// Take over the archive, or the whole tree, of another program
    Import(Import),
    /// Collect exchange feeds into the spool
    Collect(Collect),
    /// Record the raw frames of exchange feeds in a file
    Record(Record),
    /// Play a recording back as an exchange would
    Replay(Replay),
    /// Run the scheduler or an executor of a cluster
    Cluster(Cluster),
    /// Print the effective settings and their origin
    Config(Config),
    /// Check that a run has all that it needs, and say how to fix what is missing
    Doctor(Doctor),
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions(Completions),
    /// Print the manual page of qlc or of one of its commands
    #[command(hide = true)]
    Man(Man),
    /// Print all commands and options as Markdown
    #[command(hide = true, after_help = "Examples:\n  qlc reference > docs/cli.md")]
    Reference,
    /// Make a sample spool, and compact, verify and query it
    Demo(Demo),
}

impl Command {
    /// Whether it goes on until it is asked to end, and then has something to put in order.
    pub(crate) fn is_service(&self) -> bool {
        matches!(
            self,
            Self::Collect(_) | Self::Record(_) | Self::Replay(_) | Self::Cluster(_)
        )
    }
}

/// `qlc inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc inspect spool/exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_14-30-00.parquet
  qlc inspect --format json \\
    s3://quantlab-compact/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/data.parquet")]
pub(crate) struct Inspect {
    /// Parquet files
    #[arg(required = true, value_name = "FILE|URL")]
    pub(crate) files: Vec<String>,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// `qlc completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc completions bash > /etc/bash_completion.d/qlc
  qlc completions zsh > \"${fpath[1]}/_qlc\"
  qlc completions fish > ~/.config/fish/completions/qlc.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `qlc man`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc man | man -l -
  qlc man quarantine retry | man -l -
  qlc man --dir ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The command, and the verb of a command that has several
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands into this folder, which must exist
    #[arg(long, value_name = "D")]
    pub(crate) dir: Option<PathBuf>,
}

/// The grammar, for what is made of it.
pub(crate) fn grammar() -> clap::Command {
    <Typed as clap::CommandFactory>::command()
}

/// `qlc demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc demo
  qlc demo --dir /tmp/qlc-demo
  qlc demo --archive s3://my-bucket/demo

The folder must be new, empty, or one that an earlier demo made; the latter is made anew.")]
pub(crate) struct Demo {
    /// The folder for the sample spool and its archive
    #[arg(long, value_name = "D", default_value = "./qlc-demo")]
    pub(crate) dir: PathBuf,
}

/// Reads the command line.
///
/// # Errors
/// clap's own, which is also how `--help` and `--version` end the program; see [`usage_line`].
pub(crate) fn read(line: impl IntoIterator<Item = OsString>) -> Result<Typed, clap::Error> {
    let line: Vec<OsString> = line.into_iter().collect();
    if line.iter().skip(1).eq(["help", "options"].iter()) {
        return Err(pages::options(&grammar()));
    }
    let grammar = grammar();
    let matches = parse(&line, grammar.clone())?;
    match matches.get_one::<PathBuf>("config") {
        None => of_matches(&line, &matches, File::default()),
        Some(path) => match File::read(path, &grammar) {
            Ok(file) => with_file(&line, grammar, file),
            Err(error) => {
                let mut typed = of_matches(&line, &matches, File::default())?;
                typed.global.wrong = Some(error.chain());
                Ok(typed)
            }
        },
    }
}

fn parse(line: &[OsString], grammar: clap::Command) -> Result<clap::ArgMatches, clap::Error> {
    pages::presented(deaf_to_empty(grammar)).try_get_matches_from(line)
}

/// Reads the command line, where the configuration file says this.
fn with_file(line: &[OsString], grammar: clap::Command, file: File) -> Result<Typed, clap::Error> {
    let matches = parse(line, file.as_defaults(grammar))?;
    of_matches(line, &matches, file)
}

/// What was typed, and what the configuration file says besides.
fn of_matches(
    line: &[OsString],
    matches: &clap::ArgMatches,
    file: File,
) -> Result<Typed, clap::Error> {
    let mut typed = <Typed as clap::FromArgMatches>::from_arg_matches(matches)?;
    typed.global.sources = sources(matches);
    typed.global.usual = Usual::read(|usual| deaf_to_empty(file.as_defaults(usual)))?;
    let named = spools(line);
    if !named.is_empty() {
        typed.global.spool = named;
    }
    typed.global.archive_was_typed = typed.global.sources.typed.iter().any(|id| id == "archive");
    // The later of two entries for one name holds.
    let moved = [&file.feeds[..], &typed.global.bucket.feeds()].concat();
    typed.global.file = file;
    match &mut typed.command {
        Command::Collect(collect) => collect.feeds.endpoint = moved,
        Command::Record(record) => record.feeds.endpoint = moved,
        _ => {}
    }
    Ok(typed)
}

/// Reads a line without the program's name, beside a configuration file with this text.
#[cfg(test)]
pub(crate) fn read_beside(file: &str, line: &str) -> crate::error::Result<Typed> {
    let grammar = grammar();
    let file = File::parse(file, std::path::Path::new("/etc/qlc/qlc.toml"), &grammar)?;
    let words = std::iter::once("qlc").chain(line.split_whitespace());
    let line: Vec<OsString> = words.map(OsString::from).collect();
    with_file(&line, grammar, file).map_err(|e| crate::error::Error::usage(usage_line(&e, &line)))
}

/// All spools on the line, before and after the command: of those before it the grammar keeps none
/// where others follow.
fn spools(line: &[OsString]) -> Vec<String> {
    const FLAG: &str = "--spool";
    let mut words = line
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy())
        .take_while(|word| *word != "--");
    let mut named = Vec::new();
    while let Some(word) = words.next() {
        if word == FLAG {
            named.extend(words.next().map(std::borrow::Cow::into_owned));
        } else {
            named.extend(
                word.strip_prefix(FLAG)
                    .and_then(|rest| rest.strip_prefix('='))
                    .map(str::to_owned),
            );
        }
    }
    named
}

/// The grammar without the variables that are set to nothing: files of variables turn a setting off
/// so.
fn deaf_to_empty(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_empty = arg
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        if is_empty {
            arg.env(clap::builder::Resettable::Reset)
        } else {
            arg
        }
    });
    command.mut_subcommands(deaf_to_empty)
}

/// Where every argument comes from, whether it stands before or after the command.
fn sources(matches: &clap::ArgMatches) -> Sources {
    use clap::parser::ValueSource::{CommandLine, EnvVariable};
    let mut found = Sources::default();
    let mut command = grammar();
    command.build();
    let mut level = Some(matches);
    while let Some(matches) = level {
        for id in matches.ids().map(clap::Id::as_str) {
            match matches.value_source(id) {
                Some(CommandLine) => found.typed.push(id.to_owned()),
                Some(EnvVariable) => {
                    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
                    let variable = arg
                        .and_then(clap::Arg::get_env)
                        .map(|name| name.to_string_lossy().into_owned());
                    found
                        .environment
                        .extend(variable.map(|name| (id.to_owned(), name)));
                }
                _ => {}
            }
        }
        level = matches.subcommand().map(|(name, inner)| {
            command = command.find_subcommand(name).cloned().unwrap_or_default();
            inner
        });
    }
    found
}

/// A clap error as one line: what is wrong, what would be right, where help is.
///
/// clap sets an error as paragraphs; the usage and the pointer to help come last and are said
/// shorter here.
pub(crate) fn usage_line(error: &clap::Error, typed: &[OsString]) -> String {
    let text = error.render().to_string();
    let said: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| {
            paragraph
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .take_while(|paragraph| {
            !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information")
        })
        .collect();
    let said = said.join("; ");
    let mut said = said.trim().trim_start_matches("error: ").to_owned();
    if let Some((flag, variable)) = of_variable(error, typed) {
        said = said.replace(&format!("'{flag}'"), &variable);
    }
    if let Some(near) = mistyped(error, typed).filter(|_| !said.contains("tip: ")) {
        let _ = write!(said, "; tip: a similar subcommand exists: '{near}'");
    }
    format!("{said}; see '{} --help'", command_of(typed))
}

/// The command that was probably meant: clap says so itself, but not after `help`.
fn mistyped(error: &clap::Error, typed: &[OsString]) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let mut command = grammar();
    for word in typed.iter().filter_map(|word| word.to_str()) {
        command = command.find_subcommand(word).cloned().unwrap_or(command);
    }
    let known = command
        .get_subcommands()
        .filter(|known| !known.is_hide_set());
    nearest(word, known.map(clap::Command::get_name)).map(str::to_owned)
}

/// The argument that an error is about, as clap names it, and the variable that its value comes
/// from, if it was not typed.
fn of_variable(error: &clap::Error, typed: &[OsString]) -> Option<(String, String)> {
    use clap::error::{ContextKind, ContextValue};
    let ContextValue::String(named) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let long = named.split([' ', '=', '[']).next()?.strip_prefix("--")?;
    let is_flag = |word: &OsString| {
        let rest = word
            .to_str()
            .and_then(|word| word.strip_prefix("--"))
            .and_then(|word| word.strip_prefix(long));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if typed.iter().any(is_flag) {
        return None;
    }
    let is_set =
        |name: &&std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut set = None;
    file::below(&grammar(), &mut |arg| {
        if set.is_none() && arg.get_long() == Some(long) {
            let variable = arg.get_env().filter(is_set);
            set = variable.map(|name| name.to_string_lossy().into_owned());
        }
    });
    Some((named.clone(), set?))
}

/// The command that `typed` names, for the pointer to its help.
fn command_of(typed: &[OsString]) -> String {
    let known = <Typed as clap::CommandFactory>::command();
    let named = typed
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .find(|word| known.find_subcommand(word).is_some());
    named.map_or_else(|| "qlc".to_owned(), |name| format!("qlc {name}"))
}

#[cfg(test)]
mod tests;
