//! A plain thread that ends the process when it does not keep its lease.
//!
//! It is armed while the process may be consuming. When the page no longer lets its epoch
//! act, the run loop is told, and has a grace to prove that it abides by that: by saying that
//! it stands still, as long as the lease may be renewed ([`LeaseTenure::Lapsed`]), or by giving up
//! what it holds and disarming, when it is over. If it does neither, this thread kills its
//! own process: no destructor, no other thread, no runtime has a say in it. Each lapse, told
//! apart by its deadline, is to be answered anew.
//!
//! After a stop (SIGSTOP, a paused machine) other threads may run before this one does, and
//! the grace counts from when this one sees it: what may be done meanwhile is decided where
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

/// The longest sleep: how late the end can come when the host was suspended, since a
/// sleeping thread's timer stands still with it, and how late a revocation is seen by it.
/// Each wake-up is little, and a thousand processes have a thousand of them.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);
/// Between two looks while an answer is awaited, at least.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Ends this process now.
pub fn end_now() -> ! {
    // Can't fail: a process may signal itself.
    let _ = kill(Pid::this(), Signal::SIGKILL);
    std::process::abort()
}

/// Arms and disarms the thread.
#[derive(Clone)]
pub struct LeaseWatchdog {
    /// The epoch that is acted under; 0 while disarmed.
    armed: Arc<AtomicU64>,
    /// The deadline of the lapse in which the run loop stands still, in nanoseconds.
    paused_deadline: Arc<AtomicU64>,
    /// Told when the page no longer lets that epoch act.
    pub stopped: Arc<Notify>,
    thread: thread::Thread,
}

impl LeaseWatchdog {
    /// Starts the thread. `grace`: how long the run loop has to answer.
    pub fn start(lease: LeaseReader, grace: Duration) -> std::io::Result<LeaseWatchdog> {
        let armed = Arc::new(AtomicU64::new(0));
        let still = Arc::new(AtomicU64::new(0));
        let stopped = Arc::new(Notify::new());
        let watch = WatchdogThread {
            lease,
            grace,
            armed: armed.clone(),
            paused_deadline: still.clone(),
            stopped: stopped.clone(),
            seen: None,
        };
        let handle = thread::Builder::new()
            .name("lease-watchdog".to_owned())
            .spawn(move || watch.run())?;
        Ok(LeaseWatchdog {
            armed,
            paused_deadline: still,
            stopped,
            thread: handle.thread().clone(),
        })
    }

    /// From here on the process keeps the lease of `epoch`, or ends.
    pub fn arm(&self, epoch: u64) {
        if planted(Mutant::LeaseCheckRemoved) {
            return;
        }
        self.armed.store(epoch, Ordering::Release);
        self.thread.unpark();
    }

    /// The run loop stands still in the lapse that began at this deadline.
    pub fn stand_still(&self, deadline: BootInstant) {
        self.paused_deadline
            .store(deadline.nanos(), Ordering::Release);
    }

    /// Nothing is consumed any more.
    pub fn disarm(&self) {
        self.armed.store(0, Ordering::Release);
    }
}

/// What the thread looks at.
struct WatchdogThread {
    lease: LeaseReader,
    grace: Duration,
    armed: Arc<AtomicU64>,
    paused_deadline: Arc<AtomicU64>,
    stopped: Arc<Notify>,
    /// What was seen last that has to be answered, and when it first was.
    seen: Option<(RequiredResponse, Instant)>,
}

/// What the run loop has to answer to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequiredResponse {
    /// It is to say that it stands still in this lapse.
    StandStill { epoch: u64, deadline: BootInstant },
    /// It is to disarm.
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
        let demand = match self.lease.tenure(epoch) {
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
            Some((seen, since)) if seen == demand => since,
            _ => {
                self.seen = Some((demand, now));
                self.stopped.notify_one();
                now
            }
        };
        // It may have been disarmed since: then there is nothing to be answered.
        let answers_to = self.armed.load(Ordering::Acquire);
        if now.saturating_duration_since(since) >= self.grace && answers_to == epoch {
            return WatchdogStep::End;
        }
        WatchdogStep::Sleep((self.grace / 10).clamp(SHORTEST_SLEEP, LONGEST_SLEEP))
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum WatchdogStep {
    /// Nothing is to be watched.
    Park,
    /// Look again after this time.
    Sleep(Duration),
    /// The process ends.
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
        /// Armed for epoch 7, without a thread.
        fn new() -> World {
            let page = LeaseWriter::new().unwrap();
            let (armed, still) = (Arc::new(AtomicU64::new(7)), Arc::default());
            let stopped = Arc::new(Notify::new());
            let watch = WatchdogThread {
                lease: page.reader().clone(),
                grace: GRACE,
                armed: armed.clone(),
                paused_deadline: Arc::clone(&still),
                stopped: stopped.clone(),
                seen: None,
            };
            let dog = LeaseWatchdog {
                armed,
                paused_deadline: still,
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
    fn who_does_not_say_that_it_stands_still_is_ended_after_the_grace() {
        let mut world = World::new();
        world.page.grant(7, BootInstant::now() + LONG, LONG);
        assert!(!world.ends_at(LONG));
        world.lapse();
        assert!(!world.ends_at(LONG), "it has to be told first");
        assert!(!world.ends_at(LONG + GRACE / 2));
        assert!(world.ends_at(LONG + GRACE));
    }

    #[test]
    fn who_stands_still_lives_and_each_lapse_is_to_be_answered() {
        let mut world = World::new();
        let deadline = world.lapse();
        assert!(!world.ends_at(Duration::ZERO));
        world.dog.stand_still(deadline);
        assert!(!world.ends_at(LONG));
        // Renewed, and run out again: what was said of the last lapse says nothing of this.
        world.page.grant(7, BootInstant::now() + LONG, LONG);
        assert!(!world.ends_at(LONG));
        world.lapse();
        assert!(!world.ends_at(LONG));
        assert!(world.ends_at(LONG + GRACE));
    }

    // guarantee: FENCE-7
    #[test]
    fn who_stands_still_must_give_up_once_its_respite_is_over_or_the_page_is_revoked() {
        for revoked in [false, true] {
            let mut world = World::new();
            let deadline = world.lapse();
            world.dog.stand_still(deadline);
            assert!(!world.ends_at(Duration::ZERO));
            match revoked {
                true => world.page.revoke(),
                false => drop(world.page.grant(7, deadline, Duration::ZERO)),
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
