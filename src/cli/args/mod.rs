//! What was typed: the grammar of the command line, by clap.
//!
//! Refuses to decide anything: whether the flags make sense together, and what they mean, is for `meaning` to say.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the text of --help")]

mod bucket;
mod clean;
mod cluster;
mod collect;
mod compact;
mod config;
mod doctor;
mod import;
mod prune;
mod quarantine;
mod query;
mod shared;
mod status;
mod verify;

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use bucket::{Bucket, connections, duration, retries};
pub(crate) use clean::Clean;
pub(crate) use cluster::Cluster;
#[cfg(feature = "cluster")]
pub(crate) use cluster::{ClusterVerb, ExecutorTyped, SchedulerTyped};
pub(crate) use collect::{Collect, Feeds, Record, Replay, Speed, endpoint as feed_url, time as feed_time};
pub(crate) use compact::{Compact, ModeName, Selection};
pub(crate) use config::{Config, ConfigShow, ConfigVerb};
pub(crate) use doctor::Doctor;
pub(crate) use import::Import;
pub(crate) use prune::Prune;
pub(crate) use quarantine::{Chosen, Discard, Quarantine, Retry, Verb};
pub(crate) use query::{OutputFormat, Query};
pub(crate) use shared::{Days, Format, Resources, Tuning, keep_days, workers, zstd_level};
pub(crate) use status::{Covered, Report, Status};
pub(crate) use verify::Verify;

/// Turns recorded market data into a proven archive: one sorted, verified file per exchange, stream, symbol and day.
#[derive(Debug, Parser)]
#[command(name = "qlc", version, after_help = EXAMPLES, propagate_version = true)]
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
  qlc query \"SELECT * FROM archive.meta\"

Exit codes: 0 done or nothing to do, 1 something failed, 2 usage or configuration,
            3 done but something was quarantined or ignored, 4 damage was found,
            5 whether a write to a bucket took effect is not known";

/// What every command understands.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// Where the collector leaves its files: a folder or a URL [default: /opt/quantlab/spool]
    #[arg(long, global = true, value_name = "PATH|URL", env = "QLC_SPOOL", hide_env_values = true)]
    pub(crate) spool: Option<String>,
    /// Where compacted partitions are kept: a folder or a URL [default: s3://quantlab-compact]
    #[arg(long, global = true, value_name = "PATH|URL", env = "QLC_ARCHIVE", hide_env_values = true)]
    pub(crate) archive: Option<String>,
    /// A TOML file with the settings; deploy/qlc.toml explains all of them, qlc config show prints what holds
    #[arg(long, global = true, value_name = "FILE", env = "QLC_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Keep the metrics of compact, verify, prune and clean in this file, as the textfile collector of a node exporter
    /// reads it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QLC_METRICS_FILE",
        hide_env_values = true,
        help_heading = "Monitoring"
    )]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Push them to this Pushgateway
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "QLC_METRICS_PUSH",
        hide_env_values = true,
        help_heading = "Monitoring"
    )]
    pub(crate) metrics_push: Option<String>,
    /// When compact, verify, prune or clean do not end with 0, post what happened to this webhook, as JSON
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
    pub(crate) bucket: Bucket,
    /// Whether the archive was typed, and does not come from the environment.
    #[arg(skip)]
    pub(crate) archive_was_typed: bool,
    /// The names of what was typed, and of what the environment says.
    #[arg(skip)]
    pub(crate) sources: Sources,
    /// Log more: -v what is done, -vv how, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No progress, and only errors in the log; -qq not even these
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    pub(crate) quiet: u8,
    /// The log on stderr: for a person, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
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
    /// Compacts the files of a day into one proven file per partition
    Compact(Compact),
    /// Checks what the archive holds against meta.json, receipts and itself
    Verify(Verify),
    /// Runs SQL, or a named verification query, over archive and spool
    Query(Query),
    /// Removes spool files whose every row is proven to be in the archive
    Prune(Prune),
    /// Shows what could not be compacted, tries it again, or lets it go
    Quarantine(Quarantine),
    /// Removes what interrupted runs left and nobody needs
    Clean(Clean),
    /// Shows which days are complete, and what mends those that are not
    Status(Status),
    /// Writes a page about coverage, sizes, gaps, quarantine and runs
    Report(Report),
    /// Tells everything about single Parquet files, and what is wrong with them
    Inspect(Inspect),
    /// Takes over an archive that another program made, without rewriting data that is right
    Import(Import),
    /// Collects exchange feeds into the spool
    Collect(Collect),
    /// Keeps the raw frames of exchange feeds in a file
    Record(Record),
    /// Plays a recording back as an exchange would
    Replay(Replay),
    /// Runs the processes of a cluster, for more partitions than one machine can do in a night
    Cluster(Cluster),
    /// Prints the settings that hold, and where each comes from
    Config(Config),
    /// Checks that a run has all that it needs, and says what would mend it
    Doctor(Doctor),
    /// Prints the completions of a shell
    Completions(Completions),
    /// Prints the manual page
    #[command(after_help = "Examples:\n  qlc man | man -l -")]
    Man,
    /// Makes a sample spool, compacts, verifies and queries it
    Demo(Demo),
}

