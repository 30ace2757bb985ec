//! Who may speak with whom: every process of a cluster has a certificate of an authority that
//! signs for this cluster only, shows it and asks for one. Without one a cluster stays on loopback.
//!
//! All connections are TLS with both sides known, and all certificates are made out to one name, so
//! that it does not matter by which address a process is reached. Ballista connects by itself and
//! knows neither certificates nor headers; what it connects to is a socket in a folder of this
//! process's own, from where the bytes go on through TLS.

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt};
use datafusion::prelude::SessionConfig;
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
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};
use tonic::transport::Endpoint;

use super::certificates::{CertificateFiles, NAME, certificates, of_tls, unusable};
use crate::{
    error::{Error, Result},
    net::is_loopback,
    storage::scratch::{self, Scratch},
};

/// The largest message, to whomever: a plan over a hundred thousand files.
pub(super) const MESSAGE_BYTES: usize = 256 << 20;
/// How long a connection may take until both sides are known.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// How the processes of a cluster know each other.
#[derive(Debug, Clone)]
pub struct Peers(Option<Arc<Tls>>);

struct Tls {
    acceptor: TlsAcceptor,
    client: Arc<ClientConfig>,
    /// By host and port, the socket whose bytes go there.
    tunnels: Mutex<HashMap<String, PathBuf>>,
    files: CertificateFiles,
    /// The folder of the sockets; nobody else can look into it.
    sockets: Scratch,
}

/// Bytes of the name of a folder for temporary files in which sockets have a name of their own.
const LONGEST: usize = 36;

/// A folder that only this user can look into, whatever the umask: what connects to a socket in it
/// speaks with this process's certificate. Those of processes that were killed are removed.
///
/// It lies in `usual`, the folder for temporary files, where the name of a socket in it is short
/// enough (they may have 108 bytes) and can stand in a URL, and else in /tmp.
fn folder_of_sockets(usual: &Path) -> Result<Scratch> {
    let in_url = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let name = usual.as_os_str().as_encoded_bytes();
    let fits =
        usual.is_absolute() && name.len() <= LONGEST && name.iter().all(|byte| in_url(*byte));
    let folder = if fits { usual } else { Path::new("/tmp") };
    let parent = folder.join(scratch::private_name());
    let _ = scratch::sweep(&parent);
    let setting = format!("TMPDIR, of at most {LONGEST} letters, digits and /-_.~");
    Scratch::chosen_by(&setting, &parent)
        .map_err(|e| Error::caused(e.kind(), "the sockets of a cluster", e))
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
        let own = |e: rustls::Error| {
            let why = match &e {
                rustls::Error::InvalidCertificate(e) => files.why(e),
                other => other.to_string(),
            };
            let certificate = files.certificate.display();
            Error::usage(format!(
                "{certificate}: the certificate of this process is of no use: {why}"
            ))
        };
        let wrong = |e: &dyn fmt::Display| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            Error::usage(format!(
                "{certificate} and {key}: not a certificate and its key: {e}"
            ))
        };
        let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots))
            .build()
            .map_err(|e| wrong(&e))?;
        let as_server = WebPkiServerVerifier::builder(Arc::clone(&roots))
            .build()
            .map_err(|e| wrong(&e))?;
        // Nobody of this cluster would accept it, and the others would not say why.
        let (first, between) = chain.split_first().ok_or_else(|| wrong(&"it is empty"))?;
        let (name, now) = (
            ServerName::try_from(NAME).map_err(|e| wrong(&e))?,
            UnixTime::now(),
        );
        let _ = as_server
            .verify_server_cert(first, between, &name, &[], now)
            .map_err(own)?;
        let _ = verifier
            .verify_client_cert(first, between, now)
            .map_err(own)?;
        let mut server = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| wrong(&e))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(&e))?;
        let sockets = folder_of_sockets(&tempfile::env::temp_dir())?;
        Ok(Self(Some(Arc::new(Tls {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            client: Arc::new(client),
            tunnels: Mutex::default(),
            files: files.clone(),
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
            .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES)
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

    /// The error of a request to `place` that failed for a certificate, if it did.
    pub(super) fn refusal(&self, place: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
        self.0.as_ref()?.files.refusal(place, error)
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
        let known_by = self
            .0
            .as_ref()
            .map(|tls| (tls.acceptor.clone(), tls.files.clone()));
        drop(tokio::spawn(accept(listener, known_by, sender)));
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

    fn failed(&self, place: &str, error: &io::Error) {
        if let Some(refusal) = self.files.refusal(place, error) {
            tracing::warn!("{}", refusal.chain());
        } else {
            tracing::warn!(place, %error, "cannot be reached");
        }
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
                            let copied = copy_bidirectional(&mut near, &mut far).await;
                            // That a certificate is refused is said after the handshake.
                            if let Err(error) = copied
                                && of_tls(&error).is_some()
                            {
                                tls.failed(&place, &error);
                            }
                        }
                        Err(error) => tls.failed(&place, &error),
                    }
                }));
            }
        }));
        Ok(socket)
    }
}

/// Whether the other side did not even begin: it only looks whether anybody listens, as
/// orchestrators do, and Ballista's scheduler before it takes an executor in.
fn speaks_no_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(of_tls(error), Some(rustls::Error::InvalidMessage(_)))
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
    known_by: Option<(TlsAcceptor, CertificateFiles)>,
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
        let (known_by, sender) = (known_by.clone(), sender.clone());
        drop(tokio::spawn(async move {
            let known: Box<dyn Stream> = match known_by {
                None => Box::new(stream),
                Some((acceptor, files)) => {
                    match timeout(KNOWN_WITHIN, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => Box::new(stream),
                        Ok(Err(error)) if speaks_no_tls(&error) => {
                            return tracing::debug!(%from, %error, "refused: no TLS");
                        }
                        Ok(Err(error)) => {
                            let refusal = files.refusal(&from.to_string(), &error);
                            let why = refusal.map_or_else(
                                || format!("{from}: refused: {error}"),
                                |refusal| refusal.chain(),
                            );
                            return tracing::warn!("{why}");
                        }
                        Err(_) => return tracing::warn!(%from, "refused: no certificate in time"),
                    }
                }
            };
            let _ = sender.send((known, from)).await;
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_looks_into_the_folder_of_sockets() {
        let usual = tempfile::tempdir_in("/tmp").unwrap();
        let folder = folder_of_sockets(usual.path()).unwrap();
        assert!(folder.path().starts_with(usual.path()));
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_socket_has_a_name_that_a_url_can_hold() {
        let usual = tempfile::tempdir().unwrap();
        for name in ["x".repeat(120), "a folder".to_owned()] {
            let usual = usual.path().join(name);
            let folder = folder_of_sockets(&usual).unwrap();
            assert!(!folder.path().starts_with(&usual), "{}", usual.display());
            let socket = folder.path().join("4294967295");
            let _ = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        }
    }
}
