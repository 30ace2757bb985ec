//! `qlc completions` and `qlc man`: what shells and readers of manuals need of the grammar.
//!
//! The text goes to stdout, or into a folder that was named; nothing is installed.

use std::path::Path;

use crate::{
    cli::{
        args::{self, Man},
        console::Console,
        exit::Exit,
    },
    error::{Error, Result},
};

/// Prints the completions for `shell`.
pub(super) fn completions(shell: clap_complete::Shell, console: &Console) -> Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut args::grammar(), "qlc", &mut text);
    print(&text, console)
}

/// Prints the manual page of a command, in the form that `man` reads, or writes those of all
/// commands into a folder.
pub(super) fn man(typed: &Man, console: &Console) -> Result<Exit> {
    // What the short help hides has a text in a manual.
    let mut grammar = args::grammar()
        .disable_help_subcommand(true)
        .mut_args(|arg| arg.hide_short_help(false));
    grammar.build();
    let grammar = without_short_help(grammar);
    if let Some(folder) = &typed.dir {
        write_pages(&grammar, folder)?;
        return Ok(Exit::Done);
    }
    let mut command = &grammar;
    for name in &typed.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            let all = typed.command.join(" ");
            Error::usage(format!(
                "{all:?} is not a command of qlc; 'qlc --help' lists them"
            ))
        })?;
    }
    let mut text = Vec::new();
    page(command)
        .render(&mut text)
        .map_err(|e| Error::io("the manual page", e))?;
    print(&text, console)
}

/// A manual is the same for `-h` and `--help`.
fn without_short_help(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            if arg.get_id() == "help" {
                arg.long_help("Print help")
            } else {
                arg
            }
        })
        .mut_subcommands(without_short_help)
}

fn page(command: &clap::Command) -> clap_mangen::Man {
    clap_mangen::Man::new(command.clone()).source(concat!("qlc ", env!("CARGO_PKG_VERSION")))
}

/// Writes the pages of a command and of all below it, but for those that help does not list either.
fn write_pages(command: &clap::Command, folder: &Path) -> Result<()> {
    let _ = page(command)
        .generate_to(folder)
        .map_err(|e| Error::io(folder.display(), e))?;
    let mut shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown.try_for_each(|verb| write_pages(verb, folder))
}

fn print(text: &[u8], console: &Console) -> Result<Exit> {
    let mut out = console.out();
    out.lines(String::from_utf8_lossy(text).trim_end());
    out.finish()?;
    Ok(Exit::Done)
}
