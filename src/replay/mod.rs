//! Plays a recording back as an exchange's server would: for tests of collectors, and for looking at a day again.
//!
//! Every connection is played the frames of its endpoint from their beginning; a collector that knows the exchange's
//! numbers takes only what it does not have. Refuses to change frames: what was recorded is sent.

use std::{
    collections::BTreeSet,
    fs::File,
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

use crate::{
    error::{Error, Kind, Result},
    feed::recording::{Frame, read},
};

/// The frames of a recording.
#[derive(Debug, Clone)]
pub struct Frames(Arc<Vec<Frame>>);

/// Where connections are waited for.
#[derive(Debug)]
pub struct Listener(TcpListener, SocketAddr);

impl Listener {
    /// The address that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.1
    }
}

impl Frames {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The endpoints that they came from.
    #[must_use]
    pub fn routes(&self) -> BTreeSet<&str> {
        self.0.iter().map(|frame| route(&frame.line)).collect()
    }
}

fn route(line: &str) -> &str {
    line.split('/').next().unwrap_or(line)
}

/// Reads a recording. One that breaks off is played as far as it goes.
///
/// # Errors
/// When it cannot be read, or has no whole frame.
pub fn load(path: &Path) -> Result<Frames> {
    let file =
        File::open(path).map_err(|e| Error::caused(Kind::Usage, format!("{}: cannot be opened", path.display()), e))?;
    let mut frames = Vec::new();
    for frame in read(file)? {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) if frames.is_empty() => {
                return Err(Error::caused(Kind::BadInput, format!("{}: holds no frames", path.display()), error));
            }
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the recording is played as far as it goes");
                break;
            }
        }
    }
    Ok(Frames(Arc::new(frames)))
}

/// Binds the address.
///
/// # Errors
/// When it cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<Listener> {
    let wrong = |e| Error::io(format!("{address}: cannot be listened on; choose another with --listen"), e);
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok(Listener(listener, bound))
}

/// Plays to whoever connects until `stop` completes; `factor` of the recording's own time, or as fast as it goes.
pub async fn run(listener: Listener, frames: Frames, factor: Option<f64>, stop: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.0.accept() => match accepted {
                Ok((stream, from)) => {
                    let frames = frames.clone();
                    let _ = connections.spawn(async move {
                        if let Err(error) = play(stream, &frames, factor).await {
                            tracing::info!(%from, %error, "a connection ended");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
            },
        }
    }
}

async fn play(
    stream: TcpStream,
    frames: &Frames,
    factor: Option<f64>,
) -> std::result::Result<(), tokio_tungstenite::tungstenite::Error> {
    let asked = Mutex::new(String::new());
    #[expect(clippy::result_large_err, reason = "the shape that the library wants")]
    let look = |request: &Request, response: Response| -> std::result::Result<Response, ErrorResponse> {
        let path = request.uri().path().trim_matches('/').to_owned();
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = path;
        Ok(response)
    };
    let _ = stream.set_nodelay(true);
    let mut socket = accept_hdr_async(stream, look).await?;
    let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let chosen: Vec<&Frame> = frames.0.iter().filter(|frame| route(&frame.line) == asked).collect();
    let mut mine = chosen.into_iter().peekable();
    let (began, first) = (Instant::now(), mine.peek().map_or(0, |frame| frame.at));
    let due = |at: i64| {
        let after = Duration::from_nanos(u64::try_from(at - first).unwrap_or(0));
        factor.map(|factor| began + Duration::from_secs_f64(after.as_secs_f64() / factor))
    };
    loop {
        let next = mine.peek().map(|frame| due(frame.at));
        tokio::select! {
            biased;
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    for answer in answers(&text) {
                        socket.send(Message::from(answer)).await?;
                    }
                }
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
            () = async { match next {
                Some(Some(due)) => sleep_until(due).await,
                Some(None) => {}
                None => std::future::pending().await,
            } } => {
                if let Some(frame) = mine.next() {
                    let message = match (&frame.text, &frame.binary) {
                        (Some(text), _) => Message::from(text.clone()),
                        (None, Some(hex)) => Message::from(unhex(hex)),
                        (None, None) => continue,
                    };
                    if mine.peek().is_none_or(|next| due(next.at).is_some_and(|due| due > Instant::now())) {
                        socket.send(message).await?;
                    } else {
                        socket.feed(message).await?;
                    }
                }
            }
        }
    }
}

/// What an exchange answers to pings and to what is asked for: everything is acknowledged.
fn answers(text: &str) -> Vec<String> {
    if text == "ping" {
        return vec!["pong".to_owned()];
    }
    let Ok(asked) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let empty = Vec::new();
    let args = asked.get("args").and_then(Value::as_array).unwrap_or(&empty);
    match asked.get("op").and_then(Value::as_str) {
        Some("ping") => {
            vec![json!({ "success": true, "ret_msg": "pong", "conn_id": "replay", "op": "ping" }).to_string()]
        }
        // OKX names each by its channel, Bybit all of them by the number of the question.
        Some("subscribe") if args.iter().all(Value::is_object) => {
            args.iter().map(|arg| json!({ "event": "subscribe", "arg": arg, "connId": "replay" }).to_string()).collect()
        }
        Some("subscribe") => {
            let req_id = asked.get("req_id").and_then(Value::as_str).unwrap_or_default();
            let answer =
                json!({ "success": true, "ret_msg": "", "conn_id": "replay", "req_id": req_id, "op": "subscribe" });
            vec![answer.to_string()]
        }
        _ => Vec::new(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_acknowledged() {
        let check = |asked: &str, wants: &[&str]| {
            let got: Vec<Value> = answers(asked).iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            assert_eq!(got.len(), wants.len(), "{asked}: {got:?}");
            for (got, want) in got.iter().zip(wants) {
                assert!(got.to_string().contains(want), "{asked}: {got}");
            }
        };
        assert_eq!(answers("ping"), ["pong"]);
        check(r#"{"op":"ping"}"#, &["pong"]);
        check(r#"{"req_id":"7","op":"subscribe","args":["tickers.BTCUSDT"]}"#, &[r#""req_id":"7""#]);
        let two = r#"{"op":"subscribe","args":[{"channel":"a","instId":"x"},{"channel":"b","instId":"x"}]}"#;
        check(two, &[r#""channel":"a""#, r#""channel":"b""#]);
        check("{", &[]);
    }
}
