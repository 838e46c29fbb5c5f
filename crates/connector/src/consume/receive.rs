//! Messages in: how often each was tried before, and what is given up without being handed on.

use quorate_clock::{Instant, id128};

use super::{
    super::{
        broker_link::{InboundLink, IncomingMessage, Session},
        in_flight::InFlightMessage,
        progress::fingerprint,
    },
    ChannelSession,
};

impl<L: InboundLink> ChannelSession<'_, L> {
    /// A message has come. It is handed on when it is its turn.
    pub(super) fn received(
        &mut self,
        token: <L::ConsumerSession as Session>::Token,
        message: IncomingMessage,
    ) {
        let cid = format!("K{:039}", id128());
        let id = self.context.next_delivery;
        self.context.next_delivery += 1;
        self.context.frames.tally.lock().received += 1;
        let mut flight = InFlightMessage::new(token, message, cid);
        if let Some(offset) = flight.message.offset {
            self.context.progress.received(offset);
        }
        if let Some(why) = flight.message.unreadable.clone() {
            return self.give_up_undelivered(id, flight, 0, why);
        }
        let retries = self.settings.shared.on_failure.retries;
        if !L::ConsumerSession::RETRIED_BY_BROKER {
            let progress = &self.context.progress;
            let before = L::ConsumerSession::COMES_AGAIN
                .then(|| progress.tries(&flight.message))
                .flatten();
            let Some((fingerprint, tries)) = before else {
                return self.in_flight.queue(id, flight);
            };
            flight.fingerprint = Some(fingerprint);
            flight.attempt = tries.saturating_add(1);
            if tries <= retries {
                return self.in_flight.queue(id, flight);
            }
            // Nobody lived to put it into the dead-letter queue.
            let why = format!(
                "it had failed {tries} times when its channel ended, calls that took longer than the broker's consumer_timeout included"
            );
            return self.give_up_undelivered(id, flight, tries, why);
        }
        let tries = flight.message.delivery_count;
        flight.attempt = tries.saturating_add(1);
        if tries <= retries {
            return self.in_flight.queue(id, flight);
        }
        // It has had its tries, though perhaps nobody lived to see it fail.
        let (attempt, why) = (flight.attempt, format!("it was given back {tries} times"));
        self.give_up_undelivered(id, flight, attempt, why);
    }

    /// A message is given up without being handed on.
    pub(super) fn give_up_undelivered(
        &mut self,
        id: u64,
        flight: InFlightMessage<<L::ConsumerSession as Session>::Token>,
        attempt: u32,
        reason: String,
    ) {
        let flight = InFlightMessage {
            attempt,
            reason,
            undelivered: true,
            ..flight
        };
        self.in_flight.queue(id, flight);
        self.give_up(id);
    }

    /// The broker has taken all back, since it had waited too long for one message: the one
    /// that came first. Where that is with its service still, the call has failed: it would
    /// begin with its first try for ever. One that waited for its turn instead has not.
    pub(super) fn count_overlong(&mut self) {
        let Some(flight) = self.in_flight.oldest_mut() else {
            return;
        };
        if L::ConsumerSession::COMES_AGAIN && flight.is_overlong(Instant::now()) {
            let tries = flight.attempt;
            let by = *flight
                .fingerprint
                .get_or_insert_with(|| fingerprint(&flight.message));
            self.context.progress.failed(by, tries);
        }
    }
}
