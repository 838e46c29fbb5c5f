//! Writes down how far the connectors of this member have come.
//!
//! What a process says is written soon, and only the latest of each connector: while one
//! write is under way the others wait, and what they say meanwhile takes the place of what
//! they said before. It is written under the epoch under which it was said, so that nothing
//! of a former holder stands in the way of its successor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_clock::Instant;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{child::backoff::Backoff, reign::Proposer, spec::Key};

/// How long a write may take.
const ANSWER: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// A release waits so long for what is to be written: without it messages are repeated or
/// tried once more, and with it nothing is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one connector has said.
#[derive(Clone, PartialEq)]
struct Said {
    epoch: u64,
    kept: Bytes,
}

/// What is to be written.
#[derive(Default)]
pub struct Progress {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    said: BTreeMap<Key, Said>,
    /// When something was said last.
    last: Option<Instant>,
}

impl Progress {
    /// A process has come so far under this epoch.
    pub fn set(&self, key: &Key, epoch: u64, kept: Bytes) {
        let mut waiting = self.waiting.lock();
        let newer = waiting.said.get(key).is_some_and(|it| it.epoch > epoch);
        if newer {
            return;
        }
        waiting.said.insert(key.clone(), Said { epoch, kept });
        waiting.last = Some(Instant::now());
        drop(waiting);
        self.changed.notify_one();
    }

    /// Until when a release is to wait for what is not written yet.
    pub fn wanted_until(&self) -> Option<Instant> {
        self.waiting.lock().last.map(|last| last + PATIENCE)
    }

    /// What a connector has said last under this epoch, if that is not written yet.
    pub fn unwritten(&self, key: &Key, epoch: u64) -> Option<Bytes> {
        let waiting = self.waiting.lock();
        let said = waiting.said.get(key).filter(|said| said.epoch == epoch);
        said.map(|said| said.kept.clone())
    }

    /// The next that is to be written after `last`: each has its turn, however often others
    /// have something to say.
    fn next(&self, last: Option<&Key>) -> Option<(Key, Said)> {
        let waiting = self.waiting.lock();
        let mut after = waiting
            .said
            .iter()
            .skip_while(|(key, _)| last.is_some_and(|last| *key <= last));
        let next = after.next().or_else(|| waiting.said.first_key_value());
        next.map(|(key, said)| (key.clone(), said.clone()))
    }

    /// This was written, or can't be any more.
    fn done(&self, key: &Key, written: &Said) {
        let mut waiting = self.waiting.lock();
        if waiting.said.get(key) == Some(written) {
            waiting.said.remove(key);
        }
        if waiting.said.is_empty() {
            waiting.last = None;
        }
    }

    /// Writes for as long as this member runs connectors. `written` is told when nothing is
    /// left to be written.
    pub async fn run(self: Arc<Self>, proposer: Arc<dyn Proposer>, written: impl Fn()) {
        let mut retry = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let mut last: Option<Key> = None;
        loop {
            let Some((key, said)) = self.next(last.as_ref()) else {
                written();
                self.changed.notified().await;
                continue;
            };
            let deadline = Instant::now() + ANSWER;
            let writing = proposer.advance(&key, said.epoch, said.kept.clone(), deadline);
            last = Some(key.clone());
            match timeout(ANSWER, writing).await {
                Ok(Ok(())) => {
                    retry.reset();
                    self.done(&key, &said);
                    continue;
                }
                Ok(Err(error)) => {
                    debug!(connector = %key, %error, "its progress is not written yet")
                }
                Err(_) => debug!(connector = %key, "its progress was not written in time"),
            }
            sleep(retry.step()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            kind: "amqp_channel",
            name: name.to_owned(),
        }
    }

    #[test]
    fn each_has_its_turn_and_what_is_older_changes_nothing() {
        let progress = Progress::default();
        assert!(progress.next(None).is_none());
        for name in ["a", "b", "c"] {
            progress.set(&key(name), 2, "one".into());
        }
        let after = |last: Option<&str>| {
            let last = last.map(key);
            progress.next(last.as_ref()).map(|(key, _)| key.name)
        };
        assert_eq!(after(None).as_deref(), Some("a"));
        assert_eq!(after(Some("a")).as_deref(), Some("b"));
        assert_eq!(after(Some("c")).as_deref(), Some("a"));
        progress.set(&key("a"), 1, "of a former reign".into());
        assert_eq!(progress.unwritten(&key("a"), 2), Some("one".into()));
        assert_eq!(progress.unwritten(&key("a"), 1), None);
    }

    #[test]
    fn a_release_waits_from_what_was_said_last_until_it_is_written() {
        let progress = Progress::default();
        assert_eq!(progress.wanted_until(), None);
        progress.set(&key("a"), 2, "one".into());
        let first = progress.wanted_until().unwrap();
        progress.set(&key("b"), 2, "two".into());
        assert!(progress.wanted_until().unwrap() >= first);
        for _ in 0..2 {
            let (key, said) = progress.next(None).unwrap();
            progress.done(&key, &said);
        }
        assert_eq!(progress.wanted_until(), None);
    }
}
