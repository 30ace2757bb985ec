//! For how long a connection may bring nothing: by what its streams promise, and by its own
//! history.
//!
//! A quiet symbol at night is no fault, and a connection of nothing but such symbols may be quiet
//! for long. One whose streams are pushed at a fixed rate may not.

use std::time::Duration;

/// So many times the longest silence of late is too long.
const TIMES: u32 = 8;
/// And so long is too long whatever came before.
const CAP: Duration = Duration::from_mins(30);
/// Where no stream promises anything, and so long as the history is shorter than [`LEARNT`]: topics
/// that are pushed every minute bring something at once when they are asked for, which tells
/// nothing of the silence that follows.
const UNKNOWN: Duration = Duration::from_mins(5);

/// A history so long tells how long a silence may be.
const LEARNT: Duration = Duration::from_mins(30);

/// The history of a line, over all its sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DataClock {
    /// The longest silence of late; each further message lets it shrink.
    longest: Option<Duration>,
    /// The time that the history covers.
    covered: Duration,
}

/// For how long a connection may bring nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) after: Duration,
    /// Whether its streams or its history say so; otherwise it is a precaution.
    pub(super) is_known: bool,
}

impl DataClock {
    /// Notes that data came, so long after the last.
    pub(super) fn brought(&mut self, after: Duration) {
        self.covered = self.covered.saturating_add(after);
        self.longest = Some(self.longest.map_or(after, |longest| {
            longest.saturating_sub(longest / 64).max(after)
        }));
    }

    /// After so long without data a connection is given up; never before `silence`. `cadence` is
    /// how often one of its streams brings something, where that is promised.
    pub(super) fn limit(&self, silence: Duration, cadence: Option<Duration>) -> Limit {
        let (limit, is_known) = match (cadence, self.longest) {
            (Some(cadence), _) => (cadence * 3, true),
            (None, Some(longest)) if self.covered < LEARNT => {
                ((longest * TIMES).clamp(UNKNOWN, CAP), false)
            }
            (None, Some(longest)) => ((longest * TIMES).min(CAP), longest * TIMES <= CAP),
            (None, None) => (UNKNOWN, false),
        };
        Limit {
            after: limit.max(silence),
            is_known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_be_quiet_by_its_streams_and_by_its_history() {
        let s = Duration::from_secs;
        let silence = s(45);
        let mut quiet = DataClock::default();
        let limit = |clock: &DataClock| clock.limit(silence, None).after;
        assert_eq!(limit(&quiet), UNKNOWN);
        quiet.brought(s(100));
        assert_eq!(limit(&quiet), s(800));
        quiet.brought(s(1000));
        assert_eq!(limit(&quiet), CAP);
        for _ in 0..1000 {
            quiet.brought(Duration::from_millis(10));
        }
        assert_eq!(quiet.longest, Some(Duration::from_millis(10)));
        assert_eq!(limit(&quiet), UNKNOWN, "it is not known for long");
        for _ in 0..300 {
            quiet.brought(s(3));
        }
        for _ in 0..1000 {
            quiet.brought(Duration::from_millis(10));
        }
        assert_eq!(
            quiet.limit(silence, None),
            Limit {
                after: silence,
                is_known: true
            }
        );
        quiet.brought(s(1000));
        assert_eq!(
            quiet.limit(silence, None),
            Limit {
                after: CAP,
                is_known: false
            },
            "it is quieter than can be told"
        );
        assert_eq!(
            DataClock::default().limit(s(3), Some(s(1))),
            Limit {
                after: s(3),
                is_known: true
            }
        );
        assert_eq!(
            DataClock::default().limit(silence, Some(s(30))).after,
            s(90)
        );
        assert!(!DataClock::default().limit(silence, None).is_known);
    }
}
