//! For how long a connection may bring nothing: by what its streams promise, and by its own history.
//!
//! A quiet symbol at night is no fault, and a connection of nothing but such symbols may be quiet for long. One whose streams
//! are pushed by the clock may not.

use std::time::Duration;

/// So many times the longest silence of late is too long.
const TIMES: u32 = 8;
/// And so long is too long whatever came before.
const CAP: Duration = Duration::from_mins(30);
/// Where nothing has ever come.
const UNKNOWN: Duration = Duration::from_mins(5);

/// The history of a line, over all its sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct DataClock {
    /// A stream of it brings something at least this often.
    cadence: Option<Duration>,
    /// The longest silence of late; each further message lets it shrink.
    longest: Option<Duration>,
}

impl DataClock {
    pub(super) fn new(cadence: Option<Duration>) -> Self {
        Self { cadence, longest: None }
    }

    /// Notes that data came, so long after the last.
    pub(super) fn brought(&mut self, after: Duration) {
        self.longest = Some(self.longest.map_or(after, |longest| longest.saturating_sub(longest / 64).max(after)));
    }

    /// After so long without data a connection is given up; never before `silence`.
    pub(super) fn limit(&self, silence: Duration) -> Duration {
        let limit = match (self.cadence, self.longest) {
            (Some(cadence), _) => cadence * 3,
            (None, Some(longest)) => (longest * TIMES).min(CAP),
            (None, None) => UNKNOWN,
        };
        limit.max(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_be_quiet_by_its_streams_and_by_its_history() {
        let s = Duration::from_secs;
        let silence = s(45);
        let mut quiet = DataClock::new(None);
        assert_eq!(quiet.limit(silence), UNKNOWN);
        quiet.brought(s(100));
        assert_eq!(quiet.limit(silence), s(800));
        quiet.brought(s(1000));
        assert_eq!(quiet.limit(silence), CAP);
        for _ in 0..1000 {
            quiet.brought(Duration::from_millis(10));
        }
        assert_eq!(quiet.limit(silence), silence);
        assert_eq!(DataClock::new(Some(s(1))).limit(s(3)), s(3));
        assert_eq!(DataClock::new(Some(s(30))).limit(silence), s(90));
    }
}
