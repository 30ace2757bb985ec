//! What a series has brought so far, and what that says of each further event: new, a repetition,
//! late, after a hole.
//!
//! Pure. Several connections may bring one series for a while; what one has brought, another brings
//! again. Two events are the same when their numbers *and* their contents agree. The latest events
//! are remembered one by one, all of the newest number among them; of older ones only the span that
//! each connection has brought is known, and an event inside another connection's span is taken for
//! a repetition. A connection that repeats itself is different: there only equal number and content
//! is a repetition, because exchanges restart their numbers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::feed::event::{Event, Id};

/// So many events are remembered to know them again, and all of the newest number.
const WINDOW: usize = 256;
/// So many of them survive a restart, and all of the newest number.
const KEPT: usize = 64;
/// Never more than so many, whatever their numbers.
const MOST: usize = 1 << 20;
/// After so many events in a row with numbers below the newest one, the exchange has begun anew.
const ANEW: u32 = 16;
/// So many connections are remembered one by one; what earlier ones brought counts as everything up
/// to its end.
const SPANS: usize = 3;
/// A hole stays open for so long, because another connection may be behind.
const OPEN_NS: i64 = 3_000_000_000;
/// So many holes are open at a time; older ones are settled.
const HOLES: usize = 256;

/// What was found out about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Next,
    /// It is new, and a hole before it has been opened.
    AfterHole,
    /// It came before; it is dropped.
    Again,
    /// It is new, though later ones came before it.
    Late,
    /// It is new, and lies in an open hole, which has that many events left.
    Filled { first: u64, last: u64, left: u64 },
    /// It has the number of an event with other content. Both are kept.
    Conflict,
    /// It is new, and the exchange counts anew.
    Anew,
}

/// Numbers that have not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hole {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The ranges of it that are still missing.
    missing: Vec<(u64, u64)>,
    /// When it was found, by the clock of receipt.
    found_ns: i64,
}

impl Mark {
    /// When the oldest hole was found that is neither filled nor settled.
    pub(crate) fn oldest_hole(&self) -> Option<i64> {
        self.holes.iter().map(|hole| hole.found_ns).min()
    }

    /// Forgets the holes that are on record: `is_told` is given the ends of a range that is missing,
    /// and when it was found.
    pub(crate) fn forget_told(&mut self, is_told: impl Fn(u64, u64, i64) -> bool) {
        self.holes.retain(|hole| {
            let told = |(first, last): &(u64, u64)| is_told(*first, *last, hole.found_ns);
            !hole.missing.iter().all(told)
        });
    }
}

impl Hole {
    fn left(&self) -> u64 {
        self.missing
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
    }

    /// Takes a number out; whether it was in.
    fn fill(&mut self, number: u64) -> bool {
        let Some(at) = self
            .missing
            .iter()
            .position(|(first, last)| (*first..=*last).contains(&number))
        else {
            return false;
        };
        let (first, last) = self.missing.swap_remove(at);
        if first < number {
            self.missing.push((first, number - 1));
        }
        if number < last {
            self.missing.push((number + 1, last));
        }
        true
    }
}

/// Numbers that will not come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) found_ns: i64,
}

/// An event that came. Thousands of series remember some hundreds each: it is kept small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NotedEvent", into = "NotedEvent")]
struct Seen {
    order: u64,
    print: u64,
    ts_event: i64,
    /// The exchange's number.
    number: i64,
    /// The connection that brought it, and the last other one that did.
    by: [Session; 2],
}

/// The number of a connection. Numbers that are 2^32 apart look alike: no event is remembered
/// through so many connections.
type Session = u32;

/// An event as a checkpoint tells it.
#[derive(Serialize, Deserialize)]
struct NotedEvent {
    order: u64,
    print: u64,
    ts_event: i64,
    /// The exchange's number, where it is another one than the order tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
}

impl From<NotedEvent> for Seen {
    fn from(noted: NotedEvent) -> Self {
        Self::new(noted.order, noted.print, noted.ts_event, noted.number)
    }
}

