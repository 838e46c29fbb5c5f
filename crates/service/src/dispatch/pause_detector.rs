//! Whether this process was stopped while calls waited in its buffers.
//!
//! The member that hands a message on has looked at its lease just before. The one that runs
//! it can't: it compares the message's epoch with the newest that it has applied. That is
//! enough while it applies entries as they come. A process that was stopped (SIGSTOP, a
//! paused or suspended machine) goes on with what was sent to it before, and may come to a
//! message of an epoch that has ended long since before it comes to the entry that ended it.
//!
//! So the process keeps watch over itself: a task looks at the clock several times in
//! a [`PauseLimit`], and so does whoever is about to run a message. When either finds that
//! nobody has looked for longer than the limit, messages are refused until this member has
//! caught up with the group: until a read barrier that was begun afterwards is through. Then
//! it has applied every reign that anybody may have acted under by then, and the comparison
//! is right again. Refused, not kept waiting: whoever sent the message asks its lease again
//! before it passes it on, and nobody asks it for a message that waits here.
//!
//! The clock is CLOCK_BOOTTIME, which goes on while a machine is suspended. (What consensus
//! counts as stalls is told to people, and only afterwards; this is asked before each call.)
//! What is left: a pause that is shorter than the limit, half a lease, and one that begins
//! after the last look at the clock and before the call, as everywhere where something is
//! looked at before it is done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use quorate_clock::{Instant, boot_nanos};
use tokio::time::sleep;

/// Looks at the clock in the time of one limit.
const LOOKS: u32 = 4;

/// For one attempt to catch up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns when this member has applied all that was committed before the call, or tells why
/// it could not until then.
pub type CatchUp = Arc<dyn Fn(Instant) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// For how long nothing may have run, as of now: it changes with the promise.
pub type PauseLimit = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A watch over this process.
pub(super) struct PauseDetector {
    limit: PauseLimit,
    /// When somebody looked last, in nanoseconds of the clock.
    looked: AtomicU64,
    /// Pauses that were noticed, from 1: it has just been started.
    pauses: AtomicU64,
    /// How many of them this member has caught up after.
    caught_up: AtomicU64,
}

impl PauseDetector {
    /// Begins to watch. A process that has just begun has missed everything before.
    pub(super) fn start(limit: PauseLimit, catch_up: CatchUp) -> Arc<PauseDetector> {
        let vigil = Arc::new(PauseDetector::new(limit.clone()));
        let watching = Arc::downgrade(&vigil);
        tokio::spawn(async move {
            while let Some(vigil) = watching.upgrade() {
                vigil.look();
                vigil.catch_up(&catch_up).await;
                drop(vigil);
                sleep(limit() / LOOKS).await;
            }
        });
        vigil
    }

    fn new(limit: PauseLimit) -> PauseDetector {
        PauseDetector {
            limit,
            looked: AtomicU64::new(boot_nanos().unwrap_or_default()),
            pauses: AtomicU64::new(1),
            caught_up: AtomicU64::new(0),
        }
    }

    /// Whether this member has caught up after every pause, one until just now included.
    pub(super) fn is_current(&self) -> bool {
        self.look();
        self.is_caught_up()
    }

    /// Notes a pause before it says that somebody has looked: who looks at the same time
    /// sees the one or the other. A pause that both note is caught up after once all the same.
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

    /// Tries once, if there is something to catch up after, and goes on looking meanwhile.
    async fn catch_up(&self, catch_up: &CatchUp) {
        if self.is_caught_up() {
            return;
        }
        // Those that are noticed from here on need another one.
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
                Err(why) => tracing::debug!("can't catch up after a pause yet: {why}"),
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

    fn answer(result: Result<(), String>) -> CatchUp {
        Arc::new(move |_| std::future::ready(result.clone()).boxed())
    }

    fn pause(vigil: &PauseDetector) {
        let past = boot_nanos().unwrap() - LIMIT.as_nanos() as u64 - 1;
        vigil.looked.store(past, Ordering::SeqCst);
    }

    // guarantee: MESSAGE-4
    #[tokio::test]
    async fn after_each_pause_it_catches_up_first_whoever_noticed() {
        let vigil = PauseDetector::new(Arc::new(|| LIMIT));
        // It has just begun.
        assert!(!vigil.is_current());
        vigil.catch_up(&answer(Ok(()))).await;
        assert!(vigil.is_current() && vigil.is_current());
        // The call notices, or the task did before.
        pause(&vigil);
        assert!(!vigil.is_current() && !vigil.is_current());
        vigil.catch_up(&answer(Ok(()))).await;
        assert!(vigil.is_current());
        pause(&vigil);
        vigil.look();
        vigil.look();
        assert!(!vigil.is_current());
    }

    // guarantee: MESSAGE-4
    #[tokio::test]
    async fn who_can_not_catch_up_runs_nothing() {
        let vigil = PauseDetector::new(Arc::new(|| LIMIT));
        vigil.catch_up(&answer(Err("no leader".into()))).await;
        assert!(!vigil.is_current());
        vigil.catch_up(&answer(Ok(()))).await;
        assert!(vigil.is_current());
    }

    #[tokio::test]
    async fn who_is_paused_while_it_catches_up_does_so_again() {
        let vigil = Arc::new(PauseDetector::new(Arc::new(|| LIMIT)));
        let paused = vigil.clone();
        let pausing: CatchUp = Arc::new(move |_| {
            pause(&paused);
            paused.look();
            std::future::ready(Ok(())).boxed()
        });
        vigil.catch_up(&pausing).await;
        assert!(!vigil.is_current());
        vigil.catch_up(&answer(Ok(()))).await;
        assert!(vigil.is_current());
    }

    #[tokio::test]
    async fn a_watch_that_is_kept_catches_up_by_itself() {
        let vigil = PauseDetector::start(Arc::new(|| LIMIT), answer(Ok(())));
        let kept = async {
            while !vigil.is_current() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE * 10, kept).await.unwrap();
    }
}
