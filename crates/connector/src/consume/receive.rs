//! Messages in: how often each was tried before, and what is given up without being handed on.

use quorate_clock::{Instant, id128};

use super::{
    super::{
        flight::Flight,
        link::{Inlet, Message, Session},
        progress::fingerprint,
    },
    Consuming,
};

impl<L: Inlet> Consuming<'_, L> {
    /// A message has come. It is handed on when it is its turn.
    pub(super) fn received(&mut self, token: <L::Session as Session>::Token, message: Message) {
        let cid = format!("K{:039}", id128());
        let id = self.wires.next_delivery;
        self.wires.next_delivery += 1;
        self.wires.out.tally.lock().received += 1;
        let mut flight = Flight::new(token, message, cid);
        if let Some(offset) = flight.message.offset {
            self.wires.progress.received(offset);
        }
        if let Some(why) = flight.message.unreadable.clone() {
            return self.give_up_unheard(id, flight, 0, why);
        }
        let retries = self.settings.common.on_failure.retries;
        if !L::Session::RETRIED_BY_BROKER {
            let progress = &self.wires.progress;
            let before = L::Session::COMES_AGAIN
                .then(|| progress.tries(&flight.message))
                .flatten();
            let Some((fingerprint, tries)) = before else {
                return self.flights.queue(id, flight);
            };
            flight.fingerprint = Some(fingerprint);
            flight.attempt = tries.saturating_add(1);
            if tries <= retries {
                return self.flights.queue(id, flight);
            }
            // Nobody lived to put it into the dead-letter queue.
            let why = format!(
                "it had failed {tries} times when its channel ended, calls that took longer than the broker's consumer_timeout included"
            );
            return self.give_up_unheard(id, flight, tries, why);
        }
        let tries = flight.message.delivered;
        flight.attempt = tries.saturating_add(1);
        if tries <= retries {
            return self.flights.queue(id, flight);
        }
        // It has had its tries, though perhaps nobody lived to see it fail.
        let (attempt, why) = (flight.attempt, format!("it was given back {tries} times"));
        self.give_up_unheard(id, flight, attempt, why);
    }

    /// A message is given up without being handed on.
    pub(super) fn give_up_unheard(
        &mut self,
        id: u64,
        flight: Flight<<L::Session as Session>::Token>,
        attempt: u32,
        reason: String,
    ) {
        let flight = Flight {
            attempt,
            reason,
            unheard: true,
            ..flight
        };
        self.flights.queue(id, flight);
        self.give_up(id);
    }

    /// The broker has taken all back, since it had waited too long for one message: the one
    /// that came first. Where that is with its service still, the call has failed: it would
    /// begin with its first try for ever. One that waited for its turn instead has not.
    pub(super) fn count_overlong(&mut self) {
        let Some(flight) = self.flights.oldest_mut() else {
            return;
        };
        if L::Session::COMES_AGAIN && flight.is_overlong(Instant::now()) {
            let tries = flight.attempt;
            let by = *flight
                .fingerprint
                .get_or_insert_with(|| fingerprint(&flight.message));
            self.wires.progress.failed(by, tries);
        }
    }
}
