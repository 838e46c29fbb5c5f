//! Watch workload: clients write keys, and streams tell of each write once, in order.
//!
//! Streams are cut off often, and resume at another member.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quorate_clock::Instant;
use rand::Rng;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    contract::Workload,
    error::WorkloadError,
    stream_watcher::{self, PREFIX, WatchPosition},
    workload_client::{SettledOperation, WorkloadClient, clients},
};
use crate::{
    cancel::CancelToken,
    cluster::{api, error::ClusterError},
    pinned_client::RequestOutcome,
    run_context::RunContext,
};

/// Keys that are written again and again.
const KEYS: u32 = 20;
/// Streams, twice as many as members of a small cluster.
const STREAMS: u64 = 6;
/// Time limit for the streams to catch up in the end.
const CATCHES_UP: Duration = Duration::from_secs(20);

/// Workload of writes that streams tell of.
#[derive(Default)]
pub struct WatchWorkload {
    next: Arc<AtomicU64>,
    places: Mutex<Vec<Arc<WatchPosition>>>,
    streams: Mutex<JoinSet<()>>,
    cancel: CancelToken,
}

#[async_trait]
impl Workload for WatchWorkload {
    async fn prepare(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        for number in 0..STREAMS {
            let place = Arc::new(WatchPosition::default());
            let (context, cancel) = (context.clone(), self.cancel.clone());
            self.places.lock().push(place.clone());
            let follow = stream_watcher::follow(context, number, place, cancel);
            self.streams.lock().spawn(follow);
        }
        let begun = api::until("streams", Duration::from_secs(10), || async {
            let places = self.places.lock();
            if places.iter().all(|place| place.begun()) {
                Ok(())
            } else {
                Err(ClusterError::NotYet(
                    "not all have begun: has the binary GET /v1/watch?".to_owned(),
                ))
            }
        });
        Ok(begun.await?)
    }

    async fn work(&self, context: &Arc<RunContext>, cancel: &CancelToken) {
        clients(context, |mut client| {
            let (next, cancel) = (self.next.clone(), cancel.clone());
            async move {
                while !client.rests(&cancel).await {
                    append(&mut client, &next).await;
                }
            }
        })
        .await;
    }

    async fn finish(&self, context: &Arc<RunContext>) -> Result<(), WorkloadError> {
        let mut client = WorkloadClient::reader(context, 0, super::workload_client::FINAL);
        let last = append(&mut client, &self.next).await;
        let last = last.ok_or(WorkloadError::NoLastWrite)?;
        let deadline = Instant::now() + CATCHES_UP;
        let places = self.places.lock().clone();
        while places.iter().any(|place| place.at() < last) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.cancel.cancel();
        let mut streams = std::mem::take(&mut *self.streams.lock());
        while streams.join_next().await.is_some() {}
        Ok(())
    }
}

/// Writes a value that nobody has written before; gives the revision if that was done.
async fn append(client: &mut WorkloadClient, next: &AtomicU64) -> Option<u64> {
    let key = format!("{PREFIX}{}", client.rng.random_range(0..KEYS));
    let value = format!("w{}", next.fetch_add(1, Ordering::Relaxed));
    let url = client.member.admin(&format!("/v1/kv/{key}"));
    let invoked = client.invoke("append", Some(&key), json!(value));
    let outcome = client.http.ask(Method::PUT, &url, &[], value).await;
    let settled = match &outcome {
        RequestOutcome::Answer(it) if it.status == 200 => SettledOperation::ok(None, it.revision),
        _ => SettledOperation::unless_done(&outcome),
    };
    let revision = settled.revision.filter(|_| settled.error.is_none());
    client.settle(invoked, settled);
    revision
}
