//! Keeps a message waiting in every queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lapin::{BasicProperties, Channel, options::BasicPublishOptions};
use quorate_testkit::rabbitmq::BrokerClient;
use tokio::task::JoinHandle;

/// Between two messages, over all queues, while there are few.
const PACE: Duration = Duration::from_millis(2);
/// Every queue gets one this often at least.
const ROUND: Duration = Duration::from_millis(100);

/// Publishes until it is dropped.
pub struct Publisher {
    round: Arc<AtomicBool>,
    task: JoinHandle<()>,
    // Kept, as the channel ends with it.
    _client: Arc<BrokerClient>,
}

impl Publisher {
    /// One message each 2 ms, to the queues in turn; when there are more than 50, as many
    /// at a time as give each its message every 100 ms.
    pub async fn start(client: Arc<BrokerClient>, queues: Vec<String>) -> Publisher {
        let channel = client
            .connection()
            .create_channel()
            .await
            .expect("a channel");
        let round = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(channel, queues, round.clone()));
        Publisher {
            round,
            task,
            _client: client,
        }
    }

    /// One message to every queue now, so that from here on one is waiting in each.
    pub fn one_to_each(&self) {
        self.round.store(true, Ordering::Relaxed);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(channel: Channel, queues: Vec<String>, round: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let ticks_a_round = (ROUND.as_millis() / PACE.as_millis()) as usize;
    let at_a_time = queues.len().div_ceil(ticks_a_round);
    let mut turn = 0;
    loop {
        ticks.tick().await;
        let now = match round.swap(false, Ordering::Relaxed) {
            true => queues.len(),
            false => at_a_time,
        };
        for _ in 0..now {
            turn = (turn + 1) % queues.len();
            if let Err(problem) = publish(&channel, &queues[turn]).await {
                eprintln!("the publisher: {problem}");
                return;
            }
        }
    }
}

/// A body that no other message has.
async fn publish(channel: &Channel, queue: &str) -> Result<(), lapin::Error> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let body = format!("{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let properties = BasicProperties::default().with_delivery_mode(1);
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await?;
    Ok(())
}
