//! `WebSocket`s to exchanges.

use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error as SocketError, client::IntoClientRequest, error::UrlError, protocol::WebSocketConfig,
    },
};

use super::{proxy::Proxies, tls};

/// A longer message is no market data.
const LONGEST: usize = 4 << 20;

/// Bytes that are read at a time. All of them are zeroed before each read, so a large buffer costs
/// more than it saves where frames are small; and there is one for each connection.
const READ: usize = 16 << 10;

/// A WebSocket.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects to `url`.
///
/// # Errors
/// When there is no way there, or the other side refuses.
pub async fn open(url: &str, proxies: &Proxies) -> Result<Socket, SocketError> {
    let request = url.into_client_request()?;
    let uri = request.uri();
    let is_secure = uri.scheme_str() == Some("wss");
    let host = uri
        .host()
        .ok_or(SocketError::Url(UrlError::NoHostName))?
        .to_owned();
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = proxies
        .connect(&host, port, is_secure)
        .await
        .map_err(SocketError::Io)?;
    stream.set_nodelay(true).map_err(SocketError::Io)?;
    let connector = if is_secure {
        Connector::Rustls(tls::config().map_err(SocketError::Io)?)
    } else {
        Connector::Plain
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST))
        .read_buffer_size(READ)
        .write_buffer_size(0);
    let (socket, _) =
        client_async_tls_with_config(request, stream, Some(config), Some(connector)).await?;
    Ok(socket)
}
