//! What connections report to the writer.

use std::time::Duration;

use super::subscriptions::Change;
use crate::{
    feed::{
        event::Event,
        venue::{Line, Wanted},
    },
    model::partition::Series,
};

/// What a line tells the writer.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) line: usize,
    /// The session, a number that no other session of this process has.
    pub(crate) session: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Group(Group),
    /// A session began to bring something.
    Live,
    /// A session ended by itself.
    Lost {
        reason: String,
        cause: &'static str,
        wait: Duration,
        /// When it was last known to be well, where it can tell.
        well_ns: Option<i64>,
    },
    /// A session was ended by us, because another one has taken its place or it could not take
    /// another one's.
    Ended {
        reason: String,
        /// Since when it brought nothing, where the one in its place shows that there was
        /// something.
        deaf_ns: Option<i64>,
    },
    /// Another session is to take the place of this one.
    Renewing(String),
    /// What has become of topics.
    Topics(Vec<(usize, Change)>),
    /// The exchange says something that a person should know.
    Notice(String),
    /// Series that were listed since, and the connections that bring them, which come behind all
    /// others.
    Listed(Vec<Wanted>, Vec<Line>),
    /// Series that are not in their exchange's list any more, and why they are taken to have ended.
    Delisted(Vec<(Series, String)>),
    /// Series that had ended and are listed again.
    Relisted(Vec<Series>),
}

/// Events that were read together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) events: Vec<Event>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) last_recv: i64,
    pub(crate) rejects: Vec<Reject>,
}

/// A frame that could not be used, or not all of it.
#[derive(Debug)]
pub(crate) struct Reject {
    pub(crate) at: i64,
    pub(crate) reason: String,
    /// The frame, in hex if it was no text.
    pub(crate) frame: String,
    pub(crate) binary: bool,
}
