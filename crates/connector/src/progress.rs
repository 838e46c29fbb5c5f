//! Progress of a channel, kept across its sessions, its processes and takeovers.
//!
//! Progress is the number of tries of messages that have failed: a broker counts redeliveries at
//! best, among them those of messages that only waited in this process, and most count nothing. Of
//! a stream it is the offset of the first unsettled message. Both are written into the replicated
//! state, at most once in [`WRITE_INTERVAL`] and at the end of each session that ends in order, and
//! given to the next process with the order to act. Progress that was not written when a process
//! died is lost: tries are counted once less, and messages of a stream come again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use quorate_clock::Instant;
use quorate_planted::{Mutant, planted};
use quorate_proto::connector::{ChannelProgress, Tried};
use sha2::{Digest, Sha256};

use super::broker_link::IncomingMessage;

/// Shortest time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Upper bound of the messages whose tries are kept. Further ones replace the oldest, of which many
/// are of messages that never come again.
const TRIED_MAX: usize = 1000;
/// Bytes of a body that are hashed, at its beginning and at its end.
const HASHED: usize = 64 << 10;
/// Headers that a broker changes with each delivery.
const COUNTERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// Hash that tells one message from another.
pub(crate) type MessageFingerprint = [u8; 16];

/// Returns the fingerprint of all that stays the same when a message comes again. Two messages that
/// are the same in all this share their tries.
pub(crate) fn fingerprint(message: &IncomingMessage) -> MessageFingerprint {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(message.id.as_bytes());
    part(message.content_type.as_bytes());
    let headers = message.headers.iter();
    let stay = headers.filter(|it| !COUNTERS.contains(&it.name.as_str()));
    for it in stay.chain(&message.properties) {
        part(it.name.as_bytes());
        part(&it.value);
    }
    let body = &message.body;
    part(&(body.len() as u64).to_le_bytes());
    part(&body[..body.len().min(HASHED)]);
    part(&body[body.len().saturating_sub(HASHED)..]);
    let mut fingerprint = MessageFingerprint::default();
    fingerprint.copy_from_slice(&hash.finalize()[..size_of::<MessageFingerprint>()]);
    fingerprint
}

/// Number of a message's failures, and the turn of the last one among all.
#[derive(Clone, Copy, Debug)]
struct FailureCount {
    tries: u32,
    turn: u64,
}

/// Tracker of a channel's progress.
#[derive(Default)]
pub(crate) struct ProgressTracker {
    /// Epoch for which the progress was taken over.
    epoch: u64,
    source: String,
    tried: BTreeMap<MessageFingerprint, FailureCount>,
    /// Counter that grows with each failure.
    turn: u64,
    /// First unsettled offset of a stream, the next that is expected, and those between them that
    /// are under way.
    offset: Option<u64>,
    expected: u64,
    unsettled: BTreeSet<u64>,
    /// Time of the last write, and whether the progress has changed since then.
    written: Option<Instant>,
    changed: bool,
}

impl ProgressTracker {
    /// Takes over the kept progress, once for each epoch. That of another source is dropped.
    pub(crate) fn take_over(&mut self, epoch: u64, written: &Bytes, source: String) {
        if self.epoch == epoch && self.source == source {
            return;
        }
        let known = self.epoch == epoch;
        *self = ProgressTracker {
            epoch,
            source,
            ..ProgressTracker::default()
        };
        // This was written by a version of this program: what can't be read is from a later one,
        // and is as good as nothing.
        let written = ChannelProgress::decode(written.clone()).unwrap_or_default();
        if known || written.source != self.source {
            return;
        }
        self.offset = written.offset;
        if planted(Mutant::TriesForgotten) {
            return;
        }
        for Tried { fingerprint, tries } in written.tried {
            if let Ok(fingerprint) = MessageFingerprint::try_from(&fingerprint[..]) {
                self.failed(fingerprint, tries);
            }
        }
        self.changed = false;
    }

    /// Returns the offset to begin with in a stream.
    pub(crate) fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// Begins another session: nothing is under way.
    pub(crate) fn session_begins(&mut self) {
        self.unsettled.clear();
        self.expected = self.offset.unwrap_or_default();
    }

