//! Whether this process was stopped while calls waited in its buffers.
//!
//! The member that hands a message on has looked at its lease just before. The one that runs
//! it can't: it compares the message's epoch with the newest that it has applied. That is
//! enough while it applies entries as they come. A process that was stopped (SIGSTOP, a
//! paused or suspended machine) goes on with what was sent to it before, and may come to a
//! message of an epoch that has ended long since before it comes to the entry that ended it.
//!
//! So the process keeps watch over itself: a task looks at the clock several times in
//! [`Vigil::limit`], and so does whoever is about to run a message. When either finds that
//! nobody has looked for longer than the limit, messages wait until this member has caught
//! up with the group: until a read barrier that was begun afterwards is through. Then it has
//! applied every reign that anybody may have acted under by then, and the comparison is
//! right again. It costs one round to the leader after each such pause, and nothing else.
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
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use nix::time::{ClockId, clock_gettime};
use tokio::{sync::Mutex, time::sleep};

/// Looks at the clock in the time of one limit.
const LOOKS: u32 = 4;

/// Returns when this member has applied all that was committed before the call, or tells why
/// it could not until then.
pub type CatchUp = Arc<dyn Fn(Instant) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A watch over this process.
pub(super) struct Vigil {
    limit: Duration,
    catch_up: CatchUp,
    /// When somebody looked last, in nanoseconds of the clock.
    looked: AtomicU64,
    /// Pauses that were noticed, from 1: it has just been started.
    pauses: AtomicU64,
    /// How many of them this member has caught up after.
    caught_up: AtomicU64,
    turn: Mutex<()>,
}

impl Vigil {
    /// Begins to watch. A process that has just begun has missed everything before.
    pub(super) fn start(limit: Duration, catch_up: CatchUp) -> Arc<Vigil> {
        let vigil = Arc::new(Vigil::new(limit, catch_up));
        let watching = Arc::downgrade(&vigil);
        tokio::spawn(async move {
            while let Some(vigil) = watching.upgrade() {
                vigil.look();
                drop(vigil);
                sleep(limit / LOOKS).await;
            }
        });
        vigil
    }

    fn new(limit: Duration, catch_up: CatchUp) -> Vigil {
        Vigil {
            limit,
            catch_up,
            looked: AtomicU64::new(now().unwrap_or_default()),
            pauses: AtomicU64::new(1),
            caught_up: AtomicU64::new(0),
            turn: Mutex::default(),
        }
    }

    /// Notes a pause before it says that somebody has looked: who looks at the same time
    /// sees the one or the other. A pause that both note is caught up after once all the same.
    fn look(&self) {
        let Some(now) = now() else {
            self.pauses.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let before = self.looked.load(Ordering::SeqCst);
        if Duration::from_nanos(now.saturating_sub(before)) > self.limit {
            self.pauses.fetch_add(1, Ordering::SeqCst);
        }
        self.looked.fetch_max(now, Ordering::SeqCst);
    }

    /// Returns once no pause is left that this member has not caught up after.
    pub(super) async fn kept(&self, deadline: Instant) -> Result<(), String> {
        self.look();
        if self.caught_up() {
            return Ok(());
        }
        let _one_for_all = self.turn.lock().await;
        // Another call may have done it meanwhile, and there may have been another pause.
        while !self.caught_up() {
            let seen = self.pauses.load(Ordering::SeqCst);
            (self.catch_up)(deadline).await?;
            self.caught_up.fetch_max(seen, Ordering::SeqCst);
            self.look();
        }
        Ok(())
    }

    fn caught_up(&self) -> bool {
        self.caught_up.load(Ordering::SeqCst) >= self.pauses.load(Ordering::SeqCst)
    }
}

/// CLOCK_BOOTTIME in nanoseconds; where it can't be read, every look is one after a pause.
fn now() -> Option<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    u64::try_from(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Counts its calls; the first `failing` of them fail.
    fn counting(failing: usize) -> (Arc<AtomicUsize>, CatchUp) {
        let calls = Arc::<AtomicUsize>::default();
        let counted = calls.clone();
        let catch_up = move |_| {
            let failed = counted.fetch_add(1, Ordering::SeqCst) < failing;
            let result = if failed {
                Err("no leader".into())
            } else {
                Ok(())
            };
            async move { result }.boxed()
        };
        (calls, Arc::new(catch_up))
    }

    fn pause(vigil: &Vigil) {
        let past = now().unwrap() - LIMIT.as_nanos() as u64 - 1;
        vigil.looked.store(past, Ordering::SeqCst);
    }

    #[tokio::test]
    async fn after_each_pause_it_catches_up_once_whoever_noticed() {
        let (rounds, catch_up) = counting(0);
        let vigil = Vigil::new(LIMIT, catch_up);
        let kept = async |expected| {
            vigil.kept(Instant::now()).await.unwrap();
            vigil.kept(Instant::now()).await.unwrap();
            assert_eq!(rounds.load(Ordering::SeqCst), expected);
        };
        // It has just begun.
        kept(1).await;
        // The call notices, or the task did before.
        pause(&vigil);
        kept(2).await;
        pause(&vigil);
        vigil.look();
        vigil.look();
        kept(3).await;
    }

    #[tokio::test]
    async fn who_can_not_catch_up_does_not_go_on() {
        let (rounds, catch_up) = counting(2);
        let vigil = Vigil::new(LIMIT, catch_up);
        for _ in 0..2 {
            assert_eq!(vigil.kept(Instant::now()).await, Err("no leader".into()));
        }
        vigil.kept(Instant::now()).await.unwrap();
        assert_eq!(rounds.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn who_is_paused_while_it_catches_up_does_so_again() {
        let vigil = Arc::<std::sync::OnceLock<Vigil>>::default();
        let rounds = Arc::<AtomicUsize>::default();
        let (weak, counted) = (Arc::downgrade(&vigil), rounds.clone());
        let catch_up = move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0
                && let Some(vigil) = weak.upgrade()
            {
                pause(vigil.get().unwrap());
            }
            async { Ok(()) }.boxed()
        };
        let vigil = vigil.get_or_init(|| Vigil::new(LIMIT, Arc::new(catch_up)));
        vigil.kept(Instant::now()).await.unwrap();
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
    }
}
