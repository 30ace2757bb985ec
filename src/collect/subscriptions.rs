//! The state of each topic of a connection: asked for, acknowledged, bringing data, refused; and
//! when one that was refused is asked for again.
//!
//! Pure. Some refusals do not say what they are about. If only one topic is unanswered, the refusal
//! is about that one; if several are, all that stay unanswered are asked for again, one by one.

use std::time::Duration;

use tokio::time::Instant;

/// An exchange answers within this time.
const ANSWER: Duration = Duration::from_secs(10);
/// A topic is asked for again after so long, which is doubled each time.
const AGAIN: Duration = Duration::from_secs(2);
/// And never later.
const AGAIN_CAP: Duration = Duration::from_mins(5);
/// At least so long between two single questions.
const BETWEEN: Duration = Duration::from_millis(300);
/// After so many single questions of a session
const QUICK: u32 = 60;
/// so long: OKX allows 480 messages an hour and connection that subscribe, those at the beginning
/// included.
const BETWEEN_LATER: Duration = Duration::from_secs(10);

/// What the writer is told of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was asked for.
    Asked,
    /// The exchange says that it will come.
    Acknowledged,
    /// The exchange will not send it, or does not answer; it will be asked again.
    Refused(String),
}

/// A topic of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Topic {
    /// When it was asked for, and is not answered.
    asked: Option<Instant>,
    /// Since when it is known to be subscribed.
    pub(crate) stands: Option<Instant>,
    /// When it brought something last.
    pub(crate) data: Option<Instant>,
    /// Refusals in a row.
    failures: u32,
    /// When it is to be asked for again.
    again: Option<Instant>,
}

/// The topics of a session.
#[derive(Debug, Clone)]
pub(crate) struct Subscriptions {
    topics: Vec<Topic>,
    /// A refusal that said not what it is about.
    unclear: Option<String>,
    /// Asked for by itself, and not answered yet.
    single: Option<usize>,
    single_at: Option<Instant>,
    /// How many were asked for by themselves.
    singles: u32,
    /// When the exchange was asked what this connection has, and has not answered.
    listing: Option<Instant>,
    /// When the first of them brought something.
    began: Option<Instant>,
}

impl Subscriptions {
    pub(crate) fn new(topics: usize) -> Self {
        let topics = vec![Topic::default(); topics];
        Self {
            topics,
            unclear: None,
            single: None,
            single_at: None,
            singles: 0,
            listing: None,
            began: None,
        }
    }

    pub(crate) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Notes that topics were asked for.
    pub(crate) fn asked(&mut self, topics: &[usize], now: Instant) {
        for at in topics {
            if let Some(topic) = self.topics.get_mut(*at) {
                topic.asked = Some(now);
                topic.again = None;
            }
        }
    }

    /// When the first of them brought something.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// When one of them brought something last.
    pub(crate) fn newest(&self) -> Option<Instant> {
        self.topics.iter().filter_map(|topic| topic.data).max()
    }

    /// Notes that the URL has asked for everything, and that the exchange was asked what of it this
    /// connection has. Until it tells, and where it never does, everything is taken to stand.
    pub(crate) fn asked_for_list(&mut self, now: Instant) {
        for topic in &mut self.topics {
            topic.stands = Some(now);
        }
        self.listing = Some(now);
    }

    /// Notes which topics the exchange says that this connection has; returns what is news. The
    /// others are asked for one by one.
    pub(crate) fn listed(&mut self, has: &[bool], now: Instant) -> Vec<(usize, Change)> {
        self.listing = None;
        let mut news = Vec::new();
        for (at, (topic, has)) in self.topics.iter_mut().zip(has).enumerate() {
            if *has || topic.data.is_some() {
                news.push((at, Change::Acknowledged));
            } else {
                topic.stands = None;
                topic.again = Some(now);
            }
        }
        news
    }

    /// Whether the exchange has had time to tell what this connection has.
    pub(crate) fn list_is_overdue(&self, now: Instant) -> bool {
        self.listing
            .is_some_and(|asked| now.duration_since(asked) >= ANSWER)
    }

    /// Gives up waiting for that; whether it was waited for.
    pub(crate) fn give_up_list(&mut self) -> bool {
        self.listing.take().is_some()
    }

