//! A plain thread that ends the process when its lease is over.
//!
//! It is armed while the process may be consuming. When the deadline passes it kills its
//! own process: no destructor, no other thread, no runtime has a say in it. When the page
//! is revoked instead (the parent lives and has seen that it no longer leads), the run
//! loop is told, and has a short while to cancel its consumer and disarm.
//!
//! After a stop (SIGSTOP, a paused machine) other threads may run before this one does:
//! what they may do then is decided where they ask the page, not here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_planted::{Mutant, planted};
use tokio::sync::Notify;

use super::super::lease::{BootInstant, View};

/// The longest sleep: how late the end can come when the host was suspended, since a
/// sleeping thread's timer stands still with it, and how late a revocation is seen by it.
/// Each wake-up is little, and a thousand processes have a thousand of them.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);
/// Between two looks once it was revoked.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Ends this process now.
pub fn end_now() -> ! {
    // Can't fail: a process may signal itself.
    let _ = kill(Pid::this(), Signal::SIGKILL);
    std::process::abort()
}

/// Arms and disarms the thread.
#[derive(Clone)]
pub struct Watchdog {
    /// The epoch that is acted under; 0 while disarmed.
    armed: Arc<AtomicU64>,
    /// Told when the page no longer lets that epoch act, though its deadline hasn't passed.
    pub revoked: Arc<Notify>,
    thread: thread::Thread,
}

impl Watchdog {
    /// Starts the thread. `grace`: how long the run loop has after a revocation.
    pub fn start(lease: View, grace: Duration) -> std::io::Result<Watchdog> {
        let armed = Arc::new(AtomicU64::new(0));
        let revoked = Arc::new(Notify::new());
        let handle = thread::Builder::new()
            .name("lease-watchdog".to_owned())
            .spawn({
                let (armed, revoked) = (armed.clone(), revoked.clone());
                move || watch(&lease, grace, &armed, &revoked)
            })?;
        Ok(Watchdog {
            armed,
            revoked,
            thread: handle.thread().clone(),
        })
    }

    /// From here on the process lives no longer than the lease of `epoch`.
    pub fn arm(&self, epoch: u64) {
        if planted(Mutant::LeaseCheckRemoved) {
            return;
        }
        self.armed.store(epoch, Ordering::Release);
        self.thread.unpark();
    }

    /// Nothing is consumed any more.
    pub fn disarm(&self) {
        self.armed.store(0, Ordering::Release);
    }
}

fn watch(lease: &View, grace: Duration, armed: &AtomicU64, revoked: &Notify) {
    let mut revoked_at: Option<(u64, Instant)> = None;
    loop {
        let epoch = armed.load(Ordering::Acquire);
        if epoch == 0 {
            revoked_at = None;
            thread::park();
            continue;
        }
        let page = lease.read();
        let deadline = page.deadline.filter(|_| page.epoch == epoch);
        let sleep = match deadline.map(|deadline| deadline.remaining(BootInstant::now())) {
            Some(Some(left)) => {
                revoked_at = None;
                left.min(LONGEST_SLEEP)
            }
            // It may have been disarmed since: then the passing of the deadline is nothing.
            Some(None) if armed.load(Ordering::Acquire) == epoch => end_now(),
            Some(None) => continue,
            None => {
                let since = match revoked_at {
                    Some((of, since)) if of == epoch => since,
                    _ => {
                        let now = Instant::now();
                        revoked_at = Some((epoch, now));
                        revoked.notify_one();
                        now
                    }
                };
                if since.elapsed() >= grace {
                    end_now();
                }
                (grace / 10).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
            }
        };
        thread::park_timeout(sleep);
    }
}
