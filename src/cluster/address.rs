//! A cluster's address, as people write it: host and port, and nothing else.

use std::{fmt, net::Ipv6Addr};

use super::peers::Peers;
use crate::error::{Error, Result};

/// The port of a scheduler where none is named, as Ballista has it.
pub const SCHEDULER_PORT: u16 = 50050;

/// A host as it stands before a port: an address of IPv6 in brackets.
pub(super) fn before_port(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

/// A cluster, by the address of its scheduler.
#[derive(Debug, Clone)]
pub struct Cluster {
    host: String,
    port: u16,
    peers: Peers,
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "df://{}:{}", self.host, self.port)
    }
}

impl Cluster {
    /// The cluster that `text` names, whose processes know each other as `peers`.
    ///
    /// # Errors
    /// When it is no address of a scheduler, or one of another machine and nobody has a
    /// certificate.
    pub fn parse(text: &str, peers: Peers) -> Result<Self> {
        let wrong = || {
            // A password is shown nowhere.
            let what = if text.contains(['@', '?']) {
                "an address with a user, a password or a query".to_owned()
            } else {
                format!("{text:?}")
            };
            Error::usage(format!(
                "{what} is not the address of a scheduler: write df://host:50050"
            ))
        };
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let plain = url.path().trim_matches('/').is_empty()
            && url.username().is_empty()
            && url.query().is_none();
        match (url.scheme(), url.host_str()) {
            ("df", Some(host)) if plain => {
                peers.check(host)?;
                Ok(Self {
                    host: host.to_owned(),
                    port: url.port().unwrap_or(SCHEDULER_PORT),
                    peers,
                })
            }
            _ => Err(wrong()),
        }
    }

    /// Host and port of the scheduler.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// How its processes know each other.
    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_its_scheduler() {
        let parse = |text: &str| Cluster::parse(text, Peers::of(None).unwrap());
        let check = |text: &str, want: &str| assert_eq!(parse(text).unwrap().to_string(), want);
        check("df://localhost:50050", "df://localhost:50050");
        check("df://127.0.0.7", "df://127.0.0.7:50050");
        check("df://[::1]:7/", "df://[::1]:7");
        for text in [
            "",
            "localhost:50050",
            "http://localhost:50050",
            "df://",
            "df://host/x",
            "df://me@host",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["df://me:secret@host", "df://host?password=secret"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains("df://host:50050") && !error.contains("secret"),
                "{error}"
            );
        }
        // Others might listen, or answer, where nobody has a certificate.
        for text in ["df://host", "df://10.0.0.7:50050", "df://[fe80::1]"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("--cluster-cert"), "{error}");
        }
    }
}
