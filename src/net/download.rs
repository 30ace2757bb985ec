//! Files of venues: GET into a file, from where an earlier attempt ended if the server does that,
//! up to a size, and not from a server that has stopped to send.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use ::http::{HeaderMap, Response, StatusCode, header};
use axum::body::Body;
use futures::StreamExt;
use hyper::body::Incoming;
use tokio::time::timeout;
use url::Url;

use super::{http, proxy::Proxies, refusal::asked_to_wait};

/// The longest wait for a connection, for the head of an answer, and for each piece of it.
const SILENCE: Duration = Duration::from_secs(30);
/// An answer that leads elsewhere is followed so often.
const REDIRECTS: usize = 3;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// The file is whole.
    Whole,
    /// The server has no such file.
    Absent,
    /// The server refuses; it may be asked again after this time, if at all.
    Refused {
        /// What it answers.
        status: StatusCode,
        /// For how long it wants to be left alone.
        wait: Duration,
    },
}

/// Asks for `url` and writes what comes to `partial`, behind what an earlier attempt left there.
///
/// # Errors
/// When nobody answers in time, the answer ends early or is larger than `most` bytes, or the file
/// cannot be written. What has come stays.
pub async fn download(
    url: &str,
    proxies: &Proxies,
    partial: &Path,
    most: u64,
    now_ns: i64,
) -> io::Result<Attempted> {
    let mut url = Url::parse(url).map_err(io::Error::other)?;
    for _ in 0..=REDIRECTS {
        let begun = Begun::of(partial);
        let response = timeout(SILENCE, ask(&url, proxies, &begun))
            .await
            .map_err(|_| silent())??;
        let (status, headers) = (response.status(), response.headers());
        if status.is_redirection()
            && let Some(next) = location(&url, headers)
        {
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(io::Error::other("the answer leads to a place without TLS"));
            }
            url = next;
            continue;
        }
        return match status {
            StatusCode::OK => save(response, partial, 0, most).await,
            StatusCode::PARTIAL_CONTENT if continues(headers, begun.bytes) => {
                save(response, partial, begun.bytes, most).await
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Attempted::Absent),
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
                // What is there is no beginning of the file that the server has now.
                begun.forget()?;
                continue;
            }
            refused => Ok(Attempted::Refused {
                status: refused,
                wait: asked_to_wait(refused, headers, now_ns),
            }),
        };
    }
    Err(io::Error::other(
        "the answers lead from one place to another",
    ))
}

fn silent() -> io::Error {
    io::Error::other(format!("no answer within {} s", SILENCE.as_secs()))
}

/// What an earlier attempt left.
struct Begun {
    partial: PathBuf,
    bytes: u64,
    /// The version of the file that it is of. Without one it cannot be gone on with.
    tag: Option<String>,
}

impl Begun {
    fn of(partial: &Path) -> Self {
        let tag = fs::read_to_string(tag_file(partial)).ok();
        let bytes = fs::metadata(partial).map_or(0, |found| found.len());
        Self {
            partial: partial.to_owned(),
            bytes: if tag.is_some() { bytes } else { 0 },
            tag,
        }
    }

    fn forget(&self) -> io::Result<()> {
        for path in [self.partial.clone(), tag_file(&self.partial)] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where the version of a file under way is noted.
fn tag_file(partial: &Path) -> PathBuf {
    let mut name = partial.as_os_str().to_owned();
    name.push(".tag");
    PathBuf::from(name)
}

fn location(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let text = headers.get(header::LOCATION)?.to_str().ok()?;
    let next = from.join(text).ok()?;
    ["http", "https"].contains(&next.scheme()).then_some(next)
}

/// Whether an answer to a request for a part begins where it was asked to.
fn continues(headers: &HeaderMap, at: u64) -> bool {
    let range = headers
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    at > 0 && range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

async fn ask(url: &Url, proxies: &Proxies, begun: &Begun) -> io::Result<Response<Incoming>> {
    let range = format!("bytes={}-", begun.bytes);
    let goes_on = begun.tag.as_deref().filter(|_| begun.bytes > 0);
    let headers = goes_on.map(|tag| [(header::RANGE, range.as_str()), (header::IF_RANGE, tag)]);
    http::send(url, proxies, headers.as_ref().map_or(&[], |both| &both[..])).await
}

/// Writes an answer behind the first `from` bytes.
async fn save(
    response: Response<Incoming>,
    partial: &Path,
    from: u64,
    most: u64,
) -> io::Result<Attempted> {
    let too_large = || {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the file is larger than {most} bytes"),
        )
    };
    let headers = response.headers();
    let told = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told.saturating_add(from) > most) {
        return Err(too_large());
    }
    // Only a strong tag says that the bytes are the same.
    let tag = headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok())
        .filter(|tag| !tag.starts_with("W/"));
    match tag {
        Some(tag) => fs::write(tag_file(partial), tag)?,
        None => match fs::remove_file(tag_file(partial)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        },
    }
    let mut file = if from > 0 {
        File::options().append(true).open(partial)?
    } else {
        File::create(partial)?
    };
    let mut bytes = from;
    let mut pieces = Body::new(response.into_body()).into_data_stream();
    while let Some(piece) = timeout(SILENCE, pieces.next())
        .await
        .map_err(|_| silent())?
    {
        let piece = piece.map_err(io::Error::other)?;
        bytes += piece.len() as u64;
        if bytes > most {
            return Err(too_large());
        }
        file.write_all(&piece)?;
    }
    if told.is_some_and(|told| told + from != bytes) {
        return Err(io::Error::other("the answer ended early"));
    }
    file.sync_all()?;
    match fs::remove_file(tag_file(partial)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(Attempted::Whole),
    }
}
