//! Questions to schedulers and executors, and their answers as JSON.
//!
//! Requests have a short time limit and go through no proxy: a cluster is a network of its own.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::peers::Peers;
use crate::error::{Error, Kind, Result};

/// How long a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

async fn client(peers: &Peers, place: &str) -> Result<(reqwest::Client, String)> {
    let agent = concat!("qlc/", env!("CARGO_PKG_VERSION"));
    let usual = reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .user_agent(agent)
        .no_proxy();
    let (client, base) = peers.asks(place, usual).await?;
    let client = client
        .build()
        .map_err(|e| Error::io("a client for HTTP cannot be made", e))?;
    Ok((client, base))
}

async fn answer<T: DeserializeOwned>(
    peers: &Peers,
    place: &str,
    url: &str,
    asked: reqwest::RequestBuilder,
) -> Result<T> {
    let wrong = |e: reqwest::Error| {
        peers.refusal(place, &e).unwrap_or_else(|| {
            let is_cut_off = !peers.are_known() && !e.is_connect() && !e.is_timeout();
            let hint = if is_cut_off {
                "; if it has certificates, this process needs --cluster-ca, --cluster-cert and --cluster-key too"
            } else {
                ""
            };
            Error::io(format!("{url}: does not answer{hint}"), e.without_url())
        })
    };
    let answer = asked.send().await.map_err(wrong)?;
    if !answer.status().is_success() {
        return Err(Error::new(
            Kind::Io,
            format!("{url}: answers {}; is it qlc's?", answer.status()),
        ));
    }
    let bytes = answer.bytes().await.map_err(wrong)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::caused(Kind::BadInput, format!("{url}: is not qlc's"), e))
}

/// The answer of `place`, a host and a port, to a question without a body.
pub(super) async fn get<T: DeserializeOwned>(peers: &Peers, place: &str, what: &str) -> Result<T> {
    let (client, base) = client(peers, place).await?;
    let shown = format!("{place}/{what}");
    answer(peers, place, &shown, client.get(format!("{base}/{what}"))).await
}

/// The answer to a question with one.
pub(super) async fn post<B: Serialize, T: DeserializeOwned>(
    peers: &Peers,
    place: &str,
    what: &str,
    body: &B,
) -> Result<T> {
    let body = serde_json::to_vec(body)
        .map_err(|e| Error::caused(Kind::Internal, "a question as JSON", e))?;
    let (client, base) = client(peers, place).await?;
    let asked = client
        .post(format!("{base}/{what}"))
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body);
    answer(peers, place, &format!("{place}/{what}"), asked).await
}
