//! Incoming messages: tries so far, and giving up without a hand-off.

use quorate_clock::{Instant, id128};
use tracing::debug_span;

use super::{
    super::{
        broker_link::{ConsumerSession, InboundLink, IncomingMessage},
        in_flight::InFlightMessage,
        progress::fingerprint,
    },
    ChannelSession,
};

impl<L: InboundLink> ChannelSession<'_, L> {
    /// Takes in a message, which is handed on when it is its turn.
    pub(super) fn received(
        &mut self,
        token: <L::Session as ConsumerSession>::Token,
        message: IncomingMessage,
    ) {
        let cid = format!("K{:039}", id128());
        let id = self.context.next_delivery;
        self.context.next_delivery += 1;
        self.context.frames.tally.lock().received += 1;
        let span = debug_span!(
            "message",
            cid,
            connector = self.context.label,
            epoch = self.reign.epoch
        );
        let mut entry = InFlightMessage::new(token, message, cid, span);
        if let Some(offset) = entry.message.offset {
            self.context.progress.received(offset);
        }
        if let Some(why) = entry.message.unreadable.clone() {
            return self.give_up_undelivered(id, entry, 0, why);
        }
        let retries = self.delivery().on_failure.retries;
        if !L::Session::RETRIED_BY_BROKER {
            let progress = &self.context.progress;
            let before = L::Session::COMES_AGAIN
                .then(|| progress.tries(&entry.message))
                .flatten();
            let Some((fingerprint, tries)) = before else {
                return self.in_flight.queue(id, entry);
            };
            entry.fingerprint = Some(fingerprint);
            entry.attempt = tries.saturating_add(1);
            if tries <= retries {
                return self.in_flight.queue(id, entry);
            }
            // The process ended before it could put the message into the dead-letter queue.
            let why = format!(
                "it had failed {tries} times when its channel ended, calls that took longer than the broker's consumer_timeout included"
            );
            return self.give_up_undelivered(id, entry, tries, why);
        }
        let tries = entry.message.delivery_count;
        entry.attempt = tries.saturating_add(1);
        if tries <= retries {
            return self.in_flight.queue(id, entry);
        }
        // The message has had its tries, though perhaps no process lived to see it fail.
        let (attempt, why) = (entry.attempt, format!("it was given back {tries} times"));
        self.give_up_undelivered(id, entry, attempt, why);
    }

    /// Gives up a message without handing it on.
    pub(super) fn give_up_undelivered(
        &mut self,
        id: u64,
        entry: InFlightMessage<<L::Session as ConsumerSession>::Token>,
        attempt: u32,
        reason: String,
    ) {
        let entry = InFlightMessage {
            attempt,
            reason,
            undelivered: true,
            ..entry
        };
        self.in_flight.queue(id, entry);
        self.give_up(id);
    }

    /// Counts a failure for the oldest message, after the broker has taken all back because one
    /// message waited for too long. Where that message still is with its service, the call has
    /// failed: otherwise it would begin with its first try for ever. A message that waited for its
    /// turn has not failed.
    pub(super) fn count_overlong(&mut self) {
        let Some(entry) = self.in_flight.oldest_mut() else {
            return;
        };
        if L::Session::COMES_AGAIN && entry.is_overlong(Instant::now()) {
            let tries = entry.attempt;
            let by = *entry
                .fingerprint
                .get_or_insert_with(|| fingerprint(&entry.message));
            self.context.progress.failed(by, tries);
        }
    }
}
