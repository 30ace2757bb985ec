//! Who may speak with whom: every process of a cluster has a certificate of an authority that
//! signs for this cluster only, shows it and asks for one. Without one a cluster stays on loopback.
//!
//! All connections are TLS with both sides known, and all certificates are made out to one name, so
//! that it does not matter by which address a process is reached. Ballista connects by itself and
//! knows neither certificates nor headers; what it connects to is a socket in a folder of this
//! process's own, from where the bytes go on through TLS.

use std::{
    collections::HashMap,
    fmt,
    fs::Permissions,
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt};
use datafusion::prelude::SessionConfig;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};
use tonic::transport::Endpoint;

use crate::{
    error::{Error, Result},
    net::is_loopback,
};

/// The name that the certificates of a cluster are made out to.
const NAME: &str = "qlc-cluster";
/// How long a connection may take until both sides are known.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

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

/// How the processes of a cluster know each other.
#[derive(Debug, Clone)]
pub struct Peers(Option<Arc<Tls>>);

struct Tls {
    acceptor: TlsAcceptor,
    client: Arc<ClientConfig>,
    /// By host and port, the socket whose bytes go there.
    tunnels: Mutex<HashMap<String, PathBuf>>,
    /// The folder of the sockets; nobody else can look into it.
    sockets: TempDir,
}

/// A folder that only this user can look into, whatever the umask: what connects to a socket in it
/// speaks with this process's certificate.
fn folder_of_sockets() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("qlc-cluster-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Peers {
    /// Those whom the authority knows; without files, whoever is on this machine.
    ///
    /// # Errors
    /// When the files cannot be read, or are not a certificate and its key.
    pub fn of(files: Option<&CertificateFiles>) -> Result<Self> {
        let Some(files) = files else {
            return Ok(Self(None));
        };
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|e| unusable(&files.key, "the private key of a cluster", e))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.authority)? {
            roots
                .add(root)
                .map_err(|e| unusable(&files.authority, "the certificate of an authority", e))?;
        }
        let roots = Arc::new(roots);
        let wrong = |e: &dyn fmt::Display| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            Error::usage(format!(
                "{certificate} and {key}: not a certificate and its key: {e}"
            ))
        };
        let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots))
            .build()
            .map_err(|e| wrong(&e))?;
        let mut server = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| wrong(&e))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(&e))?;
        let sockets =
            folder_of_sockets().map_err(|e| Error::io("a folder for sockets cannot be made", e))?;
        Ok(Self(Some(Arc::new(Tls {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            client: Arc::new(client),
            tunnels: Mutex::default(),
            sockets,
        }))))
    }

    /// Whether `host` may be spoken to, or listened on.
    ///
    /// # Errors
    /// When it is not of this machine, and nobody has a certificate.
    pub(super) fn check(&self, host: &str) -> Result<()> {
        if self.0.is_some() || is_loopback(host) {
            return Ok(());
        }
        Err(Error::usage(format!(
            "{host} is not on loopback: a cluster of more than one machine needs --cluster-ca, --cluster-cert and \
             --cluster-key, so that its processes know each other"
        )))
    }

    /// Whether the others are known, so that what they send need not be doubted.
    pub(super) fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// The configuration of a session, which says how Ballista is to connect.
    ///
    /// It reads results by blocks of their files without validating them, which is for those who
    /// are known: a file that lies about its offsets is undefined behaviour. As a stream of Flight
    /// they are validated.
    pub(super) fn sessions(&self) -> SessionConfig {
        SessionConfig::new_with_ballista()
            .with_ballista_shuffle_reader_remote_prefer_flight(!self.are_known())
            .with_ballista_override_create_grpc_client_endpoint(self.endpoints())
    }

    /// How Ballista is to connect.
    pub(super) fn endpoints(&self) -> EndpointOverrideFn {
        let peers = self.clone();
        Arc::new(move |endpoint: Endpoint| {
            let uri = endpoint.uri().clone();
            let Some(tls) = &peers.0 else {
                peers.check(uri.host().unwrap_or_default())?;
                return Ok(endpoint);
            };
            let place = uri.authority().map(ToString::to_string).unwrap_or_default();
            let socket = tls.tunnel(&place)?;
            let mut through = Endpoint::from_shared(format!("unix://{}", socket.display()))?
                .origin(uri)
                .http2_keep_alive_interval(KNOWN_WITHIN)
                .keep_alive_timeout(2 * KNOWN_WITHIN)
                .keep_alive_while_idle(true);
            if let Some(within) = endpoint.get_connect_timeout() {
                through = through.connect_timeout(within);
            }
            Ok(through)
        })
    }

    /// A client for questions to `place`, a host and a port, and what its URLs begin with.
    ///
    /// # Errors
    /// When the host has no address.
    pub(super) async fn asks(
        &self,
        place: &str,
        client: reqwest::ClientBuilder,
    ) -> Result<(reqwest::ClientBuilder, String)> {
        let Some(tls) = &self.0 else {
            return Ok((client, format!("http://{place}")));
        };
        let address = tokio::net::lookup_host(place)
            .await
            .and_then(|mut found| found.next().ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|e| Error::io(format!("{place}: is not found"), e))?;
        let config = ClientConfig::clone(&tls.client);
        let client = client.use_preconfigured_tls(config).resolve(NAME, address);
        Ok((client, format!("https://{NAME}:{}", address.port())))
    }

    /// Waits until `place` lets this process in, or says why not.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub(super) async fn reach(&self, place: &str, patience: Duration) -> Result<()> {
        let Some(tls) = &self.0 else {
            return Ok(());
        };
        let begun = tokio::time::Instant::now();
        loop {
            match tls.connect(place).await {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() >= patience => {
                    return Err(Error::io(format!("{place}: cannot be reached"), error));
                }
                Err(error) => tracing::warn!(place, %error, "cannot be reached; once more"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Connections from those who may speak.
    ///
    /// # Errors
    /// When the listener is none.
    pub(super) fn listen(&self, listener: TcpListener) -> Result<Listener> {
        let address = listener
            .local_addr()
            .map_err(|e| Error::io("an address to listen on", e))?;
        let (sender, streams) = mpsc::channel(64);
        let acceptor = self.0.as_ref().map(|tls| tls.acceptor.clone());
        drop(tokio::spawn(accept(listener, acceptor, sender)));
        Ok(Listener { streams, address })
    }
}

impl Tls {
    async fn connect(&self, place: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let mut alpn = ClientConfig::clone(&self.client);
        alpn.alpn_protocols = vec![b"h2".to_vec()];
        let known = async {
            let stream = TcpStream::connect(place).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::new(alpn))
                .connect(name, stream)
                .await
        };
        timeout(KNOWN_WITHIN, known).await?
    }

    /// The socket whose bytes go to `place`.
    fn tunnel(self: &Arc<Self>, place: &str) -> io::Result<PathBuf> {
        let mut tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = tunnels.get(place) {
            return Ok(socket.clone());
        }
        let socket = self.sockets.path().join(tunnels.len().to_string());
        let listener = UnixListener::bind(&socket)?;
        let _ = tunnels.insert(place.to_owned(), socket.clone());
        let (tls, place) = (Arc::downgrade(self), place.to_owned());
        drop(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let Some(tls) = tls.upgrade() else { return };
                let place = place.clone();
                drop(tokio::spawn(async move {
                    match tls.connect(&place).await {
                        Ok(mut far) => {
                            let _ = copy_bidirectional(&mut near, &mut far).await;
                        }
                        Err(error) => tracing::warn!(place, %error, "cannot be reached"),
                    }
                }));
            }
        }));
        Ok(socket)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| unusable(path, "a certificate", e))?
        .collect();
    let found = found.map_err(|e| unusable(path, "a certificate", e))?;
    if found.is_empty() {
        return Err(unusable(path, "a certificate", "it holds none"));
    }
    Ok(found)
}

