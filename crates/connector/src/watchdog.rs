//! Watchdog thread that ends the process when it does not keep its lease.
//!
//! The watchdog is armed while the process may be consuming. When the page no longer lets its epoch
//! act, the run loop is notified, and has a grace to prove that it abides by that: by declaring
//! that it stands still, as long as the lease may be renewed ([`LeaseTenure::Lapsed`]), or by
//! giving up what it holds and disarming, when the lease is over. If the run loop does neither,
//! this thread kills its own process: no destructor, no other thread, no runtime has a say in it.
//! Each lapse, identified by its deadline, has to be answered anew.
//!
//! After a stop (SIGSTOP, a paused machine) other threads may run before this one does, and the
//! grace counts from when this thread sees it: what may be done in the meantime is decided where
//! the page is asked, not here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_clock::Instant;
use quorate_ipc::lease::{BootInstant, LeaseReader, LeaseTenure};
use quorate_planted::{Mutant, planted};
use tokio::sync::Notify;

/// Longest sleep: how late the end can come when the host was suspended, since a sleeping thread's
/// timer stands still with it, and how late this thread sees a revocation. Each wake-up costs
/// little, and a thousand processes have a thousand of them.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);
/// Shortest pause between two checks while an answer is awaited.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Kills this process.
pub fn end_now() -> ! {
    // Can't fail: a process may signal itself.
    let _ = kill(Pid::this(), Signal::SIGKILL);
    std::process::abort()
}

/// Handle that arms and disarms the watchdog thread.
#[derive(Clone)]
pub struct LeaseWatchdog {
    /// Epoch that the process acts under; 0 while disarmed.
    armed: Arc<AtomicU64>,
    /// Deadline of the lapse in which the run loop stands still, in nanoseconds.
    paused_deadline: Arc<AtomicU64>,
    /// Notified when the page no longer lets that epoch act.
    pub stopped: Arc<Notify>,
    thread: thread::Thread,
}

impl LeaseWatchdog {
    /// Starts the thread. The run loop has `grace` to answer.
    pub fn start(lease: LeaseReader, grace: Duration) -> std::io::Result<LeaseWatchdog> {
        let armed = Arc::new(AtomicU64::new(0));
        let paused_deadline = Arc::new(AtomicU64::new(0));
        let stopped = Arc::new(Notify::new());
        let watch = WatchdogThread {
            lease,
            grace,
            armed: armed.clone(),
            paused_deadline: paused_deadline.clone(),
            stopped: stopped.clone(),
            seen: None,
        };
        let handle = thread::Builder::new()
            .name("lease-watchdog".to_owned())
            .spawn(move || watch.run())?;
        Ok(LeaseWatchdog {
            armed,
            paused_deadline,
            stopped,
            thread: handle.thread().clone(),
        })
    }

    /// Arms the watchdog: from here on the process keeps the lease of `epoch`, or ends.
    pub fn arm(&self, epoch: u64) {
        if planted(Mutant::LeaseCheckRemoved) {
            return;
        }
        self.armed.store(epoch, Ordering::Release);
        self.thread.unpark();
    }

    /// Declares that the run loop stands still in the lapse that began at this deadline.
    pub fn stand_still(&self, deadline: BootInstant) {
        self.paused_deadline
            .store(deadline.nanos(), Ordering::Release);
    }

    /// Disarms the watchdog: nothing is consumed any more.
    pub fn disarm(&self) {
        self.armed.store(0, Ordering::Release);
    }
}

/// State of the watchdog thread.
struct WatchdogThread {
    lease: LeaseReader,
    grace: Duration,
    armed: Arc<AtomicU64>,
    paused_deadline: Arc<AtomicU64>,
    stopped: Arc<Notify>,
    /// Response that the run loop owes, and since when.
    seen: Option<(RequiredResponse, Instant)>,
}

/// Response that the run loop owes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequiredResponse {
    /// Declaring that it stands still in this lapse.
    StandStill { epoch: u64, deadline: BootInstant },
    /// Disarming.
    GiveUp { epoch: u64 },
}

impl WatchdogThread {
    fn run(mut self) {
        loop {
            match self.look(Instant::now()) {
                WatchdogStep::Park => thread::park(),
                WatchdogStep::Sleep(time) => thread::park_timeout(time),
                WatchdogStep::End => end_now(),
            }
        }
    }

