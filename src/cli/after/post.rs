//! One POST request, with a few repetitions.
//!
//! The URL never appears in an error: whoever knows the URL of a webhook can post there.

use std::time::Duration;

use reqwest::{Client, StatusCode, header::CONTENT_TYPE};
use url::Url;

use crate::cli::settings::http_url;
use crate::error::{Error, Kind, Result};

/// Bounds one attempt, its answer included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// A URL that can be posted to.
///
/// # Errors
/// When the text is none.
pub(super) fn url(text: &str) -> Result<Url> {
    http_url(text).ok_or_else(|| Error::usage("the URL is not one with http:// or https://"))
}

/// Posts these bytes; repeats what may go better another time.
///
/// # Errors
/// When nobody took them.
pub(super) async fn post(url: &Url, kind: &'static str, body: Vec<u8>) -> Result<()> {
    let who = url.origin().ascii_serialization();
    let wrong =
        |e: reqwest::Error| Error::io(format!("{who}: cannot be posted to"), e.without_url());
    let agent = concat!("qlc/", env!("CARGO_PKG_VERSION"));
    let client = Client::builder()
        .timeout(TIMEOUT)
        .user_agent(agent)
        .build()
        .map_err(wrong)?;
    let mut pauses = PAUSES.iter();
    loop {
        let sent = client
            .post(url.clone())
            .header(CONTENT_TYPE, kind)
            .body(body.clone())
            .send()
            .await;
        let (error, again) = match sent {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => {
                let status = answer.status();
                let again = status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT]
                        .contains(&status);
                (
                    Error::new(Kind::Io, format!("{who}: answered {status}")),
                    again,
                )
            }
            Err(e) => (wrong(e), true),
        };
        match pauses.next().filter(|_| again) {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(error),
        }
    }
}
