//! The files of a certificate, and what is said where one is not accepted: whose it is, which file,
//! and why.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::error::{Error, Kind, Result};

/// The name that the certificates of a cluster are made out to.
pub(super) const NAME: &str = "qlc-cluster";

/// Where a process has its certificate from, as PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate of the authority that signs for this cluster, and for nothing else.
    pub authority: PathBuf,
    /// This process's own certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate is not accepted: why.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Refusal {}

/// Whether `error` is that a certificate is not accepted: to try again does not help.
#[must_use]
pub fn is_refusal(error: &Error) -> bool {
    StdError::source(error).is_some_and(<dyn StdError>::is::<Refusal>)
}

/// The error of TLS in `error` or among its causes.
pub(super) fn of_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // What an error of I/O was made of is not its source, but that one's is.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

impl CertificateFiles {
    /// The error of a connection with `place` that failed for a certificate: whose it is, and why
    /// it is not accepted.
    pub(super) fn refusal(&self, place: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
        let (whose, why) = match of_tls(error)? {
            rustls::Error::InvalidCertificate(error) => (
                format!("{place}: its certificate is refused"),
                self.why(error),
            ),
            rustls::Error::NoCertificatesPresented => (
                format!("{place}: refused"),
                "it shows no certificate; it needs --cluster-cert and --cluster-key".to_owned(),
            ),
            rustls::Error::InvalidMessage(_) => (
                format!("{place}: cannot be spoken with"),
                "it speaks no TLS; it needs --cluster-ca, --cluster-cert and --cluster-key, as this process has them"
                    .to_owned(),
            ),
            rustls::Error::AlertReceived(alert) => {
                let own = self.certificate.display();
                let whose = format!("{place}: refuses {own}, the certificate of this process");
                (whose, why_refused(*alert)?)
            }
            _ => return None,
        };
        Some(Error::caused(Kind::Io, whose, Refusal(why)))
    }

    /// Why a certificate is not accepted here.
    pub(super) fn why(&self, error: &CertificateError) -> String {
        let authority = self.authority.display();
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet, or the clock of this machine is slow".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("it is not signed by the authority in {authority}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("it is not made out to the name {NAME}")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "it is not for both serverAuth and clientAuth".to_owned()
            }
            other => other.to_string(),
        }
    }
}

/// Why the other side does not accept the certificate of this process, where that is what it says.
fn why_refused(alert: AlertDescription) -> Option<String> {
    let why = match alert {
        AlertDescription::CertificateExpired => {
            "it has expired, or the clocks of the two machines differ"
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is not signed by the authority that is known there"
        }
        AlertDescription::CertificateRequired => "there is none",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "why is said there",
        _ => return None,
    };
    Some(why.to_owned())
}

/// The certificates in a file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| unusable(path, "a certificate", e))?
        .collect();
    let found = found.map_err(|e| unusable(path, "a certificate", e))?;
    if found.is_empty() {
        return Err(unusable(path, "a certificate", "it holds none"));
    }
    Ok(found)
}

/// The error of a file that is not what it is said to be.
pub(super) fn unusable(path: &Path, what: &str, why: impl fmt::Display) -> Error {
    Error::usage(format!("{}: is not {what} as PEM: {why}", path.display()))
}