impl From<Seen> for NotedEvent {
    fn from(seen: Seen) -> Self {
        let Seen {
            order,
            print,
            ts_event,
            number,
            ..
        } = seen;
        let number = Some(number).filter(|_| !seen.is_told());
        Self {
            order,
            print,
            ts_event,
            number,
        }
    }
}

impl Seen {
    fn new(order: u64, print: u64, ts_event: i64, number: Option<i64>) -> Self {
        Self {
            order,
            print,
            ts_event,
            number: number.unwrap_or_else(|| told(order, ts_event)),
            by: [0; 2],
        }
    }

    /// Whether the order tells the exchange's number.
    fn is_told(&self) -> bool {
        self.number == told(self.order, self.ts_event)
    }
}

/// The number that an order tells. An event without one is ordered by its time.
fn told(order: u64, ts_event: i64) -> i64 {
    if order.cast_signed() == ts_event {
        0
    } else {
        order.cast_signed()
    }
}

/// A connection's number as it is remembered with an event.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits tell connections apart"
)]
const fn short(session: u64) -> Session {
    session as Session
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The greatest number so far.
    pub(super) last: Option<u64>,
    /// The time of the latest event.
    pub(super) last_ts: i64,
    /// The greatest number among the events that are not remembered one by one any more.
    #[serde(default)]
    forgotten: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) holes: Vec<Hole>,
    /// The latest events, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    seen: VecDeque<Seen>,
    /// So many of them, the oldest, came before the exchange began anew.
    #[serde(skip)]
    before_anew: usize,
}

impl Mark {
    /// Remembers an event; the oldest ones are forgotten.
    fn remember(&mut self, seen: Seen, most: usize) {
        // First, so that no memory is taken for one more.
        self.forget(most - 1);
        self.seen.push_back(seen);
    }

    /// Notes an event that the log holds; one of an earlier version does not tell the exchange's
    /// number.
    pub(crate) fn note(&mut self, order: u64, print: u64, ts_event: i64, number: Option<i64>) {
        self.remember(Seen::new(order, print, ts_event, number), KEPT);
    }

    fn forget(&mut self, most: usize) {
        while self.seen.len() > most {
            let is_newest = |seen: &Seen| Some(seen.order) == self.last;
            // One of the newest number may be the oldest of all; those behind it go all the same.
            let oldest = self.seen.iter().position(|seen| !is_newest(seen));
            let Some(oldest) = oldest.or_else(|| (self.seen.len() > MOST).then_some(0)) else {
                return;
            };
            let gone = self.seen.remove(oldest).map(|seen| seen.order);
            self.before_anew -= usize::from(oldest < self.before_anew);
            self.forgotten = self.forgotten.max(gone);
        }
    }
}

/// The state of a series.
#[derive(Debug, Clone)]
pub(crate) struct SequenceTracker {
    mark: Mark,
    /// What the latest connections have brought, oldest first.
    spans: Vec<Span>,
    below: u32,
    /// Holes that were given up because there are too many.
    settled: Vec<Gap>,
    sub_seq: i32,
}

/// What a connection has brought: everything from its first number to its last, also what another
/// one had brought before.
#[derive(Debug, Clone, Copy)]
struct Span {
    session: u64,
    first: u64,
    last: u64,
}

impl SequenceTracker {
    pub(crate) fn new(mut mark: Mark) -> Self {
        if mark.last == Some(0) && mark.seen.is_empty() {
            // As earlier versions noted a series without numbers.
            mark.last = Some(mark.last_ts.max(0).unsigned_abs());
        }
        if mark.seen.is_empty() {
            mark.forgotten = mark.last;
        }
        // What came before this process was by no connection of its own.
        let spans = mark
            .last
            .map(|last| Span {
                session: 0,
                first: 0,
                last,
            })
            .into_iter()
            .collect();
        Self {
            mark,
            spans,
            below: 0,
            settled: Vec::new(),
            sub_seq: 0,
        }
    }

    /// What must survive a restart.
    pub(crate) fn mark(&self) -> Mark {
        let mut mark = self.mark.clone();
        mark.forget(KEPT);
        mark
    }