    fn look(&mut self, now: Instant) -> WatchdogStep {
        let epoch = self.armed.load(Ordering::Acquire);
        if epoch == 0 {
            self.seen = None;
            return WatchdogStep::Park;
        }
        let required = match self.lease.tenure(epoch) {
            LeaseTenure::Runs(left) => {
                self.seen = None;
                return WatchdogStep::Sleep(left.min(LONGEST_SLEEP));
            }
            LeaseTenure::Lapsed(deadline, left) => {
                if self.paused_deadline.load(Ordering::Acquire) == deadline.nanos() {
                    return WatchdogStep::Sleep(left.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
                }
                RequiredResponse::StandStill { epoch, deadline }
            }
            LeaseTenure::Over => RequiredResponse::GiveUp { epoch },
        };
        let since = match self.seen {
            Some((seen, since)) if seen == required => since,
            _ => {
                self.seen = Some((required, now));
                self.stopped.notify_one();
                now
            }
        };
        // The watchdog may have been disarmed since: then no answer is due.
        let answers_to = self.armed.load(Ordering::Acquire);
        if now.saturating_duration_since(since) >= self.grace && answers_to == epoch {
            return WatchdogStep::End;
        }
        WatchdogStep::Sleep((self.grace / 10).clamp(SHORTEST_SLEEP, LONGEST_SLEEP))
    }
}

/// Outcome of a check.
#[derive(Debug, PartialEq, Eq)]
enum WatchdogStep {
    /// Nothing has to be watched.
    Park,
    /// Check again after this time.
    Sleep(Duration),
    /// End the process.
    End,
}

#[cfg(test)]
mod tests {
    use quorate_ipc::lease::LeaseWriter;

    use super::*;

    const GRACE: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(60);

    struct World {
        page: LeaseWriter,
        dog: LeaseWatchdog,
        watch: WatchdogThread,
        start: Instant,
    }

    impl World {
        /// Returns a watchdog armed for epoch 7, without a thread.
        fn new() -> World {
            let page = LeaseWriter::new().unwrap();
            let (armed, paused_deadline) = (Arc::new(AtomicU64::new(7)), Arc::default());
            let stopped = Arc::new(Notify::new());
            let watch = WatchdogThread {
                lease: page.reader().clone(),
                grace: GRACE,
                armed: armed.clone(),
                paused_deadline: Arc::clone(&paused_deadline),
                stopped: stopped.clone(),
                seen: None,
            };
            let dog = LeaseWatchdog {
                armed,
                paused_deadline,
                stopped,
                thread: thread::current(),
            };
            World {
                page,
                dog,
                watch,
                start: Instant::now(),
            }
        }

        fn lapse(&self) -> BootInstant {
            let deadline = BootInstant::now();
            self.page.grant(7, deadline, LONG);
            deadline
        }

        fn ends_at(&mut self, after: Duration) -> bool {
            self.watch.look(self.start + after) == WatchdogStep::End
        }
    }

    // guarantee: LEASE-5, FENCE-7
    #[test]
    fn process_not_paused_in_lapse_ends_after_grace() {
        let mut world = World::new();
        world.page.grant(7, BootInstant::now() + LONG, LONG);
        assert!(!world.ends_at(LONG));
        world.lapse();
        assert!(!world.ends_at(LONG), "it has to be told first");
        assert!(!world.ends_at(LONG + GRACE / 2));
        assert!(world.ends_at(LONG + GRACE));
    }

    #[test]
    fn standing_still_process_answers_each_lapse_and_lives() {
        let mut world = World::new();
        let deadline = world.lapse();
        assert!(!world.ends_at(Duration::ZERO));
        world.dog.stand_still(deadline);
        assert!(!world.ends_at(LONG));
        // Renewed, and run out again: the answer to the last lapse doesn't count for this one.
        world.page.grant(7, BootInstant::now() + LONG, LONG);
        assert!(!world.ends_at(LONG));
        world.lapse();
        assert!(!world.ends_at(LONG));
        assert!(world.ends_at(LONG + GRACE));
    }

    // guarantee: FENCE-7
    #[test]
    fn paused_process_must_yield_after_respite_or_revocation() {
        for revoked in [false, true] {
            let mut world = World::new();
            let deadline = world.lapse();
            world.dog.stand_still(deadline);
            assert!(!world.ends_at(Duration::ZERO));
            if revoked {
                world.page.revoke();
            } else {
                world.page.grant(7, deadline, Duration::ZERO);
            }
            assert!(!world.ends_at(LONG));
            assert!(world.ends_at(LONG + GRACE));
            world.dog.disarm();
            assert!(!world.ends_at(LONG * 2), "it has given up");
        }
    }

    #[test]
    fn the_page_of_another_epoch_is_no_lease() {
        let mut world = World::new();
        world.page.grant(8, BootInstant::now() + LONG, LONG);
        assert!(!world.ends_at(Duration::ZERO));
        assert!(world.ends_at(GRACE));
    }
}
