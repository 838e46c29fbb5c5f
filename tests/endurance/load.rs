//! Clients that ask again as soon as they were answered.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, StatusCode};
use tokio::task::JoinHandle;

/// How long a client waits after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// What a kind of client has come to.
#[derive(Default)]
pub struct Count {
    pub done: AtomicU64,
    pub failed: AtomicU64,
}

/// Clients of one kind, until they are stopped.
pub struct Load {
    pub count: Arc<Count>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// `clients` of them; `ask` sends the `n`th request of client `c` and gives its status.
    pub fn start<F, Fut>(clients: u64, ask: F) -> Load
    where
        F: Fn(Client, u64, u64) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = reqwest::Result<StatusCode>> + Send,
    {
        let count = Arc::<Count>::default();
        let stop = Arc::<AtomicBool>::default();
        let tasks = (0..clients).map(|c| {
            let (count, stop, ask) = (count.clone(), stop.clone(), ask.clone());
            let client = client();
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match ask(client.clone(), c, n).await {
                        Ok(status) if status.is_success() => {
                            count.done.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => {
                            count.failed.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Load { count, stop, tasks }
    }

    /// Stops them and waits for their last answers.
    pub async fn finish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.expect("a client");
        }
    }
}

/// One that keeps its connection, as real ones do.
fn client() -> Client {
    let builder = Client::builder().timeout(Duration::from_secs(10));
    builder.build().expect("a client")
}
