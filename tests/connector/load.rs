//! Messages that flow steadily, and what the service made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use quorate_clock::Instant;
use quorate_resources::Kind;
use quorate_service::api::Reply;
use quorate_state::{Answer, Command, OperatorAction};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::world::*;

/// Publishes the bodies `0`, `1` and so on until it is finished.
pub struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Load {
    /// One in each `pause`, confirmed before the next.
    pub async fn start(broker: &RabbitBroker, queue: &str, pause: Duration) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, queue, stopped) = (broker.client().await, queue.to_owned(), stop.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut published = 0;
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                client.publish(&queue, [published.to_string()]).await;
                published += 1;
            }
            published
        });
        Load { stop, task }
    }

    /// Ends it; how many it has published.
    pub async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// The messages that the service has handled, each time that it did.
#[derive(Clone, Default)]
pub struct Handled(Arc<Mutex<Vec<(Instant, usize)>>>);

impl Handled {
    /// Lets the services of the group answer what `judge` says, with how long it takes. 409 is
    /// the refusal of an old epoch. A success counts from its beginning.
    pub fn serve(
        &self,
        group: &SimulatedGroup,
        judge: impl Fn(&ServiceCall, usize) -> (Duration, u16) + Send + Sync + 'static,
    ) {
        let handled = self.0.clone();
        group.behave(move |call| {
            let n = call.body.parse().unwrap();
            let (takes, code) = judge(call, n);
            if code == 200 {
                handled.lock().push((Instant::now(), n));
            }
            let answer = match code {
                409 => Ok(Reply {
                    status: StatusCode::CONFLICT,
                    headers: HeaderMap::from_iter([(
                        "quorate-fenced".parse().unwrap(),
                        "true".parse().unwrap(),
                    )]),
                    body: Default::default(),
                }),
                code => status(code),
            };
            (takes, answer)
        });
    }

    /// Waits until so many more were handled.
    pub async fn more(&self, n: usize) {
        let enough = self.0.lock().len() + n;
        eventually("more messages are handled", async || {
            (self.0.lock().len() >= enough).then_some(())
        })
        .await;
    }

    /// How often each was handled.
    pub fn times(&self) -> BTreeMap<usize, usize> {
        let mut times = BTreeMap::new();
        for (_, n) in self.0.lock().iter() {
            *times.entry(*n).or_default() += 1;
        }
        times
    }

    /// How many were handled again.
    pub fn again(&self) -> usize {
        self.times().values().map(|times| times - 1).sum()
    }

    /// Those that were handled for the first time after one that was published later.
    pub fn out_of_order(&self) -> Vec<usize> {
        let (mut seen, mut last, mut late) = (BTreeSet::new(), 0, Vec::new());
        for (_, n) in self.0.lock().iter() {
            if seen.insert(*n) {
                late.extend((*n < last).then_some(*n));
                last = last.max(*n);
            }
        }
        late
    }

    /// The longest time from one to the next, from the last one before `from` on.
    pub fn longest_gap(&self, from: Instant) -> Duration {
        let handled = self.0.lock();
        let gaps = handled.windows(2).filter(|pair| pair[1].0 >= from);
        gaps.map(|pair| pair[1].0 - pair[0].0).max().unwrap()
    }
}

/// Applies an operator's action.
pub fn order(group: &SimulatedGroup, kind: Kind, name: &str, order: OperatorAction) {
    let name = name.to_owned();
    let answer = group.apply(1, 1, &Command::OperateConnector { kind, name, order });
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

/// Prints figures as a table.
pub fn table(title: &str, rows: &[(String, Duration)]) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("| {title} | pause, ms |\n|---|---|");
    for (what, pause) in rows {
        println!("| {what} | {:.0} |", ms(*pause));
    }
    let mut sorted: Vec<Duration> = rows.iter().map(|row| row.1).collect();
    sorted.sort();
    println!(
        "| median, longest of {} | {:.0}, {:.0} |",
        sorted.len(),
        ms(sorted[sorted.len() / 2]),
        ms(sorted[sorted.len() - 1])
    );
}
