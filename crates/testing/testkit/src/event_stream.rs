//! Reader of `GET /v1/watch`, by the letter of the standard on server-sent events.

use std::{sync::OnceLock, time::Duration};

use reqwest::Client;
use serde_json::Value;
use tokio::time::timeout;

use crate::{cluster::SOON, http};

/// One event as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamEvent {
    /// The id, which is a revision.
    pub id: Option<u64>,
    /// The name; empty for a change.
    pub name: String,
    /// The data.
    pub data: Value,
}

/// An open stream.
pub struct EventStream {
    response: reqwest::Response,
    text: String,
}

impl EventStream {
    /// Opens one; a status other than 200 is told with its problem.
    pub async fn open(url: &str, last_event_id: Option<u64>) -> Result<EventStream, (u16, Value)> {
        let mut request = client().get(url);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id.to_string());
        }
        let sent = timeout(SOON, request.send()).await.expect("in time");
        let response = sent.map_err(|error| (0, error.to_string().into()))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err((status, response.json().await.unwrap_or_default()));
        }
        assert!(
            response.headers()["content-type"]
                .to_str()
                .expect("a type")
                .starts_with("text/event-stream")
        );
        let text = String::new();
        Ok(EventStream { response, text })
    }

    /// The next event; `None` at the end or when the connection is lost. Signs of life
    /// come as events without data.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                return Some(parsed(&block));
            }
            let chunk = timeout(SOON, self.response.chunk()).await;
            let chunk = chunk.expect("something within the time").ok()??;
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("whole characters"));
        }
    }

    /// The next change.
    pub async fn change(&mut self) -> Option<Value> {
        loop {
            let event = self.next().await?;
            if event.name.is_empty() && !event.data.is_null() {
                assert_eq!(event.data["revision"].as_u64(), event.id);
                return Some(event.data);
            }
        }
    }

    /// Changes until one has this revision or a greater one.
    pub async fn until(&mut self, revision: u64) -> Vec<Value> {
        let mut changes = Vec::new();
        while changes.last().is_none_or(|it| of(it) < revision) {
            changes.push(self.change().await.expect("a stream that goes on"));
        }
        changes
    }
}

/// One without a deadline for the whole answer.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| http::builder().build().expect("a client"))
}

/// A change's revision.
pub fn of(change: &Value) -> u64 {
    change["revision"].as_u64().expect("a revision")
}

/// How long a stream may take to come to an end.
pub const END: Duration = Duration::from_secs(5);

fn parsed(block: &str) -> StreamEvent {
    let mut event = StreamEvent::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => event.id = Some(id.parse().expect("a number")),
            Some(("event", name)) => event.name = name.into(),
            Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
            Some(("", _) | ("retry", _)) | None => {}
            Some((other, _)) => panic!("{other} in {block:?}"),
        }
    }
    event
}
