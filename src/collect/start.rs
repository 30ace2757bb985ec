//! How a line is kept: a WebSocket is connected, requests are polled.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{connection::Connection, poll::Poller, shared::Shared};
use crate::feed::venue::{Line, Transport};

/// Begins to keep a line.
pub(super) fn begin(
    tasks: &mut JoinSet<()>,
    line: Line,
    place: usize,
    shared: &Shared,
    relist_every: Duration,
) {
    let _ = match line.by {
        Transport::Socket => tasks.spawn(Connection::new(line, place, shared.clone()).keep()),
        Transport::Requests => {
            tasks.spawn(Poller::new(line, place, shared.clone(), relist_every).keep())
        }
    };
}