impl Command {
    /// Whether it goes on until it is asked to end, and then has something to put in order.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self, Self::Collect(_) | Self::Record(_) | Self::Replay(_) | Self::Cluster(_))
    }
}

/// `qlc inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc inspect spool/exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_14-30-00.parquet
  qlc inspect --format json s3://quantlab-compact/exchange=binance/stream=bbo/symbol=btcusdt/date=20260203/data.parquet")]
pub(crate) struct Inspect {
    /// Parquet files
    #[arg(required = true, value_name = "FILE|URL")]
    pub(crate) files: Vec<String>,
    /// For a person, or for a program: one JSON object a line
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
    let matches = deaf_to_empty(grammar()).try_get_matches_from(line)?;
    let mut typed = <Typed as clap::FromArgMatches>::from_arg_matches(&matches)?;
    typed.global.sources = sources(&matches);
    typed.global.archive_was_typed = typed.global.sources.typed.iter().any(|id| id == "archive");
    let moved = typed.global.bucket.feeds();
    match &mut typed.command {
        Command::Collect(collect) => collect.feeds.endpoint = moved,
        Command::Record(record) => record.feeds.endpoint = moved,
        _ => {}
    }
    Ok(typed)
}

/// The grammar without the variables that are set to nothing: files of variables turn a setting off so.
fn deaf_to_empty(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(clap::builder::Resettable::Reset) } else { arg }
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
                    let variable = arg.and_then(clap::Arg::get_env).map(|name| name.to_string_lossy().into_owned());
                    found.environment.extend(variable.map(|name| (id.to_owned(), name)));
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
/// clap sets an error as paragraphs; the usage and the pointer to help come last and are said shorter here.
pub(crate) fn usage_line(error: &clap::Error, typed: &[OsString]) -> String {
    let text = error.render().to_string();
    let said: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        .take_while(|paragraph| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information"))
        .collect();
    let said = said.join("; ");
    let mut said = said.trim().trim_start_matches("error: ").to_owned();
    if let Some((flag, variable)) = of_variable(error, typed) {
        said = said.replace(&format!("'{flag}'"), &variable);
    }
    format!("{said}; see '{} --help'", command_of(typed))
}

/// The argument that an error is about, as clap names it, and the variable that its value comes from, if it was not typed.
fn of_variable(error: &clap::Error, typed: &[OsString]) -> Option<(String, String)> {
    use clap::error::{ContextKind, ContextValue};
    let ContextValue::String(named) = error.get(ContextKind::InvalidArg)? else { return None };
    let long = named.split([' ', '=', '[']).next()?.strip_prefix("--")?;
    let is_flag = |word: &OsString| {
        let rest = word.to_str().and_then(|word| word.strip_prefix("--")).and_then(|word| word.strip_prefix(long));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if typed.iter().any(is_flag) {
        return None;
    }
    let known = grammar();
    let all = std::iter::once(&known).chain(known.get_subcommands());
    let args = all.flat_map(|command| {
        command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments))
    });
    let variables = args.filter(|arg| arg.get_long() == Some(long)).filter_map(clap::Arg::get_env);
    let set = variables.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))?;
    Some((named.clone(), set.to_string_lossy().into_owned()))
}

/// The command that `typed` names, for the pointer to its help.
fn command_of(typed: &[OsString]) -> String {
    let known = <Typed as clap::CommandFactory>::command();
    let named =
        typed.iter().skip(1).filter_map(|word| word.to_str()).find(|word| known.find_subcommand(word).is_some());
    named.map_or_else(|| "qlc".to_owned(), |name| format!("qlc {name}"))
}

#[cfg(test)]
mod tests;
