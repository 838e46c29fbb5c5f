//! How far channels have come, as it is written down while many of them have something to say.

use std::{collections::BTreeMap, time::Duration};

use prost::Message;
use quorate_clock::Instant;
use quorate_proto::connector::ChannelProgress;
use quorate_resources::Kind;
use serde_json::json;
use tokio::time::sleep;

use super::world::*;

const CHANNELS: usize = 50;
/// As from afar.
const WRITE: Duration = Duration::from_millis(100);
/// A channel says something once a second. Then a write may be under way, and its own follows;
/// the rest is for a machine with fifty processes on it.
const LAG_MAX: Duration = Duration::from_millis(1000 + 2 * 100 + 1300);

/// How many failures of the channel's one message are written.
fn written(group: &SimulatedGroup, queue: &str) -> u32 {
    let progress = group.state().progress().get(Kind::AmqpChannel, queue);
    let progress = ChannelProgress::decode(progress).unwrap();
    progress.tried.first().map_or(0, |it| it.tries)
}

// guarantee: MESSAGE-9
#[tokio::test(flavor = "multi_thread")]
async fn the_tries_of_fifty_channels_are_written_soon() {
    let broker = broker().await;
    let client = broker.client().await;
    let group = SimulatedGroup::with_services();
    group.put(Kind::AmqpConnection, connection(broker.port()));
    *group.progress_takes.lock() = WRITE;
    group.behave(|_| (Duration::ZERO, status(500)));
    let queues: Vec<String> = (0..CHANNELS).map(|_| unique("lag")).collect();
    for queue in &queues {
        client.declare(queue).await;
        client.publish(queue, [queue.clone()]).await;
        let mut poor = channel(queue);
        poor["on_failure"] = json!({"retries": 100, "backoff_ms": 400, "backoff_max_ms": 400});
        group.put(Kind::AmqpChannel, poor);
    }
    let member = SimulatedMember::start(&group, 1, 2000);
    member.lead(2);
    eventually("each is tried again", async || {
        let tries = group.calls_by_body();
        (tries.len() == CHANNELS && tries.values().all(|times| *times > 1)).then_some(())
    })
    .await;
    let (mut most, until) = (Duration::ZERO, Instant::now() + Duration::from_secs(8));
    while Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
        let written: Vec<u32> = queues.iter().map(|it| written(&group, it)).collect();
        let now = Instant::now();
        let mut failed: BTreeMap<(String, u32), Instant> = BTreeMap::new();
        for call in group.calls.lock().iter() {
            failed.insert((call.body.clone(), call.attempt), call.at);
        }
        for (queue, written) in queues.iter().zip(written) {
            // The first failure that is not written.
            if let Some(at) = failed.get(&(queue.clone(), written + 1)) {
                most = most.max(now - *at);
            }
        }
    }
    let tries = group.calls.lock().len();
    println!("{CHANNELS} channels, {tries} tries: written after {most:?} at most");
    assert!(most <= LAG_MAX, "{most:?}");
}