    /// Returns how often a message has failed, as far as that is kept. Another message that is the
    /// same, and comes for the first time, has not failed: it must not be given up for the failures
    /// of the one before. Each message of a stream is another one, by its offset.
    pub(crate) fn tries(&self, message: &IncomingMessage) -> Option<(MessageFingerprint, u32)> {
        let comes_again = message.redelivered || message.offset.is_some();
        if self.tried.is_empty() || !comes_again {
            return None;
        }
        let fingerprint = fingerprint(message);
        let failures = self.tried.get(&fingerprint)?;
        Some((fingerprint, failures.tries))
    }

    /// Notes that a message has failed `tries` times.
    pub(crate) fn failed(&mut self, fingerprint: MessageFingerprint, tries: u32) {
        if self.tried.len() >= TRIED_MAX && !self.tried.contains_key(&fingerprint) {
            let oldest = self.tried.iter().min_by_key(|(_, it)| it.turn);
            if let Some(oldest) = oldest.map(|(fingerprint, _)| *fingerprint) {
                self.tried.remove(&oldest);
            }
        }
        self.turn += 1;
        let turn = self.turn;
        self.tried.insert(fingerprint, FailureCount { tries, turn });
        self.changed = true;
    }

    /// Notes that a message of a stream is under way.
    pub(crate) fn received(&mut self, offset: u64) {
        self.unsettled.insert(offset);
        self.expected = self.expected.max(offset + 1);
        // The first one shows that the source is a stream.
        if self.offset.is_none() {
            self.offset = Some(offset);
        }
    }

    /// Returns the first offset of a stream that is under way.
    pub(crate) fn first_unsettled(&self) -> Option<u64> {
        self.unsettled.first().copied()
    }

    /// Notes that a message was handled or given up.
    pub(crate) fn settled(&mut self, fingerprint: Option<MessageFingerprint>, offset: Option<u64>) {
        if let Some(fingerprint) = fingerprint
            && self.tried.remove(&fingerprint).is_some()
        {
            self.changed = true;
        }
        if let Some(offset) = offset {
            self.unsettled.remove(&offset);
            let first = self.unsettled.first().copied().unwrap_or(self.expected);
            self.changed |= self.offset != Some(first);
            self.offset = Some(first);
        }
    }

    /// Returns when the progress has to be written.
    pub(crate) fn due(&self) -> Option<Instant> {
        let at = self
            .written
            .map_or_else(Instant::now, |at| at + WRITE_INTERVAL);
        self.changed.then_some(at)
    }

