//! One stretch of messages through one subject, with as many at a time.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{BasicProperties, Channel, options::BasicConsumeOptions, types::FieldTable};
use parking_lot::Mutex;
use quorate_clock::{Instant, rng};
use quorate_testkit::{
    rabbitmq::{BrokerClient, RabbitBroker},
    traffic::sink::MessageSink,
};
use rand::Rng;

use super::{super::footprint, subject::Subject};

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    In,
    Out,
}

impl Work {
    pub fn word(self) -> &'static str {
        match self {
            Work::In => "in",
            Work::Out => "out",
        }
    }

    /// The name of the cluster's connector.
    pub fn connector(self) -> &'static str {
        self.word()
    }

    /// The bare program for it.
    pub fn bare(self) -> &'static str {
        match self {
            Work::In => "consume",
            Work::Out => "publish",
        }
    }
}

/// The longest that a stretch may take.
const LIMIT: Duration = Duration::from_secs(60);
/// A message's size.
pub const BYTES: usize = 256;

/// What came of it, after the first tenth.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub messages: usize,
    pub seconds: f64,
    /// Of all processes of the subject.
    pub processor_seconds: f64,
}

/// What all stretches share.
pub struct Bench {
    pub rabbit: RabbitBroker,
    pub broker: BrokerClient,
    pub sink: MessageSink,
    pub http: reqwest::Client,
}

impl Bench {
    /// Sends `messages` through `subject`. An error says which were lost.
    pub async fn stretch(
        &self,
        subject: &mut Subject,
        work: Work,
        at_a_time: u16,
        messages: usize,
    ) -> Result<Stretch, String> {
        let queue = subject.queue(work);
        self.broker.declare(&queue).await;
        let mark = format!("{:08x}", rng().random::<u32>());
        let bodies: Vec<String> = (0..messages)
            .map(|n| format!("{:x<BYTES$}", format!("{mark} {n} ")))
            .collect();
        let stretch = match work {
            Work::In => self.inward(subject, at_a_time, &queue, bodies).await,
            Work::Out => self.outward(subject, at_a_time, &queue, bodies).await,
        };
        subject.end(work).await;
        let (left, _) = self.broker.count(&queue).await;
        match left {
            0 => stretch,
            left => Err(format!("{left} messages are left in {queue}")),
        }
    }

    async fn inward(
        &self,
        subject: &mut Subject,
        at_a_time: u16,
        queue: &str,
        bodies: Vec<String>,
    ) -> Result<Stretch, String> {
        let text = BasicProperties::default().with_content_type("text/plain".into());
        self.broker
            .publish_with(queue, bodies.iter().cloned(), text)
            .await;
        let from = self.sink.calls_len();
        let url = self.sink.url();
        subject.begin(Work::In, at_a_time, &self.rabbit, &url).await;
        let tenth = bodies.len() / 10;
        let done = || self.sink.calls_len() - from;
        let stretch = between(subject, tenth, bodies.len(), done).await?;
        let calls = self.sink.calls_from(from);
        let seen: BTreeSet<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        match bodies.iter().all(|body| seen.contains(body.as_str())) && calls.len() == bodies.len()
        {
            true => Ok(stretch),
            false => Err(format!(
                "{} calls for {} messages",
                calls.len(),
                bodies.len()
            )),
        }
    }

    async fn outward(
        &self,
        subject: &mut Subject,
        at_a_time: u16,
        queue: &str,
        bodies: Vec<String>,
    ) -> Result<Stretch, String> {
        subject.begin(Work::Out, at_a_time, &self.rabbit, "").await;
        let door = subject.door().await;
        let (draining, arrived) = self.drain(queue).await;
        let outcome = self.send_all(subject, at_a_time, &door, &bodies).await;
        let until = Instant::now() + LIMIT;
        while outcome.is_ok() && arrived.lock().len() < bodies.len() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Before the next stretch: it would take a message of that one.
        let _ = draining.close(200, "OK".into()).await;
        let there = arrived.lock().len();
        match there == bodies.len() {
            true => outcome,
            false => outcome.and(Err(format!("{there} of {} messages came", bodies.len()))),
        }
    }

    async fn send_all(
        &self,
        subject: &Subject,
        at_a_time: u16,
        door: &str,
        bodies: &[String],
    ) -> Result<Stretch, String> {
        let sent = AtomicUsize::new(0);
        let sends = bodies.iter().map(|body| {
            let request = self.http.post(door).body(body.clone());
            let sent = &sent;
            async move {
                let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
                let status = answer.status();
                let text = answer.text().await.map_err(|error| error.to_string())?;
                sent.fetch_add(1, Ordering::Relaxed);
                match status.is_success() {
                    true => Ok(()),
                    false => Err(format!("{status}: {text}")),
                }
            }
        });
        let sends: Vec<_> = sends.collect();
        let mut sending = futures_util::stream::iter(sends).buffer_unordered(at_a_time.into());
        let all = async {
            let mut failed = None;
            while let Some(outcome) = sending.next().await {
                failed = failed.or(outcome.err());
            }
            failed
        };
        let done = || sent.load(Ordering::Relaxed);
        let watching = between(subject, bodies.len() / 10, bodies.len(), done);
        let (failed, stretch) = tokio::join!(all, watching);
        failed.map_or(stretch, Err)
    }

    /// Notes what comes to a queue from now on, until the channel is closed.
    async fn drain(&self, queue: &str) -> (Channel, Arc<Mutex<BTreeSet<Vec<u8>>>>) {
        let channel = self.broker.connection().create_channel().await;
        let channel = channel.expect("a channel");
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let consuming =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let mut consumer = consuming.await.expect("a consumer");
        let arrived = Arc::<Mutex<BTreeSet<Vec<u8>>>>::default();
        let noting = arrived.clone();
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                noting.lock().insert(delivery.data.to_vec());
            }
        });
        (channel, arrived)
    }
}

/// Waits for so many, and measures from the `first` of them on.
async fn between(
    subject: &Subject,
    first: usize,
    all: usize,
    done: impl Fn() -> usize,
) -> Result<Stretch, String> {
    let begun = Instant::now();
    let look = Duration::from_millis(2);
    let mut start = None;
    while begun.elapsed() < LIMIT {
        let now = done();
        if now >= first && start.is_none() {
            let pids = subject.pids();
            start = Some((Instant::now(), now, footprint::seconds(&pids), pids));
        }
        if let Some((at, before, used, pids)) = &start
            && now >= all
        {
            let seconds = at.elapsed().as_secs_f64();
            let end = footprint::seconds(pids);
            let used = end
                .iter()
                .map(|(pid, now)| now - used.get(pid).copied().unwrap_or_default());
            return Ok(Stretch {
                messages: now - before,
                seconds,
                processor_seconds: used.sum(),
            });
        }
        tokio::time::sleep(look).await;
    }
    Err(format!("{} of {all} within {LIMIT:?}", done()))
}
