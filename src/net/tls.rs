//! TLS for all connections to exchanges: the certificates of this system, loaded once.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The configuration.
///
/// # Errors
/// When this system has no certificates.
pub(super) fn config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(": {error}"));
        return Err(io::Error::other(format!(
            "this system has no certificates that TLS can trust{why}"
        )));
    }
    let config = Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    Ok(Arc::clone(CONFIG.get_or_init(|| config)))
}
