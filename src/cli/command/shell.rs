//! `qlc completions` and `qlc man`: what shells and readers of manuals need of the grammar.
//!
//! The text goes to stdout; nothing is installed.

use crate::{
    cli::{args, console::Console, exit::Exit},
    error::{Error, Result},
};

/// Prints the completions for `shell`.
pub(super) fn completions(shell: clap_complete::Shell, console: &Console) -> Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut args::grammar(), "qlc", &mut text);
    print(&text, console)
}

/// Prints the manual page, in the form that `man` reads.
pub(super) fn man(console: &Console) -> Result<Exit> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(args::grammar());
    page.render(&mut text).map_err(|e| Error::io("the manual page", e))?;
    print(&text, console)
}

fn print(text: &[u8], console: &Console) -> Result<Exit> {
    let mut out = console.out();
    out.lines(String::from_utf8_lossy(text).trim_end());
    out.finish()?;
    Ok(Exit::Done)
}
