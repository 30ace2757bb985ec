//! The HTTP side of the store of the tests: takes requests, lets faults happen, gives answers.
//!
//! Refuses to stop half-way in a request that is carried out: a client that has gone does not undo
//! it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderValue},
    http::response,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use sha2::{Digest, Sha256};

use super::faults::{Answer, Asked, Effect, Fault, Script};

/// What the store calls itself.
pub const SERVER: &str = "qlc-test-store/1";
/// The letters of base64, as headers and as file names have them.
pub const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Serves until the runtime ends.
pub async fn serve(listener: std::net::TcpListener, store: S3Service, script: Arc<Script>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (store, script) = (store.clone(), Arc::clone(&script));
        drop(tokio::spawn(async move {
            let answer = service_fn(|request| answer(&store, &script, request));
            // Its error is the client's, or a fault.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        }));
    }
}

async fn answer(
    store: &S3Service,
    script: &Arc<Script>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Gone> {
    let (head, body) = request.into_parts();
    let asked = Asked::of(&head);
    let body = s3s::Body::from(body)
        .store_all_limited(usize::MAX)
        .await
        .map_err(|_| Gone)?;
    let (number, meanwhile, fault) = script.note(&asked);
    if let Some(meanwhile) = meanwhile {
        tokio::task::spawn_blocking(meanwhile)
            .await
            .map_err(|_| Gone)?;
    }
    let done = if fault.is_none_or(|f| f.effect == Effect::Done) {
        let (store, head, body) = (store.clone(), head.clone(), body);
        tokio::spawn(async move { done(&store, Request::from_parts(head, body)).await })
            .await
            .map_err(|_| Gone)?
    } else {
        empty(StatusCode::OK)
    };
    let reply = faulty(fault, done).await?;
    script.answered(number, reply.status().as_u16());
    Ok(reply)
}

/// What the store says to a request.
async fn done(store: &S3Service, request: Request<Bytes>) -> (response::Parts, Bytes) {
    if let Some(claimed) = request.headers().get("x-amz-checksum-sha256")
        && claimed.as_bytes() != base64(&Sha256::digest(request.body()), STANDARD).as_bytes()
    {
        return error(StatusCode::BAD_REQUEST, "BadDigest");
    }
    match store.call(request.map(s3s::Body::from)).await {
        Ok(response) => {
            let (mut head, mut body) = response.into_parts();
            let _ = head.headers.remove(header::TRANSFER_ENCODING);
            match body.store_all_limited(usize::MAX).await {
                Ok(body) => (head, body),
                Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            }
        }
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

async fn faulty(
    fault: Option<Fault>,
    done: (response::Parts, Bytes),
) -> Result<Response<Reply>, Gone> {
    let mut cut = false;
    let (mut head, body) = match fault.map(|f| f.answer) {
        None => done,
        Some(Answer::After(time)) => {
            tokio::time::sleep(time).await;
            done
        }
        Some(Answer::Status(status)) => {
            let code = match status {
                403 => "AccessDenied",
                404 => "NoSuchKey",
                409 => "ConditionalRequestConflict",
                412 => "PreconditionFailed",
                503 => "SlowDown",
                _ => "InternalError",
            };
            error(StatusCode::from_u16(status).unwrap(), code)
        }
        Some(Answer::Body(code)) => error(StatusCode::OK, code),
        Some(Answer::Truncated) if !done.1.is_empty() => {
            cut = true;
            done
        }
        Some(Answer::Dropped | Answer::Truncated) => return Err(Gone),
        Some(Answer::Hung) => std::future::pending().await,
    };
    let _ = head
        .headers
        .insert(header::SERVER, HeaderValue::from_static(SERVER));
    if cut {
        let _ = head
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let sent = if cut {
        body.slice(..body.len() / 2)
    } else {
        body
    };
    Ok(Response::from_parts(
        head,
        Reply {
            rest: Some(sent).filter(|b| !b.is_empty()),
            cut,
            sent: false,
        },
    ))
}

fn empty(status: StatusCode) -> (response::Parts, Bytes) {
    let mut head = Response::new(()).into_parts().0;
    head.status = status;
    (head, Bytes::new())
}

fn error(status: StatusCode, code: &str) -> (response::Parts, Bytes) {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>"
    );
    let (mut head, _) = empty(status);
    let _ = head.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    (head, text.into())
}

/// Bytes in base64; only what goes into headers is padded.
pub fn base64(bytes: &[u8], letters: &[u8; 64]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |n, i| {
            n << 8 | u32::from(three.get(i).copied().unwrap_or(0))
        });
        let letter = |i: usize| letters[(number >> (18 - 6 * i) & 63) as usize] as char;
        text.extend((0..=three.len()).map(letter));
    }
    if letters == STANDARD {
        text.extend(std::iter::repeat_n('=', (4 - text.len() % 4) % 4));
    }
    text
}

/// The body of an answer: a piece, and behind it the end, or the end of the connection.
struct Reply {
    rest: Option<Bytes>,
    cut: bool,
    /// Whether there was time to send the piece before the end of the connection.
    sent: bool,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Gone;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Gone>>> {
        if let Some(piece) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if self.cut && !std::mem::replace(&mut self.sent, true) {
            // What came before is sent while nothing comes.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.cut.then_some(Err(Gone)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.rest.as_ref().map_or(0, Bytes::len) as u64;
        if self.cut {
            SizeHint::default()
        } else {
            SizeHint::with_exact(left)
        }
    }
}

/// The connection ends here.
#[derive(Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends here")
    }
}

impl std::error::Error for Gone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_both_kinds() {
        let check = |bytes: &[u8], standard: &str, url: &str| {
            assert_eq!(
                (
                    base64(bytes, STANDARD).as_str(),
                    base64(bytes, URL).as_str()
                ),
                (standard, url)
            );
        };
        check(b"", "", "");
        check(b"f", "Zg==", "Zg");
        check(b"fo", "Zm8=", "Zm8");
        check(b"foobar", "Zm9vYmFy", "Zm9vYmFy");
        check(&[0xff, 0xfe, 0xfd], "//79", "__79");
    }
}
