//! `qlc doctor`

use chrono::Utc;

use super::cluster;
use crate::{
    cli::{
        args::{Doctor, Global},
        console::Console,
        exit::Exit,
        settings::Settings,
        show,
        signals::Signals,
    },
    doctor::{self, Check, Options},
    error::Result,
};

/// Examines everything that a run needs. Settings that are wrong are the first finding, and the
/// last: of what they would name nothing is known then.
pub(super) async fn run(
    typed: &Doctor,
    global: &Global,
    settings: Result<Settings>,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    const NAME: &str = "configuration";
    let all = match settings {
        Err(error) => vec![Check::problem(
            NAME,
            error.chain(),
            "correct the setting; qlc config show prints the effective settings",
        )],
        Ok(settings) => {
            let executors = match typed.on.named() {
                Some(on) => {
                    signals
                        .or_stop(async { Ok(cluster::checks(on, &settings).await) })
                        .await?
                }
                None => Vec::new(),
            };
            let from = match &global.config {
                Some(path) => path.display().to_string(),
                None => {
                    "flags, environment and defaults; no file is named with --config or QLC_CONFIG"
                        .to_owned()
                }
            };
            let options = Options {
                spool: settings.spool,
                archive: settings.archive,
                bucket: settings.bucket,
                spill_dir: settings.spill_dir,
                memory_limit: settings.memory_limit,
                metrics_file: settings.told.metrics_file,
                now: Utc::now(),
            };
            let found = signals
                .or_stop(async { Ok(doctor::run(&options).await) })
                .await?;
            std::iter::once(Check::ok(NAME, from))
                .chain(found)
                .chain(executors)
                .collect()
        }
    };
    let mut out = console.out();
    out.list(typed.format, &all, || show::checks(&all))?;
    out.finish()?;
    Ok(Exit::of_checks(&all))
}
