//! The thread of a series: what its exchange's numbers say about each event. New, the same again, late, or after a hole.
//!
//! Pure. Several connections may bring the same series for a while; what one has brought, another one brings for
//! nothing. Refuses to drop an event because a number went back on one and the same connection: exchanges begin anew.

use serde::{Deserialize, Serialize};

use crate::feed::event::{Event, Id};

/// So many numbers are remembered to know an event again.
const RECENT: usize = 64;
/// After so many events in a row with numbers below the last one, the exchange has begun anew.
const ANEW: u32 = 16;

/// What was found out about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Next,
    /// It is new, and the numbers from the first to the last of these never came.
    AfterHole(u64, u64),
    /// It came before; it is dropped.
    Again,
    /// It is new, but later ones came before it.
    Late,
    /// It is new, and the exchange counts anew.
    Anew,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The greatest number so far.
    last: Option<u64>,
    /// The time of the event that had it.
    last_ts: i64,
    /// Numbers of the latest events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recent: Vec<u64>,
}

/// The state of a series.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    mark: Mark,
    /// What the latest connections have brought, oldest first.
    spans: Vec<Span>,
    below: u32,
    /// Where in `mark.recent` the next number goes.
    slot: usize,
}

/// So many connections are remembered one by one; what earlier ones brought counts as everything up to its end.
const SPANS: usize = 3;

/// What a connection has brought: everything from its first number to its last, also what another one had brought before.
#[derive(Debug, Clone, Copy)]
struct Span {
    line: u64,
    first: u64,
    last: u64,
}

impl Thread {
    pub(crate) fn new(mark: Mark) -> Self {
        let slot = mark.recent.len() % RECENT;
        Self { mark, spans: Vec::new(), below: 0, slot }.with_past()
    }

    /// What came before this process was by no connection of its own.
    fn with_past(mut self) -> Self {
        if let Some(last) = self.mark.last {
            // Where there are no numbers, times take their place.
            let last = if last == 0 { of_time(self.mark.last_ts) } else { last };
            self.spans.push(Span { line: 0, first: 0, last });
        }
        self
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Looks at an event that came by the connection `line` and remembers it.
    pub(crate) fn look(&mut self, event: &Event, line: u64) -> Verdict {
        let order = match event.id {
            Id::Consecutive(id) | Id::Ascending(id) => id,
            Id::Shared { order, .. } => order,
            Id::Time => of_time(event.ts_event),
        };
        let past = event.ts_event <= self.mark.last_ts;
        // A slower connection may still bring what came before another one began: that is new, however late.
        let covered = past && self.spans.iter().any(|s| s.line != line && (s.first..=s.last).contains(&order));
        let went_back = self.spans.iter().any(|s| s.line == line && order <= s.last);
        let verdict = match event.id {
            Id::Consecutive(id) | Id::Ascending(id) => match self.mark.last {
                None => Verdict::Next,
                Some(last) if id > last => {
                    let hole = matches!(event.id, Id::Consecutive(_)) && id > last.saturating_add(1);
                    if hole { Verdict::AfterHole(last + 1, id - 1) } else { Verdict::Next }
                }
                Some(last) if id == last || self.mark.recent.contains(&id) || covered => Verdict::Again,
                Some(_) if went_back || past => Verdict::Late,
                Some(_) => Verdict::Anew,
            },
            Id::Shared { order, unique } => {
                let before = self.mark.last.is_some_and(|last| order < last);
                if self.mark.recent.contains(&unique) || (before && covered) { Verdict::Again } else { Verdict::Next }
            }
            Id::Time if self.mark.last.is_some() && covered => Verdict::Again,
            Id::Time => Verdict::Next,
        };
        let verdict = self.remember(event, went_back, verdict);
        self.span(line, order, verdict);
        verdict
    }

    /// Notes that a connection has brought this number.
    fn span(&mut self, line: u64, order: u64, verdict: Verdict) {
        if verdict == Verdict::Anew {
            self.spans.clear();
        }
        if let Some(span) = self.spans.iter_mut().find(|span| span.line == line) {
            span.last = span.last.max(order);
            return;
        }
        self.spans.push(Span { line, first: order, last: order });
        if self.spans.len() > SPANS {
            let gone = self.spans.remove(0);
            if let Some(oldest) = self.spans.first_mut() {
                // The older ones have ended: nothing new comes from before.
                (oldest.first, oldest.last) = (0, oldest.last.max(gone.last));
            }
        }
    }

    fn remember(&mut self, event: &Event, went_back: bool, verdict: Verdict) -> Verdict {
        let (order, unique) = match event.id {
            Id::Consecutive(id) | Id::Ascending(id) => (id, id),
            Id::Shared { order, unique } => (order, unique),
            Id::Time => (0, 0),
        };
        let mut verdict = verdict;
        match verdict {
            Verdict::Again => return verdict,
            // Only a connection that goes back by itself tells that the exchange counts anew.
            Verdict::Late if !went_back => {}
            Verdict::Late => {
                self.below += 1;
                if self.below >= ANEW {
                    verdict = Verdict::Anew;
                }
            }
            Verdict::Next | Verdict::AfterHole(..) | Verdict::Anew => self.below = 0,
        }
        if verdict == Verdict::Anew {
            self.below = 0;
            self.mark = Mark::default();
            self.slot = 0;
        }
        if verdict != Verdict::Late {
            self.mark.last = Some(self.mark.last.map_or(order, |last| last.max(order)));
            self.mark.last_ts = self.mark.last_ts.max(event.ts_event);
        }
        if event.id != Id::Time {
            match self.mark.recent.get_mut(self.slot) {
                Some(slot) => *slot = unique,
                None => self.mark.recent.push(unique),
            }
            self.slot = (self.slot + 1) % RECENT;
        }
        verdict
    }
}

/// A time as a number that ascends.
fn of_time(ns: i64) -> u64 {
    ns.max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};
    use crate::feed::event::Body;

