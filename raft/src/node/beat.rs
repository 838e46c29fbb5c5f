//! Heartbeats, at a pace of their own.
//!
//! openraft gives up on the answer to a heartbeat when the next one is due by its own timer,
//! so with that timer a round trip that is longer than the period means no lease at all,
//! although everybody is heard and nobody else can be elected. Here its timer is off and
//! stands for the patience only (see [`Timing::answer`]); the period is kept by this task.
//! openraft calls each member once at a time: while an answer is waited for, the next
//! heartbeat is due at once when it is there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::Inner;

/// At most one warning in this time.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// Has openraft send a heartbeat in every period that this member leads, until it stops.
pub(super) async fn keep(node: Arc<Inner>) {
    let mut seen = node.tracker.subscribe();
    let mut warned = None;
    loop {
        let began = Instant::now();
        if seen.wait_for(|it| it.leader == Some(it.me)).await.is_err() {
            return;
        }
        if node.raft.trigger().heartbeat().await.is_err() {
            return;
        }
        node.warn_of_distance(&mut warned, began);
        let period = node.tracker.pace().borrow().lease.heartbeat;
        sleep_until((began + period.min(node.timing.heartbeat)).into()).await;
    }
}

impl Inner {
    /// Says so when the members are too far from each other for the promise.
    fn warn_of_distance(&self, warned: &mut Option<Instant>, now: Instant) {
        let most = self.timing.round_trip_max();
        let others = self.members.borrow().len().saturating_sub(1);
        let Some(trip) = self.trips.median(others).filter(|trip| *trip > most) else {
            return;
        };
        if warned.is_some_and(|at| now < at + WARN_PAUSE) {
            return;
        }
        *warned = Some(now);
        tracing::warn!(
            member = self.id,
            failover_ms = self.timing.failover.as_millis() as u64,
            round_trip_ms = trip.as_millis() as u64,
            most_ms = most.as_millis() as u64,
            "the other members answer too late for the promise: the lease has gaps, or there \
             is none. Promise a longer failover_ms"
        );
    }
}
