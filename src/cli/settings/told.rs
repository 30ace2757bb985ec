//! Where a run reports how it ended: a file, a gateway, a webhook.
//!
//! A wrong URL is not repeated in the error: whoever knows that of a webhook can post there.

use std::path::PathBuf;

use url::Url;

use crate::{
    cli::args::Global,
    error::{Error, Result},
};

/// Where it is told how a run of a batch command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The file of metrics, for the textfile collector of a node exporter.
    pub(crate) metrics_file: Option<PathBuf>,
    /// The gateway that metrics are pushed to.
    pub(crate) metrics_push: Option<String>,
    /// The webhook that hears of failures and quarantines.
    pub(crate) notify: Option<String>,
}

impl Told {
    /// Who is named. An empty flag is how a setting of the file is turned off for one run.
    pub(crate) fn of(global: &Global) -> Self {
        let text = |url: &Option<String>| url.clone().filter(|url| !url.trim().is_empty());
        Self {
            metrics_file: global
                .metrics_file
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            metrics_push: text(&global.metrics_push),
            notify: text(&global.notify),
        }
    }

    /// Whether anybody reads the metrics of runs.
    pub(crate) fn wants_metrics(&self) -> bool {
        self.metrics_file.is_some() || self.metrics_push.is_some()
    }

    /// Refuses what is no URL.
    pub(super) fn check(&self) -> Result<()> {
        for (url, name) in [
            (&self.notify, "notify"),
            (&self.metrics_push, "metrics_push"),
        ] {
            // Not repeated: the URL of a webhook is a secret.
            if url.as_deref().is_some_and(|url| http_url(url).is_none()) {
                return Err(Error::usage(format!(
                    "{name} is not a URL with http:// or https://: check --{}, QLC_{} and the configuration",
                    name.replace('_', "-"),
                    name.to_ascii_uppercase()
                )));
            }
        }
        Ok(())
    }
}

/// A URL of the web, if the text is one.
pub(crate) fn http_url(text: &str) -> Option<Url> {
    Url::parse(text)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}
