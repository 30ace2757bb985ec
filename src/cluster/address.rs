//! A cluster's address, as people write it: host and port, and nothing else.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// The port of a scheduler where none is named, as Ballista has it.
pub const SCHEDULER_PORT: u16 = 50050;

/// A cluster, by the address of its scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    host: String,
    port: u16,
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "df://{}:{}", self.host, self.port)
    }
}

impl FromStr for Cluster {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!(
                "{text:?} is not the address of a scheduler: write df://host:50050"
            ))
        };
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let plain = url.path().trim_matches('/').is_empty()
            && url.username().is_empty()
            && url.query().is_none();
        match (url.scheme(), url.host_str()) {
            ("df", Some(host)) if plain => Ok(Self {
                host: host.to_owned(),
                port: url.port().unwrap_or(SCHEDULER_PORT),
            }),
            _ => Err(wrong()),
        }
    }
}

impl Cluster {
    /// The URL of `what` at the scheduler.
    pub(super) fn url(&self, what: &str) -> String {
        format!("http://{}:{}/{what}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_its_scheduler() {
        let check =
            |text: &str, want: &str| assert_eq!(text.parse::<Cluster>().unwrap().to_string(), want);
        check("df://localhost:50050", "df://localhost:50050");
        check("df://10.0.0.7", "df://10.0.0.7:50050");
        check("df://host:7/", "df://host:7");
        for text in [
            "",
            "localhost:50050",
            "http://localhost:50050",
            "df://",
            "df://host/x",
            "df://me@host",
        ] {
            assert!(text.parse::<Cluster>().is_err(), "{text}");
        }
    }
}
