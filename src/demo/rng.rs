//! A small deterministic generator of random numbers (`SplitMix64`), enough to draw a market; not
//! for secrets or statistics.

/// A stream of random numbers; the same seed gives the same numbers on every machine.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream of `seed`, apart from every other `stream` of the same seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
        let _ = rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Any number, each as likely.
    fn bits(&mut self) -> u32 {
        // The upper half, which always fits.
        u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)
    }

    /// A number from 0 up to, but not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.bits()) / 4_294_967_296.0
    }

    /// Whether something happens that does so in `percent` of the cases.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.bits() % 100 < percent
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: i32, to: i32) -> i32 {
        let width = i64::from(to) - i64::from(from) + 1;
        let step = i64::from(self.bits()) % width.max(1);
        i32::try_from(i64::from(from) + step).unwrap_or(to)
    }

    /// The milliseconds to the next event of a Poisson process that has one in `mean_ms` on
    /// average.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 23 times the mean, which is a few minutes"
    )]
    pub(super) fn gap_ms(&mut self, mean_ms: u32) -> i64 {
        (-(1.0 - self.unit()).ln() * f64::from(mean_ms)).round() as i64
    }

    /// A quantity in steps of `1 / steps`, mostly small and sometimes large.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "exp(9) times a thousand steps at most"
    )]
    pub(super) fn quantity(&mut self, steps: u32) -> f64 {
        // The sum of four uniform numbers stands in for a normal one.
        let bell = self.unit() + self.unit() + self.unit() + self.unit() - 2.0;
        let count = ((bell * 3.0).exp() * f64::from(steps) * 0.4).round() as i32;
        f64::from(count.max(1)) / f64::from(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed_and_stay_in_their_range() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            (0..1000).map(|_| rng.between(-3, 3)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
        let drawn = draw(1, 0);
        assert!((-3..=3).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| (-3..=3).contains(n)));
    }

    #[test]
    fn gaps_have_their_mean_and_quantities_are_positive() {
        let mut rng = Rng::new(5, 0);
        let total: i64 = (0..10_000).map(|_| rng.gap_ms(600)).sum();
        assert!((5_500_000..6_500_000).contains(&total), "{total}");
        assert!((0..10_000).all(|_| rng.quantity(1000) >= 0.001));
    }
}
