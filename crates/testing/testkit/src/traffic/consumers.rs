//! Consumers of a queue: the broker is asked all the while, and every change is kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::task::JoinHandle;

use crate::rabbitmq::RabbitBroker;

/// How long between an answer and the next question.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks until it is finished.
pub struct ConsumerMonitor {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    changes: Arc<Mutex<Vec<(Instant, u32)>>>,
    task: JoinHandle<()>,
}

impl ConsumerMonitor {
    /// Begins to ask.
    pub async fn watch(broker: &RabbitBroker, queue: &str) -> ConsumerMonitor {
        let client = broker.client().await;
        let queue = queue.to_owned();
        let stop = Arc::<AtomicBool>::default();
        let asked = Arc::<AtomicU64>::default();
        let changes = Arc::<Mutex<Vec<(Instant, u32)>>>::default();
        let (stop2, asked2, changes2) = (stop.clone(), asked.clone(), changes.clone());
        let task = tokio::spawn(async move {
            while !stop2.load(Ordering::Relaxed) {
                let (_, count) = client.count(&queue).await;
                note(&mut changes2.lock(), count);
                asked2.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        });
        ConsumerMonitor {
            stop,
            asked,
            changes,
            task,
        }
    }

    /// For how long in all there were two or more since `from`; what is shorter than the
    /// time between two questions may have been missed.
    pub fn overlap_since(&self, from: Instant) -> Duration {
        let changes = self.changes.lock();
        let mut sum = Duration::ZERO;
        for (n, (begun, count)) in changes.iter().enumerate() {
            let ended = changes.get(n + 1).map_or_else(Instant::now, |next| next.0);
            if *count >= 2 {
                sum += ended.saturating_duration_since((*begun).max(from));
            }
        }
        sum
    }

    /// How many there were when it was asked last.
    pub fn now(&self) -> u32 {
        self.changes.lock().last().map_or(0, |change| change.1)
    }

    /// The most that there ever were at once.
    pub fn most(&self) -> u32 {
        self.changes.lock().iter().map(|c| c.1).max().unwrap_or(0)
    }

    /// Ends it; gives how often was asked.
    pub async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the broker answers");
        self.asked.load(Ordering::Relaxed)
    }
}

fn note(changes: &mut Vec<(Instant, u32)>, count: u32) {
    if changes.last().is_none_or(|(_, last)| *last != count) {
        changes.push((Instant::now(), count));
    }
}
