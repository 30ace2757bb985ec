//! Ctrl-C and SIGTERM: the first asks for a stop between two atomic steps, the second ends the
//! process at once.
//!
//! A thread of its own listens, because all others may be busy with rows. Ending at once is safe
//! too: what is half written has a temporary name, and the next run removes it. A command that has
//! not come to a safe point after [`GRACE`] is abandoned where it is; if even that is not possible,
//! because a call does not return, the process ends after [`LAST`]. The collector and the processes
//! of a cluster take the time they need ([`Signals::be_patient`]).

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    console::Console,
    exit::{Exit, ON_SECOND_SIGNAL},
};
use crate::{
    compact::Stop,
    error::{Error, Kind, Result},
};

/// After so long, a command that was asked to stop is left where it stands.
const GRACE: Duration = Duration::from_millis(900);
/// After so long, the process ends whatever it is at.
const LAST: Duration = Duration::from_millis(1400);

/// What the signals have asked for so far.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    stop: Stop,
    patient: Arc<AtomicBool>,
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(wrong)?;
    let (mut interrupts, mut terminations) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt()).map_err(wrong)?,
            signal(SignalKind::terminate()).map_err(wrong)?,
        )
    };
    let prompt = Arc::<AtPrompt>::default();
    let patient = Arc::<AtomicBool>::default();
    let signals = Signals {
        stop: stop.clone(),
        patient: Arc::clone(&patient),
        asked,
        prompt: Arc::clone(&prompt),
    };
    let console = console.clone();
    let listener = move || {
        runtime.block_on(async {
            let mut asked_before: Option<Instant> = None;
            loop {
                let last = asked_before.unwrap_or_else(Instant::now) + LAST;
                let is_limited = asked_before.is_some() && !patient.load(Ordering::SeqCst);
                let name = tokio::select! {
                    Some(()) = interrupts.recv() => "Ctrl-C",
                    Some(()) = terminations.recv() => "SIGTERM",
                    () = tokio::time::sleep_until(last), if is_limited => {
                        console.line("qlc: ended at once, as it came to no safe point; the next run takes up what is left");
                        #[expect(clippy::exit, reason = "a call that does not return must not hold up the end")]
                        std::process::exit(Exit::Failed.code().into());
                    }
                    else => return,
                };
                let mode = prompt.mode.load(Ordering::SeqCst);
                if name == "Ctrl-C" && mode != AT_WORK {
                    prompt.cancel.notify_waiters();
                    continue;
                }
                // A prompt that waits for a line has nothing under way, and nobody to look at a
                // request.
                if asked_before.replace(Instant::now()).is_some() || mode == READING {
                    #[expect(clippy::exit, reason = "asked for twice: nothing may hold up the end")]
                    std::process::exit(ON_SECOND_SIGNAL);
                }
                // Said first: a command that ends at once would leave no time to say it.
                console.line(&format!("qlc: {name}: stopping at the next safe point; once more ends at once"));
                stop.ask();
                let _ = tell.send(true);
            }
        });
    };
    let _ = std::thread::Builder::new()
        .name("qlc-signals".to_owned())
        .spawn(listener)
        .map_err(wrong)?;
    Ok(signals)
}

impl Signals {
    /// The request that a compaction looks at.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Lets the command take the time that it needs to stop.
    pub(crate) fn be_patient(&self) {
        self.patient.store(true, Ordering::SeqCst);
    }

    /// Completes when a command that was asked to stop has not done so in time.
    pub(crate) async fn overdue(&self) {
        self.stopped().await;
        if self.patient.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
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

    /// Does work that changes nothing durable, and leaves it where it stands when a stop is asked
    /// for.
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