    /// The part of it that does not follow from the events: the newest number and time, and the
    /// open holes.
    pub(crate) fn heads(&self) -> (Option<u64>, i64, &[Hole]) {
        (self.mark.last, self.mark.last_ts, &self.mark.holes)
    }

    /// How many events with the time and the number of `event` are remembered.
    fn place(&self, event: &Event) -> i32 {
        if event.ts_event > self.mark.last_ts {
            return 0;
        }
        let same = |seen: &&Seen| seen.ts_event == event.ts_event && seen.number == event.number;
        i32::try_from(self.mark.seen.iter().filter(same).count()).unwrap_or(i32::MAX)
    }

    /// The place of the event that was looked at last among those with its time and number, in the
    /// order in which they came.
    pub(crate) const fn sub_seq(&self) -> i32 {
        self.sub_seq
    }

    /// Whether [`Self::settle`] has something to do, now or later.
    pub(crate) fn has_open(&self) -> bool {
        !self.settled.is_empty() || !self.mark.holes.is_empty()
    }

    /// Looks at an event that came by the connection `session`, and remembers it.
    pub(crate) fn look(&mut self, event: &Event, session: u64) -> Verdict {
        let (order, print) = (event.order(), event.body.fingerprint());
        let is_newest = self.mark.last.is_none_or(|last| order > last);
        let verdict = self.judge(event, order, print, session);
        if verdict != Verdict::Again {
            let seen = Seen::new(order, print, event.ts_event, Some(event.number));
            // Where the order tells the number, no earlier event has that of a newer one.
            self.sub_seq = if is_newest && seen.is_told() {
                0
            } else {
                self.place(event)
            };
            let seen = Seen {
                by: [short(session), 0],
                ..seen
            };
            if !matches!(verdict, Verdict::Late | Verdict::Filled { .. }) {
                self.mark.last = Some(self.mark.last.map_or(order, |last| last.max(order)));
                self.mark.last_ts = self.mark.last_ts.max(event.ts_event);
            }
            self.mark.remember(seen, WINDOW);
        }
        self.span(session, order);
        verdict
    }

    fn judge(&mut self, event: &Event, order: u64, print: u64, session: u64) -> Verdict {
        let Some(last) = self.mark.last else {
            return Verdict::Next;
        };
        if order > last {
            self.below = 0;
            if matches!(event.id, Id::Consecutive(_)) && order > last.saturating_add(1) {
                self.open(last + 1, order - 1, event.ts_recv);
                return Verdict::AfterHole;
            }
            return Verdict::Next;
        }
        if self.is_repetition(event, order, print, session) {
            return Verdict::Again;
        }
        if let Some(filled) = self.fill(order) {
            return filled;
        }
        let past = event.ts_event <= self.mark.last_ts;
        if past
            && self
                .mark
                .forgotten
                .is_some_and(|forgotten| order <= forgotten)
            && self.is_covered(event.id, order, session)
        {
            return Verdict::Again;
        }
        if matches!(event.id, Id::Shared(_)) && order < last && !past {
            // A lower number at a later time: the exchange has begun anew. Of the next events of
            // that instant nothing else tells that they are no old ones.
            return self.begin_anew();
        }
        if matches!(event.id, Id::Shared(_) | Id::Time) {
            return Verdict::Next;
        }
        // The first number of all, later than what came: the exchange has begun anew.
        if order == 1 && !past {
            return self.begin_anew();
        }
        if self
            .mark
            .seen
            .iter()
            .skip(self.mark.before_anew)
            .any(|seen| seen.order == order)
        {
            return Verdict::Conflict;
        }
        let went_back = self
            .spans
            .iter()
            .any(|span| span.session == session && order <= span.last);
        if !went_back && !past {
            return self.begin_anew();
        }
        // Only a connection that goes back by itself tells that the exchange counts anew.
        if went_back {
            self.below += 1;
            if self.below >= ANEW {
                return self.begin_anew();
            }
        }
        Verdict::Late
    }

