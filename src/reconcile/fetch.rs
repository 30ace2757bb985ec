//! Files that are fetched: each once into a folder that keeps them, with the CHECKSUM file beside
//! it, which is asked for anew each time; where that says another sha256 than the file has, the
//! venue has replaced the file, and it is fetched again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use url::Url;

use super::{
    blocking::blocking,
    given::{CHECKSUM, published},
    published::{PublishedFile, is_as_told},
    stop::stopped,
};
use crate::{
    error::{Error, Kind, Result},
    net::{Attempted, Backoff, Proxies, download},
};

/// How often a file is asked for before the day is given up.
const ATTEMPTS: u32 = 6;
/// No CHECKSUM file is longer.
const LONGEST_CHECKSUM: u64 = 4096;
/// The waits between attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(10),
    breaker_after: u32::MAX,
    breaker: Duration::from_secs(10),
};
/// The wait for somebody who fetches into the same folder.
const LOCKED: Duration = Duration::from_millis(50);
/// A server that wants to be left alone for longer is not asked again.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// Hears which file is fetched.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Where files are kept, and how they are fetched.
#[derive(Clone)]
pub struct Downloads {
    /// The folder.
    pub folder: PathBuf,
    /// The way there.
    pub proxies: Proxies,
    /// No file is larger, in bytes.
    pub most: u64,
    /// Who hears of it.
    pub progress: Progress,
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads")
            .field("folder", &self.folder)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Downloads {
    /// The file of a URL, fetched where it is not there; `None` where the venue has none.
    ///
    /// # Errors
    /// When it cannot be had, or not be kept.
    pub(super) async fn fetch(
        &self,
        url: &str,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<PublishedFile>> {
        let path = self.place(url)?;
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)
            .map_err(|e| Error::io(format!("{}: cannot be made", folder.display()), e))?;
        // Of two that go on with one file at a time, each would put its bytes between the other's.
        let _lock = locked(folder, stop).await?;
        let beside = with_end(&path, CHECKSUM);
        let checksum_url = checksum_url(url)?;
        if !self
            .get(&checksum_url, &beside, LONGEST_CHECKSUM, &[403], stop)
            .await?
        {
            remove(&beside)?;
        }
        // What is not as its CHECKSUM says was replaced since, or was not fetched whole.
        let is_kept = path.is_file() && {
            let file = published(&path, url.to_owned())?;
            blocking(move || is_as_told(&file)).await?
        };
        if !is_kept {
            (self.progress)(url);
            if !self.get(url, &path, self.most, &[], stop).await? {
                remove(&beside)?;
                return Ok(None);
            }
        }
        published(&path, url.to_owned()).map(Some)
    }

    /// Where the file of a URL is kept: below the host, as the URL has it.
    fn place(&self, url: &str) -> Result<PathBuf> {
        let parsed = Url::parse(url).map_err(|e| Error::usage(format!("{url}: is no URL: {e}")))?;
        let host = parsed.host_str().unwrap_or_default();
        let port = parsed
            .port()
            .map(|port| format!("_{port}"))
            .unwrap_or_default();
        let mut path = self.folder.join(plain(&format!("{host}{port}")));
        for part in parsed.path_segments().into_iter().flatten() {
            if !part.is_empty() {
                path.push(plain(part));
            }
        }
        if let Some(query) = parsed.query() {
            path.push(plain(query));
        }
        Ok(path)
    }

    /// Fetches `url` to `path`, with a few attempts; returns whether the server has it. `absent` are
    /// more answers that say that it has not: some buckets refuse what they do not have.
    async fn get(
        &self,
        url: &str,
        path: &Path,
        most: u64,
        absent: &[u16],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool> {
        let partial = with_end(path, ".part");
        let mut failures = 0;
        loop {
            stopped(stop)?;
            let now = Utc::now().timestamp_nanos_opt().unwrap_or(0);
            let (why, wait) = match download(url, &self.proxies, &partial, most, now).await {
                Ok(Attempted::Whole) => {
                    fs::rename(&partial, path)
                        .map_err(|e| Error::io(format!("{}: cannot be kept", path.display()), e))?;
                    return Ok(true);
                }
                Ok(Attempted::Absent) => return Ok(false),
                Ok(Attempted::Refused { status, .. }) if absent.contains(&status.as_u16()) => {
                    return Ok(false);
                }
                Ok(Attempted::Refused { status, wait }) => {
                    // A bucket refuses so what it does not have, however often it is asked.
                    let is_final =
                        status.is_client_error() && (wait.is_zero() || status.as_u16() == 403);
                    let why = format!("the server answers {status}");
                    if is_final || wait > LONGEST_WAIT {
                        return Err(Error::new(Kind::Io, format!("{url}: {why}")));
                    }
                    (why, wait)
                }
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    remove(&partial)?;
                    return Err(Error::io(format!("{url}: is not fetched"), error));
                }
                Err(error) => (error.to_string(), Duration::ZERO),
            };
            failures += 1;
            if failures == ATTEMPTS {
                return Err(Error::new(
                    Kind::Io,
                    format!(
                        "{url}: cannot be fetched: {why}; what has come is kept, run again to go on"
                    ),
                ));
            }
            let draw = u64::try_from(now).unwrap_or(0);
            tokio::time::sleep(wait.max(BACKOFF.wait(failures, draw))).await;
        }
    }
}

/// The URL of the CHECKSUM file of another one.
fn checksum_url(url: &str) -> Result<String> {
    let mut parsed = Url::parse(url).map_err(|e| Error::usage(format!("{url}: is no URL: {e}")))?;
    let path = format!("{}{CHECKSUM}", parsed.path());
    parsed.set_path(&path);
    Ok(parsed.into())
}

/// Waits until nobody else fetches into a folder. Where the file system locks no folders, nobody is
/// waited for.
async fn locked(folder: &Path, stop: &(dyn Fn() -> bool + Sync)) -> Result<fs::File> {
    let file = fs::File::open(folder)
        .map_err(|e| Error::io(format!("{}: cannot be opened", folder.display()), e))?;
    loop {
        stopped(stop)?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCKED).await,
            Ok(()) | Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(
            format!("{}: cannot be removed", path.display()),
            e,
        )),
        _ => Ok(()),
    }
}

/// A part of a URL as the name of a file that leads nowhere else.
fn plain(text: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = text
        .chars()
        .map(|c| if kept(c) { c } else { '_' })
        .collect();
    if name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_below_its_host_and_nowhere_else() {
        let downloads = Downloads {
            folder: PathBuf::from("/cache"),
            proxies: Proxies::default(),
            most: 1,
            progress: Arc::new(|_| {}),
        };
        let check = |url: &str, want: &str| {
            assert_eq!(downloads.place(url).unwrap(), Path::new(want), "{url}");
        };
        check(
            "https://host/data/a/B-2026-02-03.zip",
            "/cache/host/data/a/B-2026-02-03.zip",
        );
        check(
            "http://127.0.0.1:8080/../x.zip",
            "/cache/127.0.0.1_8080/x.zip",
        );
        check("http://h/%2e%2e/x", "/cache/h/x");
        check("http://h/a?b=../c", "/cache/h/a/b_.._c");
    }

    #[test]
    fn a_checksum_is_asked_for_beside_its_file() {
        for (url, want) in [
            ("https://h/a/B.zip", "https://h/a/B.zip.CHECKSUM"),
            ("https://h/a/B.zip?v=1", "https://h/a/B.zip.CHECKSUM?v=1"),
        ] {
            assert_eq!(checksum_url(url).unwrap(), want);
        }
    }
}
