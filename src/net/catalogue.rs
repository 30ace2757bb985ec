//! The lists of instruments: read from the exchanges, kept in the spool for a start at which an
//! exchange does not answer, and searched for what is wanted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::join_all;

use super::{http::get, proxy::Proxies, refusal::asked_to_wait};
use crate::{
    error::Result,
    feed::{
        event::Kind,
        instrument::{Instrument, Wish},
        venue::{Choice, Listings, Transport, Venue, choose_listed},
    },
};

/// No list has more pages.
const PAGES: usize = 100;

/// What is wanted, and where the lists are.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The exchanges.
    pub venues: Vec<Venue>,
    /// The symbols.
    pub wishes: Vec<Wish>,
    /// The streams.
    pub kinds: Vec<Kind>,
    /// Other places for the exchanges' endpoints, by their names.
    pub endpoints: BTreeMap<String, String>,
    /// The way there.
    pub proxies: Proxies,
    /// Where lists are kept.
    pub cache: Option<PathBuf>,
}

/// The lists that could be had.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Those that the exchanges gave just now.
    pub fresh: Listings,
    /// Those that were kept from earlier, of exchanges that gave none.
    pub kept: Listings,
    /// Exchanges that gave none, and why.
    pub failed: Vec<(Venue, String)>,
}

impl Read {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Listings {
        self.fresh
            .iter()
            .chain(&self.kept)
            .map(|(venue, list)| (*venue, list.clone()))
            .collect()
    }
}

impl Catalogue {
    /// Where an exchange's requests go; `None` when its other endpoints were moved and this one was
    /// not: whoever plays an exchange does not want the real one to be asked.
    #[must_use]
    pub fn base(&self, venue: Venue) -> Option<String> {
        let rest = venue.rest();
        if let Some(url) = self.endpoints.get(rest.name) {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let is_moved = venue
            .routes()
            .iter()
            .any(|route| self.endpoints.contains_key(route.name));
        (!is_moved).then(|| rest.url.to_owned())
    }

    /// Reads the lists.
    pub async fn read(&self) -> Read {
        let mut read = Read::default();
        let asked = self
            .venues
            .iter()
            .filter_map(|venue| Some((*venue, self.base(*venue)?)));
        // For how long one wants to be left alone does not matter here: the next reading is far
        // away.
        let each = asked.map(|(venue, base)| async move {
            (venue, list(venue, &base, &self.proxies, 0).await)
        });
        for (venue, found) in join_all(each).await {
            match found {
                Ok(found) => {
                    self.keep(venue, &found);
                    let _ = read.fresh.insert(venue, found);
                }
                Err(NoList { why, .. }) => {
                    if let Some(kept) = self.kept(venue) {
                        let _ = read.kept.insert(venue, kept);
                    }
                    read.failed.push((venue, why));
                }
            }
        }
        read
    }

    /// What of these lists is wanted; without what has to be polled where there is nobody to ask
    /// ([`Self::base`]).
    ///
    /// # Errors
    /// As [`choose_listed`].
    pub fn choose(&self, listings: &Listings) -> Result<Choice> {
        let mut choice = choose_listed(&self.venues, &self.wishes, &self.kinds, listings)?;
        choice
            .series
            .retain(|wanted| wanted.by() == Transport::Socket || self.base(wanted.venue).is_some());
        Ok(choice)
    }

    /// Streams that are left out, because they have to be polled and there is nobody to ask.
    #[must_use]
    pub fn left_out(&self) -> Vec<(Venue, Kind)> {
        let deaf = self
            .venues
            .iter()
            .filter(|venue| self.base(**venue).is_none());
        let each = deaf.flat_map(|venue| self.kinds.iter().map(|kind| (*venue, *kind)));
        each.filter(|(venue, kind)| venue.by(*kind) == Transport::Requests)
            .collect()
    }

    fn file(&self, venue: Venue) -> Option<PathBuf> {
        Some(
            self.cache
                .as_ref()?
                .join(format!("instruments-{venue}.json")),
        )
    }

    fn keep(&self, venue: Venue, list: &[Instrument]) {
        let Some(path) = self.file(venue) else { return };
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            let staged = path.with_extension("json.tmp");
            fs::write(&staged, serde_json::to_vec(list)?)?;
            fs::rename(&staged, &path)
        };
        if let Err(error) = write() {
            tracing::warn!(file = %path.display(), %error, "a list of instruments cannot be kept");
        }
    }

    fn kept(&self, venue: Venue) -> Option<Vec<Instrument>> {
        serde_json::from_slice(&fs::read(self.file(venue)?).ok()?).ok()
    }
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoList {
    /// The reason.
    pub why: String,
    /// The exchange wants to be left alone for so long.
    pub wait: Duration,
}

impl From<String> for NoList {
    fn from(why: String) -> Self {
        Self {
            why,
            wait: Duration::ZERO,
        }
    }
}

/// The instruments of an exchange, whose requests go to `base`; `now_ns` is the present instant.
///
/// # Errors
/// When it gives no whole list.
pub async fn list(
    venue: Venue,
    base: &str,
    proxies: &Proxies,
    now_ns: i64,
) -> std::result::Result<Vec<Instrument>, NoList> {
    let mut all = Vec::new();
    for path in venue.lists() {
        let mut next = Some(String::new());
        for page in 0..=PAGES {
            let Some(more) = next.take() else { break };
            if page == PAGES {
                return Err("the list has no end".to_owned().into());
            }
            let answer = get(&format!("{base}{path}{more}"), proxies)
                .await
                .map_err(|e| e.to_string())?;
            if !answer.status.is_success() {
                let wait = asked_to_wait(answer.status, &answer.headers, now_ns);
                return Err(NoList {
                    why: format!("the exchange answers {}", answer.status),
                    wait,
                });
            }
            let found = venue.instruments(&answer.body)?;
            all.extend(found.instruments);
            next = found.next;
        }
    }
    if all.is_empty() {
        Err("the list is empty".to_owned().into())
    } else {
        Ok(all)
    }
}