    fn begin_anew(&mut self) -> Verdict {
        self.below = 0;
        self.mark.before_anew = self.mark.seen.len();
        self.spans.clear();
        self.mark.last = None;
        self.mark.last_ts = 0;
        self.mark.forgotten = None;
        // What is missing of the numbers before will not come any more.
        let holes = std::mem::take(&mut self.mark.holes);
        self.settled.extend(holes.into_iter().flat_map(gaps));
        Verdict::Anew
    }

    /// Whether it is an event that is remembered. Where there are no numbers, a connection may
    /// bring equal events of one time: as many are kept as the connection that brought most of them
    /// had.
    fn is_repetition(&mut self, event: &Event, order: u64, print: u64, session: u64) -> bool {
        let newest = self.mark.last == Some(order);
        let mut same = self.mark.seen.iter_mut().rev().filter(|seen| {
            // A state that did not change is pushed again under its number, with another time.
            seen.order == order
                && seen.print == print
                && (newest || seen.ts_event == event.ts_event)
        });
        let (counts, by) = (matches!(event.id, Id::Time), short(session));
        let found = same.find(|seen| !counts || !seen.by.contains(&by));
        match found {
            Some(seen) => {
                if !seen.by.contains(&by) {
                    seen.by[1] = by;
                }
                true
            }
            None => false,
        }
    }

    /// Whether another connection has brought everything around this number.
    fn is_covered(&self, id: Id, order: u64, session: u64) -> bool {
        // The first number of a connection may be shared by events that came before it had begun.
        let whole = !matches!(id, Id::Shared(_) | Id::Time);
        self.spans.iter().any(|span| {
            let after = if whole || span.first == 0 {
                span.first <= order
            } else {
                span.first < order
            };
            span.session != session && after && order <= span.last
        })
    }

    fn open(&mut self, first: u64, last: u64, found_ns: i64) {
        self.mark.holes.push(Hole {
            first,
            last,
            missing: vec![(first, last)],
            found_ns,
        });
        if self.mark.holes.len() > HOLES {
            let oldest = self.mark.holes.remove(0);
            self.settled.extend(gaps(oldest));
        }
    }

    fn fill(&mut self, order: u64) -> Option<Verdict> {
        let at = self
            .mark
            .holes
            .iter_mut()
            .position(|hole| hole.fill(order))?;
        let hole = self.mark.holes.get(at)?;
        let (first, last, left) = (hole.first, hole.last, hole.left());
        if left == 0 {
            let _ = self.mark.holes.remove(at);
        }
        Some(Verdict::Filled { first, last, left })
    }

    /// The holes that nothing will fill any more: those that have been open for long, unless
    /// several connections bring the series just now and one of them may be behind; all of them at
    /// the end.
    pub(crate) fn settle(&mut self, now: i64, overlapping: bool, end: bool) -> Vec<Gap> {
        let mut settled = std::mem::take(&mut self.settled);
        if self.mark.holes.is_empty() {
            return settled;
        }
        let open_for = if overlapping { 20 * OPEN_NS } else { OPEN_NS };
        let (over, open) = std::mem::take(&mut self.mark.holes)
            .into_iter()
            .partition(|hole| end || now.saturating_sub(hole.found_ns) >= open_for);
        self.mark.holes = open;
        settled.extend(Vec::into_iter(over).flat_map(gaps));
        settled
    }

    /// Notes that a connection has brought this number.
    fn span(&mut self, session: u64, order: u64) {
        if let Some(span) = self.spans.iter_mut().find(|span| span.session == session) {
            span.last = span.last.max(order);
            return;
        }
        self.spans.push(Span {
            session,
            first: order,
            last: order,
        });
        if self.spans.len() > SPANS {
            let gone = self.spans.remove(0);
            if let Some(oldest) = self.spans.first_mut() {
                // The older ones have ended: nothing new comes from before.
                (oldest.first, oldest.last) = (0, oldest.last.max(gone.last));
            }
        }
    }
}

