//! `qlc config`

use std::ffi::OsString;

use crate::{
    cli::{
        args::{self, Command, ConfigShow, Global},
        console::{Console, Look},
        exit::Exit,
        settings::{Collecting, Settings},
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
    let line = ["qlc", "collect"].map(OsString::from);
    let read =
        args::read(line.iter().cloned()).map_err(|e| Error::usage(args::usage_line(&e, &line)))?;
    let Command::Collect(mut collect) = read.command else {
        return Err(Error::new(Kind::Internal, "`qlc collect` is no collect"));
    };
    collect.feeds.endpoint = global.bucket.feeds();
    let collecting = Collecting::merge(&collect, &settings.collect);
    let has_keys = std::env::var_os("AWS_ACCESS_KEY_ID").is_some_and(|key| !key.is_empty());
    let keep_records = typed.retention.keep_records.or(settings.keep_records);
    let settings = &Settings {
        keep_records,
        ..settings.clone()
    };
    let all = shown(
        global,
        settings,
        &collecting,
        &read.global.sources,
        has_keys,
    )?;
    let mut out = console.out();
    out.list(typed.format, &all, || {
        show::settings(&all, Look::of_stdout())
    })?;
    out.finish()?;
    Ok(Exit::Done)
}
