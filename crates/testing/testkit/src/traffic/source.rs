//! Source of messages at an even rate, which knows those that the broker has confirmed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::rabbitmq::RabbitBroker;

/// Publishes until it is finished.
pub struct MessageSource {
    stop: Arc<AtomicBool>,
    confirmed: Arc<Mutex<BTreeSet<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl MessageSource {
    /// A message to each of `queues` every `pause`. Ids are `QUEUE-NUMBER`; the message's
    /// body is its id.
    pub async fn start(broker: &RabbitBroker, queues: &[&str], pause: Duration) -> MessageSource {
        let stop = Arc::new(AtomicBool::new(false));
        let confirmed = Arc::new(Mutex::new(BTreeSet::new()));
        let mut tasks = Vec::new();
        for queue in queues {
            let client = broker.client().await;
            let (stop, confirmed) = (stop.clone(), confirmed.clone());
            let queue = (*queue).to_owned();
            tasks.push(tokio::spawn(async move {
                let mut ticks = tokio::time::interval(pause);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                for n in 0_u64.. {
                    ticks.tick().await;
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("{queue}-{n:07}");
                    client.publish(&queue, [id.clone()]).await;
                    confirmed.lock().insert(id);
                }
            }));
        }
        MessageSource {
            stop,
            confirmed,
            tasks,
        }
    }

    /// Ends it; gives every id that was published. Each was confirmed.
    pub async fn finish(&mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.expect("the broker confirms every message");
        }
        std::mem::take(&mut self.confirmed.lock())
    }
}
