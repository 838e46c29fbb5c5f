//! Watcher of the changes of keys at a member.
//!
//! It goes on at another member where it was when its connection is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use quorate_testkit::http;
use rand::{Rng, rngs::StdRng};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::{
    cancel::CancelToken,
    cluster::member::ClusterMember,
    history::{EventType, HistoryEvent},
    run_context::RunContext,
};

/// Prefix of the keys that the streams ask for.
pub const PREFIX: &str = "watch/";
/// Streams are processes from here on.
const PROCESSES: u64 = 2_000_000;
/// A member gives a sign of life every 5 s.
const SILENCE: Duration = Duration::from_secs(8);
/// Time after which a stream that nobody cuts is left by itself: resuming is what is tried.
const STAYS_MS: std::ops::Range<u64> = 500..6_000;

/// Revision up to which a stream has come; 0 before it has begun.
#[derive(Default)]
pub struct WatchPosition(AtomicU64);

impl WatchPosition {
    /// Returns whether the stream has begun.
    pub fn begun(&self) -> bool {
        self.at() > 0
    }

    /// Returns the revision up to which everything was told.
    pub fn at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn moves_to(&self, revision: u64) {
        self.0.fetch_max(revision, Ordering::Relaxed);
    }
}

/// Follows the changes until it is cancelled.
pub async fn follow(
    context: Arc<RunContext>,
    number: u64,
    place: Arc<WatchPosition>,
    cancel: CancelToken,
) {
    let mut rng = context.plan.rng(2_000 + number);
    let client = http::builder().connect_timeout(Duration::from_millis(500));
    let client = client.build();
    let Ok(client) = client else {
        return context.note_trouble("a stream has no client");
    };
    let mut watcher = StreamWatcher {
        process: PROCESSES + number,
        member: 0,
        context,
        place,
    };
    while !cancel.is_cancelled() {
        let members = &watcher.context.cluster.members;
        let member = members[rng.random_range(0..members.len())].clone();
        tokio::select! {
            () = watcher.once(&client, &member, &mut rng) => {}
            _ = cancel.cancelled_within(Duration::MAX) => {}
        }
        cancel.cancelled_within(Duration::from_millis(50)).await;
    }
    watcher.tell("watch-end", PREFIX, Value::Null, watcher.place.at());
}

struct StreamWatcher {
    process: u64,
    member: u64,
    context: Arc<RunContext>,
    place: Arc<WatchPosition>,
}

impl StreamWatcher {
    fn tell(&self, f: &str, key: &str, value: Value, revision: u64) {
        self.context.journals.history.note(|time| HistoryEvent {
            process: self.process,
            kind: EventType::Ok,
            f: f.to_owned(),
            key: Some(key.to_owned()),
            value,
            time,
            member: self.member,
            revision: Some(revision),
            error: None,
        });
    }

    /// Follows one connection, until it ends or was there for long enough.
    async fn once(&mut self, client: &Client, member: &ClusterMember, rng: &mut StdRng) {
        self.member = member.id;
        let url = member.admin(&format!("/v1/watch?prefix={PREFIX}"));
        let mut request = client.get(&url);
        let resumes = self.place.begun();
        if resumes {
            request = request.header("last-event-id", self.place.at().to_string());
        }
        let Ok(Ok(response)) = tokio::time::timeout(Duration::from_secs(2), request.send()).await
        else {
            return;
        };
        match response.status().as_u16() {
            200 if resumes => self.tell("resume", PREFIX, Value::Null, self.place.at()),
            200 => {}
            410 => {
                let told: Value = response.json().await.unwrap_or_default();
                return self.compacted(&told);
            }
            _ => return,
        }
        let stays = Duration::from_millis(rng.random_range(STAYS_MS));
        let _ = tokio::time::timeout(stays, self.read(response)).await;
    }

    /// Goes on with what is kept, as the member has forgotten what comes next.
    fn compacted(&self, told: &Value) {
        if let Some(oldest) = told["oldest_revision"].as_u64() {
            let before = oldest.saturating_sub(1);
            self.tell("compacted", PREFIX, Value::Null, before);
            self.place.moves_to(before);
        }
    }

    async fn read(&self, mut response: Response) {
        let mut text: Vec<u8> = Vec::new();
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE, response.chunk()).await {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = text.drain(..end + 2).collect();
                self.block(&String::from_utf8_lossy(&block));
            }
        }
    }

    /// Reads the lines up to an empty one.
    fn block(&self, text: &str) {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let id = field("id: ").and_then(|id| id.parse::<u64>().ok());
        let data: Value = field("data: ")
            .and_then(|data| serde_json::from_str(data).ok())
            .unwrap_or_default();
        match field("event: ") {
            None if data.is_object() => {
                let value = match data["value_base64"].as_str().map(|it| STANDARD.decode(it)) {
                    Some(Ok(bytes)) => json!(String::from_utf8_lossy(&bytes)),
                    _ => Value::Null,
                };
                let key = data["key"].as_str().unwrap_or_default();
                self.tell("watched", key, value, id.unwrap_or(0));
            }
            Some("watching") if !self.place.begun() => {
                self.tell("resume", PREFIX, Value::Null, id.unwrap_or(0));
            }
            Some("compacted") => return self.compacted(&data),
            _ => {}
        }
        if let Some(id) = id {
            self.place.moves_to(id);
        }
    }
}
