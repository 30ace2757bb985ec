//! When a connection may be made: at most at the exchange's documented rate, and not before the
//! time that it has named.
//!
//! All connections to an exchange share one limit, whatever they are made for: the start, an
//! outage, a renewal.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::feed::venue::{DialRate, Venue};

/// The turns of all exchanges.
#[derive(Debug, Default)]
pub struct Dials(Mutex<BTreeMap<Venue, Turns>>);

/// The turns of one exchange.
#[derive(Debug, Clone, Copy)]
struct Turns {
    /// When the allowance is whole again.
    whole: Instant,
    blocked_until: Instant,
}

impl Turns {
    fn new(now: Instant) -> Self {
        Self {
            whole: now,
            blocked_until: now,
        }
    }

    /// Takes a turn; returns when it is.
    fn take(&mut self, rate: DialRate, now: Instant) -> Instant {
        let at = self.whole.max(now) + rate.every;
        self.whole = at;
        // So many may be taken before their time.
        now.max(at.checked_sub(rate.every * rate.burst).unwrap_or(now))
            .max(self.blocked_until)
    }
}

impl Dials {
    /// Waits for a turn.
    pub async fn turn(&self, venue: Venue) {
        let now = Instant::now();
        let mut at = self.of(venue, now, |turns| turns.take(venue.dial_rate(), now));
        // An answer to another connection may have put it off meanwhile.
        while at > Instant::now() {
            sleep_until(at).await;
            at = self.of(venue, now, |turns| turns.blocked_until);
        }
    }

    /// Lets nothing be dialled for so long, as the exchange has asked.
    pub fn block(&self, venue: Venue, wait: Duration) {
        let now = Instant::now();
        self.of(venue, now, |turns| {
            turns.blocked_until = turns.blocked_until.max(now + wait);
        });
    }

    fn of<T>(&self, venue: Venue, now: Instant, then: impl FnOnce(&mut Turns) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        then(all.entry(venue).or_insert_with(|| Turns::new(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of so many that ask at once has its turn, in milliseconds.
    fn turns(rate: DialRate, many: usize) -> Vec<u128> {
        let now = Instant::now();
        let mut turns = Turns::new(now);
        (0..many)
            .map(|_| (turns.take(rate, now) - now).as_millis())
            .collect()
    }

    #[test]
    fn no_exchange_is_dialled_faster_than_it_allows() {
        let okx = turns(Venue::Okx.dial_rate(), 40);
        assert!(
            okx.windows(4).all(|four| four[3] - four[0] > 1000),
            "{okx:?}"
        );
        assert_eq!(okx[0], 0);
        // In any five minutes.
        for (venue, most) in [(Venue::Binance, 300), (Venue::Bybit, 500)] {
            let all = turns(venue.dial_rate(), 2000);
            for from in 0..all.len() {
                let within = all[from..]
                    .iter()
                    .take_while(|at| **at < all[from] + 300_000)
                    .count();
                assert!(within <= most, "{venue}: {within}");
            }
            assert_eq!(all[5], 0, "a few are made at once");
        }
    }

    #[test]
    fn what_the_exchange_puts_off_stays_put_off() {
        let now = Instant::now();
        let mut turns = Turns::new(now);
        turns.blocked_until = now + Duration::from_mins(1);
        assert_eq!(
            turns.take(Venue::Bybit.dial_rate(), now),
            now + Duration::from_mins(1)
        );
    }
}
