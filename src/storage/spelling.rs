//! What was probably meant by names that nothing in a store bears. Asked once nothing was found, so
//! the stores are listed as a whole.

use std::collections::BTreeSet;

use super::store::Store;
use crate::model::{
    near::{nearest, nearest_symbol},
    partition::{Exchange, Selection, Stream, Symbol},
};

/// The names of exchanges, streams and symbols that folders bear.
#[derive(Debug, Default)]
struct FolderNames {
    exchanges: BTreeSet<String>,
    streams: BTreeSet<String>,
    symbols: BTreeSet<String>,
}

impl FolderNames {
    fn add(&mut self, key: &str) {
        for (folder, value) in key.split('/').filter_map(|part| part.split_once('=')) {
            let known = match folder {
                "exchange" => &mut self.exchanges,
                "stream" => &mut self.streams,
                "symbol" => &mut self.symbols,
                _ => continue,
            };
            if !known.contains(value) {
                let _ = known.insert(value.to_owned());
            }
        }
    }

    /// The first name of `selection` that no folder bears, beside one that is close to it.
    fn hint(&self, selection: &Selection) -> Option<String> {
        let Self {
            exchanges,
            streams,
            symbols,
        } = self;
        let misspelt = |noun, wrong: &str, known: &BTreeSet<String>| {
            let names = || known.iter().map(String::as_str);
            let near = match noun {
                _ if known.contains(wrong) => None,
                "symbol" => nearest_symbol(wrong, names()),
                _ => nearest(wrong, names()),
            };
            near.map(|near| format!("there is no {noun} {wrong}, did you mean {near}?"))
        };
        let of = |name: &Exchange| misspelt("exchange", name.as_str(), exchanges);
        let exchange = selection.exchanges.iter().find_map(of);
        let of = |name: &Stream| misspelt("stream", name.as_str(), streams);
        let stream = || selection.streams.iter().find_map(of);
        let of = |name: &Symbol| misspelt("symbol", name.as_str(), symbols);
        let symbol = || selection.symbols.iter().find_map(of);
        exchange.or_else(stream).or_else(symbol)
    }
}

/// What is probably wrong with `selection`, which nothing in `stores` matches, or `otherwise`.
pub async fn hint(selection: &Selection, stores: &[&Store], otherwise: &str) -> String {
    let misspelt = misspelt(selection, stores).await;
    misspelt.unwrap_or_else(|| otherwise.to_owned())
}

/// The name of `selection` that is probably misspelt, where one of `stores` has one that is close.
pub async fn misspelt(selection: &Selection, stores: &[&Store]) -> Option<String> {
    if *selection == Selection::all() {
        return None;
    }
    let mut names = FolderNames::default();
    for store in stores {
        // What cannot be listed has no names to offer; that it cannot is an error elsewhere.
        if let Ok(listing) = store.list("").await {
            for object in listing.apart().0 {
                names.add(&object.key);
            }
        }
    }
    names.hint(selection)
}

/// What to do about names that may be misspelt, where none is close.
pub const FOLDER_NAMES: &str = "check their spelling (they are the folder names)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_is_not_there_is_told() {
        let mut names = FolderNames::default();
        for key in [
            "exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03.parquet",
            "_receipts/exchange=okx/stream=mark_price/symbol=ethusdt/date=20260203/x.json",
        ] {
            names.add(key);
        }
        let check = |exchange: &str, stream: &str, symbol: &str, want: Option<&str>| {
            let selection = Selection {
                exchanges: vec![exchange.parse().unwrap()],
                streams: vec![stream.parse().unwrap()],
                symbols: vec![symbol.parse().unwrap()],
            };
            assert_eq!(names.hint(&selection).as_deref(), want);
        };
        check(
            "binanc",
            "bbo",
            "btcusd",
            Some("there is no exchange binanc, did you mean binance?"),
        );
        check(
            "okx",
            "mark_prise",
            "x",
            Some("there is no stream mark_prise, did you mean mark_price?"),
        );
        check(
            "okx",
            "bboo",
            "x",
            Some("there is no stream bboo, did you mean bbo?"),
        );
        check(
            "okx",
            "bbo",
            "btcusd",
            Some("there is no symbol btcusd, did you mean btcusdt?"),
        );
        // Other symbols are alike, and not meant.
        check("okx", "bbo", "solusdt", None);
        check("okx", "bbo", "btcusdt", None);
    }
}