fn unusable(path: &Path, what: &str, why: impl fmt::Display) -> Error {
    Error::usage(format!("{}: is not {what} as PEM: {why}", path.display()))
}

/// Whether the other side did not even begin: it only looks whether anybody listens, as
/// orchestrators do, and Ballista's scheduler before it takes an executor in.
fn speaks_no_tls(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections whose other sides are known.
pub(super) struct Listener {
    streams: mpsc::Receiver<(Box<dyn Stream>, SocketAddr)>,
    address: SocketAddr,
}

impl axum::serve::Listener for Listener {
    type Io = Box<dyn Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.streams.recv().await {
            Some(known) => known,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Accepts connections; one that takes its time to show its certificate holds up no other.
async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    sender: mpsc::Sender<(Box<dyn Stream>, SocketAddr)>,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many files are open, say: others are closed meanwhile.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // Small answers would else wait for more, 40 milliseconds a partition.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers may wait");
        }
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        drop(tokio::spawn(async move {
            let known: Box<dyn Stream> = match acceptor {
                None => Box::new(stream),
                Some(acceptor) => match timeout(KNOWN_WITHIN, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(error)) if speaks_no_tls(&error) => {
                        return tracing::debug!(%from, %error, "refused: no TLS");
                    }
                    Ok(Err(error)) => {
                        return tracing::warn!(%from, %error, "refused: no certificate that the authority of this cluster signed");
                    }
                    Err(_) => return tracing::warn!(%from, "refused: no certificate in time"),
                },
            };
            let _ = sender.send((known, from)).await;
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_looks_into_the_folder_of_sockets() {
        let folder = folder_of_sockets().unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
