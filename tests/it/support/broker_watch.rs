//! Asks the broker all the while how many consumers a queue has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::rabbitmq::RabbitMq;

/// Polls until it is finished.
pub struct ConsumerWatch {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl ConsumerWatch {
    pub async fn start(broker: &RabbitMq, queue: &str) -> ConsumerWatch {
        let (stop, most, asked) = <(Arc<AtomicBool>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
        let channel = broker.channel().await;
        let (queue, stop2, most2, asked2) =
            (queue.to_owned(), stop.clone(), most.clone(), asked.clone());
        let task = tokio::spawn(async move {
            let passive = lapin::options::QueueDeclareOptions {
                passive: true,
                ..Default::default()
            };
            while !stop2.load(Ordering::SeqCst) {
                let found = channel
                    .queue_declare(queue.as_str().into(), passive, Default::default())
                    .await;
                let found = found.expect("the broker answers");
                most2.fetch_max(found.consumer_count(), Ordering::SeqCst);
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
