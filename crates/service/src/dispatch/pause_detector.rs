//! Detector of pauses of this process, which blocks messages until the member has caught up.
//!
//! 1. The member that hands a message on has looked at its lease just before. The one that runs it
//!    can't: it compares the message's epoch with the newest that it has applied. That is enough
//!    while it applies entries as they come.
//! 2. A process that was stopped (SIGSTOP, a paused or suspended machine) goes on with what was
//!    sent to it before, and may come to a message of an epoch that has ended long since before it
//!    comes to the entry that ended it.
//! 3. So the process watches itself: a task looks at the clock several times in a [`PauseLimit`],
//!    and so does every call before it runs a message. When either finds that there was no look for
//!    longer than the limit, messages are refused until this member has caught up with the group:
//!    until a read barrier that was begun afterwards is through.
//! 4. Then it has applied every reign that anybody may have acted under by then, and the comparison
//!    is right again.
//! 5. Messages are refused, not kept waiting: their sender asks its lease again before it passes
//!    them on, and nobody asks it for a message that waits here.
//!
//! The clock is CLOCK_BOOTTIME, which goes on while a machine is suspended. (Stalls that consensus
//! counts are reported to people, and only afterwards; this is asked before each call.) Not
//! detected are a pause that is shorter than the limit, half a lease, and one that begins after the
//! last look at the clock and before the call, as with every check before an act.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use quorate_clock::{Instant, boot_nanos};
use quorate_types::ReadError;
use tokio::time::sleep;

/// Looks at the clock within one limit.
const LOOKS: u32 = 4;

/// Longest time for one attempt to catch up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Function that returns when this member has applied all that was committed before the call, or
/// the reason why it could not until then.
pub type CatchUp = Arc<dyn Fn(Instant) -> BoxFuture<'static, Result<(), ReadError>> + Send + Sync>;

/// Function that returns the longest time for which nothing may have run, as of now: it changes
/// with the timing.
pub type PauseLimit = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Detector of pauses of this process.
pub(super) struct PauseDetector {
    limit: PauseLimit,
    /// Time of the last look, in nanoseconds of the clock.
    looked: AtomicU64,
    /// Number of pauses that were noticed, from 1: the start counts as one.
    pauses: AtomicU64,
    /// Number of pauses after which this member has caught up.
    caught_up: AtomicU64,
}

impl PauseDetector {
    /// Starts to watch. A process that has just begun has missed everything before.
    pub(super) fn start(limit: PauseLimit, catch_up: CatchUp) -> Arc<PauseDetector> {
        let detector = Arc::new(PauseDetector::new(limit.clone()));
        let watching = Arc::downgrade(&detector);
        tokio::spawn(async move {
            while let Some(detector) = watching.upgrade() {
                detector.look();
                detector.catch_up(&catch_up).await;
                drop(detector);
                sleep(limit() / LOOKS).await;
            }
        });
        detector
    }

    fn new(limit: PauseLimit) -> PauseDetector {
        PauseDetector {
            limit,
            looked: AtomicU64::new(boot_nanos().unwrap_or_default()),
            pauses: AtomicU64::new(1),
            caught_up: AtomicU64::new(0),
        }
    }

    /// Returns true when this member has caught up after every pause, including one until just now.
    pub(super) fn is_current(&self) -> bool {
        self.look();
        self.is_caught_up()
    }

    /// Notes a pause before it stores the time of the look: a concurrent look sees the one or the
    /// other. A pause that both note is caught up after once all the same.
    fn look(&self) {
        let Some(now) = boot_nanos() else {
            // Where the clock can't be read, every look is one after a pause.
            self.pauses.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let before = self.looked.load(Ordering::SeqCst);
        if Duration::from_nanos(now.saturating_sub(before)) > (self.limit)() {
            self.pauses.fetch_add(1, Ordering::SeqCst);
        }
        self.looked.fetch_max(now, Ordering::SeqCst);
    }

    fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::SeqCst) >= self.pauses.load(Ordering::SeqCst)
    }

    /// Tries once to catch up, if there was a pause, and goes on looking meanwhile.
    async fn catch_up(&self, catch_up: &CatchUp) {
        if self.is_caught_up() {
            return;
        }
        // Pauses that are noticed from here on need another attempt.
        let seen = self.pauses.load(Ordering::SeqCst);
        let looking = async {
            loop {
                sleep((self.limit)() / LOOKS).await;
                self.look();
            }
        };
        tokio::select! {
            caught_up = catch_up(Instant::now() + PATIENCE) => match caught_up {
                Ok(()) => drop(self.caught_up.fetch_max(seen, Ordering::SeqCst)),
                Err(error) => tracing::debug!("can't catch up after a pause yet: {error}"),
            },
            () = looking => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn answer(is_caught_up: bool) -> CatchUp {
        Arc::new(move |_| {
            let error = ReadError::NoQuorum { waited_ms: 1 };
            std::future::ready(if is_caught_up { Ok(()) } else { Err(error) }).boxed()
        })
    }

    fn pause(detector: &PauseDetector) {
        let past = boot_nanos().unwrap() - LIMIT.as_nanos() as u64 - 1;
        detector.looked.store(past, Ordering::SeqCst);
    }

    // guarantee: MESSAGE-4
    #[tokio::test]
    async fn every_pause_requires_catching_up_however_detected() {
        let detector = PauseDetector::new(Arc::new(|| LIMIT));
        // It has just begun.
        assert!(!detector.is_current());
        detector.catch_up(&answer(true)).await;
        assert!(detector.is_current() && detector.is_current());
        // The call notices, or the task did before.
        pause(&detector);
        assert!(!detector.is_current() && !detector.is_current());
        detector.catch_up(&answer(true)).await;
        assert!(detector.is_current());
        pause(&detector);
        detector.look();
        detector.look();
        assert!(!detector.is_current());
    }

    // guarantee: MESSAGE-4
    #[tokio::test]
    async fn detector_without_catch_up_is_not_current() {
        let detector = PauseDetector::new(Arc::new(|| LIMIT));
        detector.catch_up(&answer(false)).await;
        assert!(!detector.is_current());
        detector.catch_up(&answer(true)).await;
        assert!(detector.is_current());
    }

    #[tokio::test]
    async fn pause_during_catch_up_needs_another() {
        let detector = Arc::new(PauseDetector::new(Arc::new(|| LIMIT)));
        let paused = detector.clone();
        let pausing: CatchUp = Arc::new(move |_| {
            pause(&paused);
            paused.look();
            std::future::ready(Ok(())).boxed()
        });
        detector.catch_up(&pausing).await;
        assert!(!detector.is_current());
        detector.catch_up(&answer(true)).await;
        assert!(detector.is_current());
    }

    #[tokio::test]
    async fn kept_detector_catches_up_by_itself() {
        let detector = PauseDetector::start(Arc::new(|| LIMIT), answer(true));
        let kept = async {
            while !detector.is_current() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE * 10, kept).await.unwrap();
    }
}