    /// Notes an acknowledgement; returns the topics for which that is news, and what.
    pub(crate) fn acknowledged(&mut self, at: usize, now: Instant) -> Vec<(usize, Change)> {
        let mut news = Vec::new();
        if self.answer(at, now) {
            news.push((at, Change::Acknowledged));
        }
        news.extend(self.clear_up(now));
        news
    }

    /// Notes that a topic brought something.
    pub(crate) fn brought(&mut self, at: usize, now: Instant) {
        if self
            .topics
            .get(at)
            .is_some_and(|topic| topic.stands.is_none())
        {
            let _ = self.answer(at, now);
        }
        if let Some(topic) = self.topics.get_mut(at) {
            topic.data = Some(now);
            let _ = self.began.get_or_insert(now);
        }
    }

    fn answer(&mut self, at: usize, now: Instant) -> bool {
        if self.single == Some(at) {
            self.single = None;
        }
        let Some(topic) = self.topics.get_mut(at) else {
            return false;
        };
        let new = topic.stands.is_none();
        (topic.asked, topic.again, topic.failures) = (None, None, 0);
        let _ = topic.stands.get_or_insert(now);
        new
    }

    /// Notes a refusal; returns what it is about, if that is known.
    pub(crate) fn refused(
        &mut self,
        what: Option<usize>,
        text: &str,
        now: Instant,
    ) -> Vec<(usize, Change)> {
        if let Some(at) = what.or(self.single) {
            self.refuse(at, text, now).into_iter().collect()
        } else {
            self.unclear = Some(text.to_owned());
            self.clear_up(now).into_iter().collect()
        }
    }

    fn refuse(&mut self, at: usize, text: &str, now: Instant) -> Option<(usize, Change)> {
        if self.single == Some(at) {
            self.single = None;
        }
        let topic = self.topics.get_mut(at)?;
        // What stands already is not taken back by the answer to a second question.
        if topic.stands.is_some() {
            topic.asked = None;
            return None;
        }
        topic.asked = None;
        topic.again = Some(
            now + AGAIN
                .saturating_mul(1 << topic.failures.min(16))
                .min(AGAIN_CAP),
        );
        topic.failures = topic.failures.saturating_add(1);
        Some((at, Change::Refused(text.to_owned())))
    }

    /// A refusal that said not what it is about is about the only topic that is not answered.
    fn clear_up(&mut self, now: Instant) -> Option<(usize, Change)> {
        let mut open = self
            .topics
            .iter()
            .enumerate()
            .filter(|(_, topic)| topic.asked.is_some())
            .map(|(at, _)| at);
        let (Some(only), None) = (open.next(), open.next()) else {
            return None;
        };
        let text = self.unclear.take()?;
        self.refuse(only, &text, now)
    }

    /// Gives up waiting for answers that are overdue.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<(usize, Change)> {
        let late = |topic: &Topic| {
            topic
                .asked
                .is_some_and(|asked| now.duration_since(asked) >= ANSWER)
        };
        let all: Vec<usize> = self
            .topics
            .iter()
            .enumerate()
            .filter(|(_, t)| late(t))
            .map(|(at, _)| at)
            .collect();
        if all.is_empty() {
            return Vec::new();
        }
        let text = self
            .unclear
            .take()
            .unwrap_or_else(|| "the exchange does not answer".to_owned());
        all.into_iter()
            .filter_map(|at| self.refuse(at, &text, now))
            .collect()
    }

    /// A topic that is to be asked for now, by itself; none whose series `is_over`.
    pub(crate) fn ask_now(
        &mut self,
        now: Instant,
        is_over: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.single.is_some() || self.single_at.is_some_and(|at| now < at + self.between()) {
            return None;
        }
        let open = self
            .topics
            .iter()
            .enumerate()
            .filter(|(at, _)| !is_over(*at));
        let due = open
            .filter_map(|(at, topic)| Some((topic.again?, at)))
            .min();
        let (_, at) = due.filter(|(again, _)| *again <= now)?;
        self.asked(&[at], now);
        (self.single, self.single_at) = (Some(at), Some(now));
        self.singles = self.singles.saturating_add(1);
        Some(at)
    }

    /// How long no other topic is asked for by itself after the last one.
    fn between(&self) -> Duration {
        if self.singles < QUICK {
            BETWEEN
        } else {
            BETWEEN_LATER
        }
    }

    /// When something is to be done.
    pub(crate) fn next(&self, is_over: impl Fn(usize) -> bool) -> Option<Instant> {
        let answers = self
            .topics
            .iter()
            .filter_map(|topic| Some(topic.asked? + ANSWER))
            .min();
        let open = self
            .topics
            .iter()
            .enumerate()
            .filter(|(at, topic)| topic.again.is_some() && !is_over(*at));
        let again = open
            .filter_map(|(_, topic)| topic.again)
            .min()
            .filter(|_| self.single.is_none());
        let again = again.map(|again| {
            self.single_at
                .map_or(again, |at| again.max(at + self.between()))
        });
        answers
            .into_iter()
            .chain(again)
            .chain(self.listing.map(|asked| asked + ANSWER))
            .min()
    }
}

