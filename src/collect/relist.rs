//! The lists of instruments are read at an interval: an instrument listed since is collected
//! without a restart; one that is no longer listed ends with a record.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use super::{news::What, shared::Shared, start::begin};
use crate::{
    feed::venue::{Listings, Numbers, Venue, Wanted, more_lines},
    model::partition::Series,
    net::Catalogue,
};

/// A list that has less than this share of what it had, in percent, is not believed.
const BELIEVED: usize = 50;

/// What is collected, and the lists that it was chosen from.
pub(super) struct Relist {
    catalogue: Catalogue,
    every: Duration,
    shared: Shared,
    /// Every series so far, and whether it has ended.
    series: BTreeMap<Series, bool>,
    lines: usize,
    numbers: Numbers,
    /// How many instruments each exchange listed.
    listed: BTreeMap<Venue, usize>,
}

/// What a reading of the lists changes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    new: Vec<Wanted>,
    over: Vec<(Series, String)>,
    again: Vec<Series>,
}

impl Relist {
    pub(super) fn new(
        catalogue: Catalogue,
        every: Duration,
        shared: Shared,
        wanted: &[Wanted],
        lines: usize,
        numbers: Numbers,
    ) -> Self {
        let series = wanted
            .iter()
            .map(|wanted| (wanted.series.clone(), false))
            .collect();
        Self {
            catalogue,
            every,
            shared,
            series,
            lines,
            numbers,
            listed: BTreeMap::new(),
        }
    }

    /// Reads them until it is told to stop.
    pub(super) async fn keep(mut self) {
        let mut stop = self.shared.stop.clone();
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = sleep(self.every) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            let read = tokio::select! {
                read = self.catalogue.read() => read,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            for (venue, why) in &read.failed {
                tracing::warn!(exchange = %venue, why, "the list of instruments cannot be read");
            }
            let fresh = self.believed(read.fresh);
            let changes = self.changes(&fresh);
            if self.apply(changes, &mut tasks).await.is_err() {
                break;
            }
        }
        // They end by the same sign.
        while tasks.join_next().await.is_some() {}
    }

    /// The lists that are not much shorter than they were: half a list would end what is traded.
    fn believed(&mut self, mut fresh: Listings) -> Listings {
        fresh.retain(|venue, list| {
            let before = self.listed.get(venue).copied().unwrap_or(0);
            let believed = list.len() * 100 >= before * BELIEVED;
            if believed {
                let _ = self.listed.insert(*venue, list.len());
            } else {
                tracing::warn!(exchange = %venue, before, now = list.len(), "the list of instruments is much shorter than before; it is not believed yet");
                // Once more, and it is the list.
                let _ = self.listed.insert(*venue, list.len() * 100 / BELIEVED);
            }
            believed
        });
        fresh
    }

    fn changes(&self, fresh: &Listings) -> Changes {
        let mut changes = Changes::default();
        for (venue, list) in fresh {
            let one = Catalogue {
                venues: vec![*venue],
                ..self.catalogue.clone()
            };
            let chosen = match one.choose(&Listings::from([(*venue, list.clone())])) {
                Ok(choice) => choice.series,
                Err(error) => {
                    tracing::warn!(exchange = %venue, error = %error.chain(), "the list of instruments is of no use");
                    continue;
                }
            };
            let alive: BTreeSet<&Series> = chosen.iter().map(|wanted| &wanted.series).collect();
            for wanted in &chosen {
                match self.series.get(&wanted.series) {
                    None => changes.new.push(wanted.clone()),
                    Some(true) => changes.again.push(wanted.series.clone()),
                    Some(false) => {}
                }
            }
            let of_venue = self
                .series
                .iter()
                .filter(|(series, _)| series.exchange.as_str() == venue.name());
            for (series, _) in
                of_venue.filter(|(series, ended)| !**ended && !alive.contains(series))
            {
                let why =
                    format!("{venue} lists it no more, or as one that is not traded any more");
                changes.over.push((series.clone(), why));
            }
        }
        changes
    }

    async fn apply(&mut self, changes: Changes, tasks: &mut JoinSet<()>) -> Result<(), ()> {
        let Changes { new, over, again } = changes;
        if !over.is_empty() {
            self.series
                .extend(over.iter().map(|(series, _)| (series.clone(), true)));
            self.shared.tell(0, 0, What::Delisted(over)).await?;
        }
        if !again.is_empty() {
            self.series
                .extend(again.iter().map(|series| (series.clone(), false)));
            self.shared.tell(0, 0, What::Relisted(again)).await?;
        }
        if new.is_empty() {
            return Ok(());
        }
        let lines = match more_lines(
            &new,
            self.series.len(),
            &self.catalogue.endpoints,
            &mut self.numbers,
        ) {
            Ok(lines) => lines,
            Err(error) => {
                tracing::error!(error = %error.chain(), "what was listed cannot be collected");
                return Ok(());
            }
        };
        self.series
            .extend(new.iter().map(|wanted| (wanted.series.clone(), false)));
        // The writer knows of them before anything comes.
        self.shared
            .tell(0, 0, What::Listed(new, lines.clone()))
            .await?;
        for line in lines {
            begin(tasks, line, self.lines, &self.shared, self.every);
            self.lines += 1;
        }
        Ok(())
    }
}
