//! Settling at the broker: acknowledge, dead-letter, reject, requeue.

use std::{future::Future, time::Duration};

use futures_util::FutureExt;
use quorate_clock::Instant;
use quorate_log::RateLimit;
use quorate_proto::connector::Phase;
use quorate_types::backoff;
use tracing::{Instrument, debug, warn};

use super::{
    super::{
        broker_link::{
            ConnectorError, ConsumerSession, DeadLetterInfo, InboundLink, MessageAcknowledger,
        },
        in_flight::{InFlightMessage, InFlightState},
    },
    ChannelSession, SettleAction, SettleResult,
};

/// Pauses between tries to put a message into the dead-letter queue.
const DEAD_LETTER_RETRY_FIRST: Duration = Duration::from_millis(200);
const DEAD_LETTER_RETRY_LAST: Duration = Duration::from_secs(10);
/// Limits for log lines that each message may cause.
static NOT_DEAD_LETTERED: RateLimit = RateLimit::each_second();
static GIVEN_UP: RateLimit = RateLimit::each_second();

impl<L: InboundLink> ChannelSession<'_, L> {
    /// Dead-letters or rejects a message that has had its tries.
    pub(super) fn give_up(&mut self, id: u64) {
        if self.delivery().on_failure.dead_letter.is_some() {
            self.dead_letter(id);
        } else {
            self.reject(id);
        }
    }

    /// Puts a message into the dead-letter queue, if the lease lets it.
    pub(super) fn dead_letter(&mut self, id: u64) {
        // Without the lease the message stays unacknowledged, for the next holder to judge.
        if self.context.lease.holds(self.reign.epoch) {
            self.publish_dead_letter(id);
        } else {
            self.in_flight.wait(
                id,
                InFlightState::DeadLetterDelayed,
                Instant::now() + DEAD_LETTER_RETRY_FIRST,
            );
        }
    }

    /// Acknowledges a message that its service has handled, with the service's answer.
    pub(super) fn acknowledge(&mut self, id: u64) {
        self.start_ack(id, SettleAction::Ack);
    }

    /// Acknowledges a message whose copy is in the dead-letter queue.
    fn acknowledge_dead_lettered(&mut self, id: u64) {
        self.start_ack(id, SettleAction::AckDeadLettered);
    }

    fn start_ack(&mut self, id: u64, action: SettleAction) {
        let Some(entry) = self.in_flight.get_mut(id) else {
            return;
        };
        let reply = std::mem::take(&mut entry.reply);
        let (acknowledger, token) = (self.acknowledger.clone(), entry.token.clone());
        self.start(id, InFlightState::Settling, async move {
            (id, action, acknowledger.ack(&token, &reply).await)
        });
    }

    /// Gives a message back to the broker, which hands it out again after `wait` at the earliest.
    pub(super) fn requeue(&mut self, id: u64, wait: Duration) {
        let Some(entry) = self.in_flight.get(id) else {
            return;
        };
        let (acknowledger, token) = (self.acknowledger.clone(), entry.token.clone());
        self.start(id, InFlightState::Settling, async move {
            let result = acknowledger.requeue(&token, wait).await;
            (id, SettleAction::Requeue(wait), result)
        });
    }

    /// Rejects a message that has failed for good.
    fn reject(&mut self, id: u64) {
        let Some(entry) = self.in_flight.get(id) else {
            return;
        };
        let info = self.dead_letter_info(entry);
        let (acknowledger, token) = (self.acknowledger.clone(), entry.token.clone());
        self.start(id, InFlightState::Settling, async move {
            let result = acknowledger.reject(&token, &info).await;
            (id, SettleAction::Reject, result)
        });
    }

    /// Puts a copy of a message into the dead-letter queue.
    fn publish_dead_letter(&mut self, id: u64) {
        let Some(entry) = self.in_flight.get(id) else {
            return;
        };
        let Some(queue) = self.delivery().on_failure.dead_letter.clone() else {
            // The dead-letter queue was removed from the channel in the meantime.
            return self.reject(id);
        };
        let info = self.dead_letter_info(entry);
        let message = entry.message.clone();
        let (acknowledger, token) = (self.acknowledger.clone(), entry.token.clone());
        self.start(id, InFlightState::DeadLettering, async move {
            let result = acknowledger
                .dead_letter(&token, &message, &queue, &info)
                .await;
            (id, SettleAction::DeadLetter, result)
        });
    }

    fn start(
        &mut self,
        id: u64,
        state: InFlightState,
        action: impl Future<Output = SettleResult> + Send + 'static,
    ) {
        self.in_flight.set_state(id, state);
        let span = self.in_flight.span(id);
        self.actions.push(action.instrument(span).boxed());
    }

    fn dead_letter_info(
        &self,
        entry: &InFlightMessage<<L::Session as ConsumerSession>::Token>,
    ) -> DeadLetterInfo {
        DeadLetterInfo {
            reason: entry.reason.clone(),
            attempts: entry.attempt,
            cid: entry.cid.clone(),
            channel: self.context.name().to_owned(),
        }
    }

    /// Handles the broker's answer to an action on a message.
    pub(super) async fn on_settled(
        &mut self,
        id: u64,
        action: SettleAction,
        result: Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        if action == SettleAction::DeadLetter {
            match result {
                Ok(()) => {
                    self.report_error("").await;
                    self.acknowledge_dead_lettered(id);
                }
                Err(error) => self.delay_dead_letter(id, &error).await,
            }
            return Ok(());
        }
        let entry = self.in_flight.remove(id);
        if let (Some(entry), Ok(()), false) =
            (&entry, &result, matches!(action, SettleAction::Requeue(_)))
        {
            let offset = entry.message.offset;
            self.context.progress.settled(entry.fingerprint, offset);
        }
        if let Err(error) = result {
            return self.on_not_settled(action, error).await;
        }
        if action == SettleAction::Ack && (L::Session::RETRIED_BY_BROKER || self.until_handled) {
            self.until_handled = false;
            self.report_error("").await;
        }
        if let Some(entry) = entry.filter(|_| action == SettleAction::Reject) {
            if L::Session::COMES_AGAIN {
                warn_given_up(&entry);
            }
            // The parent knows already of a call that has failed.
            if entry.undelivered && !self.error_reported {
                self.until_handled = true;
                self.report_error(&entry.reason).await;
            }
        }
        let mut tally = self.context.frames.tally.lock();
        match action {
            SettleAction::Ack => tally.handled += 1,
            SettleAction::AckDeadLettered => {
                tally.failed += 1;
                tally.dead_lettered += 1;
            }
            SettleAction::Reject => tally.failed += 1,
            SettleAction::Requeue(_) | SettleAction::DeadLetter => {}
        }
        Ok(())
    }

    /// Schedules the next try of a message that the dead-letter queue did not take.
    async fn delay_dead_letter(&mut self, id: u64, error: &ConnectorError) {
        if let Some(left_out) = NOT_DEAD_LETTERED.due("") {
            warn!(
                delivery = id,
                error = error.text,
                left_out,
                "a message can't be dead-lettered yet"
            );
        }
        let Some(entry) = self.in_flight.get_mut(id) else {
            return;
        };
        let wait = backoff::nth(
            DEAD_LETTER_RETRY_FIRST,
            DEAD_LETTER_RETRY_LAST,
            entry.dead_letter_attempts,
        );
        entry.dead_letter_attempts += 1;
        let until = Instant::now() + wait;
        self.in_flight
            .wait(id, InFlightState::DeadLetterDelayed, until);
        self.report_error(&error.text).await;
    }

    /// Handles an action that failed: the session is gone, and the broker hands the message out
    /// again. An ordered session ends with it.
    async fn on_not_settled(
        &mut self,
        action: SettleAction,
        error: ConnectorError,
    ) -> Result<(), ConnectorError> {
        debug!(act = ?action, error = error.text, "not settled");
        if action == SettleAction::Reject {
            // Or the message had nowhere to go. Its failures may have been reported since the
            // last time.
            self.error_reported = false;
            self.report_error(&error.text).await;
        }
        if self.in_order() { Err(error) } else { Ok(()) }
    }

    pub(super) async fn report_error(&mut self, error: &str) {
        if self.error_reported != error.is_empty() {
            return;
        }
        self.error_reported = !error.is_empty();
        self.context
            .frames
            .report(Phase::Active, error, self.settings.generation)
            .await;
    }
}

/// Logs why a message was rejected, as the broker keeps no reason.
fn warn_given_up<T>(entry: &InFlightMessage<T>) {
    let Some(left_out) = GIVEN_UP.due("") else {
        return;
    };
    let what = match entry.message.offset {
        // Nothing takes what a stream's consumer rejects.
        Some(_) => {
            "a message of a stream was given up and passed over: the channel has no `dead_letter`"
        }
        None => {
            "a message was given up and rejected, for the queue's own dead-letter exchange if it has one: the channel has no `dead_letter`"
        }
    };
    warn!(
        cid = entry.cid,
        message_id = entry.message.id,
        offset = entry.message.offset,
        attempts = entry.attempt,
        reason = entry.reason,
        left_out,
        "{what}"
    );
}