fn gaps(hole: Hole) -> impl Iterator<Item = Gap> {
    let found_ns = hole.found_ns;
    hole.missing.into_iter().map(move |(first, last)| Gap {
        first,
        last,
        found_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};
    use crate::feed::event::Body;

    /// An event with this content.
    fn event(id: Id, ts_event: i64, content: f64) -> Event {
        let number = match id {
            Id::Consecutive(number) | Id::Ascending(number) | Id::Shared(number) => {
                number.cast_signed()
            }
            Id::Time => 0,
        };
        Event {
            series: 0,
            ts_event,
            ts_recv: ts_event,
            id,
            number,
            body: Body::OpenInterest(content),
        }
    }

    /// Ids, times, contents, connections and what must be found.
    fn check(steps: &[(Id, i64, u32, u64, Verdict)]) -> SequenceTracker {
        let mut tracker = SequenceTracker::new(Mark::default());
        for (n, (id, ts_event, content, session, want)) in steps.iter().enumerate() {
            let found = tracker.look(&event(*id, *ts_event, f64::from(*content)), *session);
            assert_eq!(found, *want, "step {n}");
        }
        tracker
    }

    #[test]
    fn consecutive_numbers_show_holes_and_a_late_event_fills_them() {
        use Id::Consecutive as C;
        let mut tracker = check(&[
            (C(5), 1, 0, 1, Next),
            (C(6), 1, 0, 1, Next),
            (C(6), 1, 0, 1, Again),
            (C(10), 2, 0, 1, AfterHole),
            (
                C(8),
                2,
                0,
                1,
                Filled {
                    first: 7,
                    last: 9,
                    left: 2,
                },
            ),
            (C(8), 2, 0, 1, Again),
            (C(11), 3, 0, 1, Next),
            // Another connection brings what is there already, and one that is not.
            (
                C(7),
                2,
                0,
                2,
                Filled {
                    first: 7,
                    last: 9,
                    left: 1,
                },
            ),
            (C(11), 3, 0, 2, Again),
            (C(12), 4, 0, 2, Next),
            (C(12), 4, 0, 1, Again),
        ]);
        assert_eq!(tracker.settle(3, false, false), []);
        assert_eq!(
            tracker.settle(OPEN_NS + 2, true, false),
            [],
            "another connection may fill it"
        );
        assert_eq!(
            tracker.settle(OPEN_NS + 2, false, false),
            [Gap {
                first: 9,
                last: 9,
                found_ns: 2
            }]
        );
        assert_eq!(tracker.settle(i64::MAX, false, true), []);
    }

    #[test]
    fn a_successor_that_is_ahead_leaves_no_gap() {
        let mut tracker = SequenceTracker::new(Mark::default());
        let mut look = |id, session| {
            tracker.look(
                &event(Id::Consecutive(id), i64::try_from(id).unwrap(), 0.0),
                session,
            )
        };
        assert!((1..=100).all(|id| look(id, 1) == Next));
        // It begins 300 events ahead: more than are remembered one by one.
        assert_eq!(look(400, 2), AfterHole);
        assert!((401..=800).all(|id| look(id, 2) == Next));
        assert!((101..=399).all(|id| matches!(look(id, 1), Filled { .. })));
        assert!((400..=800).all(|id| look(id, 1) == Again));
        assert_eq!(tracker.settle(i64::MAX, false, true), []);
    }

    #[test]
    fn an_exchange_that_counts_anew_loses_nothing() {
        use Id::Ascending as A;
        let _ = check(&[
            (A(1000), 10, 0, 1, Next),
            (A(1), 20, 0, 2, Anew),
            (A(2), 30, 0, 2, Next),
            (A(2000), 40, 0, 2, Next),
        ]);
        let mut steps = vec![(A(1000), 10, 0, 1, Next)];
        steps.extend((2..17).map(|n| (A(n), 11, 0, 1, Late)));
        steps.extend([
            (A(17), 11, 0, 1, Anew),
            (A(18), 12, 0, 1, Next),
            (A(18), 12, 0, 1, Again),
        ]);
        let _ = check(&steps);
        // Twice within what is remembered, by one connection, with other contents.
        let mut steps = vec![(A(500), 1, 0, 1, Next)];
        for round in 0..2 {
            for n in 1..=30 {
                let at = 2 + round * 30 + i64::try_from(n).unwrap();
                let content = u32::try_from(at).unwrap();
                steps.push((A(n), at, content, 1, if n == 1 { Anew } else { Next }));
            }
        }
        let _ = check(&steps);
    }

    #[test]
    fn an_equal_number_with_other_content_is_kept_and_told() {
        use Id::{Ascending as A, Consecutive as C};
        let _ = check(&[
            (A(7), 1, 0, 1, Next),
            (A(7), 1, 1, 1, Conflict),
            (A(7), 1, 1, 1, Again),
            (A(7), 1, 0, 2, Again),
            // Pushed again, because nothing changed.
            (A(7), 5, 0, 1, Again),
            (A(9), 6, 0, 1, Next),
            (A(7), 6, 2, 1, Conflict),
        ]);
        let _ = check(&[
            (C(7), 1, 0, 1, Next),
            (C(8), 2, 0, 1, Next),
            (C(7), 1, 5, 2, Conflict),
            (C(9), 3, 0, 1, Next),
        ]);
    }

    #[test]
    fn events_of_one_number_are_told_apart_by_their_content() {
        use Id::Shared as S;
        let _ = check(&[
            (S(1), 1, 10, 1, Next),
            (S(1), 1, 11, 1, Next),
            (S(1), 1, 11, 1, Again),
            (S(2), 2, 12, 1, Next),
            // What the first connection missed is new.
            (S(1), 1, 99, 2, Next),
            (S(2), 2, 12, 2, Again),
            (S(2), 2, 13, 2, Next),
        ]);
    }

    #[test]
    fn all_events_of_the_newest_number_are_remembered_also_by_the_next_process() {
        let mut tracker = SequenceTracker::new(Mark::default());
        for n in 0..3000 {
            assert_eq!(
                tracker.look(&event(Id::Shared(5), 1, f64::from(n)), 1),
                Next
            );
        }
        let text = serde_json::to_string(&tracker.mark()).unwrap();
        let mut next = SequenceTracker::new(serde_json::from_str(&text).unwrap());
        for n in 0..3000 {
            assert_eq!(
                tracker.look(&event(Id::Shared(5), 1, f64::from(n)), 2),
                Again,
                "{n}"
            );
            assert_eq!(
                next.look(&event(Id::Shared(5), 1, f64::from(n)), 1),
                Again,
                "{n} after a restart"
            );
        }
        for n in 6..3000 {
            assert_eq!(tracker.look(&event(Id::Shared(n), 2, 0.0), 2), Next);
        }
        assert!(tracker.mark.seen.len() == WINDOW && tracker.mark().seen.len() == KEPT);
    }

    #[test]
    fn what_is_remembered_of_a_series_is_ten_kilobytes() {
        assert_eq!(size_of::<Seen>(), 40);
        let mut tracker = SequenceTracker::new(Mark::default());
        for n in 0..3000 {
            assert_eq!(tracker.look(&event(Id::Ascending(n), 1, 0.0), 1), Next);
        }
        assert_eq!(
            (tracker.mark.seen.len(), tracker.mark.seen.capacity()),
            (WINDOW, WINDOW)
        );
    }

    #[test]
    fn an_event_is_noted_as_earlier_versions_do() {
        let text = r#"{"last":9,"last_ts":7,"forgotten":null,"seen":[{"order":9,"print":5,"ts_event":7},{"order":7,"print":5,"ts_event":7},{"order":9,"print":6,"ts_event":7,"number":90}]}"#;
        let mark: Mark = serde_json::from_str(text).unwrap();
        assert_eq!(
            mark.seen.iter().map(|seen| seen.number).collect::<Vec<_>>(),
            [9, 0, 90]
        );
        assert_eq!(serde_json::to_string(&mark).unwrap(), text);
    }

    #[test]
    fn shared_numbers_that_begin_again_lose_nothing() {
        use Id::{Shared as S, Time as T};
        let mut tracker = SequenceTracker::new(Mark::default());
        let number = |n: i64| n.unsigned_abs();
        for n in 0..300 {
            assert_eq!(
                tracker.look(&event(S(number(10_000_000 + n)), n, 0.0), 1),
                Next
            );
        }
        // By a process that was started since, and by a connection of the same one.
        for (mut tracker, session) in [
            (SequenceTracker::new(tracker.mark()), 1),
            (tracker.clone(), 2),
            (tracker, 1),
        ] {
            assert_eq!(tracker.look(&event(S(5), 300, 0.0), session), Anew);
            for fill in 1..5 {
                assert_eq!(
                    tracker.look(&event(S(5), 300, f64::from(fill)), session),
                    Next
                );
                assert_eq!(tracker.sub_seq(), fill);
            }
            assert_eq!(tracker.look(&event(S(5), 300, 2.0), session + 1), Again);
            assert_eq!(tracker.look(&event(S(6), 300, 2.0), session), Next);
        }
        // One event without a number, which is ordered by its time, does not keep all that come
        // after it.
        let mut tracker = check(&[
            (S(7), 1, 0, 1, Next),
            (T, 1_800_000_000_000_000_000, 0, 1, Next),
        ]);
        for n in 8..3000 {
            let ts_event = 1_800_000_000_000_000_000 + n;
            assert!(tracker.look(&event(S(number(n)), ts_event, 0.0), 1) != Again);
        }
        assert!(tracker.mark.seen.len() <= WINDOW);
    }

    #[test]
    fn a_number_of_zero_is_a_number() {
        use Id::Consecutive as C;
        let tracker = check(&[
            (C(0), 7, 0, 1, Next),
            (C(1), 7, 0, 1, Next),
            (C(2), 7, 0, 1, Next),
            (C(4), 7, 0, 1, AfterHole),
        ]);
        let mut next = SequenceTracker::new(check(&[(C(0), 7, 0, 1, Next)]).mark());
        assert_eq!(next.look(&event(C(0), 7, 0.0), 1), Again);
        assert_eq!(next.look(&event(C(1), 7, 0.0), 1), Next);
        assert_eq!(tracker.heads().2.len(), 1);
    }

    #[test]
    fn where_there_are_no_numbers_each_connection_counts_by_itself() {
        use Id::Time as T;
        let _ = check(&[
            (T, 1, 0, 1, Next),
            (T, 2, 0, 1, Next),
            (T, 2, 0, 1, Next),
            (T, 1, 0, 2, Again),
            (T, 2, 0, 2, Again),
            (T, 2, 0, 2, Again),
            (T, 2, 0, 2, Next),
            (T, 2, 1, 2, Next),
            (T, 3, 0, 2, Next),
            (T, 3, 0, 1, Again),
        ]);
    }

    #[test]
    fn events_of_one_time_and_number_are_counted_in_the_order_in_which_they_came() {
        use Id::{Ascending as A, Shared as S, Time as T};
        let mut tracker = SequenceTracker::new(Mark::default());
        let look = |tracker: &mut SequenceTracker, id, ts_event, content, number: Option<i64>| {
            let event = event(id, ts_event, content);
            let event = Event {
                number: number.unwrap_or(event.number),
                ..event
            };
            assert_eq!(tracker.look(&event, 1), Next, "{event:?}");
            tracker.sub_seq()
        };
        assert_eq!(look(&mut tracker, S(5), 1, 0.0, None), 0);
        assert_eq!(look(&mut tracker, S(5), 1, 1.0, None), 1);
        assert_eq!(look(&mut tracker, S(5), 2, 2.0, None), 0, "another time");
        assert_eq!(look(&mut tracker, S(5), 1, 3.0, None), 2);
        assert_eq!(look(&mut tracker, S(6), 1, 3.0, None), 0, "another number");
        let mut timed = SequenceTracker::new(Mark::default());
        assert_eq!(
            [0, 0, 0].map(|_| look(&mut timed, T, 7, 0.0, None)),
            [0, 1, 2],
            "equal events are events"
        );
        let mut next = SequenceTracker::new(timed.mark());
        assert_eq!(look(&mut next, T, 7, 1.0, None), 3, "after a restart");
        // The number that repetitions are known by is not the one that the row has.
        let mut other = SequenceTracker::new(Mark::default());
        assert_eq!(look(&mut other, A(1), 7, 0.0, Some(90)), 0);
        assert_eq!(look(&mut other, A(2), 7, 0.0, Some(90)), 1);
        assert_eq!(look(&mut other, A(3), 7, 0.0, Some(91)), 0);
        let mut next = SequenceTracker::new(
            serde_json::from_str(&serde_json::to_string(&other.mark()).unwrap()).unwrap(),
        );
        assert_eq!(look(&mut next, A(4), 7, 0.0, Some(90)), 2);
    }

    #[test]
    fn what_a_slower_connection_brings_from_before_another_began_is_kept() {
        use Id::{Ascending as A, Shared as S, Time as T};
        // The second connection begins with 25 while 22 to 24 are on their way by the first one.
        let _ = check(&[
            (S(21), 21, 0, 1, Next),
            (S(25), 25, 0, 2, Next),
            (S(26), 26, 0, 2, Next),
            (S(22), 22, 0, 1, Next),
            (S(24), 24, 0, 1, Next),
            (S(25), 25, 1, 1, Next),
            (S(25), 25, 0, 1, Again),
            (S(26), 26, 0, 1, Again),
            (S(27), 27, 0, 1, Next),
            (S(27), 27, 0, 2, Again),
        ]);
        let mut many = vec![(A(2), 2, 0, 1, Next), (A(500), 500, 0, 2, Next)];
        many.extend((3..100).map(|n| (A(n), i64::try_from(n).unwrap(), 0, 1, Late)));
        many.extend([
            (A(500), 500, 0, 1, Again),
            (A(501), 501, 0, 2, Next),
            (A(3), 3, 0, 3, Again),
        ]);
        let _ = check(&many);
        let _ = check(&[
            (T, 1, 0, 1, Next),
            (T, 9, 0, 2, Next),
            (T, 5, 0, 1, Next),
            (T, 9, 0, 1, Again),
            (T, 10, 0, 1, Next),
            (T, 10, 0, 2, Again),
        ]);
    }

    #[test]
    fn what_is_older_than_what_is_remembered_is_known_by_the_span_of_the_others() {
        let of = |n: u64| event(Id::Ascending(n), i64::try_from(n).unwrap(), 0.0);
        let mut tracker = SequenceTracker::new(Mark::default());
        for n in 1..=2000 {
            assert_eq!(tracker.look(&of(n), 1), Next);
        }
        let mut again = SequenceTracker::new(tracker.mark());
        for n in 1..=2000 {
            assert_eq!(
                (tracker.look(&of(n), 2), again.look(&of(n), 1)),
                (Again, Again),
                "{n}"
            );
        }
        assert_eq!(
            (tracker.look(&of(2001), 2), again.look(&of(2001), 1)),
            (Next, Next)
        );
    }

    #[test]
    fn a_mark_survives_a_restart() {
        use Id::Consecutive as C;
        let mut tracker = check(&[(C(3), 50, 0, 1, Next), (C(7), 100, 0, 1, AfterHole)]);
        let text = serde_json::to_string(&tracker.mark()).unwrap();
        let mut again = SequenceTracker::new(serde_json::from_str(&text).unwrap());
        assert_eq!(again.look(&event(C(7), 100, 0.0), 1), Again);
        assert_eq!(
            again.look(&event(C(5), 90, 0.0), 1),
            Filled {
                first: 4,
                last: 6,
                left: 2
            }
        );
        assert_eq!(again.look(&event(C(10), 110, 0.0), 1), AfterHole);
        assert_eq!(
            tracker.settle(0, false, true),
            [Gap {
                first: 4,
                last: 6,
                found_ns: 100
            }]
        );
        // As an earlier version wrote it.
        let old: Mark = serde_json::from_str(r#"{"last":7,"last_ts":100,"recent":[6,7]}"#).unwrap();
        let mut old = SequenceTracker::new(old);
        assert_eq!(old.look(&event(C(7), 100, 0.0), 1), Again);
        assert_eq!(old.look(&event(C(8), 101, 0.0), 1), Next);
    }
}
