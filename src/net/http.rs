//! Requests to exchanges: GET, over a connection of its own.

use std::{io, time::Duration};

use ::http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use axum::body::{Body, to_bytes};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use url::Url;

use super::{proxy::Proxies, tls};

/// An answer that is not there by then is not waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// No list of instruments is longer.
const LONGEST: usize = 64 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its text.
    pub body: String,
}

/// Asks for `url`.
///
/// # Errors
/// When nobody answers in time, or the answer is no text.
pub async fn get(url: &str, proxies: &Proxies) -> io::Result<Answer> {
    timeout(ANSWER, ask(url, proxies))
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::other(format!(
                "no answer within {} s",
                ANSWER.as_secs()
            )))
        })
}

async fn ask(url: &str, proxies: &Proxies) -> io::Result<Answer> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    let (parts, body) = send(&url, proxies, &[]).await?.into_parts();
    let bytes = to_bytes(Body::new(body), LONGEST)
        .await
        .map_err(io::Error::other)?;
    let body = String::from_utf8(bytes.into()).map_err(io::Error::other)?;
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

/// Asks for `url` with these headers besides the usual ones; returns the answer as soon as its head
/// has come.
pub(super) async fn send(
    url: &Url,
    proxies: &Proxies,
    headers: &[(HeaderName, &str)],
) -> io::Result<Response<Incoming>> {
    let host = url
        .host_str()
        .ok_or_else(|| io::Error::other("the URL has no host"))?;
    let is_secure = url.scheme() == "https";
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = proxies.connect(host, port, is_secure).await?;
    if !is_secure {
        return talk(stream, url, host, headers).await;
    }
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls::config()?);
    talk(connector.connect(name, stream).await?, url, host, headers).await
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
    host: &str,
    headers: &[(HeaderName, &str)],
) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // It ends with the answer, as the server is told to close.
    drop(tokio::spawn(connection));
    let path = url.query().map_or_else(
        || url.path().to_owned(),
        |query| format!("{}?{query}", url.path()),
    );
    let authority = url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::get(path)
        .header(header::HOST, authority)
        .header(
            header::USER_AGENT,
            concat!("qlc/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let request = request.body(Body::empty()).map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}
