//! Meter around the caller's machine: the applied index, and the growth since a snapshot.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::log_retention::LogRetention;
use crate::{CommittedCommand, MachineSnapshot, StateMachine};

/// Growth of the log since the last snapshot, and a notice when the next one is due.
#[derive(Debug)]
pub(super) struct LogGrowth {
    limit: u64,
    since: AtomicU64,
    pub(super) due: Notify,
}

impl LogGrowth {
    pub(super) fn new(limit: u64) -> Self {
        LogGrowth {
            limit,
            since: AtomicU64::new(0),
            due: Notify::new(),
        }
    }

    fn add(&self, bytes: u64) {
        let before = self.since.fetch_add(bytes, Ordering::Relaxed);
        // Each time, not once: a snapshot that is asked for while one is built is not taken.
        if before + bytes >= self.limit {
            self.due.notify_one();
        }
    }

    fn reset(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}

/// Machine that is metered.
pub(crate) struct MeteredMachine {
    machine: Box<dyn StateMachine>,
    growth: Arc<LogGrowth>,
    retention: Arc<LogRetention>,
    applied: watch::Sender<u64>,
}

impl MeteredMachine {
    pub(super) fn new(
        machine: impl StateMachine,
        growth: Arc<LogGrowth>,
        retention: Arc<LogRetention>,
    ) -> (Self, watch::Receiver<u64>) {
        let (applied, seen) = watch::channel(0);
        let metered = MeteredMachine {
            machine: Box::new(machine),
            growth,
            retention,
            applied,
        };
        (metered, seen)
    }
}

impl StateMachine for MeteredMachine {
    fn apply(&mut self, command: CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        let bytes = command.bytes.len() as u64;
        self.growth.add(bytes);
        self.retention.note(command.index, bytes);
        self.machine.apply(command)
    }

    fn publish(&mut self, applied: u64) {
        self.machine.publish(applied);
        self.applied.send_replace(applied);
        metrics::gauge!("quorate_applied_index").set(applied as f64);
    }

    fn freeze(&self) -> Box<dyn MachineSnapshot> {
        self.growth.reset();
        self.machine.freeze()
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        self.machine.restore(snapshot)?;
        self.growth.reset();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_snapshot_is_due_once_per_limit() {
        let growth = LogGrowth::new(100);
        growth.add(60);
        growth.add(40);
        growth.add(500);
        growth.due.notified().await;
        growth.reset();
        growth.add(99);
        let due = tokio::time::timeout(std::time::Duration::from_millis(20), growth.due.notified());
        assert!(due.await.is_err());
        growth.add(1);
        growth.due.notified().await;
    }
}