/// Whether a session can take the place of another one: it has every topic that the other has, and
/// brings what that brings. Nothing is expected of a topic whose series are over.
pub(crate) fn can_replace(next: &[Topic], old: &[Topic], is_over: impl Fn(usize) -> bool) -> bool {
    let open = next
        .iter()
        .zip(old)
        .enumerate()
        .filter(|(at, _)| !is_over(*at));
    open.into_iter().all(|(_, (next, old))| {
        let had = old.stands.is_some() || old.data.is_some();
        // A moment later the same event is here, too.
        let behind = |since: Instant| {
            old.data
                .is_some_and(|at| at > since + Duration::from_secs(1))
        };
        match next.stands {
            None => !had,
            Some(since) => next.data.is_some() || !behind(since),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    fn none(_: usize) -> bool {
        false
    }

    fn refused(at: usize, text: &str) -> Vec<(usize, Change)> {
        vec![(at, Change::Refused(text.to_owned()))]
    }

    #[test]
    fn a_refusal_that_says_what_it_is_about_is_asked_again_ever_more_rarely() {
        let begin = Instant::now();
        let mut all = Subscriptions::new(3);
        all.asked(&[0, 1, 2], begin);
        assert_eq!(all.refused(Some(1), "no", begin), refused(1, "no"));
        assert_eq!(all.acknowledged(0, begin), [(0, Change::Acknowledged)]);
        assert_eq!(all.acknowledged(2, begin), [(2, Change::Acknowledged)]);
        let (mut now, mut asked) = (begin, Vec::new());
        for second in 0..3600 {
            now = at(begin, second);
            if let Some(topic) = all.ask_now(now, none) {
                assert_eq!((topic, all.ask_now(now, none)), (1, None));
                asked.push(second);
                assert_eq!(all.refused(None, "no", now), refused(1, "no"));
            }
        }
        assert_eq!(asked[..5], [2, 6, 14, 30, 62]);
        assert!(
            asked.len() < 20 && asked.last().unwrap() + 300 > 3599,
            "{asked:?}"
        );
        all.brought(1, now);
        assert_eq!(
            (all.next(none), all.ask_now(at(now, 1000), none)),
            (None, None)
        );
    }

    #[test]
    fn however_many_are_refused_an_hour_has_fewer_questions_than_an_exchange_allows() {
        let begin = Instant::now();
        let mut all = Subscriptions::new(200);
        all.asked(&(0..200).collect::<Vec<_>>(), begin);
        assert_eq!(all.overdue(at(begin, 10)).len(), 200);
        let mut asked = 0;
        for tenth in 100..36_000 {
            let now = begin + Duration::from_millis(100 * tenth);
            if let Some(topic) = all.ask_now(now, none) {
                asked += 1;
                assert_eq!(all.refused(Some(topic), "no", now).len(), 1);
            }
        }
        assert!((300..450).contains(&asked), "{asked}");
    }

    #[test]
    fn a_refusal_that_does_not_say_it_is_about_what_is_left() {
        let begin = Instant::now();
        let mut all = Subscriptions::new(3);
        all.asked(&[0, 1, 2], begin);
        assert_eq!(all.refused(None, "too frequent", begin), []);
        assert_eq!(all.acknowledged(0, begin), [(0, Change::Acknowledged)]);
        assert_eq!(
            all.acknowledged(2, begin),
            [
                (2, Change::Acknowledged),
                (1, Change::Refused("too frequent".to_owned()))
            ]
        );
        assert_eq!(all.next(none), Some(at(begin, 2)));
    }

    #[test]
    fn what_is_never_answered_is_asked_again_one_by_one() {
        let begin = Instant::now();
        let mut all = Subscriptions::new(3);
        all.asked(&[0, 1, 2], begin);
        all.brought(2, begin);
        assert_eq!(all.refused(None, "60012", begin), []);
        assert_eq!(all.overdue(at(begin, 9)), []);
        let late: Vec<usize> = all
            .overdue(at(begin, 10))
            .into_iter()
            .map(|(at, _)| at)
            .collect();
        assert_eq!(late, [0, 1]);
        let now = at(begin, 12);
        assert_eq!(
            (all.ask_now(now, none), all.ask_now(now, none)),
            (Some(0), None)
        );
        assert_eq!(all.acknowledged(0, now), [(0, Change::Acknowledged)]);
        assert_eq!(
            (all.ask_now(now, none), all.ask_now(at(now, 1), none)),
            (None, Some(1))
        );
        assert_eq!(
            all.refused(None, "unknown", at(now, 1)),
            refused(1, "unknown")
        );
    }

    #[test]
    fn what_the_exchange_does_not_list_is_asked_for_one_by_one() {
        let begin = Instant::now();
        let mut all = Subscriptions::new(3);
        all.asked_for_list(begin);
        assert!(all.topics().iter().all(|topic| topic.stands.is_some()));
        assert_eq!(all.next(none), Some(at(begin, 10)));
        assert_eq!(
            all.listed(&[true, false, false], begin),
            [(0, Change::Acknowledged)]
        );
        assert!(all.topics()[1].stands.is_none() && !all.list_is_overdue(at(begin, 99)));
        assert_eq!(
            (all.ask_now(begin, none), all.ask_now(begin, none)),
            (Some(1), None)
        );
        assert_eq!(all.acknowledged(1, begin), [(1, Change::Acknowledged)]);
        assert_eq!(all.ask_now(at(begin, 1), none), Some(2));
        assert_eq!(all.refused(Some(2), "no", at(begin, 1)), refused(2, "no"));
        // One that gives no list leaves everything as the URL asked for it.
        let mut all = Subscriptions::new(2);
        all.asked_for_list(begin);
        assert!(!all.list_is_overdue(at(begin, 9)) && all.list_is_overdue(at(begin, 10)));
        assert_eq!(
            (all.give_up_list(), all.give_up_list(), all.next(none)),
            (true, false, None)
        );
        assert!(all.topics().iter().all(|topic| topic.stands.is_some()));
    }

    #[test]
    fn what_is_over_is_neither_asked_for_nor_expected() {
        let begin = Instant::now();
        let mut all = Subscriptions::new(2);
        all.asked(&[0, 1], begin);
        let _ = all.acknowledged(0, begin);
        let _ = all.refused(Some(1), "delisted", begin);
        let over = |topic: usize| topic == 1;
        assert_eq!(
            (all.next(over), all.ask_now(at(begin, 99), over)),
            (None, None)
        );
        let old = [Topic {
            stands: Some(begin),
            ..Topic::default()
        }; 2];
        assert!(can_replace(all.topics(), &old, over) && !can_replace(all.topics(), &old, none));
        // It is listed again.
        assert_eq!(all.ask_now(at(begin, 99), none), Some(1));
    }

    #[test]
    fn a_successor_has_and_brings_what_the_old_one_does() {
        let begin = Instant::now();
        let topic = |stands: Option<u64>, data: Option<u64>| Topic {
            stands: stands.map(|s| at(begin, s)),
            data: data.map(|s| at(begin, s)),
            ..Topic::default()
        };
        let check = |next: Topic, old: Topic, can: bool| {
            assert_eq!(can_replace(&[next], &[old], none), can, "{next:?} {old:?}");
        };
        check(topic(None, None), topic(Some(0), None), false);
        check(topic(None, None), topic(None, None), true);
        check(topic(Some(5), None), topic(Some(0), Some(4)), true);
        check(topic(Some(5), None), topic(Some(0), Some(5)), true);
        check(topic(Some(5), None), topic(Some(0), Some(8)), false);
        check(topic(Some(5), Some(8)), topic(Some(0), Some(8)), true);
    }
}
