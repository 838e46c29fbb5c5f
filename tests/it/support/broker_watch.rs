//! Asks the broker all the while how many consumers a queue has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::rabbitmq::Rabbit;

/// Polls until it is finished.
pub struct ConsumerWatch {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl ConsumerWatch {
    pub async fn start(broker: &Rabbit, queue: &str) -> ConsumerWatch {
        let (stop, most, asked) = <(Arc<AtomicBool>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
        let client = broker.client().await;
        let (queue, stop2, most2, asked2) =
            (queue.to_owned(), stop.clone(), most.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while !stop2.load(Ordering::SeqCst) {
                let (_, consumers) = client.count(&queue).await;
                most2.fetch_max(consumers, Ordering::SeqCst);
                asked2.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        ConsumerWatch {
            stop,
            most,
            asked,
            task,
        }
    }

    /// The most consumers that were ever seen, and how often was asked.
    pub async fn finish(self) -> (u32, u32) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the watch");
        (
            self.most.load(Ordering::SeqCst),
            self.asked.load(Ordering::SeqCst),
        )
    }
}
