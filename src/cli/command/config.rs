//! `qlc config`

use std::ffi::OsString;

use crate::{
    cli::{
        args::{self, Command, ConfigShow, Global},
        console::{Console, Look},
        exit::Exit,
        settings::Settings,
        show,
        shown::shown,
    },
    error::{Error, Kind, Result},
};

/// Prints every setting with its origin.
pub(super) fn show(
    typed: &ConfigShow,
    global: &Global,
    settings: &Settings,
    console: &Console,
) -> Result<Exit> {
    // The collector's settings have flags of their own, which this command does not have: what its
    // environment and the file say is what `qlc collect` alone would hear.
    let mut line = ["qlc", "collect"].map(OsString::from).to_vec();
    if let Some(path) = &global.config {
        line.extend(["--config".into(), path.clone().into_os_string()]);
    }
    let read =
        args::read(line.iter().cloned()).map_err(|e| Error::usage(args::usage_line(&e, &line)))?;
    let Command::Collect(mut collect) = read.command else {
        return Err(Error::new(Kind::Internal, "`qlc collect` is no collect"));
    };
    collect.feeds.endpoint.extend(global.bucket.feeds());
    let has_keys = std::env::var_os("AWS_ACCESS_KEY_ID").is_some_and(|key| !key.is_empty());
    let all = shown(
        global,
        settings,
        typed,
        &collect,
        &read.global.sources,
        has_keys,
    );
    let mut out = console.out();
    out.list(typed.format, &all, || {
        show::settings(&all, Look::of_stdout())
    })?;
    out.finish()?;
    Ok(Exit::Done)
}
