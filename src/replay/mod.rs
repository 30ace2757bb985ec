//! Plays a recording back as an exchange's server would: for tests of collectors, and for looking
//! at a day again.
//!
//! Every connection is played the frames of its endpoint from their beginning; a collector that
//! knows the exchange's numbers takes only what it does not have. Frames are read from the disk as
//! they are sent, and sent unchanged.

use std::{
    collections::BTreeSet,
    fs::File,
    future::Future,
    net::SocketAddr,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
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

/// Frames that are read ahead for a connection.
const AHEAD: usize = 256;

/// A recording: its files, and what a look through them has told.
#[derive(Debug, Clone)]
pub struct Recording {
    files: Arc<Vec<PathBuf>>,
    frames: u64,
    routes: BTreeSet<String>,
}

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

impl Recording {
    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.frames
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The endpoints that they came from.
    #[must_use]
    pub fn routes(&self) -> &BTreeSet<String> {
        &self.routes
    }

    /// Calls `each` with every frame, until it says that it is enough. A file that breaks off goes
    /// as far as it can be read.
    fn each(&self, mut each: impl FnMut(Frame) -> ControlFlow<()>) -> Result<()> {
        for path in self.files.iter() {
            let file = File::open(path).map_err(|e| {
                Error::caused(
                    Kind::Usage,
                    format!("{}: cannot be opened", path.display()),
                    e,
                )
            })?;
            let mut any = false;
            for frame in read(file)? {
                match frame {
                    Ok(frame) if frame.cut.is_some() => any = true,
                    Ok(frame) => {
                        any = true;
                        if each(frame).is_break() {
                            return Ok(());
                        }
                    }
                    Err(error) if !any => {
                        return Err(Error::caused(
                            Kind::BadInput,
                            format!("{}: holds no frames", path.display()),
                            error,
                        ));
                    }
                    Err(error) => {
                        tracing::warn!(file = %path.display(), error = %error.chain(), "the recording is played as far as it goes");
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The frames of an endpoint, read from the disk as they are taken.
    fn of(&self, route: String) -> mpsc::Receiver<Frame> {
        let (to, from) = mpsc::channel(AHEAD);
        let recording = self.clone();
        drop(tokio::task::spawn_blocking(move || {
            let played = recording.each(|frame| {
                if route_of(&frame.line) != route || to.blocking_send(frame).is_ok() {
                    ControlFlow::Continue(())
                } else {
                    // Whoever was connected has gone.
                    ControlFlow::Break(())
                }
            });
            if let Err(error) = played {
                tracing::error!(error = %error.chain(), "the recording cannot be read any more");
            }
        }));
        from
    }
}

fn route_of(line: &str) -> &str {
    line.split('/').next().unwrap_or(line)
}

/// Looks through a recording; its frames stay on the disk. One that breaks off is played as far as
/// it goes.
///
/// # Errors
/// When it cannot be read, or has no whole frame.
pub fn load(files: &[PathBuf]) -> Result<Recording> {
    let mut recording = Recording {
        files: Arc::new(files.to_vec()),
        frames: 0,
        routes: BTreeSet::new(),
    };
    let (mut frames, mut routes) = (0, BTreeSet::new());
    recording.each(|frame| {
        frames += 1;
        if !routes.contains(route_of(&frame.line)) {
            let _ = routes.insert(route_of(&frame.line).to_owned());
        }
        ControlFlow::Continue(())
    })?;
    (recording.frames, recording.routes) = (frames, routes);
    Ok(recording)
}

/// Binds the address.
///
/// # Errors
/// When it cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<Listener> {
    let wrong = |e| {
        Error::io(
            format!("{address}: cannot be listened on; choose another with --listen"),
            e,
        )
    };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok(Listener(listener, bound))
}

/// Plays to whoever connects until `stop` completes; `factor` of the recording's own time, or as
/// fast as it goes.
pub async fn run(
    listener: Listener,
    recording: Recording,
    factor: Option<f64>,
    stop: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.0.accept() => match accepted {
                Ok((stream, from)) => {
                    let recording = recording.clone();
                    let _ = connections.spawn(async move {
                        if let Err(error) = play(stream, &recording, factor).await {
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
    recording: &Recording,
    factor: Option<f64>,
) -> std::result::Result<(), tokio_tungstenite::tungstenite::Error> {
    let asked = Mutex::new(String::new());
    #[expect(clippy::result_large_err, reason = "the shape that the library wants")]
    let look =
        |request: &Request, response: Response| -> std::result::Result<Response, ErrorResponse> {
            let path = request.uri().path().trim_matches('/').to_owned();
            *asked.lock().unwrap_or_else(PoisonError::into_inner) = path;
            Ok(response)
        };
    let _ = stream.set_nodelay(true);
    let mut socket = accept_hdr_async(stream, look).await?;
    let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut frames = recording.of(asked);
    let mut next = frames.recv().await;
    let (began, first) = (Instant::now(), next.as_ref().map_or(0, |frame| frame.at));
    let due = |at: i64| {
        let after = Duration::from_nanos(u64::try_from(at - first).unwrap_or(0));
        factor.map(|factor| began + Duration::from_secs_f64(after.as_secs_f64() / factor))
    };
    loop {
        let at = next.as_ref().map(|frame| due(frame.at));
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
            () = async { match at {
                Some(Some(due)) => sleep_until(due).await,
                Some(None) => {}
                None => std::future::pending().await,
            } } => {
                let Some(frame) = next.take() else { continue };
                next = frames.recv().await;
                let message = match (frame.text, frame.binary) {
                    (Some(text), _) => Message::from(text),
                    (None, Some(hex)) => Message::from(unhex(&hex)),
                    (None, None) => continue,
                };
                let waits = |next: &Frame| due(next.at).is_some_and(|due| due > Instant::now());
                if next.as_ref().is_none_or(waits) {
                    socket.send(message).await?;
                } else {
                    socket.feed(message).await?;
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
    let Ok(asked) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let empty = Vec::new();
    let args = asked
        .get("args")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    match asked.get("op").and_then(Value::as_str) {
        Some("ping") => {
            vec![
                json!({ "success": true, "ret_msg": "pong", "conn_id": "replay", "op": "ping" })
                    .to_string(),
            ]
        }
        // OKX names each by its channel, Bybit all of them by the number of the question.
        Some("subscribe") if args.iter().all(Value::is_object) => args
            .iter()
            .map(|arg| json!({ "event": "subscribe", "arg": arg, "connId": "replay" }).to_string())
            .collect(),
        Some("subscribe") => {
            let req_id = asked
                .get("req_id")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let answer = json!({ "success": true, "ret_msg": "", "conn_id": "replay", "req_id": req_id, "op": "subscribe" });
            vec![answer.to_string()]
        }
        _ => Vec::new(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_acknowledged() {
        let check = |asked: &str, wants: &[&str]| {
            let got: Vec<Value> = answers(asked)
                .iter()
                .map(|text| serde_json::from_str(text).unwrap())
                .collect();
            assert_eq!(got.len(), wants.len(), "{asked}: {got:?}");
            for (got, want) in got.iter().zip(wants) {
                assert!(got.to_string().contains(want), "{asked}: {got}");
            }
        };
        assert_eq!(answers("ping"), ["pong"]);
        check(r#"{"op":"ping"}"#, &["pong"]);
        check(
            r#"{"req_id":"7","op":"subscribe","args":["tickers.BTCUSDT"]}"#,
            &[r#""req_id":"7""#],
        );
        let two = r#"{"op":"subscribe","args":[{"channel":"a","instId":"x"},{"channel":"b","instId":"x"}]}"#;
        check(two, &[r#""channel":"a""#, r#""channel":"b""#]);
        check("{", &[]);
    }
}
