//! What help shows: the first screen, the commands by who asks for them, and the options of every
//! command, once.
//!
//! The grammar itself stays whole: completions, the manual page and the reference are made of it.

use clap::{Command, error::Error};

/// The commands by who asks for them. What serves shells and packagers is in no group.
pub(crate) const GROUPS: [(&str, &[&str]); 4] = [
    ("Every night", &["compact", "verify", "prune", "clean"]),
    (
        "Looking",
        &[
            "status",
            "query",
            "reconcile",
            "quarantine",
            "inspect",
            "report",
        ],
    ),
    ("Feeding", &["collect", "record", "replay", "import"]),
    ("Operating", &["demo", "doctor", "config", "cluster"]),
];

/// What `qlc` alone prints.
pub(crate) const FIRST_SCREEN: &str = "\
qlc compacts recorded market data: a spool of many small Parquet files becomes an archive with one
proven file per exchange, stream, symbol and day.

To begin:
  qlc demo                        a sample spool, compacted, verified and queried; takes seconds
  qlc doctor                      check that a run has all that it needs
  qlc --spool DIR --archive DIR compact --mode catch-up --dry-run
                                  what would be done with your files, and why

'qlc --help' lists the commands, 'qlc help COMMAND' explains one.";

const EXIT_CODES: &str = "\
Exit codes: 0 done or nothing to do, 1 something failed, 2 usage or configuration,
            3 done but something was quarantined or ignored, 4 damage was found,
            5 whether a write to a bucket took effect is not known,
            6 the archive and what the exchange published differ (reconcile)";

/// What stands at the end of each command's help.
const POINTER: &str =
    "Options of every command, such as --spool, --archive and --config: see 'qlc help options'";

/// The grammar as help shows it: without the options of every command in each of them.
pub(super) fn presented(grammar: Command) -> Command {
    let overview = overview(&grammar);
    hide_global(grammar)
        .mut_subcommands(pointing)
        .override_help(overview)
}

fn hide_global(command: Command) -> Command {
    command.mut_args(|arg| {
        if arg.is_global_set() {
            arg.hide(true)
        } else {
            arg
        }
    })
}

fn pointing(command: Command) -> Command {
    let after = command.get_after_help().map_or_else(String::new, |after| {
        format!("{}\n\n", unwrapped(&after.to_string()))
    });
    command
        .after_help(format!("{after}{POINTER}"))
        .mut_subcommands(pointing)
}

/// Prose without the ends of its lines in the source, so that it is wrapped where the terminal ends.
fn unwrapped(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        if paragraph.contains("\n  ") {
            paragraph.to_owned()
        } else {
            paragraph.replace('\n', " ")
        }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// What `qlc --help` prints.
fn overview(grammar: &Command) -> String {
    let mut lines = vec![
        "qlc compacts recorded market data: a spool of many small Parquet files becomes an archive with".to_owned(),
        "one proven file per exchange, stream, symbol and day.".to_owned(),
        String::new(),
        "Usage: qlc [OPTIONS] <COMMAND>".to_owned(),
    ];
    for (title, names) in GROUPS {
        lines.extend([String::new(), format!("{title}:")]);
        for command in names
            .iter()
            .filter_map(|name| grammar.find_subcommand(name))
        {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            lines.push(format!("  {:<12}{about}", command.get_name()));
        }
    }
    let after = grammar
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    lines.extend([
        String::new(),
        "More help:".to_owned(),
        "  qlc help COMMAND    what a command does, with its options and examples".to_owned(),
        "  qlc help options    the options of every command: places, log, monitoring, buckets"
            .to_owned(),
        "  qlc --version       version, commit and features of this build".to_owned(),
        String::new(),
        after,
        String::new(),
        EXIT_CODES.to_owned(),
        String::new(),
    ]);
    lines.join("\n")
}

/// What `qlc help options` prints, in the form by which clap gives help.
pub(super) fn options(grammar: &Command) -> Error {
    let args = grammar.get_arguments().filter(|arg| arg.is_global_set());
    let page = Command::new("options")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(args.map(|arg| arg.clone().hide_short_help(false)))
        .arg(
            clap::Arg::new("help")
                .long("help")
                .hide(true)
                .action(clap::ArgAction::HelpShort),
        )
        .help_template(
            "Options of every command; they are written before or after the command.\n\n{all-args}",
        );
    match page.try_get_matches_from(["options", "--help"]) {
        Err(page) => page,
        Ok(_) => Error::new(clap::error::ErrorKind::DisplayHelp),
    }
}
