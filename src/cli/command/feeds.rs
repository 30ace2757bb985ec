//! Which feeds `collect` and `record` are about: what was typed, looked up in the exchanges' lists
//! where they can be had.

use std::{env, path::PathBuf};

use crate::{
    cli::{args::Feeds, console::Console},
    error::{Error, Kind, Result},
    feed::{
        instrument::Wish,
        venue::{self, Choice, Listings, Wanted},
    },
    model::partition::Symbol,
    net::{Catalogue, Proxies},
};

/// What is to be collected, and what it was chosen from.
pub(super) struct Chosen {
    pub(super) catalogue: Catalogue,
    pub(super) wanted: Vec<Wanted>,
}

fn present(feeds: &Feeds) -> Result<()> {
    for (name, empty, example) in [
        ("exchange", feeds.exchange.is_empty(), "binance"),
        ("symbol", feeds.symbol.is_empty(), "btcusdt"),
    ] {
        if empty {
            return Err(Error::usage(format!(
                "no {name} is named: say --{name} {example}, QLC_COLLECT_{}, or {name} = [\"{example}\"] below [collect] of \
                 the configuration",
                name.to_ascii_uppercase()
            )));
        }
    }
    Ok(())
}

/// Chooses the feeds. `cache` is where lists are kept; `is_known` tells whether a series has been
/// collected before.
///
/// # Errors
/// When no exchange or no symbol is named, a name is in no list, or a list is needed and cannot be had.
pub(super) async fn chosen(
    feeds: &Feeds,
    cache: Option<PathBuf>,
    is_known: impl Fn(&Wanted) -> bool,
    console: &Console,
) -> Result<Chosen> {
    present(feeds)?;
    let catalogue = Catalogue {
        venues: feeds.exchange.clone(),
        wishes: feeds.symbol.clone(),
        kinds: feeds.stream.clone(),
        endpoints: feeds.endpoint.iter().cloned().collect(),
        proxies: proxies()?,
        cache,
    };
    // What is wrong whatever is listed is told before anybody is asked.
    let named = |wish: &Wish| {
        if let Wish::Named(symbol) = wish {
            Some(symbol.clone())
        } else {
            None
        }
    };
    let names: Vec<Symbol> = feeds.symbol.iter().filter_map(named).collect();
    let typed = venue::choose(&feeds.exchange, &names, &feeds.stream)?;
    let _ = venue::lines(&typed.series, &catalogue.endpoints)?;
    let read = catalogue.read().await;
    for (venue, why) in &read.failed {
        let kept = if read.kept.contains_key(venue) {
            "; the one of an earlier run is used"
        } else {
            ""
        };
        console.progress_line(&format!(
            "the list of instruments of {venue} cannot be read: {why}{kept}"
        ));
    }
    for (venue, kind) in catalogue.left_out() {
        let rest = venue.rest().name;
        console.progress_line(&format!(
            "{kind} of {venue} is left out: it is polled, and {rest} was not moved with the other endpoints"
        ));
    }
    let Choice {
        mut series,
        unknown,
    } = catalogue.choose(&read.all())?;
    let mut refused = Vec::new();
    for (venue, symbol) in unknown {
        let as_typed =
            venue::choose(&[venue], std::slice::from_ref(&symbol), &feeds.stream)?.series;
        if !read.fresh.contains_key(&venue) {
            // The list is an old one: who knows.
            series.extend(as_typed);
        } else if as_typed.iter().any(&is_known) {
            console.progress_line(&format!(
                "{venue} lists {symbol} no more; it is left out until it does"
            ));
        } else {
            refused.push(format!(
                "{venue} lists no {symbol}{}",
                near(venue, &symbol, &read.fresh)
            ));
        }
    }
    if !refused.is_empty() {
        return Err(Error::usage(refused.join("; ")));
    }
    if series.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "there is nothing to collect: no listed instrument fits",
        ));
    }
    // The lists know more names for one instrument than one.
    series.sort_by(|a, b| (a.venue, &a.series).cmp(&(b.venue, &b.series)));
    series.dedup_by(|a, b| a.series == b.series);
    Ok(Chosen {
        catalogue,
        wanted: series,
    })
}

/// Names that begin like one that is not listed.
fn near(venue: venue::Venue, symbol: &Symbol, listings: &Listings) -> String {
    let begin: String = symbol
        .as_str()
        .chars()
        .take(3)
        .collect::<String>()
        .to_ascii_uppercase();
    let listed = listings
        .get(&venue)
        .into_iter()
        .flatten()
        .map(|instrument| instrument.wire.as_str());
    let some: Vec<&str> = listed
        .filter(|wire| wire.starts_with(&begin))
        .take(5)
        .collect();
    if some.is_empty() {
        String::new()
    } else {
        format!(" (it lists {})", some.join(", "))
    }
}

/// The proxies that the environment names, in small letters or in capitals.
pub(super) fn proxies() -> Result<Proxies> {
    let of = |name: &str| {
        let one = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
        one(&name.to_lowercase()).or_else(|| one(name))
    };
    let [secure, plain, all, except] =
        ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"].map(of);
    Proxies::of(
        secure.as_deref(),
        plain.as_deref(),
        all.as_deref(),
        except.as_deref(),
    )
}
