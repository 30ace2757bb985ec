//! How long to wait before the next attempt to connect: longer each time, never in step with
//! others, up to a limit.
//!
//! Pure; the random draw comes from outside. After many failures in a row attempts become rare (the
//! breaker is open), but they do not end.

use std::time::Duration;

/// The waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// No wait is longer, until the breaker opens.
    pub cap: Duration,
    /// After so many failures in a row the breaker opens.
    pub breaker_after: u32,
    /// The wait while it is open.
    pub breaker: Duration,
}

impl Backoff {
    /// Half a second, doubled up to 30 seconds; two minutes after 20 failures.
    pub const USUAL: Self = Self {
        first: Duration::from_millis(500),
        cap: Duration::from_secs(30),
        breaker_after: 20,
        breaker: Duration::from_mins(2),
    };

    /// The wait after so many failures in a row; `draw` spreads it over half to all of its length.
    #[must_use]
    pub fn wait(&self, failures: u32, draw: u64) -> Duration {
        let longest = if failures >= self.breaker_after {
            self.breaker
        } else {
            self.first
                .saturating_mul(1 << failures.saturating_sub(1).min(20))
                .min(self.cap)
        };
        let half = longest / 2;
        let share = u32::try_from(spread(draw) % 1000).unwrap_or(0);
        half + half * share / 1000
    }
}

/// Spreads numbers that are near one another (splitmix64).
#[must_use]
pub const fn spread(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_the_breaker_never_gives_up() {
        let p = Backoff::USUAL;
        for (failures, longest) in [
            (1, 0.5),
            (2, 1.0),
            (4, 4.0),
            (7, 30.0),
            (19, 30.0),
            (20, 120.0),
            (u32::MAX, 120.0),
        ] {
            let longest = Duration::from_secs_f64(longest);
            let waits: Vec<Duration> = (0..50).map(|draw| p.wait(failures, draw)).collect();
            assert!(
                waits
                    .iter()
                    .all(|wait| *wait >= longest / 2 && *wait <= longest),
                "{failures}: {waits:?}"
            );
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}");
        }
    }
}