    /// Returns the progress to be written, if anything has changed.
    pub(crate) fn write(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.written = Some(Instant::now());
        let mut tried: Vec<_> = self.tried.iter().collect();
        tried.sort_unstable_by_key(|(_, it)| it.turn);
        let tried = tried.into_iter().map(|(fingerprint, it)| Tried {
            fingerprint: Bytes::copy_from_slice(fingerprint),
            tries: it.tries,
        });
        let progress = ChannelProgress {
            source: self.source.clone(),
            tried: tried.collect(),
            offset: self.offset,
        };
        // Without anything to keep nothing is written: the state has no entry then.
        if progress.tried.is_empty() && progress.offset.is_none() {
            return Some(Bytes::new());
        }
        Some(progress.encode_to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::connector::Header;

    use super::*;

    fn message(body: &'static str, count: &str) -> IncomingMessage {
        let header = |name: &str, value: &str| Header {
            name: name.into(),
            value: value.to_owned().into(),
        };
        IncomingMessage {
            headers: vec![header("x-delivery-count", count), header("tenant", "a")],
            body: body.into(),
            redelivered: true,
            ..IncomingMessage::default()
        }
    }

    fn tracker(epoch: u64, written: &Bytes) -> ProgressTracker {
        let mut tracker = ProgressTracker::default();
        tracker.take_over(epoch, written, "q".into());
        tracker.session_begins();
        tracker
    }

    // guarantee: MESSAGE-9
    #[test]
    fn tries_outlive_process_and_end_with_message() {
        let mut first = tracker(1, &Bytes::new());
        assert_eq!(first.tries(&message("a", "0")), None);
        first.failed(fingerprint(&message("a", "0")), 2);
        let kept = first.write().unwrap();
        assert_eq!(first.write(), None);
        let mut next = tracker(2, &kept);
        let (fingerprint, tries) = next.tries(&message("a", "1")).unwrap();
        assert_eq!(tries, 2);
        assert_eq!(next.tries(&message("b", "1")), None);
        let same = IncomingMessage {
            redelivered: false,
            ..message("a", "1")
        };
        assert_eq!(next.tries(&same), None);
        next.settled(Some(fingerprint), None);
        assert_eq!(next.write(), Some(Bytes::new()));
        // Progress of another queue means nothing.
        let mut other = ProgressTracker::default();
        other.take_over(2, &kept, "another".into());
        assert_eq!(other.tries(&message("a", "1")), None);
    }

    #[test]
    fn an_order_for_the_same_epoch_forgets_nothing() {
        let mut tracker = tracker(1, &Bytes::new());
        tracker.failed(fingerprint(&message("a", "0")), 1);
        tracker.take_over(1, &Bytes::new(), "q".into());
        assert!(tracker.tries(&message("a", "1")).is_some());
        tracker.take_over(2, &Bytes::new(), "q".into());
        assert!(tracker.tries(&message("a", "1")).is_none());
    }

    #[test]
    fn kept_offset_is_first_unsettled_message() {
        let mut tracker = tracker(1, &Bytes::new());
        assert_eq!(tracker.offset(), None);
        for offset in 5..9 {
            tracker.received(offset);
        }
        assert_eq!(tracker.offset(), Some(5));
        assert_eq!(tracker.first_unsettled(), Some(5));
        tracker.settled(None, Some(6));
        assert_eq!(tracker.offset(), Some(5));
        tracker.settled(None, Some(5));
        assert_eq!(tracker.offset(), Some(7));
        tracker.settled(None, Some(7));
        tracker.settled(None, Some(8));
        assert_eq!(tracker.offset(), Some(9));
        assert_eq!(tracker.first_unsettled(), None);
        let kept = tracker.write().unwrap();
        let next = super::tests::tracker(2, &kept);
        assert_eq!(next.offset(), Some(9));
    }

    #[test]
    fn progress_is_written_at_once_then_seldom() {
        let mut tracker = tracker(1, &Bytes::new());
        assert_eq!(tracker.due(), None);
        tracker.failed([1; 16], 1);
        assert!(tracker.due().unwrap() <= Instant::now());
        tracker.write();
        assert_eq!(tracker.due(), None);
        tracker.failed([1; 16], 2);
        assert!(tracker.due().unwrap() > Instant::now());
    }

    #[test]
    fn the_oldest_tries_make_room() {
        let mut first = tracker(1, &Bytes::new());
        let of = |n: usize| {
            let mut fingerprint = MessageFingerprint::default();
            fingerprint[..8].copy_from_slice(&n.to_le_bytes());
            fingerprint
        };
        // Not in the order in which a map has them.
        for n in (0..TRIED_MAX).rev() {
            first.failed(of(n), 1);
        }
        // The oldest has failed once more, so it is none of the oldest.
        first.failed(of(TRIED_MAX - 1), 2);
        let mut next = tracker(2, &first.write().unwrap());
        next.failed(of(TRIED_MAX), 1);
        assert_eq!(next.tried.len(), TRIED_MAX);
        assert!(!next.tried.contains_key(&of(TRIED_MAX - 2)));
        assert_eq!(next.tried[&of(TRIED_MAX - 1)].tries, 2);
    }

    #[test]
    fn kept_progress_fits_into_the_state() {
        let mut tracker = tracker(1, &Bytes::new());
        for n in 0..2 * TRIED_MAX {
            let mut fingerprint = MessageFingerprint::default();
            fingerprint[..8].copy_from_slice(&n.to_le_bytes());
            tracker.failed(fingerprint, u32::MAX);
        }
        let kept = tracker.write().unwrap();
        assert!(
            kept.len() <= quorate_state::PROGRESS_BYTES_MAX,
            "{}",
            kept.len()
        );
    }
}
