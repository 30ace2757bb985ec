//! Ctrl-C and SIGTERM: the first asks for a stop between two atomic steps, the second ends the process at once.
//!
//! A thread of its own listens, because all others may be busy with rows. Ending at once is safe too: what is half written
//! has a temporary name, and the next run removes it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
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
    prompt: Arc<AtPrompt>,
}

/// What Ctrl-C means at a prompt: the end of the statement that runs, not of the program.
#[derive(Debug, Default)]
struct AtPrompt {
    mode: AtomicU8,
    cancel: Notify,
}

/// No prompt: a command does its work.
const AT_WORK: u8 = 0;
/// The line editor waits for a line; its terminal does not make Ctrl-C a signal.
const READING: u8 = 1;
/// A statement runs, or its result is looked at.
const RUNNING: u8 = 2;

/// While it lives, the prompt waits for a line.
#[must_use]
pub(crate) struct Reading<'a>(&'a AtPrompt);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.mode.store(RUNNING, Ordering::SeqCst);
    }
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
    let prompt = Arc::<AtPrompt>::default();
    let (console, signals) = (console.clone(), Signals { stop: stop.clone(), asked, prompt: Arc::clone(&prompt) });
    let listener = move || {
        runtime.block_on(async {
            let mut asked_before = false;
            loop {
                let name = tokio::select! {
                    Some(()) = interrupts.recv() => "Ctrl-C",
                    Some(()) = terminations.recv() => "SIGTERM",
                    else => return,
                };
                let mode = prompt.mode.load(Ordering::SeqCst);
                if name == "Ctrl-C" && mode != AT_WORK {
                    prompt.cancel.notify_waiters();
                    continue;
                }
                // A prompt that waits for a line has nothing under way, and nobody to look at a request.
                if std::mem::replace(&mut asked_before, true) || mode == READING {
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

    /// Whether a stop was asked for.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.asked()
    }

    /// Says that a prompt waits for a line, and from the first time on that this is a prompt.
    pub(crate) fn reading(&self) -> Reading<'_> {
        self.prompt.mode.store(READING, Ordering::SeqCst);
        Reading(&self.prompt)
    }

    /// As [`Self::or_stop`], and leaves the work on Ctrl-C at a prompt as well.
    ///
    /// # Errors
    /// The work's own, or [`Kind::Interrupted`].
    pub(crate) async fn or_cancel<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = self.or_stop(work) => result,
            () = self.prompt.cancel.notified() => Err(Error::new(Kind::Interrupted, "stopped by Ctrl-C")),
        }
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
