//! Writers that never wait for one another: a new attempt starts every few milliseconds,
//! as from many clients, so that one that hangs at the silent leader hides nothing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::task::{JoinHandle, JoinSet};

/// Between the starts of two attempts, over all members that are written to.
const PACE: Duration = Duration::from_millis(5);
/// An attempt that takes longer is given up.
const PATIENCE: Duration = Duration::from_millis(500);

/// One client. It connects when it has to, and is thrown away after a failure.
#[async_trait]
pub trait Writer: Send {
    /// One write, done and acknowledged. Gives what tells under which leader: a term, an
    /// epoch, a revision.
    async fn write(&mut self) -> Result<u64, String>;
}

/// Makes a client of one member.
pub type Door = Arc<dyn Fn() -> Box<dyn Writer> + Send + Sync>;

/// When an acknowledgement came, and what it told.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    pub at: Instant,
    pub mark: u64,
}

#[derive(Default)]
struct Seen {
    acks: Vec<Ack>,
    last_error: Option<String>,
}

/// The writers; they end with it.
pub struct Writes {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Writes {
    /// Starts writing through these members in turn.
    pub fn start(doors: Vec<Door>) -> Writes {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(run(doors, seen.clone()));
        Writes { seen, task }
    }

    /// The highest mark so far; 0 when nothing was acknowledged.
    pub fn mark(&self) -> u64 {
        let seen = self.seen.lock();
        seen.acks.iter().map(|ack| ack.mark).max().unwrap_or(0)
    }

    /// Waits until some writes were acknowledged: the writers work.
    pub async fn flow(&self) -> Result<(), String> {
        let from = self.seen.lock().acks.len();
        self.wait(Duration::from_secs(15), |seen| {
            (seen.acks.len() >= from + 3).then_some(())
        })
        .await
    }

    /// The first acknowledgement after `since` that `new` recognises as the successor's.
    pub async fn first(
        &self,
        since: Instant,
        limit: Duration,
        new: impl Fn(u64) -> bool,
    ) -> Result<Duration, String> {
        self.wait(limit, |seen| {
            let acks = seen
                .acks
                .iter()
                .filter(|ack| ack.at > since && new(ack.mark));
            acks.map(|ack| ack.at - since).min()
        })
        .await
    }

    async fn wait<T>(
        &self,
        limit: Duration,
        found: impl Fn(&Seen) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = found(&self.seen.lock()) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let error = self.seen.lock().last_error.clone();
                return Err(format!(
                    "no write within {limit:?}; the last error: {error:?}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(doors: Vec<Door>, seen: Arc<Mutex<Seen>>) {
    let mut idle: Vec<Vec<Box<dyn Writer>>> = doors.iter().map(|_| Vec::new()).collect();
    let mut attempts = JoinSet::new();
    let mut next = tokio::time::interval(PACE);
    let mut turn = 0;
    loop {
        tokio::select! {
            _ = next.tick() => {
                turn = (turn + 1) % doors.len();
                let mut writer = idle[turn].pop().unwrap_or_else(|| doors[turn]());
                attempts.spawn(async move {
                    let result = tokio::time::timeout(PATIENCE, writer.write()).await;
                    let at = Instant::now();
                    (turn, writer, at, result.unwrap_or(Err("no answer in time".into())))
                });
            }
            Some(done) = attempts.join_next() => {
                let Ok((turn, writer, at, result)) = done else { continue };
                match result {
                    Ok(mark) => {
                        seen.lock().acks.push(Ack { at, mark });
                        idle[turn].push(writer);
                    }
                    Err(problem) => seen.lock().last_error = Some(problem),
                }
            }
        }
    }
}
