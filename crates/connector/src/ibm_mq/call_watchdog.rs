//! Watchdog of calls to the queue manager: gives up a connection that does not answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use quorate_clock::Instant;
use tokio::{sync::watch, time::sleep};

use super::super::broker_link::ConnectorError;

/// Time after which a call is given up, and the connection with it.
const ANSWER: Duration = Duration::from_secs(10);
/// Interval of the checks for that.
const LOOK: Duration = Duration::from_millis(250);

/// State of a connection, seen from outside of its thread.
pub(super) struct CallWatchdog {
    began: Instant,
    /// Start of the call that is under way, in milliseconds since `began`, plus 1; 0 while none is.
    calling: AtomicU64,
    lost: watch::Sender<Option<ConnectorError>>,
}

impl CallWatchdog {
    /// Returns the watchdog of a connection that is well.
    pub(super) fn new() -> Self {
        CallWatchdog {
            began: Instant::now(),
            calling: AtomicU64::new(0),
            lost: watch::Sender::new(None),
        }
    }

    /// Marks a call as under way, until the guard is dropped.
    pub(super) fn calling(&self) -> impl Drop {
        struct CallGuard<'a>(&'a CallWatchdog);
        impl Drop for CallGuard<'_> {
            fn drop(&mut self) {
                self.0.calling.store(0, Ordering::Relaxed);
            }
        }
        self.calling.store(self.now() + 1, Ordering::Relaxed);
        CallGuard(self)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Marks the connection as lost. The first error stays.
    pub(super) fn mark_lost(&self, error: ConnectorError) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                *lost = Some(error);
            }
            first
        });
    }

    /// Returns why the connection is lost, if it is.
    pub(super) fn lost(&self) -> Option<ConnectorError> {
        let since = self.calling.load(Ordering::Relaxed);
        if since > 0 && Duration::from_millis((self.now() + 1).saturating_sub(since)) > ANSWER {
            self.mark_lost(ConnectorError::new(format!(
                "the queue manager did not answer within {} s: is it one, and is it well?",
                ANSWER.as_secs()
            )));
        }
        self.lost.borrow().clone()
    }

    /// Waits until the connection is lost. Cancel safe.
    pub(super) async fn wait_lost(&self) -> ConnectorError {
        let mut changes = self.lost.subscribe();
        loop {
            if let Some(error) = self.lost() {
                return error;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}
