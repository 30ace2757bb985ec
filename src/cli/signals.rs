//! Ctrl-C and SIGTERM: the first asks for a stop between two atomic steps, the second ends the process at once.
//!
//! A thread of its own listens, because all others may be busy with rows. Ending at once is safe too: what is half written
//! has a temporary name, and the next run removes it.

use std::future::Future;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{console::Console, exit::ON_SECOND_SIGNAL};
use crate::{
    compact::Stop,
    error::{Error, Kind, Result},
};

/// What the signals have asked for so far.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    stop: Stop,
    asked: watch::Receiver<bool>,
}

/// Begins to listen.
///
/// # Errors
/// When the system refuses the thread or the handlers.
pub(crate) fn listen(console: &Console) -> Result<Signals> {
    let wrong = |e: std::io::Error| Error::io("signals cannot be listened to", e);
    let stop = Stop::default();
    let (tell, asked) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    let (mut interrupts, mut terminations) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(wrong)?, signal(SignalKind::terminate()).map_err(wrong)?)
    };
    let (console, signals) = (console.clone(), Signals { stop: stop.clone(), asked });
    let listener = move || {
        runtime.block_on(async {
            for count in 0_u8.. {
                let name = tokio::select! {
                    Some(()) = interrupts.recv() => "Ctrl-C",
                    Some(()) = terminations.recv() => "SIGTERM",
                    else => return,
                };
                if count > 0 {
                    #[expect(clippy::exit, reason = "asked for twice: nothing may hold up the end")]
                    std::process::exit(ON_SECOND_SIGNAL);
                }
                stop.ask();
                let _ = tell.send(true);
                console.line(&format!("qlc: {name}: stopping at the next safe point; once more ends at once"));
            }
        });
    };
    let _ = std::thread::Builder::new().name("qlc-signals".to_owned()).spawn(listener).map_err(wrong)?;
    Ok(signals)
}

impl Signals {
    /// The request that a compaction looks at.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Completes when a stop is asked for.
    pub(crate) async fn stopped(&self) {
        let mut asked = self.asked.clone();
        // When the listener has gone, nobody can ask any more.
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Does work that changes nothing durable, and leaves it where it stands when a stop is asked for.
    ///
    /// # Errors
    /// The work's own, or [`Kind::Interrupted`].
    pub(crate) async fn or_stop<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = work => result,
            () = self.stopped() => Err(Error::new(Kind::Interrupted, "stopped as asked, before it was done")),
        }
    }
}
