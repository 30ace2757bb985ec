//! The log: what qlc and its libraries report about their work, on stderr. Results go to stdout.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::{
    args::{Format, Global},
    console::{Console, colour_is_welcome},
};
use crate::{
    error::{Error, Kind, Result},
    model::plain::{coloured, plain},
};

/// A filter in place of `-v` and `-q`, as in `qlc=debug,datafusion=info`.
const VARIABLE: &str = "QLC_LOG";

/// Starts the log.
///
/// # Errors
/// When the filter in `QLC_LOG` is wrong.
pub(crate) fn start(global: &Global, console: &Console) -> Result<()> {
    let wanted = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    // Which module says it is for those who look for what is wrong, and for machines.
    let shows_module =
        global.verbose > 0 || wanted.is_some() || matches!(global.log_format, Format::Json);
    let filter = match wanted {
        Some(text) => EnvFilter::try_new(&text).map_err(|e| {
            Error::caused(
                Kind::Usage,
                format!("{VARIABLE}={text:?} is not a log filter; write one as in qlc=debug"),
                e,
            )
        })?,
        None => EnvFilter::new(level(global.verbose, global.quiet)),
    };
    let is_coloured = io::stderr().is_terminal() && colour_is_welcome();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveBars {
            console: console.clone(),
            is_coloured,
        })
        .with_ansi(is_coloured)
        .with_target(shows_module)
        // Its complaint about a stderr that has gone would be a panic.
        .log_internal_errors(false);
    match global.log_format {
        Format::Text => log.try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|e| Error::caused(Kind::Internal, "the log cannot be started", e))
}

/// The filter for so many `-v` and `-q`; the libraries are always a step quieter than qlc. That a
/// job of a cluster failed is said by qlc.
fn level(verbose: u8, quiet: u8) -> &'static str {
    match i16::from(verbose) - i16::from(quiet) {
        ..=-2 => "off",
        -1 => "error,ballista_core::execution_plans::distributed_query=off",
        0 => "error,ballista_core::execution_plans::distributed_query=off,qlc=warn",
        1 => "warn,qlc=info",
        2 => "info,qlc=debug",
        3.. => "debug,qlc=trace",
    }
}

/// Writes log lines above the bars.
#[derive(Debug, Clone)]
struct AboveBars {
    console: Console,
    is_coloured: bool,
}

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Names and messages in it come from elsewhere. An event is a line, whatever is in them.
        let text = String::from_utf8_lossy(line);
        let event = text
            .strip_suffix('\n')
            .unwrap_or(&text)
            .replace('\n', "\\n");
        let shown = if self.is_coloured {
            coloured(&event)
        } else {
            plain(&event)
        };
        self.console.write(format!("{shown}\n").as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter() {
        for (verbose, quiet) in [(0, 9), (0, 1), (0, 0), (1, 0), (2, 0), (255, 0)] {
            assert!(EnvFilter::try_new(level(verbose, quiet)).is_ok());
        }
        assert!(level(0, 0).starts_with("error,") && level(0, 0).ends_with(",qlc=warn"));
        assert_eq!(level(1, 1), level(0, 0));
    }
}