    fn check(steps: &[(Id, i64, u64, Verdict)]) {
        let mut thread = Thread::new(Mark::default());
        for (n, (id, ts_event, line, want)) in steps.iter().enumerate() {
            let event = Event { series: 0, ts_event: *ts_event, ts_recv: 0, id: *id, body: Body::OpenInterest(0.0) };
            assert_eq!(thread.look(&event, *line), *want, "step {n}");
        }
    }

    #[test]
    fn consecutive_numbers_show_holes() {
        use Id::Consecutive as C;
        check(&[
            (C(5), 1, 1, Next),
            (C(6), 1, 1, Next),
            (C(6), 1, 1, Again),
            (C(9), 2, 1, AfterHole(7, 8)),
            (C(8), 2, 1, Late),
            (C(8), 2, 1, Again),
            (C(10), 3, 1, Next),
            // Another connection brings what is there already, then goes on.
            (C(7), 2, 2, Again),
            (C(10), 3, 2, Again),
            (C(11), 4, 2, Next),
            (C(11), 4, 1, Again),
            (C(12), 5, 1, Next),
        ]);
    }

    #[test]
    fn an_exchange_that_counts_anew_loses_nothing() {
        use Id::Ascending as A;
        check(&[(A(1000), 10, 1, Next), (A(1), 20, 2, Anew), (A(2), 30, 2, Next), (A(2000), 40, 2, Next)]);
        let mut steps = vec![(A(1000), 10, 1, Next)];
        steps.extend((1..16).map(|n| (A(n), 11, 1, Late)));
        steps.extend([(A(16), 11, 1, Anew), (A(17), 12, 1, Next), (A(17), 12, 1, Again)]);
        check(&steps);
    }

    #[test]
    fn shared_numbers_are_told_apart() {
        let s = |order, unique| Id::Shared { order, unique };
        check(&[
            (s(1, 10), 1, 1, Next),
            (s(1, 11), 1, 1, Next),
            (s(1, 11), 1, 1, Again),
            (s(2, 12), 2, 1, Next),
            (s(1, 99), 1, 2, Again),
            (s(2, 12), 2, 2, Again),
            (s(2, 13), 2, 2, Next),
        ]);
    }

    #[test]
    fn times_count_only_between_connections() {
        use Id::Time as T;
        check(&[
            (T, 1, 1, Next),
            (T, 2, 1, Next),
            (T, 2, 1, Next),
            (T, 1, 2, Again),
            (T, 2, 2, Again),
            (T, 3, 2, Next),
            (T, 3, 1, Again),
        ]);
    }

    #[test]
    fn what_a_slower_connection_brings_from_before_another_began_is_kept() {
        use Id::{Ascending as A, Consecutive as C, Time as T};
        let s = |id| Id::Shared { order: id, unique: id };
        // The second connection begins with 25 while 22 to 24 are on their way by the first one.
        check(&[
            (s(21), 21, 1, Next),
            (s(25), 25, 2, Next),
            (s(26), 26, 2, Next),
            (s(22), 22, 1, Next),
            (s(24), 24, 1, Next),
            (s(25), 25, 1, Again),
            (s(26), 26, 1, Again),
            (s(27), 27, 1, Next),
            (s(27), 27, 2, Again),
        ]);
        check(&[(C(21), 21, 1, Next), (C(25), 25, 2, AfterHole(22, 24)), (C(22), 22, 1, Late), (C(25), 25, 1, Again)]);
        let mut many = vec![(A(1), 1, 1, Next), (A(500), 500, 2, Next)];
        many.extend((2..100).map(|n| (A(n), i64::try_from(n).unwrap(), 1, Late)));
        many.extend([(A(500), 500, 1, Again), (A(501), 501, 2, Next), (A(2), 2, 3, Again)]);
        check(&many);
        check(&[
            (T, 1, 1, Next),
            (T, 9, 2, Next),
            (T, 5, 1, Next),
            (T, 9, 1, Again),
            (T, 10, 1, Next),
            (T, 10, 2, Again),
        ]);
    }

    #[test]
    fn a_mark_survives_a_restart() {
        let event = |id, ts_event| Event { series: 0, ts_event, ts_recv: 0, id, body: Body::OpenInterest(0.0) };
        let mut thread = Thread::new(Mark::default());
        let _ = thread.look(&event(Id::Consecutive(7), 100), 1);
        let text = serde_json::to_string(thread.mark()).unwrap();
        let mut again = Thread::new(serde_json::from_str(&text).unwrap());
        assert_eq!(again.look(&event(Id::Consecutive(7), 100), 1), Again);
        assert_eq!(again.look(&event(Id::Consecutive(6), 90), 1), Again);
        assert_eq!(again.look(&event(Id::Consecutive(10), 110), 1), AfterHole(8, 9));
    }
}
